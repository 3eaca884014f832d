"""Types and options that several commands of dataset_tool.py share."""

import argparse
import re


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


def byte_size(text):
    """A number of bytes: 500000, 20G (powers of 1000) or 20GiB (powers of 1024)."""
    match = re.match(r'([0-9]{1,15}(?:\.[0-9]{1,3})?) ?([KMGT]?)(I?)B?\Z', text.upper())
    value = int(float(match.group(1)) * (1024 if match.group(3) else 1000) ** ' KMGT'.index(match.group(2) or ' ')) \
        if match else 0
    if not 0 < value < 1 << 60:
        raise argparse.ArgumentTypeError(f"'{text}' is not a size such as 20G or 500M")
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


def add_device(parser):
    """Adds --device."""
    parser.add_argument('--device', choices=['auto', 'cpu', 'gpu'], default='auto', help='what to compute on (default: '
                        'auto, a GPU where there is one)')


def add_webp(parser):
    """Adds --allow-webp."""
    parser.add_argument('--allow-webp', action='store_true',
                        help='decode WebP pictures even with a libwebp before 1.3.2, which a picture can make run code '
                             '(CVE-2023-4863)')


def add_max_unpacked(parser, what):
    """Adds --max-unpacked; `what` is what may unpack to no more."""
    parser.add_argument('--max-unpacked', type=byte_size, metavar='SIZE', help=f'let {what} unpack to SIZE, such as '
                        '500G (default: 20 times the file and 1 GiB)')


def add_background(parser):
    """Adds --background."""
    parser.add_argument('--background', metavar='COLOR', default='white',
                        help='what shows through transparent pixels when they are converted: white (default), #aabbcc, '
                             '10,20,30, or none for the colours beneath')
