"""Loads a trained generator, lists its layers and writes one image."""

import argparse
import os

import config as folders
from dnnlib.command_line import HelpFormatter, shown
from dnnlib.seeds import check_seed
from dnnlib.util import UserError, make_folder, run_main

EXAMPLES = '''examples:
  python pretrained_example.py
  python pretrained_example.py --network results/00003-demo --out face.png --seed 7
'''

def parse_args(argv=None):
    from figures import arguments
    parser = argparse.ArgumentParser(description=__doc__, epilog=EXAMPLES, formatter_class=HelpFormatter)
    arguments.add_network_arguments(parser, default='ffhq-1024')
    group = parser.add_argument_group('image')
    group.add_argument('--out', default=shown(os.path.join(folders.result_dir, 'example.png')), metavar='FILE',
                       help='the image (default: %(default)s); the suffix chooses the format')
    group.add_argument('--seed', type=int, default=5, metavar='INT', help='seed of the latents (default: 5)')
    group.add_argument('--psi', type=float, default=0.7, metavar='NUMBER', help='truncation (default: 0.7)')
    group.add_argument('--class', type=int, dest='label', metavar='INT', help='class, for networks with labels')
    args = parser.parse_args(argv)
    arguments.check_psi(args.psi)
    check_seed(args.seed, '--seed')
    if os.path.isdir(args.out):
        raise UserError(f"--out is '{args.out}', a folder; name a file")
    if os.path.splitext(args.out)[1].lower() not in ('.png', '.jpg', '.jpeg', '.webp'):
        raise UserError(f"--out is '{args.out}'; its suffix must be .png, .jpg or .webp")
    return args


def main(argv=None):
    from figures import arguments, composing, sheet
    args = parse_args(argv)
    make_folder(os.path.dirname(os.path.abspath(args.out)))
    gen, _ = arguments.open_generator(args)
    gen.network.print_layers()
    labels = gen.labels(1, args.label, args.seed)
    image, = gen.images(gen.latents(args.seed), labels, psi=args.psi, noise_seed=args.seed)
    sheet.save_picture(composing.to_picture(image), args.out)
    print(f'{args.out}: seed {args.seed}, psi {args.psi:g}')


if __name__ == '__main__':
    run_main(main)
