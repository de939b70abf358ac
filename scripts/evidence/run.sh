#!/usr/bin/env bash
# The comparisons of docs/evidence, one after the other; give it again to go on. Data first: scripts/evidence/prepare.sh
#   bash scripts/evidence/run.sh [EXPERIMENT ...]     default: all; SEEDS='0 1 2'
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../env.sh"
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
seeds="${SEEDS:-0 1 2}"

variants() { for name in "$@"; do echo "$name=scripts/evidence/variants/$name.yml"; done; }

run() { # experiment, recipe, flags of basicsr compare; experiments of one recipe share what they both train
    local experiment="$1" recipe="$2" output="experiments/evidence/${runs:-$2}"
    shift 2
    basicsr compare -opt "options/evidence/$recipe.yml" --output "$output" --seeds $seeds "$@"
    # all but pictures of the data, which are not ours to give away
    mkdir -p "docs/evidence/$experiment"
    find "$output/report" -maxdepth 1 \( -name '*.json' -o -name 'report.md' -o -name 'losses.png' -o -name 'validations.png' \
        -o -name 'differences_*.png' \) -exec cp {} "docs/evidence/$experiment/" \;
    sed -i "s#$PWD/##g; s#$HOME/#~/#g" "docs/evidence/$experiment/"*.{json,md}  # where it was run does not matter
}

many='0 1 2 3 4 5 6 7'  # seeds, where an effect is smaller than what three of them can show
all='sr_x2 sr_x2_time derain dehaze sr_x4 sr_x4_time weight history form convergence'
for experiment in ${*:-$all}; do
    case "$experiment" in
        sr_x2) run "$experiment" EDSR_SRx2 --variants none $(variants spn1 spn4 spn1_lr cr pcl) ;;
        # as long as spn1 takes: three times the steps without the term
        sr_x2_time) runs=EDSR_SRx2_time run "$experiment" EDSR_SRx2 --variants none --set train:total_iter=4500 'train:scheduler:periods=[4500]' val:val_freq=900 ;;
        derain) run "$experiment" NAFNet_Rain100L --variants none $(variants spn1 cr ccr) ;;
        dehaze) run "$experiment" DehazeFormer_SOTS --variants none $(variants spn1 cr ccr) ;;
        sr_x4) run "$experiment" SwinIR_SRx4 --variants none $(variants spn1 spn4 cr pcl) ;;
        # as long as spn1 takes: six times the steps without the term
        sr_x4_time) runs=SwinIR_SRx4_time run "$experiment" SwinIR_SRx4 --variants none --set train:total_iter=4800 'train:scheduler:periods=[4800]' val:val_freq=960 ;;
        weight) run "$experiment" EDSR_SRx2 --variants none $(variants lambda3e-4 spn1 lambda3e-3 lambda1e-2 lambda1e-2_lr lambda1e-1 lambda1e-1_bounded) ;;
        history) run "$experiment" EDSR_SRx2 --variants none $(variants spn1 step10 step500 single interval10 adaptive sec random_features) ;;
        form) run "$experiment" EDSR_SRx2 --variants none $(variants lambda1e-2 ratio hinge infonce) ;;
        convergence) seeds="$many" run "$experiment" EDSR_SRx2 --variants none $(variants lambda3e-3 lambda1e-1_bounded) ;;
        *) echo "There is no experiment $experiment. There are: $all" >&2 && exit 2 ;;
    esac
done
