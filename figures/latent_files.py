"""Files of latents: what a projection found, or what a page shows, so that the same pictures can be made again."""

import re

import numpy as np

from dnnlib.array_files import read_npz, write_npz
from dnnlib.errors import UserError
from dnnlib.files import atomic_path
from dnnlib.seeds import LARGEST

MOST = 100000   # rows


class Latents:
    """Latents of N pictures.

    Attributes:
        w: float32 [N, layers, size], or None for a network without w.
        z: float64 [N, size], or None where they are not known.
        noise: list of arrays [N or 1, 1, H, W], one per layer, or None: the network's own.
        noise_seeds: int64 [N], of random noise, or None.
        network_sha256: of the network's file, or None.
        count: N.
    """

    def __init__(self, w=None, z=None, noise=None, noise_seeds=None, network_sha256=None):
        self.w, self.z, self.noise, self.noise_seeds, self.network_sha256 = w, z, noise, noise_seeds, network_sha256
        self.count = len(z if w is None else w)

    def noise_of(self, index):
        """Noise [1, 1, H, W] per layer of one picture, or None."""
        if self.noise is None:
            return None
        return [maps[index:index + 1] if len(maps) > 1 else maps for maps in self.noise]

    def arrays(self):
        """{name: array}, as `save` stores them."""
        found = {name: value for name, value in (
            ('w', self.w), ('z', self.z), ('noise_seeds', self.noise_seeds)) if value is not None}
        found.update({f'noise{index}': maps for index, maps in enumerate(self.noise or [])})
        if self.network_sha256:
            found['network_sha256'] = np.array(self.network_sha256)
        return found

    def save(self, target):
        """Stores them as .npz: in a file, atomically, or in an open one."""
        if hasattr(target, 'write'):
            return write_npz(target, **self.arrays())
        with atomic_path(target) as temp, open(temp, 'wb') as file:
            write_npz(file, **self.arrays())


def read(path, gen, sha256=None):
    """The `Latents` of a file.

    Args:
        gen: `figures.generator.Generator` that they are for.
        sha256: of its file; where another one is noted, that is said.

    Raises UserError for a file that does not fit.
    """
    arrays = dict(read_npz(path, allow_text=True))
    w, z, noise_seeds = arrays.get('w'), arrays.get('z'), arrays.get('noise_seeds')
    if w is None and z is None:
        raise UserError(f"{path} holds no latents: 'w' or 'z' is needed; it has {', '.join(arrays)[:200] or 'nothing'}")
    if gen.is_style_based:
        layers, size = max(gen.num_layers, 1), gen.dlatent_avg.shape[-1]
        if w is None:
            w = gen.dlatents(_checked(path, 'z', z, [gen.latent_size]), None)
        w = _checked(path, 'w', w, [layers, size]).astype(np.float32)
    elif z is None:
        raise UserError(f"{path}: the network has no w, so 'z' is needed")
    if z is not None:
        z = _checked(path, 'z', z, [gen.latent_size], w).astype(np.float64)
    noise = _noise(path, arrays, gen, len(z if w is None else w))
    if noise_seeds is not None:
        noise_seeds = _checked(path, 'noise_seeds', noise_seeds, [], w if z is None else z, LARGEST)
        if np.any((noise_seeds != np.floor(noise_seeds)) | (noise_seeds < 0)):
            raise UserError(f"{path}: 'noise_seeds' are whole numbers from 0 to 4294967295")
        noise_seeds = noise_seeds.astype(np.int64)
    found = arrays.get('network_sha256')
    found = str(found) if found is not None and found.dtype.kind == 'U' and found.ndim == 0 else None
    if found and sha256 and found != sha256:
        print(f'warning: {path} was made with another network ({found[:12]}…, not {sha256[:12]}…)', flush=True)
    return Latents(w if gen.is_style_based else None, z, noise, noise_seeds, found)


def _checked(path, name, array, shape, other=None, most=1e9):
    if array.dtype.kind not in 'fiu' or list(array.shape[1:]) != shape or array.ndim != len(shape) + 1 \
            or not 0 < len(array) <= MOST or not np.all(np.abs(array.astype(np.float64)) <= most):
        raise UserError(f"{path}: '{name}' is {array.dtype} {list(array.shape)}; finite numbers [N"
                        + ''.join(f', {length}' for length in shape) + '] are needed for this network')
    if other is not None and len(other) != len(array):
        raise UserError(f"{path}: '{name}' has {len(array)} rows, other arrays {len(other)}")
    return array


def _noise(path, arrays, gen, count):
    names = [f'noise{index}' for index in range(len(gen.noise_vars))]
    given = sorted(name for name in arrays if re.match(r'noise\d+\Z', name))
    if not given:
        return None
    if set(given) != set(names):
        raise UserError(f"{path} has {len(given)} arrays of noise ({', '.join(given)[:100]}), but the network takes "
                        f'{len(names)}; leave them out for its own, or give all')
    maps = []
    for name, var in zip(names, gen.noise_vars):
        value = _checked(path, name, arrays[name], var.shape.as_list()[1:])
        if len(value) not in (1, count):
            raise UserError(f"{path}: '{name}' has {len(value)} rows, not {count}")
        maps.append(value.astype(np.float32))
    return maps
