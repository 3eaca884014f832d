"""What is exported draws what we draw, in programs that know nothing of this project."""

import subprocess
import sys

import numpy as np
import pytest
from conftest import new_session
from generator_helpers import save_networks

from dnnlib import UserError, tflib
from dnnlib.tflib import export
from figures import exporting
from figures.generator import Generator

PROGRAM = '''
import sys
import numpy as np
import tensorflow.compat.v1 as tf
for name in sys.argv[1:]:
    arrays = np.load(name + '/in.npz')
    with tf.Graph().as_default(), tf.Session() as session:
        model = tf.saved_model.load(session, ['serve'], name + '/model')
        signature = model.signature_def['serving_default']
        feed = {info.name: arrays[key] for key, info in signature.inputs.items()}
        np.save(name + '/out.npy', session.run(signature.outputs['images'].name, feed))
    print(name, ' '.join(sorted(signature.inputs)))
assert not {'dnnlib', 'training', 'figures'} & set(sys.modules)
'''


@pytest.fixture(scope='module')
def networks(tmp_path_factory):
    with new_session():
        return save_networks(tmp_path_factory.mktemp('networks'), label_size=2)


@pytest.fixture(scope='module')
def opened(networks):
    """The Generators of both networks."""
    from figures import arguments
    from generate import parse_args
    with new_session():
        yield {name: arguments.open_generator(parse_args(['--network', path, '--seeds', '1', '--device', 'cpu']))[0]
               for name, path in networks.items()}


def test_a_saved_model_runs_in_a_fresh_process(networks, tmp_path, opened, monkeypatch, capsys):
    from figures import arguments
    expected, wanted = (('styles', 'labels latents psi'), ('plain', 'latents')), {}
    for name, inputs in expected:
        gen, folder = opened[name], tmp_path / name
        folder.mkdir()
        monkeypatch.setattr(arguments, 'open_generator', lambda _args, gen=gen: (gen, None))
        export.main([networks[name], str(folder / 'model')])
        assert 'serving_default' in capsys.readouterr().out
        arrays = {key: value for key, value in exporting.trial(gen).items() if key in inputs.split()}
        np.savez(str(folder / 'in.npz'), **arrays)
        wanted[name] = gen.images(arrays['latents'], arrays.get('labels'), psi=0.7, noise='stored')
    done = subprocess.run([sys.executable, '-c', PROGRAM] + list(wanted), cwd=str(tmp_path), stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, universal_newlines=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.splitlines() == [f'{name} {inputs}' for name, inputs in expected]
    for name, images in wanted.items():
        found = np.load(str(tmp_path / name / 'out.npy'))
        assert found.dtype == np.uint8 and np.abs(found.astype(int) - images).max() <= 1
    with pytest.raises(UserError, match='exists already'):
        export.main([networks['plain'], str(tmp_path / 'plain' / 'model')])


def test_psi_moves_the_first_layers(opened):
    gen = opened['styles']
    frozen = exporting.freeze(gen, cutoff=3)
    arrays = dict(exporting.trial(gen), psi=np.float32(-0.5))
    found = tflib.run(frozen.pictures, {frozen.inputs[key]: arrays[key] for key in frozen.inputs})
    wanted = gen.images(arrays['latents'], arrays['labels'], psi=-0.5, cutoff=3, noise='stored')
    assert np.abs(found.astype(int) - wanted).max() <= 1
    assert not [node.name for node in frozen.graph_def.node if node.op.startswith(('Assign', 'Variable', 'PyFunc'))]


def test_onnx_runtime_draws_the_same(opened, tmp_path):
    pytest.importorskip('tf2onnx')
    onnxruntime = pytest.importorskip('onnxruntime')
    for name, gen in opened.items():
        frozen, path = exporting.freeze(gen), str(tmp_path / f'{name}.onnx')
        assert exporting.write_onnx(frozen, path, gen) <= exporting.TOLERANCE
        session = onnxruntime.InferenceSession(path, providers=['CPUExecutionProvider'])
        assert [value.name for value in session.get_inputs()] == list(frozen.inputs)
        for count in (1, 3):    # the batch stays free
            arrays = {key: value[:count] if value.ndim else value for key, value in exporting.trial(gen).items()
                      if key in frozen.inputs}
            pictures, = session.run(['images'], arrays)
            wanted = gen.images(arrays['latents'], arrays.get('labels'), psi=0.7, noise='stored')
            assert pictures.shape == wanted.shape and np.abs(pictures.astype(int) - wanted).max() <= 1


def test_a_network_that_still_grows_is_exported_without_conditionals(opened):
    for gen in opened.values():
        gen.network.set_var('lod', 1.5)
        try:
            growing = Generator(gen.network)
            frozen = exporting.freeze(growing)
            assert not {node.op for node in frozen.graph_def.node} & {'Switch', 'Merge', 'If', 'StatelessIf', 'While'}
            arrays = exporting.trial(gen)
            found = tflib.run(frozen.pictures, {frozen.inputs[key]: arrays[key] for key in frozen.inputs})
            wanted = growing.images(arrays['latents'], arrays['labels'] if gen.label_size else None, psi=0.7,
                                    noise='stored')
            assert np.abs(found.astype(int) - wanted).max() <= 1
        finally:
            gen.network.set_var('lod', 0.0)
            Generator(gen.network)      # has its parts follow


def test_what_onnx_runtime_cannot_run_is_said(opened, tmp_path, monkeypatch):
    pytest.importorskip('tf2onnx')
    onnxruntime = pytest.importorskip('onnxruntime')

    def refuse(*_args, **_kwargs):
        raise RuntimeError('no kernel')
    monkeypatch.setattr(onnxruntime, 'InferenceSession', refuse)
    with pytest.raises(UserError, match='cannot run what tf2onnx made of this network.*no kernel'):
        exporting.write_onnx(exporting.freeze(opened['plain']), str(tmp_path / 'a.onnx'), opened['plain'])
    assert list(tmp_path.iterdir()) == []


def test_missing_packages_are_said(opened, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, 'tf2onnx', None)
    with pytest.raises(UserError, match='EXTRAS=export'):
        exporting.write_onnx(exporting.freeze(opened['plain']), str(tmp_path / 'a.onnx'), opened['plain'])
    assert list(tmp_path.iterdir()) == []
