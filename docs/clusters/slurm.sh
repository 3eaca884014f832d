#!/usr/bin/env bash
# Two nodes with four GPUs each, one process for each GPU: sbatch docs/clusters/slurm.sh ffhq-1024
# Five minutes before its time is over, and where it is preempted, every process gets SIGTERM: all stop after the same
# step with a checkpoint, and the job queues again and goes on until the run has its length.
#SBATCH --job-name=stylegan
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=4
#SBATCH --distribution=block
#SBATCH --gpus-per-node=4
#SBATCH --cpus-per-task=8
#SBATCH --time=24:00:00
#SBATCH --signal=TERM@300
#SBATCH --requeue
set -euo pipefail
cd "$SLURM_SUBMIT_DIR"
config=${1:?"name a configuration: sbatch docs/clusters/slurm.sh ffhq-1024"}

# In the order of the nodes; ports of its own, where nodes are shared with other jobs.
STYLEGAN_HOSTS=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | paste -sd,)
STYLEGAN_PORT=$((41000 + SLURM_JOB_ID % 500 * 40))
export STYLEGAN_HOSTS STYLEGAN_PORT

# The first start makes a run directory; a job that comes back goes on in it.
runs=results/slurm-$SLURM_JOB_ID
if ls -d "$runs"/*/checkpoints >/dev/null 2>&1; then
    arguments=(--resume "$(dirname "$(ls -d "$runs"/*/checkpoints | head -n 1)")")
else
    arguments=(--config "$config" --result-dir "$runs")
fi
srun --kill-on-bad-exit=1 ./reproduce train "${arguments[@]}"
if ! ls "$runs"/*/_finished.txt >/dev/null 2>&1; then
    scontrol requeue "$SLURM_JOB_ID"
fi
