"""Whole runs of the pre-filter with a stand-in detector: processes that die, shards, resuming, reasons."""

import json
import os
import signal
import subprocess
import sys
import time

import PIL.Image
import pytest
from prefilter_helpers import ALWAYS, ONCE, SLOW, content, make_tree, save_photo, settings

from data import ledger
from data.commands import main
from data.images import list_images
from data.prefilter import pool, summary
from data.prefilter.landmarks import Landmarks
from data.prefilter.run import merge, prefilter
from dnnlib.util import UserError

pytestmark = pytest.mark.usefixtures('quick_workers')


def rows(out, name='ledger.csv'):
    return {item.path: item for item in ledger.read(str(out / name))}


def test_crops_ledger_and_summary(tmp_path):
    source, out = tmp_path / 'in', tmp_path / 'out'
    make_tree(source, 10)
    save_photo(source / 'two.png', green=250)
    (source / 'notes.txt').write_text('not an image')
    (source / 'class0' / 'damaged.jpg').write_bytes(b'\xff\xd8\xff')
    result = prefilter(settings(source, out), workers=1)
    assert (result['files'], result['images'], result['kept'], result['rejected']) == (13, 12, 10, 3)
    assert {reason: entry['count'] for reason, entry in result['reasons'].items()} == {
        'face': 10, 'no_face': 1, 'not_an_image': 1, 'corrupt': 1}
    found = rows(out)
    kept = found['class0/000.png']
    assert (kept.decision, kept.num_faces, kept.chosen) == ('kept', '1', '0')
    assert [kept.x0, kept.y0, kept.x1, kept.y1] == ['0', '0', '80', '100']
    assert (kept.output, kept.width, kept.height) == ('class0/000.png', '80', '100')
    assert json.loads(kept.boxes) == [[20, 25, 60, 75]] and 'margin=50 size=32' in kept.settings
    assert found['two.png'].num_faces == '2'
    assert len(found['notes.txt'].sha256) == 64 and found['notes.txt'].output == ''
    with PIL.Image.open(str(out / kept.output)) as crop:
        assert crop.size == (32, 32) and crop.mode == 'RGB'
    with open(str(out / 'summary.json')) as f:
        assert json.load(f)['kept_of_images'] == 0.833333
    assert sorted(path.name for path in (out / 'contact-sheets').iterdir()) == ['kept.jpg', 'rejected.jpg']
    assert not [path for path in out.iterdir() if path.name.startswith('.')]


@pytest.mark.parametrize('name', ['IMG_1.HEIC', 'renamed.jpg'])
def test_pictures_of_other_kinds_are_told_apart_from_what_is_no_picture(tmp_path, name):
    make_tree(tmp_path / 'in', 1)
    (tmp_path / 'in' / name).write_bytes(b'\0\0\0\x18ftypheic\0\0\0\0mif1heic')
    result = prefilter(settings(tmp_path / 'in', tmp_path / 'out'), workers=1)
    assert (result['files'], result['images'], result['reasons']['other_format']['count']) == (2, 2, 1)
    assert rows(tmp_path / 'out')[name].detail.startswith('a HEIC picture, which is not read here')
    assert 'note: 1 of the files are pictures of kinds that are not read here, such as HEIC' in summary.to_text(result)


# (min_crop, min_score): stricter, laxer, and one stricter while the other is laxer.
LIMITS = [(0, 0), (70, 0.75), (100, 0.7), (0, 0.72)]


@pytest.mark.parametrize('align', [None, 'ffhq'])
def test_limits_may_change_for_a_ledger_that_is_there(tmp_path, capsys, align):
    table = []
    for i in range(18):
        path, length = tmp_path / 'in' / f'class{i % 3}' / f'{i:02}.png', 80 + 20 * (i % 9)
        save_photo(path, green=0 if i == 4 else 150, blue=150 + 6 * i, size=(length, 260 - length), seed=i)
        eyes, mouth = 20 - 0.9 * i, 30 - i      # the square's side falls from 160 to about 50 pixels
        points = [50 - eyes, 50, 50 + eyes, 50, 50, 60, 40, 50 + mouth, 60, 50 + mouth]
        table.append(','.join([f'class{i % 3}/{i:02}.png'] + [str(number) for number in points]))
    (tmp_path / 'points.csv').write_text('\n'.join(table[:-1]))
    own = dict(align=align, landmarks=Landmarks(str(tmp_path / 'points.csv'))) if align else {
        'detector': 'prefilter_helpers.ScoringDetector'}
    for number, (crop, score) in enumerate(LIMITS):
        limited = dict(own, min_crop=crop, min_score=0 if align else score)
        again = prefilter(settings(tmp_path / 'in', tmp_path / 'again', **limited), 1, resume=number > 0)
        fresh = prefilter(settings(tmp_path / 'in', tmp_path / f'{number}', **limited), 1)
        assert content(tmp_path / 'again') == content(tmp_path / f'{number}')
        assert again['reasons'] == fresh['reasons']
        assert ('small_crop' in fresh['reasons']) == (crop > 0)
        assert ('low_score' in fresh['reasons']) == (score > 0 and not align) and fresh['kept'] > 1
    assert 'crops of the ledger are left out, and' in capsys.readouterr().out


def test_other_settings_than_the_limits_stay_and_no_file_elsewhere_is_removed(tmp_path):
    make_tree(tmp_path / 'in', 3)
    out = tmp_path / 'out'
    prefilter(settings(tmp_path / 'in', out, paper=True), 1)
    before = content(out)
    with pytest.raises(UserError, match='begun with other settings .paper margin=50'):
        prefilter(settings(tmp_path / 'in', out, margin=20, min_crop=500), 1, resume=True)
    assert content(out) == before and (out / 'summary.json').exists()
    (tmp_path / 'victim.png').write_bytes(b'x')
    (out / 'ledger.csv').write_text((out / 'ledger.csv').read_text().replace('class0/000.png,80', '../victim.png,80'))
    with pytest.raises(UserError, match="'../victim.png' is not in its folder"):
        prefilter(settings(tmp_path / 'in', out, min_crop=500), 1, resume=True)
    assert (tmp_path / 'victim.png').exists()


def test_results_do_not_depend_on_the_number_of_workers(tmp_path):
    make_tree(tmp_path / 'in', 40)
    for workers in (1, 3):
        prefilter(settings(tmp_path / 'in', tmp_path / f'{workers}'), workers)
    assert content(tmp_path / '1') == content(tmp_path / '3')


def test_crops_of_a_folder_further_down_are_those_that_were_kept(tmp_path):
    make_tree(tmp_path / 'in', 7)
    out = tmp_path / 'all' / 'faces'
    prefilter(settings(tmp_path / 'in', out), 1)
    save_photo(tmp_path / 'all' / 'more.png', size=(32, 32))
    save_photo(out / 'stray.png')
    found, _ = list_images(str(tmp_path / 'all'))
    assert found == sorted(['faces/' + name for name in ledger.kept_outputs(str(out))] + ['more.png'])
    assert len(found) == 7
    (out / 'ledger.csv').unlink()
    with pytest.raises(UserError, match='its ledger.csv is gone or damaged'):
        list_images(str(tmp_path / 'all'))


def test_a_pre_filter_that_kept_nothing_leaves_no_images(tmp_path):
    save_photo(tmp_path / 'in' / 'a.png', green=0)
    summary = prefilter(settings(tmp_path / 'in', tmp_path / 'all' / 'out'), 1)
    assert summary['kept'] == 0 and summary['contact_sheets']
    for folder in (tmp_path / 'all', tmp_path / 'all' / 'out'):
        with pytest.raises(UserError, match='the pre-filter kept none of the photographs'):
            main(['create_from_images', str(tmp_path / 'set'), str(folder), '--resize', '32'])
    assert not (tmp_path / 'set').exists()


def test_shards_without_files_are_finished_too(tmp_path):
    make_tree(tmp_path / 'in', 2)
    for number in range(1, 5):
        prefilter(settings(tmp_path / 'in', tmp_path / 'out'), 1, shard=(number, 4))
    assert merge(str(tmp_path / 'out'))['files'] == 2
    (tmp_path / 'empty').mkdir()
    with pytest.raises(UserError, match='holds no files'):
        prefilter(settings(tmp_path / 'empty', tmp_path / 'out2'), 1)


def test_shards_merge_into_what_one_run_makes(tmp_path):
    make_tree(tmp_path / 'in', 24)
    prefilter(settings(tmp_path / 'in', tmp_path / 'whole'), 1)
    out = tmp_path / 'parts'
    prefilter(settings(tmp_path / 'in', out), 1, shard=(1, 2))
    with pytest.raises(UserError, match='lacks the ledgers of the shards 2/2'):
        merge(str(out))
    prefilter(settings(tmp_path / 'in', out), 1, shard=(2, 2))
    with pytest.raises(UserError, match='prefilter --merge'):
        ledger.kept_outputs(str(out))
    assert merge(str(out))['files'] == 24
    parts = content(out)
    assert parts.pop('ledger-1-of-2.csv') != parts.pop('ledger-2-of-2.csv')
    assert parts == content(tmp_path / 'whole')


def test_a_killed_worker_loses_nothing_and_a_deadly_image_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setenv('PREFILTER_TEST_MARKS', str(tmp_path))
    monkeypatch.setattr(pool, '_START', 'spawn')    # which this is about
    make_tree(tmp_path / 'in', 12)
    save_photo(tmp_path / 'in' / 'class0' / '004x.png', red=ONCE, blue=7)
    save_photo(tmp_path / 'in' / 'class1' / 'deadly.png', red=ALWAYS)
    out = tmp_path / 'out'
    result = prefilter(settings(tmp_path / 'in', out), 2)
    assert result['files'] == 14 and result['reasons']['crashed']['count'] == 1
    found = rows(out)
    assert found['class1/deadly.png'].reason == 'crashed'
    assert found['class0/004x.png'].decision == 'kept'
    assert (tmp_path / '7').exists()


def run_script(source, out, **environment):
    code = ('import sys; sys.path[:0] = [%r, %r]\n'
            'from dnnlib.util import run_main\n'
            'from data.prefilter.run import prefilter\n'
            'from prefilter_helpers import settings\n'
            'if __name__ == "__main__":\n'
            '    run_main(lambda: print(prefilter(settings(%r, %r), 2)["kept"]))\n')
    here = os.path.dirname(os.path.abspath(__file__))
    script = out.parent / 'script.py'
    script.write_text(code % (os.path.dirname(here), here, str(source), str(out)))
    return subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                            universal_newlines=True, env=dict(os.environ, **environment))


def wait_for_crops(out, count, process):
    deadline = time.time() + 300
    while len(list(out.glob('class*/*.png'))) < count:     # not those that are being written elsewhere
        assert time.time() < deadline and process.poll() is None
        time.sleep(0.02)


@pytest.fixture(scope='module')
def uninterrupted(tmp_path_factory):
    """(a tree of photographs, what a run over it gives)."""
    folder = tmp_path_factory.mktemp('uninterrupted')
    make_tree(folder / 'in', 12)
    for i in range(12, 30):
        path = folder / 'in' / f'class{3 + i % 2}' / f'{i:03}.png'
        save_photo(path, green=0 if i % 7 == 3 else 150, red=SLOW, seed=i)
    prefilter(settings(folder / 'in', folder / 'out'), 2)
    return folder / 'in', content(folder / 'out')


@pytest.mark.parametrize('kill', [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_a_stopped_run_goes_on_without_repeating_anything(tmp_path, kill, uninterrupted):
    source, whole = uninterrupted
    out = tmp_path / 'out'
    process = run_script(source, out, PREFILTER_TEST_SLOW='0.7')    # which leaves seconds for the signal
    wait_for_crops(out, 6, process)
    process.send_signal(kill)
    errors = process.communicate(timeout=300)[1]
    if kill != signal.SIGKILL:
        assert process.returncode == 130 and '--resume' in errors and 'Traceback' not in errors
    before = {path: path.stat().st_mtime_ns for path in out.rglob('class*/*.png')}
    assert 6 <= len(before) < 25
    with pytest.raises(UserError, match='--resume'):
        prefilter(settings(source, out), 1)
    result = prefilter(settings(source, out), 2, resume=True)
    assert result['files'] == 30 == len(rows(out)) and result['kept'] == 26
    assert all(path.stat().st_mtime_ns == when for path, when in before.items())
    assert result['run']['images'] <= 30 - len(before)
    assert content(out) == whole


def test_resuming_repairs_missing_crops_and_takes_up_new_files(tmp_path):
    source, out = tmp_path / 'in', tmp_path / 'out'
    make_tree(source, 9)
    prefilter(settings(source, out), 1)
    (out / 'class0' / '000.png').unlink()
    with open(str(out / 'ledger.csv'), 'a') as f:
        f.write('class0/cut off,kep')
    save_photo(source / 'new.png')
    result = prefilter(settings(source, out), 1, resume=True)
    assert result['run']['images'] == 2 and result['files'] == 10
    assert (out / 'class0' / '000.png').exists() and (out / 'new.png').exists()
    assert prefilter(settings(source, out), 1, resume=True)['run']['images'] == 0


def test_resuming_with_other_settings_is_refused(tmp_path):
    make_tree(tmp_path / 'in', 2)
    prefilter(settings(tmp_path / 'in', tmp_path / 'out'), 1)
    with pytest.raises(UserError, match='begun with other settings .*margin=50.* margin=44'):
        prefilter(settings(tmp_path / 'in', tmp_path / 'out', margin=44), 1, resume=True)


def test_two_runs_on_one_folder_are_refused(tmp_path, monkeypatch):
    from data.prefilter import locks
    make_tree(tmp_path / 'in', 1)
    (tmp_path / 'out' / '.prefilter').mkdir(parents=True)
    other = locks.acquire(str(tmp_path / 'out' / '.prefilter' / 'lock'))
    monkeypatch.setattr(locks.acquire, '__defaults__', (0.2,))
    with pytest.raises(UserError, match='another prefilter'):
        prefilter(settings(tmp_path / 'in', tmp_path / 'out'), 1)
    locks.release(other)


def test_names_that_a_crop_cannot_have_get_a_row(tmp_path):
    source, out = tmp_path / 'in', tmp_path / 'out'
    save_photo(source / 'a.png')
    save_photo(source / 'b.png')
    (out / 'a.png').mkdir(parents=True)
    prefilter(settings(source, out), 1)
    assert rows(out)['a.png'].reason == 'unwritable' and rows(out)['b.png'].decision == 'kept'


def test_awkward_inputs_do_not_stop_a_run(tmp_path):
    source, out = tmp_path / 'in', tmp_path / 'out'
    make_tree(source, 3)
    os.mkfifo(str(source / 'pipe.jpg'))
    (source / 'loop').symlink_to('.')
    (source / 'gone.jpg').symlink_to('absent')
    (source / 'empty.jpg').write_bytes(b'')
    save_photo(source / 'large.png', size=(200, 200))
    save_photo(source / 'new\nline, "quoted".png')
    expected = {'pipe.jpg': 'not_a_file', 'loop': 'repeated_link', 'gone.jpg': 'broken_link', 'empty.jpg': 'empty',
                'large.png': 'too_many_pixels', 'new\nline, "quoted".png': 'face'}
    try:
        save_photo(source / os.fsdecode(b'\xff.png'))
        expected['\\xff.png'] = 'face'
    except OSError:
        pass  # this file system refuses such names
    result = prefilter(settings(source, out, max_pixels=30000), 1)
    found = rows(out)
    assert {name: found[name].reason for name in expected} == expected
    assert result['files'] == 3 + len(expected)
    assert prefilter(settings(source, out, max_pixels=30000), 1, resume=True)['run']['images'] == 0


def test_failures_of_the_detector_get_a_row(tmp_path):
    make_tree(tmp_path / 'in', 1)
    result = prefilter(settings(tmp_path / 'in', tmp_path / 'out', size=0), 1)
    assert list(result['reasons']) == ['failed']


def test_workers_that_cannot_start_end_the_run(tmp_path):
    make_tree(tmp_path / 'in', 1)
    with pytest.raises(UserError, match='while they start'):
        prefilter(settings(tmp_path / 'in', tmp_path / 'out', min_face=21), 1)


@pytest.mark.parametrize('out, message', [('in', 'is or holds'), ('.', 'is or holds')])
def test_crops_do_not_go_among_the_photographs(tmp_path, out, message):
    make_tree(tmp_path / 'in', 1)
    with pytest.raises(UserError, match=message):
        prefilter(settings(tmp_path / 'in', tmp_path / out), 1)


def test_an_empty_folder_is_said_to_be_empty(tmp_path):
    (tmp_path / 'in').mkdir()
    with pytest.raises(UserError, match='holds no files'):
        prefilter(settings(tmp_path / 'in', tmp_path / 'out'), 1)
