# The image of docs/clusters/mpijob.yaml: this project's with what Open MPI needs in each pod.
#   docker build -t stylegan-repro:modern --target modern .
#   docker build -t stylegan-repro:mpi -f docs/clusters/mpi.dockerfile .
FROM stylegan-repro:modern
USER root
RUN apt-get update && apt-get install -y --no-install-recommends openmpi-bin openssh-server openssh-client \
 && rm -rf /var/lib/apt/lists/* && mkdir -p /run/sshd \
 && echo "StrictHostKeyChecking no" >> /etc/ssh/ssh_config
ENTRYPOINT []
CMD ["/usr/sbin/sshd", "-De"]
