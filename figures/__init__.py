"""Pictures from trained generators: the papers' figures, samples by seed, interpolations, and sheets that show them.

`generator` renders, `layouts` says which seeds and arrangements each figure has, `drawing` and `composing` make the
pictures, `sheet` puts them on one page. The command lines generate.py, generate_figures.py and pretrained_example.py
stand on these.
"""
