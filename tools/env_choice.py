"""Decide which engine and which lock (CPU or GPU) suit this machine, and say why."""
import collections
import ctypes
import json
import os
import shutil
import subprocess
import sys

PYTHONS = {'tf1': [(3, 7), (3, 6)], 'tf2': [(3, 13), (3, 12), (3, 11), (3, 10)]}
ENGINE_TEXT = {'tf1': 'TensorFlow 1.15, the reference', 'tf2': 'TensorFlow 2 through compat.v1'}
# CUDA 10.0 knows cards up to compute capability 7.5 (Turing); its libraries come with the system or with Docker.
TF1_NEWEST_CARD = 7.5
TF1_LIBRARIES = ('libcudart.so.10.0', 'libcudnn.so.7')
# The CUDA 12 libraries in the tf2 GPU locks need a driver of the 525 line and a card of Pascal's generation or newer.
TF2_OLDEST_CARD = 6.0
TF2_OLDEST_DRIVER = 525

Card = collections.namedtuple('Card', 'name capability driver')    # capability: float or None; driver: major number


def can_load(library):
    """Whether the dynamic linker finds a library."""
    try:
        ctypes.CDLL(library)
        return True
    except OSError:
        return False


def parse_cards(text):
    """`name, capability, driver` lines of nvidia-smi → list of Card."""
    cards = []
    for line in text.splitlines():
        fields = [field.strip() for field in line.split(',')]
        if len(fields) == 3 and fields[2].split('.')[0].isdecimal():
            try:
                capability = float(fields[1])
            except ValueError:
                capability = None
            cards.append(Card(fields[0], capability, int(fields[2].split('.')[0])))
    return cards


def find_cards(cache_file=None):
    """The NVIDIA cards that nvidia-smi reports, [] without one. Asking can take seconds: done once per boot."""
    program = shutil.which('nvidia-smi')
    if program is None or os.environ.get('CUDA_VISIBLE_DEVICES') in ('', '-1'):
        return []
    try:
        with open('/proc/sys/kernel/random/boot_id') as f:
            key = f.read().strip()
    except OSError:
        key = None
    try:
        with open(cache_file) as f:
            kept = json.load(f)
        if key and kept['key'] == key:
            return [Card(*fields) for fields in kept['cards']]
    except (OSError, TypeError, ValueError, KeyError):
        pass
    try:
        done = subprocess.run([program, '--query-gpu=name,compute_cap,driver_version', '--format=csv,noheader'],
                              stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, universal_newlines=True, timeout=60)
        cards = parse_cards(done.stdout) if done.returncode == 0 else []
    except (OSError, subprocess.TimeoutExpired):
        cards = []
    if key and cache_file:
        os.makedirs(os.path.dirname(cache_file), exist_ok=True)
        with open(cache_file, 'w') as f:
            json.dump({'key': key, 'cards': cards}, f)
    return cards


def gpu_verdict(engine, cards, loads=can_load):
    """Whether an engine can use the cards → (bool, reason)."""
    if not cards:
        return False, 'no NVIDIA card found'
    card = cards[0]
    if engine == 'tf1':
        if card.capability is not None and card.capability > TF1_NEWEST_CARD:
            return False, f'{card.name} is newer than the CUDA 10.0 of TensorFlow 1.15'
        missing = [library for library in TF1_LIBRARIES if not loads(library)]
        if missing:
            return False, f'{card.name} needs {" and ".join(missing)}, not found here'
        return True, f'{card.name} with CUDA 10.0'
    if card.capability is not None and card.capability < TF2_OLDEST_CARD:
        return False, f'{card.name} is too old for CUDA 12'
    if card.driver < TF2_OLDEST_DRIVER:
        return False, f'driver {card.driver} of {card.name} is older than {TF2_OLDEST_DRIVER}, which CUDA 12 needs'
    return True, f'{card.name} with CUDA 12'


def tf1_platform(system=None, machine=None):
    """None where TensorFlow 1.15 has packages, else why not."""
    # The module `platform` would start a program to find it out.
    system, machine = system or sys.platform, machine or (os.uname().machine if hasattr(os, 'uname') else 'an unknown')
    if system.startswith('linux') and machine in ('x86_64', 'AMD64'):
        return None
    return f'TensorFlow 1.15 has packages for Linux on x86-64 only, this is {system} on {machine}'


def choose_engine(cards, tf1_problem, loads=can_load):
    """Without the user's word: tf1, unless it cannot be had here or only tf2 can use the card → (engine, reason).

    tf1_problem: None, or the sentence that says why tf1 cannot be had (platform, no Python).
    """
    if tf1_problem:
        return 'tf2', tf1_problem
    old, old_reason = gpu_verdict('tf1', cards, loads)
    new, new_reason = gpu_verdict('tf2', cards, loads)
    if new and not old:
        return 'tf2', f'{new_reason}; {old_reason}'
    return 'tf1', 'the published numbers were made with it, and this machine can have it'


def choose_kind(engine, wanted, cards, loads=can_load):
    """'cpu' or 'gpu' → (kind, reason); `wanted` is 'cpu', 'gpu' or 'auto'."""
    if wanted != 'auto':
        return wanted, 'as asked'
    usable, reason = gpu_verdict(engine, cards, loads)
    return ('gpu' if usable else 'cpu'), reason
