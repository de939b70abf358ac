#!/usr/bin/env bash
# The data of docs/evidence from folders as they are distributed: squares and whole images as LMDB below datasets/evidence.
#   T91=... SET5=... BSDS_TEST=... RAIN=... SOTS=... VGG19=... bash scripts/evidence/prepare.sh
# T91: training photographs. SET5, BSDS_TEST: ground truths to validate on. RAIN: Rain100L with input/ and target/.
# SOTS: SOTS-indoor with hazy/ and clear/ of one size. VGG19: torchvision's vgg19-dcbb9e9d.pth, or a file with its first
# layers (features.0 to features.10). Any other folders of the same form will do; scenes to validate on are named below.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../env.sh"
out=datasets/evidence
sr=scripts/data_preparation/prepare_sr.py
pairs=scripts/evidence/split_pairs.py

for scale in 2 4; do
    python "$sr" --input "$T91" --output "$out/T91_x$scale" --scale $scale --size $((32 * scale)) --step $((24 * scale)) --skip-small
    python "$sr" --input "$SET5" --output "$out/Set5_x$scale" --scale $scale --full
    python "$sr" --input "$BSDS_TEST" --output "$out/BSDS_x$scale" --scale $scale --full --only '10[0-3]*'
done
# not among them: ground truths that occur twice in the set
python "$pairs" --lq "$RAIN/input" --gt "$RAIN/target" --output "$out/Rain100L" --val 51 52 53 54 55 56 57 58 59 60 61 62
python "$pairs" --lq "$SOTS/hazy" --gt "$SOTS/clear" --pair-by 'prefix(_)' --output "$out/SOTS" \
    --val 1402 1405 1408 1411 --val-only '*_2' '*_5' '*_9'
mkdir -p experiments/pretrained_models
cp -n "$VGG19" experiments/pretrained_models/vgg19-dcbb9e9d.pth
