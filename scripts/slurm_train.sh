#!/usr/bin/env bash
# Trains under Slurm across time limits and preemption: sbatch scripts/slurm_train.sh options/train/.../X.yml [flags]
#
# Three minutes before the time limit Slurm sends SIGUSR1 to the training. It finishes its step, saves a checkpoint and
# exits with status 75; the job is put back into the queue and goes on from there. Any other status ends the job.
#SBATCH --job-name=train
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=4
#SBATCH --gres=gpu:4
#SBATCH --cpus-per-task=8
#SBATCH --time=24:00:00
#SBATCH --signal=USR1@180
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=slurm-%j.txt
set -uo pipefail

STOPPED=75   # exit status of a run that a signal has stopped; --auto_resume continues it

options="${1:?usage: sbatch $0 X.yml [flags of basicsr train]}"
shift
trap : USR1 TERM   # they are for the training; this script waits for it (ignored signals would be inherited by it)

srun --kill-on-bad-exit=1 python -m mcir_plugin train -opt "$options" --launcher slurm --auto_resume "$@"
status=$?

# a job that was cancelled has been sent SIGTERM, too, but is no longer running
if [ "$status" -eq "$STOPPED" ] && [ "$(squeue --noheader --job="$SLURM_JOB_ID" --format=%T)" = RUNNING ]; then
    echo "The run was stopped in good order; job $SLURM_JOB_ID goes back into the queue."
    scontrol requeue "$SLURM_JOB_ID"
    exit 0
fi
exit "$status"
