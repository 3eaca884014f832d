"""Does a generator repeat the persons of its training data? (Re-Training paper, section V)

Distances of generated to training faces, and of generated faces among each other, beside those of same and of different
persons in the data, by an embedding network that tells persons apart.
"""

import csv
import hashlib
import io
import json
import os
import textwrap
from collections import OrderedDict

import numpy as np

from data.records.dataset import in_file_order, load_dataset
from dnnlib.files import atomic_write, check_writable, make_folders, recall_json, write_json
from dnnlib.progress import Progress
from dnnlib.submission.run_dir import run_id_of
from dnnlib.util import UserError
from experiment.reports.plots import COLORS
from metrics import arithmetic
from metrics.context import open_context
from metrics.networks.choice import is_toyfaces
from metrics.networks.embedding import open_embedding
from metrics.scores import records

NUM_PAIRS = 100000      # of each kind, at most
FALSE_RATE = 0.001      # of different persons taken for the same, at which the threshold is set
BINS = 80
_CHUNK = 64
_TITLE_CHARACTERS = 60  # that fit above a panel
_KINDS = OrderedDict([
    ('same_persons', 'training: same person'), ('different_persons', 'training: different persons'),
    ('training_nearest', 'training: nearest picture of another person'),
    ('generated_pairs', 'generated: pairs'), ('generated_nearest', 'generated: nearest other generated'),
    ('generated_to_training', 'generated to training: pairs'),
    ('generated_to_nearest', 'generated: nearest training picture')])


def measure(network, out_dir, num_images=5000, embedding=None, value_range=(-1.0, 1.0), dataset_args=None, **options):
    """Embeds generated and training faces, and writes `identity.json`, `.csv` and `.png`. Returns the record.

    Args:
        network: as `metrics.context.open_context` takes it; options: of this.
        num_images: generated faces, and training faces, each at most.
        embedding, value_range: see `metrics.networks.embedding.open_embedding`.
        dataset_args: `load_dataset` keywords, or None: those of the run.

    Raises UserError.
    """
    check_writable(out_dir, 'choose another one with --out')
    with open_context(network, dataset_args=dataset_args, **options) as ctx:
        if not ctx.makes_images:
            raise UserError('the generator makes no images')
        arguments = dict(in_file_order(ctx.dataset_arguments), max_label_size='full')
        arguments.setdefault('resolution', max(ctx.output_shape))
        with load_dataset(**arguments) as data:
            embed = open_embedding(embedding, value_range, is_toyfaces(arguments))
            if list(data.shape) != ctx.output_shape:
                raise UserError(f'the generator makes images of {ctx.output_shape}, the data set holds {data.shape}')
            rng = np.random.RandomState(ctx.seed)
            chosen = np.sort(rng.permutation(data.num_images)[:num_images])
            reals, persons = _embed_reals(data, chosen, embed)
            fakes = _embed_fakes(ctx, num_images, embed)
            distances = compare(reals, persons, fakes, rng)
            record = OrderedDict(kind='identity', values=summarize(distances), **ctx.facts())
            record.update(dataset_fingerprint=data.fingerprint, dataset_images=data.num_images,
                          num_persons=None if persons is None else len(np.unique(persons)), embedding=embed.record,
                          is_standin=embed.record['is_standin'], num_samples=num_images, num_reals=len(chosen),
                          seed=ctx.seed, distance='one minus the cosine', time=records.now(), **records.environment())
    make_folders(out_dir)
    paths = _paths_for(records.plain(record), out_dir)
    write_json(paths[0], records.plain(record), allow_nan=False)
    with atomic_write(paths[1], 'w') as file:
        file.write(to_csv(distances))
    with atomic_write(paths[2]) as file:
        file.write(draw(distances, record))
    print('\n'.join(describe(record)) + '\nWritten: ' + ', '.join(paths), flush=True)
    return record


def _paths_for(record, out_dir):
    """Where record, table and picture go. Those of another network or protocol keep their place, unless this one is of
    more faces."""
    def paths(word=''):
        return [os.path.join(out_dir, f'identity{word}{suffix}') for suffix in ('.json', '.csv', '.png')]

    def word_of(found):
        facts = [found.get(key) for key in ('network_sha256', 'labels', 'labels_sha256', 'dataset_fingerprint', 'seed',
                                            'num_samples', 'num_reals')]
        facts.append((found.get('embedding') or {}).get('file_sha256'))
        return '-' + hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:8]

    plain, word = paths(), word_of(record)
    if not os.path.lexists(plain[0]):
        return plain
    other = recall_json(plain[0]) or {}
    if word_of(other) == word:
        return plain
    if (other.get('num_samples') or 0) < record['num_samples'] and other.get('network_sha256') == \
            record['network_sha256']:
        for before, after in zip(plain, paths(word_of(other))):
            if os.path.lexists(before):
                os.replace(before, after)
        return plain
    print(f'{plain[0]} is of another network or protocol, and stays', flush=True)
    return paths(word)


# ---- Embedding

def _embed_reals(data, chosen, embed):
    """(vectors [N, D], persons int [N] or None) of training faces."""
    vectors, labels = [], []
    with Progress('embed training faces', len(chosen), 'images') as progress:
        for start in range(0, len(chosen), _CHUNK):
            images, part = data.get_samples_np(chosen[start:start + _CHUNK])
            vectors.append(embed(images))
            labels.append(part)
            progress.add(len(images))
    return np.concatenate(vectors), persons_of(np.concatenate(labels))


def persons_of(labels):
    """Numbers of the persons int [N] that labels [N, C] tell: one component is 1, the others 0; None for others."""
    is_class = labels.shape[1] > 1 and np.all((labels == 0) | (labels == 1)) and np.all(labels.sum(axis=1) == 1)
    if not is_class:
        return None
    return labels.argmax(axis=1)


def _embed_fakes(ctx, num_images, embed):
    from dnnlib import tflib

    def build(index, holders):
        return [tflib.convert_images_to_uint8(ctx.build_images(index, holders))]

    chunks = ctx.run_chunks('generate faces', num_images, _CHUNK, ctx.placeholders(_CHUNK), build,
                            lambda chunk: ctx.feed_inputs(chunk, _CHUNK))
    return np.concatenate([embed(images[:count]) for _, _, count, (images,) in chunks])


# ---- Arithmetic

def compare(reals, persons, fakes, rng):
    """OrderedDict kind of pair (see `_KINDS`) -> distances [M], of vectors of length 1.

    Args:
        reals, fakes: [N, D].
        persons: whom each real shows, int [N]; None: not known, then kinds that need it are left out.
    """
    found = OrderedDict()
    if persons is not None:
        first, second = same_pairs(persons, rng)
        found['same_persons'] = _between(reals[first], reals[second])
        first, second = _random_pairs(len(reals), rng)
        differ = persons[first] != persons[second]
        found['different_persons'] = _between(reals[first[differ]], reals[second[differ]])
        found['training_nearest'] = nearest(reals, reals, lambda rows: persons[rows][:, np.newaxis] == persons)
    first, second = _random_pairs(len(fakes), rng)
    found['generated_pairs'] = _between(fakes[first], fakes[second])
    found['generated_nearest'] = nearest(fakes, fakes, lambda rows: rows[:, np.newaxis] == np.arange(len(fakes)))
    count = min(NUM_PAIRS, len(fakes) * len(reals))
    found['generated_to_training'] = _between(fakes[rng.randint(len(fakes), size=count)],
                                              reals[rng.randint(len(reals), size=count)])
    found['generated_to_nearest'] = nearest(fakes, reals)
    return OrderedDict((kind, found[kind]) for kind in _KINDS if kind in found and len(found[kind]))


def _between(a, b):
    return 1.0 - np.sum(a * b, axis=1)


def _random_pairs(count, rng):
    first = rng.randint(count, size=min(NUM_PAIRS, count * count))
    return first, (first + rng.randint(1, max(count, 2), size=len(first))) % count


def same_pairs(persons, rng):
    """(first [M], second [M]): numbers of two pictures of one person each, all such pairs or a random sample."""
    order = np.argsort(persons, kind='stable')
    pairs = [(a, b) for group in np.split(order, np.flatnonzero(np.diff(persons[order])) + 1)
             for number, a in enumerate(group[:50]) for b in group[number + 1:50]]
    pairs = np.array(pairs, np.int64).reshape([-1, 2])
    if len(pairs) > NUM_PAIRS:
        pairs = pairs[np.sort(rng.permutation(len(pairs))[:NUM_PAIRS])]
    return pairs[:, 0], pairs[:, 1]


def nearest(vectors, others, excluded=None):
    """Distance of each vector [N, D] to the nearest of the others [M, D]: [N].

    `excluded`: function from numbers of vectors [n] to a mask [n, M] of what does not count for them.
    """
    found = np.empty([len(vectors)])
    for start in range(0, len(vectors), 256):
        rows = np.arange(start, min(start + 256, len(vectors)))
        distances = 1.0 - vectors[rows] @ others.T
        if excluded is not None:
            distances[excluded(rows)] = np.inf
        found[rows] = distances.min(axis=1)
    return found[np.isfinite(found)]


def summarize(distances):
    """The numbers of the record: medians of each kind, and where persons are known how well they are told apart."""
    values = OrderedDict((f'{kind}_median', float(np.median(found))) for kind, found in distances.items())
    if 'same_persons' not in distances:
        return values
    curve = arithmetic.roc(distances['same_persons'], distances['different_persons'])
    threshold = float(np.quantile(distances['different_persons'], FALSE_RATE))
    values.update(auc=curve['auc'], equal_error_rate=curve['equal_error_rate'], threshold=threshold)
    values['same_persons_recognised'] = float(np.mean(distances['same_persons'] <= threshold))
    for kind in ('training_nearest', 'generated_pairs', 'generated_nearest', 'generated_to_training',
                 'generated_to_nearest'):
        if kind in distances:
            values[f'{kind}_below_threshold'] = float(np.mean(distances[kind] <= threshold))
    return values


# ---- Words, table and picture

def describe(record):
    """What the numbers say, as lines."""
    values, embedding = record['values'], record['embedding']
    lines = [f"{record['network']}: {record['num_samples']} generated faces, {record['num_reals']} training faces; "
             f"{embedding['name']} ({embedding['file']}, {embedding['file_sha256'][:12]})"]
    if 'auc' not in values:
        lines.append('The labels of the data set do not say who is who, so that there is nothing to compare distances '
                     'with')
    else:
        lines.append(f"Same against different persons: area under the ROC curve {values['auc']:.4f}, equal error rate "
                     f"{100 * values['equal_error_rate']:.2f} %")
        lines.append(f"At distance {values['threshold']:.4f}, which {100 * FALSE_RATE:g} % of pairs of different "
                     f"persons come below, are {100 * values['same_persons_recognised']:.1f} % of the pairs of same "
                     f"persons, {100 * values['generated_pairs_below_threshold']:.2f} % of pairs of generated faces, "
                     f"and {100 * values['generated_to_nearest_below_threshold']:.1f} % of generated faces and their "
                     'nearest training face; of training faces, '
                     f"{100 * values['training_nearest_below_threshold']:.1f} % have such a near one of another person")
    if embedding['is_standin']:
        lines.append('Stand-in network: its distances compare drawn faces with each other and say nothing about '
                     'photographs')
    return lines


def to_csv(distances):
    """Histograms of all kinds: share of the pairs in each of equal steps of distance."""
    edges = _edges(distances)
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator='\n')
    writer.writerow(['from', 'to'] + list(distances))
    shares = [np.histogram(np.clip(found, edges[0], edges[-1]), edges)[0] / len(found) for found in distances.values()]
    for number, row in enumerate(zip(*shares)):
        writer.writerow([f'{edges[number]:.6g}', f'{edges[number + 1]:.6g}'] + [f'{share:.6g}' for share in row])
    return buffer.getvalue()


def _edges(distances):
    return np.linspace(0, max(float(np.quantile(found, 0.999)) for found in distances.values()) + 1e-6, BINS + 1)


def _title(record):
    run = os.path.basename(os.path.dirname(record.get('network_file') or ''))
    name = f"{run}, {record['network']}" if run_id_of(run) is not None else record['network']
    text = f"pairs of pictures; {name}" + (', stand-in embedding' if record['is_standin'] else '')
    return '\n'.join(textwrap.wrap(text, _TITLE_CHARACTERS, break_on_hyphens=False))


def draw(distances, record):
    """Histograms, and the ROC curve where persons are known: bytes of a PNG."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    with matplotlib.rc_context({'font.size': 10, 'axes.spines.top': False, 'axes.spines.right': False}):
        has_curve = 'same_persons' in distances
        figure = Figure(figsize=(16 if has_curve else 11, 4.6), dpi=100)
        FigureCanvasAgg(figure)
        panels = figure.subplots(1, 3 if has_curve else 2)
        edges = _edges(distances)
        colors = dict(zip(_KINDS, COLORS + ['#555555']))
        for axes, is_nearest in zip(panels, (False, True)):
            for kind in distances:
                if kind.endswith('nearest') == is_nearest:
                    shares, _ = np.histogram(np.clip(distances[kind], edges[0], edges[-1]), edges, density=True)
                    axes.plot(edges, np.append(shares, shares[-1]), drawstyle='steps-post', linewidth=1.7,
                              color=colors[kind], label=_KINDS[kind])
            if has_curve:
                axes.axvline(record['values']['threshold'], color='#888888', linewidth=1, linestyle='--',
                             label=f'{100 * FALSE_RATE:g} % of different persons are nearer')
            axes.set_xlabel('distance (one minus the cosine)')
            axes.set_ylabel('density')
            axes.set_ylim(0, 1.45 * axes.get_ylim()[1])     # the legend stands above the curves
            axes.set_title('nearest pictures' if is_nearest else _title(record), loc='left', fontsize=10)
            axes.legend(fontsize=9, frameon=False, loc='upper left')
        if has_curve:
            curve = arithmetic.roc(distances['same_persons'], distances['different_persons'])
            axes = panels[2]
            axes.plot(np.maximum(curve['false_rate'], 1e-5), curve['true_rate'], color=COLORS[0], linewidth=1.7)
            axes.set_xscale('log')
            axes.set_xlim(1e-4, 1)
            axes.set_ylim(0, 1.01)
            axes.set_xlabel('different persons taken for the same')
            axes.set_ylabel('same persons recognised')
            axes.set_title(f"same or different person: area {curve['auc']:.4f}", loc='left', fontsize=10)
            axes.grid(True, color='#dddddd', linewidth=0.6)
        figure.tight_layout()
        buffer = io.BytesIO()
        figure.savefig(buffer, format='png', metadata={'Software': None})
    return buffer.getvalue()
