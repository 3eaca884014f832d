"""Studies of several runs: configurations that differ in one thing, and a share of a data set."""

import numpy as np
import PIL.Image
import pytest
from metric_helpers import make_faces

import config
import generate_figures
from data.records.dataset import load_dataset
from dnnlib.files import read_json
from dnnlib.util import UserError
from experiment import run_config
from experiment.studies import paper_demo, unwarping
from experiment.studies.runs import Trainer, Wanted
from metrics.tables import definition

STUDY = 'configs/studies/amount-of-data.yaml'


@pytest.mark.both
@pytest.mark.parametrize('name', ['celeba', 'casia', 'toyfaces'])
def test_runs_of_a_study_differ_in_the_share_only(name, monkeypatch):
    from conftest import ROOT
    monkeypatch.chdir(ROOT)
    configs = [run_config.load(f'{STUDY}:{name}-{percent}', config.config_dir)[0] for percent in (10, 25, 50, 100)]
    assert [one.dataset.pop('share') for one in configs] == [0.1, 0.25, 0.5, 1]
    assert [one.pop('desc') for one in configs] == [f'{name}-{percent}' for percent in (10, 25, 50, 100)]
    assert all(one == configs[0] and one.seed == 1000 for one in configs)


def test_a_share_is_a_fixed_choice_that_smaller_ones_are_part_of(tmp_path):
    path = make_faces(tmp_path)

    def read(share, **kwargs):
        with load_dataset(tfrecord_dir=path, share=share, max_label_size='full', prefetch_mb=0, **kwargs) as data:
            images, labels = data.get_samples_np(np.arange(data.num_images))
            smaller, _ = data.get_samples_np(np.arange(data.num_images), lod=1)
            return [image.tobytes() for image in images], labels, data.fingerprint, smaller
    whole, labels, fingerprint, _ = read(1)
    half, half_labels, half_fingerprint, smaller = read(0.5)
    tenth, _, _, _ = read(0.1, seed=3)
    assert len(whole) == 80 and len(half) == 40 and len(tenth) == 8
    assert set(tenth) < set(half) < set(whole)
    places = [whole.index(image) for image in half]
    np.testing.assert_array_equal(half_labels, labels[places])
    assert half_fingerprint not in (fingerprint, read(0.25)[2]) and half_fingerprint.startswith(fingerprint)
    assert len(smaller) == 40 and smaller.shape[2] == 16
    for share in (0, 1.5, True, 0.001):
        with pytest.raises(UserError, match='dataset.share is '):
            read(share)


# ---- Unwarping

@pytest.mark.both
def test_the_missing_combination_is_missing_and_maps_are_told_by_their_straightness():
    rng = np.random.RandomState(0)
    points = unwarping.draw_data(1000, rng)
    assert points.shape == (1000, 2) and unwarping.missing_share(points) == 0 and np.abs(points).max() <= 1
    assert unwarping.missing_share(np.ones([4, 2])) == 1
    latents = unwarping.draw_latents(1000, rng)
    assert np.linalg.norm(latents, axis=1).max() <= 1
    assert unwarping.linearity(latents, latents @ np.array([[2.0, 1.0], [0.0, 3.0]]) + 5) == pytest.approx(1)
    assert unwarping.linearity(latents, latents ** 2) < 0.1


def test_the_experiment_writes_its_picture_and_its_numbers(tmp_path):
    words = ['unwarping', '--steps', '20', '--mapping-layers', '2', '--outdir', str(tmp_path)]
    generate_figures.main(words)
    facts = read_json(str(tmp_path / 'unwarping.json'))
    assert 0 < facts['linearity_w'] <= 1 and facts['steps'] == 20
    with PIL.Image.open(str(tmp_path / 'unwarping.png')) as picture:
        assert picture.size[0] > 2 * picture.size[1]
    generate_figures.main(words)
    assert read_json(str(tmp_path / 'unwarping.json')) == facts


# ---- The order of rows

@pytest.mark.both
def test_orders_of_rows_are_compared_pair_by_pair():
    table, papers = (definition.load_table(name, config.config_dir) for name in ('paper-demo', 'stylegan-4'))
    assert table.rows == papers.rows and list(table.columns) == list(papers.columns)
    values = {'fid': dict(zip(papers.rows, (9, 8, 8, 7, 6, 5, 4)))}    # the paper's order, but one network has two rows
    cells = []
    for cell in table.cells:
        value = values.get(cell.column, {}).get(table.rows[cell.row])
        cells.append(dict(row=table.rows[cell.row], column=table.columns[cell.column], network=cell.network,
                          value_name=cell.value, value=value, standard_error=0.6))
    order, = paper_demo.compare_orders(table, papers, cells)
    assert (order.column, len(order.rows)) == ('FID', 6) and order.agreeing + order.differing + order.undecided == 15
    assert order.undecided == 5 and order.rows[0][:2] == ('F: style-based, 8 layers, W', 4.40)
    # 8 against 7 is one pair that the paper has the other way round, and too close here.
    assert order.differing == 0 and order.tau == pytest.approx(13 / 15)
    text = paper_demo.describe_orders([order], 20)
    assert 'Of 15 pairs 10 are ordered as in the paper, 0 the other way round' in text


def test_the_demo_trains_each_network_of_its_table(capsys):
    paper_demo.main(['--dry-run', '--data-dir', 'somewhere'])
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition('--config ')[2].split()[0] for line in lines] == [
        'demo-traditional-0', 'demo-traditional-8', 'demo-style-0', 'demo-style-1', 'demo-style-2', 'demo-style-8']
    table = definition.load_table('paper-demo', config.config_dir)
    runs = paper_demo.plan(table)
    for run in runs:
        assert run.config.train.total_kimg == 20 and run.config.sched.lod_transition_kimg == 2
    # FID is that of training.
    assert [paper_demo.measure_command(table, run, 'dir')[1] for run in runs] == [
        'ppl_zfull,ppl_zend,ls', 'ppl_zfull,ppl_zend,ls,ppl_wfull,ppl_wend', 'ppl_zfull,ppl_zend,ls',
        'ppl_wfull,ppl_wend,ls', 'ppl_wfull,ppl_wend,ls', 'ppl_wfull,ppl_wend,ls']


def test_a_table_with_an_empty_cell_is_compared_and_a_failure_is_told(monkeypatch, capsys):
    statuses = [0, 1, 2]
    monkeypatch.setattr(paper_demo.subprocess, 'call', lambda words: statuses.pop(0))
    paper_demo.run_metrics('table', 'paper-demo')
    paper_demo.run_metrics('table', 'paper-demo')   # a cell stayed empty
    with pytest.raises(UserError, match='ended with status 2'):
        paper_demo.run_metrics('table', 'paper-demo')
    assert capsys.readouterr().out.count('$ ./reproduce metrics table paper-demo') == 3


def test_what_follows_a_run_is_done_once_it_is_trained_and_only_then(tmp_path, monkeypatch):
    calls = []
    found = iter([('run', False), ('run', True), ('run', True)])
    monkeypatch.setattr(run_config, 'find_run', lambda folder, wanted: next(found))
    monkeypatch.setattr(Trainer, '_call', lambda self, words: calls.append(words) or (0, ''))
    trainer = Trainer('data', str(tmp_path), after=lambda run, run_dir: ['measure.py', run.title, run_dir])
    for _ in range(2):  # the second time, it is finished already
        assert trainer.train_all([Wanted('demo', 'demo')]) == ['run']
    assert calls == [['train.py', '--resume', 'run'], ['measure.py', 'demo', 'run']]


@pytest.mark.both
def test_scripts_that_runs_need_are_processes_that_are_waited_for(tmp_path):
    assert Trainer(str(tmp_path), str(tmp_path))._call(['check_python.py']) == (0, '')
    status, output = Trainer(str(tmp_path), str(tmp_path))._call(['absent.py'])
    assert status == 2 and 'absent.py' in output
