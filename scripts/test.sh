#!/usr/bin/env bash
# Runs the style check and the tests in .venv, which it makes if need be. Arguments go to pytest:
#   bash scripts/test.sh tests/losses -k spn
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"
ruff check .
python -m pytest "$@"
