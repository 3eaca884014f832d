#!/bin/sh
# install.sh LOCK: makes the environment $VIRTUAL_ENV over the packages that the image brings, from a lock file.
# What the image has in the pinned version is used from there; everything else is installed beside it, each file
# compared with its digest in the lock.
set -eu
lock=$1
python=$VIRTUAL_ENV/bin/python
# NVIDIA's images hold pip to versions of their own, which would contradict the lock.
unset PIP_CONSTRAINT

install() {
    "$python" -m pip install --disable-pip-version-check --no-cache-dir --no-deps --no-build-isolation \
        --require-hashes "$@"
}

# Without ensurepip, which Ubuntu leaves out: the image's own pip is visible in the environment.
python3 -m venv --without-pip --system-site-packages "$VIRTUAL_ENV"
# pip and its like first, each with the lines of its digests.
awk '/^[^ ]/ { wanted = /^(pip|setuptools|wheel)==/ } wanted' "$lock" > "$VIRTUAL_ENV/installers.txt"
if [ -s "$VIRTUAL_ENV/installers.txt" ]; then
    install --requirement "$VIRTUAL_ENV/installers.txt"
fi
install --requirement "$lock"
# Nothing may be left to install.
install --no-index --quiet --requirement "$lock"
