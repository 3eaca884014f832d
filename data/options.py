"""Types and options that several commands of dataset_tool.py share."""

import argparse


def positive_int(text):
    """A whole number of at least 1."""
    try:
        value = int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number") from None
    if value < 1:
        raise argparse.ArgumentTypeError(f'{value} is less than 1')
    return value


def power_of_two(text):
    """A power of two from 4 to 8192."""
    value = positive_int(text)
    if value & (value - 1) or not 4 <= value <= 8192:
        raise argparse.ArgumentTypeError(f'{value} is not a power of two from 4 to 8192')
    return value


def boolean(text):
    """0 or 1 (also false and true)."""
    values = {'0': False, 'false': False, 'no': False, '1': True, 'true': True, 'yes': True}
    if text.lower() not in values:
        raise argparse.ArgumentTypeError(f"'{text}' is neither 0 nor 1")
    return values[text.lower()]


def add_workers(parser):
    """Adds --workers."""
    parser.add_argument('--workers', type=positive_int, metavar='N',
                        help='number of processes (default: one per processor core)')
