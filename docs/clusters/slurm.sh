#!/usr/bin/env bash
# Two nodes with four GPUs each, one process for each GPU: sbatch docs/clusters/slurm.sh ffhq-1024
#SBATCH --job-name=stylegan
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=4
#SBATCH --gpus-per-node=4
#SBATCH --cpus-per-task=8
#SBATCH --time=24:00:00
#SBATCH --signal=TERM@300
#SBATCH --requeue
set -euo pipefail
cd "$SLURM_SUBMIT_DIR"
config=${1:?"name a configuration: sbatch docs/clusters/slurm.sh ffhq-1024"}

# The first start makes a run directory; a job that comes back after preemption goes on in it.
runs=results/slurm-$SLURM_JOB_ID
if ls -d "$runs"/*/checkpoints >/dev/null 2>&1; then
    arguments=(--resume "$(dirname "$(ls -d "$runs"/*/checkpoints | head -n 1)")")
else
    arguments=(--config "$config" --result-dir "$runs")
fi
exec srun --kill-on-bad-exit=1 ./reproduce train "${arguments[@]}"
