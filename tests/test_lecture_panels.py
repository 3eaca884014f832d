"""`generate_figures.py lecture`: which runs it makes, what it does with finished ones, and what it draws."""

import json
import os
import shlex

import numpy as np
import PIL.Image
import pytest

import generate_figures
from data.commands import main as dataset_tool
from dnnlib.submission import write_submit_config
from dnnlib.util import UserError
from experiment.lecture import panels as lecture
from figures import panels


def parse(*words):
    return lecture.parse_args(list(words))


def test_fifteen_runs_of_20000_minibatches_are_planned():
    args = parse()
    plan = lecture.plan(args)
    assert [(p.name, p.size) for p in plan[:4]] == [('gaussians-8', 2), ('gaussians-8', 8), ('gaussians-8', 32),
                                                   ('ring', 2)]
    assert len(plan) == 15 and len({p.config.desc for p in plan}) == 15
    for panel in plan:
        config = panel.config
        assert config.G.latent_size == panel.size and config.dataset.tfrecord_dir == panel.name
        assert config.train.total_kimg * 1000 / config.sched.minibatch_base == 20000
        assert config.train.step_order == 'alternate' and config.seed == 1000
        assert config.metrics == ['jsd', 'mode_coverage']
    assert [panel.is_animated for panel in plan].index(True) == 1
    assert plan[1].config.sched.tick_kimg_base == 4 and plan[0].config.sched.tick_kimg_base == 200


def finished_run(folder, number, panel, near=0.5, modes=9):
    """A run directory as train.py would leave it, with made-up scores."""
    path = folder / f'{number:05d}-{panel.config.desc}'
    (path / 'metrics' / 'network-snapshot-000002').mkdir(parents=True)
    write_submit_config(str(path), dict(config=panel.config), {})
    (path / 'network-final.pkl').write_bytes(b'')
    for kimg in (0, 1, 2):
        PIL.Image.fromarray(np.full([384, 384, 3], 80 * kimg, np.uint8)).save(str(path / f'fakes{kimg:06d}.png'))
    values = dict(jsd=dict(metric='jsd', values={'jsd': 0.25, 'jsd_floor': 0.003, 'jsd_D': 0.26}),
                  mode_coverage=dict(metric='mode_coverage', details={'num_modes': 16}, values={
                      'mode_coverage_modes': modes, 'mode_coverage_near': near}))
    for name, record in values.items():
        (path / 'metrics' / 'network-snapshot-000002' / f'{name}.json').write_text(json.dumps(record))
    return path


def test_finished_runs_are_drawn_and_not_trained_again(tmp_path, capsys):
    words = ['--distributions', 'ring,moons', '--sizes', '2,8', '--minibatches', '200', '--animate', 'moons-8',
             '--data-dir', str(tmp_path / 'data'), '--outdir', str(tmp_path / 'out')]
    for name in ('ring', 'moons'):
        dataset_tool(['create_points', str(tmp_path / 'data' / name), '--distribution', name, '--num', '50'])
    args = parse(*words)
    plan = lecture.plan(args)
    for number, panel in enumerate(plan):
        finished_run(tmp_path / 'out', number, panel)
    generate_figures.main(['lecture'] + words)
    printed = capsys.readouterr().out
    assert printed.count('already done') == 4
    sheet = PIL.Image.open(str(tmp_path / 'out' / 'sheet.png'))
    assert sheet.size[0] == panels.ROW_TITLE + 2 * (panels.PANEL + panels.GAP)
    pixels = np.asarray(sheet)
    assert (pixels[200, panels.ROW_TITLE + 50] == 160).all()  # the last picture of a run
    below = pixels[panels.TITLE_SIZE + 2 * panels.GAP + panels.PANEL + 3:][:panels.LINE, panels.ROW_TITLE:]
    assert (below < 100).any()  # words
    with PIL.Image.open(str(tmp_path / 'out' / 'moons-z8.gif')) as animation:
        assert animation.n_frames == 3 and animation.size[0] == 384
    page = (tmp_path / 'out' / 'index.html').read_text(encoding='utf-8')
    assert 'sheet.png' in page and 'moons-z8.gif' in page
    record = json.loads((tmp_path / 'out' / 'lecture.json').read_text())
    assert record['runs'][0] == dict(distribution='ring', latent_size=2, seed=1000, run='00000-ring-z2',
                                     num_modes=16, jsd=0.25, jsd_floor=0.003, jsd_D=0.26,
                                     mode_coverage_modes=9, mode_coverage_near=0.5)
    assert lecture.caption(str(tmp_path / 'out' / '00000-ring-z2')) == [
        'JSD 0.250 (reals: 0.003); by D 0.260', 'pieces 9 of 16; near 0.50']


def test_runs_of_several_seeds_are_counted(tmp_path, capsys):
    words = ['--distributions', 'ring', '--sizes', '2', '--seeds', '7', '--minibatches', '200', '--seed', '5',
             '--data-dir', str(tmp_path / 'data'), '--outdir', str(tmp_path / 'out')]
    dataset_tool(['create_points', str(tmp_path / 'data' / 'ring'), '--distribution', 'ring', '--num', '50'])
    plan = lecture.plan(parse(*words))
    assert [panel.config.seed for panel in plan] == list(range(5, 12))
    assert not any(panel.is_animated for panel in plan)
    for number, panel in enumerate(plan):  # one misses a part, one has too many points between them
        finished_run(tmp_path / 'out', number, panel, 0.69 if number == 3 else 0.7, 15 if number == 6 else 16)
    lecture.main(words)
    assert 'ring, z of 2: 5 of 7 runs' in capsys.readouterr().out
    record = json.loads((tmp_path / 'out' / 'lecture.json').read_text())
    assert record['counts'] == [dict(distribution='ring', latent_size=2, runs=7, good=5)]
    assert [run['seed'] for run in record['runs']] == list(range(5, 12))
    sheet = PIL.Image.open(str(tmp_path / 'out' / 'sheet.png'))
    assert sheet.size[0] == panels.ROW_TITLE + 5 * (panels.PANEL + panels.GAP)      # five in a row
    assert np.asarray(sheet)[-200, panels.ROW_TITLE + panels.PANEL + panels.GAP + 50].tolist() == [160] * 3   # the last
    assert (np.asarray(sheet)[-200, -50] == 255).all()                              # and nothing


def test_mistakes_are_named(tmp_path, capsys, monkeypatch):
    dataset_tool(['create_points', str(tmp_path / 'ring'), '--distribution', 'moons', '--num', '50'])
    with pytest.raises(UserError, match='something else than points of ring'):
        lecture.make_data(parse('--distributions', 'ring', '--data-dir', str(tmp_path)))
    for words, problem in ((['--distributions', 'cube'], "no distribution 'cube'"), (['--sizes', '2,x'], "'x' is not"),
                           (['--minibatches', '0'], "'0' is not a number of at least 1"),
                           (['--seed', '-1'], "'-1' is not a whole number"), (['--seeds', '0'], "'0' is not a number"),
                           (['--seed', '2147483647', '--seeds', '2'], 'the last seed would be 2147483648'),
                           (['--animate', 'ring-7'], "no 'ring-7' on the sheet; choose gaussians-8-2"),
                           (['--distributions', 'ring', '--animate', 'moons-8'], 'choose ring-2, ring-8, ring-32')):
        with pytest.raises(SystemExit):
            parse(*words)
        assert problem in capsys.readouterr().err
    # a run that fails ends everything with what it said
    monkeypatch.setattr(lecture.Panel, 'command', lambda self, *args: ['--config', 'nothing-of-this-name'])
    dataset_tool(['create_points', str(tmp_path / 'data' / 'ring'), '--distribution', 'ring', '--num', '50'])
    with pytest.raises(UserError, match='(?s)run on ring with z of 2 ended with status 2.*nothing-of-this-name'):
        lecture.main(['--distributions', 'ring', '--sizes', '2', '--data-dir', str(tmp_path / 'data'), '--outdir',
                      str(tmp_path / 'out')])


@pytest.mark.slow
def test_the_whole_way_from_nothing_to_a_sheet(tmp_path, monkeypatch):
    monkeypatch.setattr(lecture, 'NUM_POINTS', 5000)
    lecture.main(['--distributions', 'ring', '--sizes', '2,8', '--minibatches', '300', '--animate', 'ring-8',
                  '--data-dir', str(tmp_path / 'data'), '--outdir', str(tmp_path / 'out')])
    record = json.loads((tmp_path / 'out' / 'lecture.json').read_text())
    assert [run['latent_size'] for run in record['runs']] == [2, 8]
    assert all(0 < run['jsd'] < 0.7 and run['jsd_D'] < 0.7 for run in record['runs'])
    assert sorted(os.listdir(str(tmp_path / 'out'))) == ['00000-ring-z2', '00001-ring-z8', 'index.html', 'lecture.json',
                                                         'ring-z8.gif', 'sheet.png']


def test_planned_commands_can_be_pasted_and_captions_follow_the_data(tmp_path, capsys):
    """Folders of odd names: a space in them ends no argument, and their words say nothing of the distribution."""
    folder = tmp_path / 'my gaussians'
    words = ['--distributions', 'ring', '--sizes', '2', '--data-dir', str(folder), '--outdir', str(folder / 'out')]
    lecture.main(words + ['--dry-run'])
    pasted = shlex.split(capsys.readouterr().out)
    panel, = lecture.plan(parse(*words))
    assert pasted[:2] == ['./reproduce', 'train'] and pasted[2:] == panel.command(str(folder), str(folder / 'out'))
    assert lecture.caption(str(finished_run(folder, 0, panel)))[1].startswith('pieces 9 of 16')
