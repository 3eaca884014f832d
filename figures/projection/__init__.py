"""Finds latents whose picture is a given photograph.

`schedule` says how step sizes and noise change, `graph` is one step for several photographs at a time, `optimising`
takes the steps and keeps its place, `photographs` reads what is to be found, `results` shows and stores what was found.
"""
