"""Loads a trained generator, lists its layers and writes one image."""

import os

import check_python  # noqa: F401
import config as folders
from dnnlib.command_line import Parser, shown
from dnnlib.files import results_folder
from dnnlib.seeds import check_seed
from dnnlib.util import UserError, run_main

EXAMPLES = '''examples:
  ./reproduce pretrained
  ./reproduce pretrained --network results/00003-demo --out face.png --seed 7
'''

def parse_args(argv=None):
    from figures import arguments
    parser = Parser(description=__doc__, epilog=EXAMPLES)
    arguments.add_network_arguments(parser, default='ffhq-1024')
    group = parser.add_argument_group('image')
    group.add_argument('--out', default=shown(os.path.join(folders.result_dir, 'example.png')), metavar='FILE',
                       help='the image (default: %(default)s); the suffix chooses the format')
    group.add_argument('--seed', type=int, default=5, metavar='INT', help='seed of the latents (default: 5)')
    group.add_argument('--psi', type=float, default=0.7, metavar='NUMBER', help='truncation (default: 0.7)')
    arguments.add_label_argument(group)
    args = parser.parse_args(argv)
    arguments.check_psi(args.psi)
    check_seed(args.seed, '--seed')
    if os.path.isdir(args.out):
        raise UserError(f"--out is '{args.out}', a folder; name a file")
    if os.path.splitext(args.out)[1].lower() not in ('.png', '.jpg', '.jpeg', '.webp'):
        raise UserError(f"--out is '{args.out}'; its suffix must be .png, .jpg or .webp")
    return args


def main(argv=None):
    from figures import arguments
    args = parse_args(argv)
    arguments.find_network(args)
    with results_folder(os.path.dirname(os.path.abspath(args.out)), 'choose another one with --out'):
        write_example(args)


def write_example(args):
    """Lists the layers and writes the image."""
    from figures import arguments, composing, sheet
    gen, facts = arguments.open_generator(args)
    arguments.choose_labels(gen, facts, args)
    gen.network.print_layers()
    image, = gen.images(gen.latents(args.seed), gen.labels(args.seed), psi=args.psi, noise_seed=args.seed)
    sheet.save_picture(composing.to_picture(image), args.out)
    print(f'{args.out}: seed {args.seed}, psi {args.psi:g}' + (f', labels: {facts.labels}' if gen.label_size else ''))


if __name__ == '__main__':
    run_main(main)
