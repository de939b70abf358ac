#!/usr/bin/env bash
# From a fresh clone to a trained model-contrastive network on real photographs: environment, data, training, summary.
# A few minutes on two cores without a GPU, after the installation. A second run reuses the environment and the data.
#   PYTHON=python3.12 bash scripts/quickstart.sh    chooses the interpreter (Python 3.10 to 3.12)
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"

OPTIONS=options/quickstart.yml
DATA=datasets/quickstart
prepare=scripts/data_preparation
started=$SECONDS

# the data are made again when the scripts that make them have changed
made_by="$(cat "$prepare"/*.py scripts/quickstart.sh | cksum)"
if [ "$(cat "$DATA/.made_by" 2>/dev/null)" != "$made_by" ]; then
    say '== Data: photographs from the scikit-image wheel -> bicubic LR -> sub-images -> LMDB'
    rm -rf "$DATA"
    python "$prepare/skimage_photos.py" --output "$DATA/photos"
    python "$prepare/prepare_sr.py" --input "$DATA/photos/train" --output "$DATA/train" --scale 2 --size 128 --step 96
    python "$prepare/prepare_sr.py" --input "$DATA/photos/val" --output "$DATA/val" --scale 2 --full
    echo "$made_by" >"$DATA/.made_by"
fi

say "== Training: basicsr train -opt $OPTIONS"
basicsr train -opt "$OPTIONS"

say '== Summary'
python scripts/quickstart_summary.py -opt "$OPTIONS"
say "Done in $(((SECONDS - started) / 60)) min $(((SECONDS - started) % 60)) s, installation not counted."
