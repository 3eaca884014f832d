# Three images of this project; docs/docker.md says which card needs which.
#   docker build -t stylegan-repro .                                        TensorFlow 1.15.5, CUDA 10.0, as it was
#   docker build -t stylegan-repro:ngc --target ngc .                       NVIDIA's last TensorFlow 1.15, CUDA 12
#   docker build -t stylegan-repro:modern --target modern .                 TensorFlow 2, CUDA 12
# --build-arg REVISION="$(git rev-parse HEAD)" notes the commit, as a label and in the records of runs.
# The bases can be replaced by mirrors or digests: --build-arg TF1_IMAGE=... ; packages come from PIP_INDEX_URL if given.
# A tag may be moved to another image, a digest not. No registry was in reach where this was written, so that tags stand
# here: `docker buildx imagetools inspect TAG` prints the digest, to be given as NAME@sha256:... by the arguments below.
ARG TF1_IMAGE=tensorflow/tensorflow:1.15.5-gpu-py3
ARG NGC_IMAGE=nvcr.io/nvidia/tensorflow:23.03-tf1-py3
ARG MODERN_IMAGE=python:3.13.5-slim-bookworm

FROM ${MODERN_IMAGE} AS modern
ARG PIP_INDEX_URL
ENV VIRTUAL_ENV=/opt/venv PATH=/opt/venv/bin:$PATH PYTHONNOUSERSITE=1
COPY docker/install.sh requirements/tf2-py313-gpu.txt /opt/install/
RUN sh /opt/install/install.sh /opt/install/tf2-py313-gpu.txt \
 && python -c "import numpy, scipy, PIL, yaml, h5py, cv2, tensorflow as tf; assert tf.__version__.startswith('2.')"
COPY . /opt/stylegan
RUN python -m compileall -q /opt/stylegan && chmod -R a+rX /opt/stylegan && mkdir -m 1777 /data /results /cache \
 && ln -s /data /opt/stylegan/datasets && ln -s /results /opt/stylegan/results && ln -s /cache /opt/stylegan/cache
ENV STYLEGAN_IMAGE=modern STYLEGAN_ENGINE=tf2 \
    STYLEGAN_DATA_DIR=/data STYLEGAN_RESULT_DIR=/results STYLEGAN_CACHE_DIR=/cache \
    HOME=/cache USER=stylegan LOGNAME=stylegan PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 LC_ALL=C.UTF-8 \
    MPLCONFIGDIR=/cache/matplotlib CUDA_CACHE_PATH=/cache/nv CUDA_CACHE_MAXSIZE=4294967296 \
    NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
ARG REVISION
ENV STYLEGAN_REVISION=$REVISION
LABEL org.opencontainers.image.title=stylegan-repro org.opencontainers.image.revision=$REVISION
WORKDIR /opt/stylegan
VOLUME ["/data", "/results", "/cache"]
USER 1000:1000
HEALTHCHECK NONE
ENTRYPOINT ["/opt/stylegan/reproduce"]

FROM ${NGC_IMAGE} AS ngc
ARG PIP_INDEX_URL
ENV VIRTUAL_ENV=/opt/venv PATH=/opt/venv/bin:$PATH PYTHONNOUSERSITE=1
COPY docker/install.sh docker/ngc-py38.txt /opt/install/
RUN rm -f /etc/apt/sources.list.d/cuda*.list /etc/apt/sources.list.d/nvidia*.list \
 && sh /opt/install/install.sh /opt/install/ngc-py38.txt \
 && python -c "import numpy, scipy, PIL, yaml, h5py, cv2, tensorflow as tf; assert tf.__version__.startswith('1.15.5')"
COPY . /opt/stylegan
RUN python -m compileall -q /opt/stylegan && chmod -R a+rX /opt/stylegan && mkdir -m 1777 /data /results /cache \
 && ln -s /data /opt/stylegan/datasets && ln -s /results /opt/stylegan/results && ln -s /cache /opt/stylegan/cache
ENV STYLEGAN_IMAGE=ngc STYLEGAN_ENGINE=tf1 \
    STYLEGAN_DATA_DIR=/data STYLEGAN_RESULT_DIR=/results STYLEGAN_CACHE_DIR=/cache \
    HOME=/cache USER=stylegan LOGNAME=stylegan PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 LC_ALL=C.UTF-8 \
    MPLCONFIGDIR=/cache/matplotlib CUDA_CACHE_PATH=/cache/nv CUDA_CACHE_MAXSIZE=4294967296 \
    NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
ARG REVISION
ENV STYLEGAN_REVISION=$REVISION
LABEL org.opencontainers.image.title=stylegan-repro org.opencontainers.image.revision=$REVISION
WORKDIR /opt/stylegan
VOLUME ["/data", "/results", "/cache"]
USER 1000:1000
HEALTHCHECK NONE
ENTRYPOINT ["/opt/stylegan/reproduce"]

# The last one is what `docker build .` makes.
FROM ${TF1_IMAGE} AS tf1
ARG PIP_INDEX_URL
ENV VIRTUAL_ENV=/opt/venv PATH=/opt/venv/bin:$PATH PYTHONNOUSERSITE=1
COPY docker/install.sh requirements/tf1-py36-gpu.txt /opt/install/
# NVIDIA's package lists in this base carry a key that expired in 2022: any `apt-get update` would fail with them.
RUN rm -f /etc/apt/sources.list.d/cuda*.list /etc/apt/sources.list.d/nvidia*.list \
 && sh /opt/install/install.sh /opt/install/tf1-py36-gpu.txt \
 && python -c "import numpy, scipy, PIL, yaml, h5py, cv2, tensorflow as tf; assert tf.__version__ == '1.15.5'"
COPY . /opt/stylegan
RUN python -m compileall -q /opt/stylegan && chmod -R a+rX /opt/stylegan && mkdir -m 1777 /data /results /cache \
 && ln -s /data /opt/stylegan/datasets && ln -s /results /opt/stylegan/results && ln -s /cache /opt/stylegan/cache
ENV STYLEGAN_IMAGE=tf1 STYLEGAN_ENGINE=tf1 \
    STYLEGAN_DATA_DIR=/data STYLEGAN_RESULT_DIR=/results STYLEGAN_CACHE_DIR=/cache \
    HOME=/cache USER=stylegan LOGNAME=stylegan PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 LC_ALL=C.UTF-8 \
    MPLCONFIGDIR=/cache/matplotlib CUDA_CACHE_PATH=/cache/nv CUDA_CACHE_MAXSIZE=4294967296 \
    NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
ARG REVISION
ENV STYLEGAN_REVISION=$REVISION
LABEL org.opencontainers.image.title=stylegan-repro org.opencontainers.image.revision=$REVISION
WORKDIR /opt/stylegan
VOLUME ["/data", "/results", "/cache"]
USER 1000:1000
HEALTHCHECK NONE
ENTRYPOINT ["/opt/stylegan/reproduce"]
