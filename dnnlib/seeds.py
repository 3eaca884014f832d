"""Seeds: which numbers they may be. Beyond 32 bits a generator of random numbers would take one seed for another."""

import argparse
import operator

from dnnlib.errors import UserError

LARGEST = 2 ** 32 - 1
LARGEST_OF_A_RUN = 2 ** 31 - 1     # a run's enters TensorFlow as a signed number


def check_seed(seed, what='the seed', largest=LARGEST):
    """Returns `seed` as an int. Raises UserError unless it is a whole number from 0 to `largest`."""
    try:
        number = operator.index(seed)
    except TypeError:
        number = -1
    if isinstance(seed, bool) or not 0 <= number <= largest:
        raise UserError(f'{what} is {str(seed)[:40]}; it must be a whole number from 0 to {largest}')
    return number


def seed_option(text):
    """The type of a command line's option for a seed."""
    try:
        return check_seed(int(text))
    except (ValueError, UserError):
        raise argparse.ArgumentTypeError(f"'{text[:40]}' is not a whole number from 0 to {LARGEST}") from None


def signed32(seed):
    """The 32 bits of a seed as a signed number, which is what TensorFlow's seed tensors hold."""
    low = seed & 0xFFFFFFFF
    return low - (1 << 32) if low >= 1 << 31 else low
