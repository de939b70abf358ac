#!/usr/bin/env bash
# Checks the README's line that installs the plugin and keeps the torch that is there: runs it in a throwaway environment
# with an older torch. Downloads several GB and takes minutes.
#   TORCH=2.6.0 TORCHVISION=0.21.0 PYTHON=python3 bash scripts/keep_torch.sh
set -euo pipefail
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
line="$(grep -m 1 -e '-c keep.txt' "$root/README.md")" || { echo "README.md has no line with '-c keep.txt'" >&2; exit 1; }

work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
cp -r "$root"/{setup.py,pyproject.toml,README.md,LICENSE,mcir_plugin} "$work"
"${PYTHON:-python3}" -m venv "$work/venv"
export PATH="$work/venv/bin:$PATH"
cd "$work"

echo "== an environment with torch ${TORCH:=2.6.0} and torchvision ${TORCHVISION:=0.21.0}"
pip install --quiet "torch==$TORCH" "torchvision==$TORCHVISION"
installed() { pip freeze | grep -E '^(torch|torchvision)=='; }
before="$(installed)"

echo "== $line"
bash -euo pipefail -c "$line" >pip.log 2>&1 || { tail -n 30 pip.log >&2; exit 1; }

echo '== what became of it'
if [ "$(installed)" != "$before" ]; then
    printf 'torch was replaced:\n%s\nis now\n%s\n' "$before" "$(installed)" >&2
    exit 1
fi
cd /
basicsr --help >/dev/null
python -c 'import mcir_plugin, basicsr; mcir_plugin.SPNLoss(vgg_weights="random:0")' 2>/dev/null
printf 'kept:\n%s\nand basicsr --help works\n' "$before"
