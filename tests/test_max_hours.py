"""`train.max_hours`: a run ends for its time as it does for its length, and goes on when it is given more."""

import glob
import os

import pytest
from loop_helpers import QUICK, train

import config
import train as train_script
from dnnlib.files import read_json_lines, write_json
from dnnlib.submission import write_submit_config
from experiment import run_config
from experiment.start import Start
from metrics.tables.filling import _kimg
from training.state import checkpoint


def seen(run_dir):
    """Images of the newest checkpoint."""
    return checkpoint.load_newest(os.path.join(str(run_dir), 'checkpoints'))[1]['progress']['cur_nimg']


def test_time_ends_a_run_with_a_final_snapshot_and_more_time_lets_it_go_on(tmp_path, capsys):
    args = dict(QUICK, total_kimg=1000, max_hours=0.0001, checkpoint_keep=2)
    assert train(tmp_path, **args) == 'finished'
    assert 'hours of train.max_hours are over, at ' in capsys.readouterr().out
    nimg = seen(tmp_path)
    assert 0 < nimg < 1e6
    final = str(tmp_path / 'network-final.pkl')
    assert os.path.isfile(final) and glob.glob(str(tmp_path / 'network-snapshot-*.pkl'))
    ticks = read_json_lines(str(tmp_path / 'stats.jsonl'))
    assert ticks[-1]['nimg'] == nimg and _kimg(final, str(tmp_path)) == nimg / 1000
    # The time of all parts counts: none is left.
    assert train(tmp_path, resume=True, **args) == 'finished' and seen(tmp_path) == nimg
    more = nimg / 1000 + 0.1
    assert train(tmp_path, resume=True, **dict(args, total_kimg=more, max_hours=100)) == 'finished'
    assert nimg < seen(tmp_path) >= more * 1000


@pytest.mark.both
def test_hours_may_change_when_a_run_goes_on_and_a_finished_one_says_what_it_needs(tmp_path, capsys):
    run = str(tmp_path / '00000-demo')
    os.makedirs(run)
    args = train_script.parse_args(['--config', 'demo', '--max-hours', '288'])
    assert Start(args).config.train.max_hours == 288
    settings, origins = run_config.load('demo', config.config_dir, ['train.max_hours=2'], {})
    write_submit_config(run, dict(config=settings, data_dir=str(tmp_path)), origins)
    write_json(os.path.join(run, '_finished.txt'), {})

    def is_finished(*words):
        return Start(train_script.parse_args(['--resume', run, *words]))._is_finished()
    assert is_finished() and is_finished('--max-hours', '1')
    assert not is_finished('--max-hours', '3') and not is_finished('--max-hours', 'null')
    for kimg, words in ((10.5, 'more time, such as --max-hours 4'), (60.0, 'greater length, such as --set train')):
        with open(os.path.join(run, 'stats.jsonl'), 'w') as file:
            file.write(f'{{"kimg": {kimg}}}\n')
        train_script.main(['--resume', run])
        assert words in capsys.readouterr().out
