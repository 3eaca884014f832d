#!/bin/sh
# install.sh LOCK: makes the environment $VIRTUAL_ENV over the packages that the image brings, from a lock file.
# What the image has in the pinned version is used from there; everything else is installed beside it.
set -eu
lock=$1
python=$VIRTUAL_ENV/bin/python
# NVIDIA's images hold pip to versions of their own, which would contradict the lock.
unset PIP_CONSTRAINT

install() {
    "$python" -m pip install --disable-pip-version-check --no-cache-dir --no-deps --no-build-isolation "$@"
}

# Without ensurepip, which Ubuntu leaves out: the image's own pip is visible in the environment.
python3 -m venv --without-pip --system-site-packages "$VIRTUAL_ENV"
installers=$(grep -E '^(pip|setuptools|wheel)==' "$lock" || true)
if [ -n "$installers" ]; then
    # shellcheck disable=SC2086
    install $installers
fi
install --requirement "$lock"
# Nothing may be left to install.
install --no-index --quiet --requirement "$lock"
