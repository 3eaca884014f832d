import html.parser
import json
import os
import re
import shutil

import numpy as np
import PIL.Image
import pytest

import config as folders
from dnnlib import submission
from dnnlib.util import EasyDict, UserError
from experiment import forecast, run_config, watch
from experiment.plan import Plan
from experiment.reports import card, pictures, plots, report, scores


@pytest.fixture
def run_dir(tmp_path):
    """A run directory as a run of 9 kimg leaves it after 4 kimg."""
    path = tmp_path / '00000-demo'
    path.mkdir()
    config, origins = run_config.load('demo', folders.config_dir, [
        'train.total_kimg=9', 'sched.lod_training_kimg=1', 'sched.lod_transition_kimg=1', 'desc=<b>bold</b>',
        'grid.zoom=1'])
    submission.write_submit_config(str(path), dict(config=config), origins)
    submission.records.add_environment_record(str(path))
    (path / 'dataset.json').write_text(json.dumps(dict(
        shape=[3, 32, 32], dtype='uint8', dynamic_range=[0, 255], num_images=5000, label_size=0, fingerprint='x')))
    with open(str(path / 'stats.jsonl'), 'w') as f:
        for tick in range(1, 9):
            lod = [2, 2, 1.5, 1, 1, 1, 0.5, 0][tick - 1]
            f.write(json.dumps({
                'tick': tick, 'kimg': tick / 2, 'nimg': tick * 500, 'lod': lod, 'resolution': 2 ** (5 - int(lod)),
                'minibatch': 16, 'G_lrate': 0.001, 'D_lrate': 0.001, 'total_sec': tick * 10.0, 'sec_per_kimg': 20.0,
                'maintenance_sec': 0.1, 'peak_gpu_mem_gb': 0.0, 'skipped_updates': 0, 'Loss/scores/real': 1.0,
                'Loss/scores/fake': -float(tick), 'Metrics/fid50k': 100.0 + (tick - 6) ** 2}) + '\n')
        f.write('{"tick": 9, "kim')  # torn by a crash
    noise = np.random.RandomState(0)
    for name in ['reals.png', 'fakes000000.png', 'fakes000002.png', 'fakes000010.png']:
        PIL.Image.fromarray(noise.randint(256, size=(5 * 32, 8 * 32, 3)).astype(np.uint8)).save(str(path / name))
    for name in ['network-snapshot-000000.pkl', 'network-snapshot-000003.pkl', 'network-final.pkl']:
        (path / name).write_bytes(b'x' * 1000)
    return str(path)


class Page(html.parser.HTMLParser):
    """Collects tags, attributes and text, and checks that tags are closed in order."""

    def __init__(self, text):
        super().__init__()
        self.stack, self.sources, self.text = [], [], []
        self.feed(text)
        assert self.stack == []

    def handle_starttag(self, tag, attrs):
        self.sources += [value for key, value in attrs if key in ('src', 'href')]
        if tag not in ('meta', 'img', 'input', 'br'):
            self.stack.append(tag)

    def handle_endtag(self, tag):
        assert self.stack.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def test_the_report_of_a_run_of_codes_shows_and_offers_their_images(run_dir):
    """Whose pictures are cut into cells of images, not of codes."""
    path = os.path.join(run_dir, 'dataset.json')
    with open(path) as f:
        record = json.load(f)
    page_of_images = Page(open(report.write_report(run_dir), encoding='utf-8').read())
    shutil.rmtree(os.path.join(run_dir, pictures.CACHE))
    with open(path, 'w') as f:
        json.dump(dict(record, shape=[16, 8, 8], downscale=4, codec_sha256='c0dec'), f)
    config, origins = run_config.load('accel-256', folders.config_dir, ['dataset.tfrecord_dir=any'])
    submission.write_submit_config(run_dir, dict(config=config), origins)
    page = Page(open(report.write_report(run_dir), encoding='utf-8').read())
    pictures_of = [[source for source in found.sources if source.startswith('data:image/jpeg')]
                   for found in (page_of_images, page)]
    assert pictures_of[0] and pictures_of[0] == pictures_of[1]
    visible = ' '.join(page.text)
    assert '8x8, codes of images of 32x32' in visible and 'reproduce generate' in visible


def test_the_report_of_a_codec_offers_to_encode(run_dir, tmp_path):
    config, origins = run_config.load('codec-h4', folders.config_dir, ['dataset.tfrecord_dir=ferns'])
    submission.write_submit_config(run_dir, dict(config=config, data_dir=str(tmp_path / 'data')), origins)
    visible = ' '.join(Page(open(report.write_report(run_dir), encoding='utf-8').read()).text)
    data = str(tmp_path / 'data' / 'ferns')
    assert f'data encode {data}-codes {data} --codec {run_dir} --mirror 1' in visible and 'generate' not in visible


def test_the_report_is_one_file_with_everything_inside(run_dir):
    path = report.write_report(run_dir)
    text = open(path, encoding='utf-8').read()
    page = Page(text)
    assert page.sources
    beside = {source for source in page.sources if not source.startswith('data:image/')}
    assert 'fakes000010.png' in beside and 'network-snapshot-000003.pkl' in beside and 'README.md' not in beside
    assert all(os.path.isfile(os.path.join(run_dir, name)) for name in beside)
    assert not re.search(r'(src|href)\s*=\s*["\']?(https?:)?//|@import|url\(', text)
    visible = ' '.join(page.text)
    for expected in ['4 of 9 kimg', '32x32', 'network-snapshot-000003.pkl', 'abort.txt', './reproduce generate',
                     'sched.lod_training_kimg', '--set', 'fades in', 'packages', 'best fid50k, at 3 kimg', '100',
                     'time left, about', 'running']:
        assert expected in visible, expected
    assert '<b>bold' not in text


def test_pictures_are_in_order_and_reduced_once(run_dir):
    assert [label for label, _ in report.gather(run_dir).pictures] == ['0', '2', '10']
    assert report.gather(run_dir).pictures[0][1].width == 8 * 128     # in the page, which enlarges it
    cached = os.path.join(run_dir, pictures.CACHE, 'fakes000002-128.jpg')
    with PIL.Image.open(cached) as picture:
        assert picture.size == (8 * 32, 5 * 32)
    before = os.stat(cached).st_mtime_ns
    report.gather(run_dir)
    assert os.stat(cached).st_mtime_ns == before


@pytest.mark.parametrize('size,cell,expected', [
    ((1024, 1024), (3, 32, 32), (320, 160)), ((3840, 2048), (3, 256, 256), (1280, 640)),
    ((7168, 4096), (3, 1024, 1024), (1280, 512)), ((700, 300), None, (700, 300)), ((2800, 700), None, (1280, 320)),
    ((64, 32), (3, 32, 32), (64, 32))])
def test_pictures_show_whole_cells(size, cell, expected):
    assert pictures.reduce_picture(PIL.Image.new('RGB', size), cell).size == expected


def test_sheets_with_repeated_pixels_are_shown_with_each_once():
    cells = np.random.RandomState(0).randint(256, size=(64, 96, 3)).astype(np.uint8)
    sheet = PIL.Image.fromarray(cells.repeat(4, axis=0).repeat(4, axis=1))
    assert np.array_equal(np.asarray(pictures.reduce_picture(sheet, (3, 32, 32), 4)), cells)


def test_most_pictures_are_left_out_evenly():
    chosen = pictures.choose(list(range(1000)))
    assert len(chosen) == pictures.MAX_PICTURES
    assert (chosen[0], chosen[-1]) == (0, 999)
    assert max(np.diff(chosen)) - min(np.diff(chosen)) <= 1


def test_a_run_that_has_just_begun_or_is_damaged_still_has_a_report(run_dir):
    with open(os.path.join(run_dir, 'fakes000002.png'), 'wb') as f:
        f.write(b'\x89PNG half')
    os.utime(os.path.join(run_dir, 'fakes000002.png'))
    report.write_report(run_dir)
    for name in os.listdir(run_dir):
        if name not in ('submit_config.json', pictures.CACHE):
            os.unlink(os.path.join(run_dir, name))
    page = Page(open(report.write_report(run_dir), encoding='utf-8').read())
    assert 'Curves' not in ' '.join(page.text)


def merged(record, changes):
    """A copy of nested dicts with some values changed, given by dotted paths; a value of Ellipsis removes the key."""
    record = json.loads(json.dumps(record))
    for path, value in changes.items():
        *above, last = path.split('.')
        inner = record
        for key in above:
            inner = inner[key]
        if value is ...:
            del inner[last]
        else:
            inner[last] = value
    return record


@pytest.mark.parametrize('changes', [
    {'config.train': 5}, {'config.dataset': []}, {'config.train.total_kimg': 'x'}, {'config.train.total_kimg': -1},
    {'config.sched': None}, {'config.num_gpus': 0}, {'config.num_gpus': 'x'}, {'config.G': 'x'}, {'provenance': []},
    {'provenance': {'a': 5}}, {'config': [5]}, {'format': 99}], ids=str)
def test_a_damaged_record_of_the_configuration_is_one_sentence(run_dir, changes):
    path = os.path.join(run_dir, 'submit_config.json')
    with open(path) as file:
        record = json.load(file)
    with open(path, 'w') as file:
        json.dump(merged(record, changes), file)
    with pytest.raises(UserError, match='record'):
        report.write_report(run_dir)


@pytest.mark.parametrize('changes', [
    {'config.train': ...}, {'config.dataset': ...}, {'config.sched': ...}, {'config.G': ...}, {'config.num_gpus': ...},
    {'config.G.func_name': 'os.system'}, {'config.G.func_name': 5}, {'config.D.fmap_max': 'x'},
    {'config.sched.lod_training_kimg': [1]}, {'config.sched.lod_training_kimg': 1e-300},
    {'config.sched.minibatch_dict': 5},
    {'config.train.total_kimg': float('inf')}, {'config.train.total_kimg': 0}, {'config.dataset.class_name': 5},
    {'config.train.func_name': 'os.system'}, {'provenance': {}}, {'config.desc': '\ud800'},
    {'config.grid': 5, 'config.metrics': 5}, {'config.metrics': [5, {}, {'name': [1]}]}], ids=str)
def test_settings_that_make_no_sense_cost_the_plan_only(run_dir, changes, monkeypatch):
    monkeypatch.setattr(plots, 'charts', lambda *args: [])  # they do not depend on the settings
    path = os.path.join(run_dir, 'submit_config.json')
    with open(path) as file:
        record = json.load(file)
    with open(path, 'w') as file:
        json.dump(merged(record, changes), file)
    page = Page(open(report.write_report(run_dir), encoding='utf-8').read())
    assert 'best fid50k, at 3 kimg' in ' '.join(page.text)


ODD_FILES = [b'', b'null', b'[]', b'5', b'\xff', b'[' * 5000, b'{"starts": 5}', b'{"starts": [5]}', b'{"shape": 5}',
             b'{"starts": [{"gpus": [1, true, null, [2], {"x": 3}], "command": 4, "packages": [5]}]}',
             b'{"kimg": 1e400}', b'{"kimg": 1' + b'0' * 400 + b'}', b'{"kimg": "x"}', b'{"kimg": NaN}', b'{"kimg": -5}',
             b'{"kimg": 5, "resolution": [1], "sec_per_kimg": {}, "Metrics/$x$": 1, "Metrics/\\ud800": 2, "lod": "x"}',
             b'{"kimg": 5, "resolution": 0, "sec_per_kimg": 1, "total_sec": -1e30, "lod": true}',
             b'{"kimg": 5, "resolution": 2, "sec_per_kimg": 1e30, "peak_gpu_mem_gb": null}',
             b'{"shape": [3, 0, 32], "num_images": 5, "label_size": 0}',
             b'{"shape": [32], "num_images": 1, "label_size": 0}',
             b'{"shape": [3, 32, 32], "num_images": "5", "label_size": 0}']


@pytest.mark.parametrize('content', ODD_FILES, ids=range(len(ODD_FILES)))
def test_other_damaged_files_are_left_out(run_dir, content):
    for name in ('dataset.json', 'environment.json', 'stats.jsonl', 'run.txt', 'reals.png', 'fakes000002.png'):
        with open(os.path.join(run_dir, name), 'wb') as file:
            file.write(content)
    page = Page(open(report.write_report(run_dir), encoding='utf-8').read())
    assert 'network-snapshot-000003.pkl' in ' '.join(page.text)


def test_what_is_no_regular_file_is_not_waited_for(run_dir):
    for name in ('dataset.json', 'environment.json', 'stats.jsonl', 'run.txt', 'reals.png', 'fakes000002.png'):
        path = os.path.join(run_dir, name)
        if os.path.exists(path):
            os.unlink(path)
        os.mkfifo(path)
    os.symlink('/dev/full', os.path.join(run_dir, 'fakes000003.png'))
    os.symlink('nowhere', os.path.join(run_dir, 'network-snapshot-000009.pkl'))
    with pytest.raises(UserError, match='not a regular file'):
        report.write_report(run_dir)
    os.unlink(os.path.join(run_dir, 'stats.jsonl'))
    report.write_report(run_dir)
    os.unlink(os.path.join(run_dir, 'submit_config.json'))
    os.symlink('/dev/full', os.path.join(run_dir, 'submit_config.json'))
    with pytest.raises(UserError, match='not a regular file'):
        report.write_report(run_dir)


def test_other_folders_are_refused(tmp_path):
    with pytest.raises(UserError, match='not a run directory'):
        report.write_report(str(tmp_path))


def test_status_is_that_of_the_last_start(run_dir):
    run_txt = os.path.join(run_dir, 'run.txt')
    for line, expected in [('started x', 'running'), ('stopped by SIGINT at 3', 'stopped by SIGINT at 3'),
                           ('started y', 'running'), ('failed with ValueError: <x>', 'failed with ValueError: <x>')]:
        with open(run_txt, 'a') as f:
            f.write(line + '\n')
        assert report.gather(run_dir).status == expected
    assert 'failed with ValueError: &lt;x&gt;' in open(report.write_report(run_dir), encoding='utf-8').read()


# ---- Scores, and what is offered

def score(network, value, metric='fid50k', **more):
    record = dict(metric=metric, value=value, standard_error=0.5, network=network, network_sha256='a' * 64, seed=0,
                  settings={'num_images': 50}, is_standin=True, mirror_augment=True, dataset_fingerprint='x')
    return dict(record, **more)


def write_scores(run_dir, *found):
    for number, record in enumerate(found):
        folder = os.path.join(run_dir, 'metrics', f"{record['network']}-{number}")
        os.makedirs(folder)
        with open(os.path.join(folder, f"{record['metric']}.json"), 'w') as f:
            json.dump(record, f)


def visible(run_dir):
    return ' '.join(' '.join(Page(open(report.write_report(run_dir), encoding='utf-8').read()).text).split())


def test_scores_measured_after_training_are_shown_beside_their_networks(run_dir):
    write_scores(run_dir, score('network-snapshot-000000', 90.0), score('network-snapshot-000003', 40.25),
                 score('network-final', 60.0), score('network-final-untrained', 500.0),
                 score('network-final', 1.0, seed=5), score('elsewhere', 3.0),
                 score('network-final', None, 'pr50k', values={'pr50k_precision': 0.5, 'pr50k_recall': 0.25}))
    found = scores.read_scores(run_dir, [dict(kimg=9.0, **{'Metrics/fid50k': 7.0})])
    assert [(item.metric, item.network, item.kimg, item.value) for item in found] == [
        ('fid50k', 'network-final-untrained', 0, 500.0), ('fid50k', 'network-snapshot-000000', 0, 90.0),
        ('fid50k', 'network-snapshot-000003', 3, 40.25), ('fid50k', 'network-final', 9, 60.0),
        ('pr50k_precision', 'network-final', 9, 0.5), ('pr50k_recall', 'network-final', 9, 0.25)]
    assert list(scores.curves_of(found)) == ['fid50k']
    text = visible(run_dir)
    for words in ('network-snapshot-000003.pkl 0.0 MB 40.25 ± 0.5', 'before training 500 ± 0.5',
                  'Scores with stand-in networks say nothing'):
        assert words in text, words
    assert 'best fid50k, at 3 kimg 40.25' in text


def test_full_scores_go_before_quick_looks(run_dir):
    write_scores(run_dir, score('network-snapshot-000000', 9.0, is_reduced=True, settings={'num_images': 5}),
                 score('network-snapshot-000003', 8.0, is_reduced=True, settings={'num_images': 5}),
                 score('network-snapshot-000003', 7.0, is_reduced=False))
    assert [item.value for item in scores.read_scores(run_dir, [])] == [7.0]


def end(run_dir, line, finished):
    with open(os.path.join(run_dir, 'run.txt'), 'a') as f:
        f.write(line + '\n')
    if finished:
        open(os.path.join(run_dir, '_finished.txt'), 'w').close()


def test_nothing_is_offered_that_would_be_refused(run_dir):
    text = visible(run_dir)
    assert 'abort.txt' in text and '--resume' not in text
    end(run_dir, 'stopped by SIGINT at 3', False)
    text = visible(run_dir)
    assert 'Begin this run anew' in text and f'train --resume {run_dir}' in text and 'abort.txt' not in text
    os.makedirs(os.path.join(run_dir, 'checkpoints'))
    open(os.path.join(run_dir, 'checkpoints', 'checkpoint-000000000160.ckpt'), 'w').close()
    assert 'Continue this run from its newest checkpoint' in visible(run_dir)
    end(run_dir, 'finished at 4', True)
    text = visible(run_dir)
    assert 'Continue' not in text and 'train.total_kimg=18' in text and 'shell tensorboard' not in text
    for name in os.listdir(run_dir):
        if name.endswith('.pkl'):
            os.unlink(os.path.join(run_dir, name))
    text = visible(run_dir)
    assert 'generate --network' not in text and 'metrics fid50k' not in text


def test_a_classifiers_page_tells_its_accuracy_and_offers_what_it_can(run_dir):
    path = os.path.join(run_dir, 'submit_config.json')
    with open(path) as file:
        record = json.load(file)
    with open(path, 'w') as file:
        json.dump(merged(record, {'config.train': dict(
            func_name='metrics.classifier_training.train_classifier', total_kimg=150)}), file)
    for name in os.listdir(run_dir):
        if name.endswith(('.pkl', '.jsonl')):
            os.unlink(os.path.join(run_dir, name))
    text = visible(run_dir)
    assert 'length 150 kimg' in text and '0 of 150' not in text
    with open(os.path.join(run_dir, 'classifier-smiling.json'), 'w') as file:
        json.dump(dict(accuracy=0.912, majority=0.55, attribute='smiling', network='classifier-smiling.pkl',
                       total_kimg=150), file)
    with open(os.path.join(run_dir, 'classifier-smiling.pkl'), 'wb') as file:
        file.write(bytes(2000000))
    end(run_dir, 'finished at 5', True)
    text = visible(run_dir)
    assert 'accuracy on images held out 91.2 %' in text and 'trained for 150 kimg' in text
    assert 'classifier-smiling.pkl 2.0 MB' in text
    assert card.write_card(run_dir) is None       # the card is that of a generator
    for word in ('generate', '--resume', './reproduce metrics', 'total_kimg=300'):
        assert word not in text, word


# ---- Curves

def test_curves_without_news_are_left_out():
    stats = [dict(kimg=k, lod=0.0, peak_gpu_mem_gb=0.0, skipped_updates=k) for k in (1, 2)]
    titles = [title for title, _ in plots.charts(stats, [])]
    assert titles == ['Level of detail', 'Updates skipped for NaN or Inf']
    assert plots.charts([], []) == []
    assert plots.charts(stats[:1], []) == []     # one dot is not a chart
    assert [title for title, _ in plots.charts([], [], {'fid50k': ([0, 1], [9, 8])})] == ['fid50k']


def test_long_curves_are_thinned_and_keep_their_ends():
    stats = [dict(kimg=float(k), lod=float(k)) for k in range(5000)]
    xs, ys = plots.series(stats, ['missing', 'lod'])
    assert len(xs) <= plots.MAX_POINTS + 1
    assert (xs[0], xs[-1], ys[-1]) == (0.0, 4999.0, 4999.0)


# ---- Time left

def demo_plan():
    config, _ = run_config.load('demo', folders.config_dir, ['train.total_kimg=10', 'sched.lod_training_kimg=2',
                                                             'sched.lod_transition_kimg=2', 'sched.tick_kimg_base=1'])
    return Plan(config, EasyDict(shape=[3, 32, 32], resolution_log2=5, label_size=0))


def test_time_left_scales_with_the_cost_of_resolutions():
    phases, sizes = demo_plan().phases, demo_plan().sizes
    assert forecast.remaining_seconds(phases, sizes, 8.0, {8: 1.0, 16: 2.0, 32: 7.0}) == pytest.approx(14.0)
    measured = forecast.remaining_seconds(phases, sizes, 0.0, {8: 1.0, 16: 2.0, 32: 7.0})
    assert measured == pytest.approx(2 * 1 + 4 * 2 + 4 * 7)
    scaled = forecast.remaining_seconds(phases, sizes, 0.0, {8: 1.0})
    ratio = forecast.relative_cost(sizes, 32) / forecast.relative_cost(sizes, 8)
    assert scaled > 2 + 4 + 4 * ratio * 0.9
    assert forecast.remaining_seconds(phases, sizes, 0.0, {}) is None


def test_time_left_names_the_end_the_next_resolution_and_the_next_snapshot():
    plan = demo_plan()
    plan.config.train.network_snapshot_ticks = 4
    tick = dict(tick=1, kimg=1.0, resolution=8, sec_per_kimg=60.0)
    assert watch.time_left([dict(tick, kimg=10.0)], plan) is None
    sizes, plan.sizes = plan.sizes, None
    assert watch.time_left([tick], plan) == (
        'left: about 9m 00s to the end, 1m 00s to 16x16, 3m 00s to the next network snapshot')
    plan.sizes, plan.config.train.network_snapshot_ticks = sizes, 0
    assert 'snapshot' not in watch.time_left([tick], plan)


@pytest.mark.parametrize('name, shape', [
    ('minimal-gan', [2]), ('gan2014-digits', [1, 8, 8]), ('dcgan-toyfaces', [3, 64, 64])])
def test_time_left_is_told_for_points_and_small_pictures_too(name, shape):
    config, _ = run_config.load(name, folders.config_dir, ['train.total_kimg=10', 'sched.tick_kimg_base=1'])
    resolution = shape[-1] if len(shape) == 3 else 1
    plan = Plan(config, EasyDict(shape=shape, resolution_log2=resolution.bit_length() - 1, label_size=0))
    tick = dict(tick=1, kimg=1.0, resolution=resolution, sec_per_kimg=60.0)
    assert watch.time_left([tick], plan).startswith('left: about 9m 00s to the end')
    assert watch.time_left([dict(tick, resolution=0)], plan) is None  # a record that makes no sense


def test_the_watch_reports_new_snapshots_only_and_survives_failures(run_dir, capsys, monkeypatch):
    listener = watch.Watch(run_dir, demo_plan())
    path = os.path.join(run_dir, 'report.html')
    listener()
    os.unlink(path)
    listener()
    assert not os.path.exists(path)
    with open(os.path.join(run_dir, 'network-snapshot-000004.pkl'), 'wb'):
        pass
    listener()
    assert os.path.exists(path)

    def fail(run_dir):
        raise ZeroDivisionError('no')
    monkeypatch.setattr(report, 'gather', fail)
    os.unlink(os.path.join(run_dir, 'network-snapshot-000004.pkl'))
    listener()
    assert 'warning: report.html could not be written: ZeroDivisionError: no' in capsys.readouterr().out
