#!/usr/bin/env bash
# Hosts reached by ssh, two with four GPUs each, one process for each GPU:
#   docs/clusters/ssh.sh alpha,beta 8 ffhq-1024
# On each host the same folder must exist (this checkout, set up, on a disk that all share), and ssh must ask nothing.
# Ports 41000 to 41004 must be open between them. Ctrl-C, or SIGTERM to this script, stops all with a checkpoint; the
# next call with the same configuration goes on from it.
set -euo pipefail
hosts=${1:?"name the hosts: docs/clusters/ssh.sh alpha,beta 8 ffhq-1024"}
processes=${2:?"say how many processes, on all hosts together"}
config=${3:?"name a configuration"}
cd "$(dirname "$0")/../.."

runs=results/ssh-$config
if ls -d "$runs"/*/checkpoints >/dev/null 2>&1; then
    arguments=(--resume "$(dirname "$(ls -d "$runs"/*/checkpoints | head -n 1)")")
else
    arguments=(--config "$config" --result-dir "$runs")
fi
exec ./reproduce launch -np "$processes" --hosts "$hosts" train.py "${arguments[@]}"
