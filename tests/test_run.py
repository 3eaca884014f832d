"""When a run does what: resets at phases, ticks, snapshots, checkpoints."""

import types

import pytest

from dnnlib.util import EasyDict
from training import run as training_run
from training.run import Run

pytestmark = pytest.mark.both


@pytest.mark.parametrize('asked', [True, False])
def test_optimizers_are_reset_where_a_resolution_starts_or_finishes_fading_in(fresh_graph, asked):
    lods, configured = [2, 2, 1.5, 1.2, 1, 1, 0.5, 0, 0], []
    resets = []
    G_opt, D_opt = (types.SimpleNamespace(reset_optimizer_state=lambda name=name: resets.append((name, lod)))
                    for name in 'GD')
    run = types.SimpleNamespace(
        training_set=types.SimpleNamespace(configure=lambda *given: configured.append(given)), networks=[],
        graph=types.SimpleNamespace(G_towers=[None], D_towers=[None], G_opt=G_opt, D_opt=D_opt),
        progress=EasyDict(prev_lod=2), settings=EasyDict(reset_opt_for_new_lod=asked))
    for lod in lods:
        Run.enter_phase(run, EasyDict(lod=lod, minibatch=8))
    assert configured == [(8, lod) for lod in lods] and run.progress.prev_lod == 0
    assert resets == ([(name, lod) for lod in (1.5, 1, 0.5, 0) for name in 'GD'] if asked else [])


def a_run(cur_nimg=0, **changes):
    settings = EasyDict(total_kimg=3, network_snapshot_ticks=10, checkpoint_kimg=0.5, checkpoint_minutes=10)
    run = Run.__new__(Run)
    run.settings, run.is_out_of_time = settings, False
    run.progress = EasyDict(cur_nimg=cur_nimg, tick_start_nimg=1000, cur_tick=0)
    run.last_checkpoint_nimg, run.last_checkpoint_time = 1000, 0
    run.progress.update((key, value) for key, value in changes.items() if key in run.progress)
    run.settings.update((key, value) for key, value in changes.items() if key in run.settings)
    return run


def test_a_tick_ends_with_its_last_image_and_with_the_run():
    sched = EasyDict(tick_kimg=0.5)
    assert [a_run(nimg).tick_is_over(sched) for nimg in (1000, 1499, 1500, 1600, 2999)] == [False] * 2 + [True] * 3
    assert a_run(3000).tick_is_over(EasyDict(tick_kimg=50))


def test_snapshots_come_at_the_first_tick_at_every_so_many_and_at_the_end():
    assert [tick for tick in range(1, 31) if a_run(cur_tick=tick).snapshot_is_due()] == [1, 10, 20, 30]
    assert [tick for tick in range(1, 31) if a_run(cur_tick=tick, network_snapshot_ticks=0).snapshot_is_due()] == [1]
    assert a_run(3000, cur_tick=7).snapshot_is_due()


def test_a_checkpoint_is_due_after_so_many_images_or_minutes(monkeypatch):
    for seconds, nimg, is_due in ((0, 1499, False), (0, 1500, True), (599, 1499, False), (600, 1001, True)):
        monkeypatch.setattr(training_run.time, 'time', lambda seconds=seconds: seconds)
        assert a_run(nimg).checkpoint_is_due() is is_due
