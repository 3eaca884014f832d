"""Compares Inception weights as this project uses them with TensorFlow's frozen graph run as it is.

    python -m metrics.networks.check                  the released pickle, or the graph's weights, against the graph
    python -m metrics.networks.check FILE [GRAPH]     the same for files given by path
"""


import numpy as np

from dnnlib import artifacts, tflib
from dnnlib.command_line import Parser
from dnnlib.tflib import tf
from dnnlib.util import run_main
from metrics.networks import files, frozen_graph, released

TOLERANCE = 1e-3    # of the features' deviation; float32 kernels differ by far less, another network by far more


def compare(path, graph_path, num_images=4, seed=0):
    """Largest difference of features between mapped weights and the graph, relative to their standard deviation."""
    rng = np.random.RandomState(seed)
    with tf.Graph().as_default(), tflib.create_session().as_default():
        net = released.inception(path).net
        pixels = tf.placeholder(tf.float32, [1, 3, None, None])
        as_it_is = frozen_graph.import_features(graph_path, pixels)
        worst, deviation = 0.0, 0.0
        for number in range(num_images):
            size = 64 + 100 * number  # below and above the network's own size
            image = rng.randint(0, 256, [1, 3, size, size]).astype(np.float32)
            ours, theirs = net.run(image), tflib.run(as_it_is, {pixels: image})
            worst, deviation = max(worst, np.max(np.abs(ours - theirs))), max(deviation, np.std(theirs))
    return float(worst / max(deviation, 1e-30))


def main(argv=None):
    """Prints the comparison; status 1 if the features differ."""
    parser = Parser(prog='python -m metrics.networks.check',
                    description='Compares Inception weights with the frozen graph run as it is.')
    parser.add_argument('file', nargs='?', metavar='FILE', help='weights: .pkl, .tgz or .pb (default: released ones)')
    parser.add_argument('graph', nargs='?', metavar='GRAPH', help=f'frozen graph (default: {files.INCEPTION_FROZEN})')
    args = parser.parse_args(argv)
    graph_path = args.graph or artifacts.get(files.INCEPTION_FROZEN)
    path = args.file or artifacts.find(files.INCEPTION) or graph_path
    difference = compare(path, graph_path)
    agrees = difference < TOLERANCE
    print(f"{path}: features {'equal' if agrees else 'DIFFER FROM'} those of {graph_path} run as it is; largest "
          f'difference {difference:.2g} standard deviations')
    return 0 if agrees else 1


if __name__ == '__main__':
    run_main(main)
