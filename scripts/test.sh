#!/usr/bin/env bash
# Runs the style check and the tests in .venv, which it makes if need be. Arguments go to pytest:
#   bash scripts/test.sh tests/losses -k spn
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"
# its models are trained in a test, which is skipped without it; of its own dependencies only BasicSR is needed there
python -c 'import importlib.util as u, sys; sys.exit(u.find_spec("realesrgan") is None)' ||
    add_package realesrgan==0.3.0 || say 'realesrgan could not be installed: its test will be skipped.'
ruff check .
python -m pytest "$@"
