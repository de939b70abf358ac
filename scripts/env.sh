# Makes or reuses .venv for quickstart.sh and test.sh; to be sourced. Afterwards it is on PATH and the current folder is
# the repository's root.
#   PYTHON=python3.12   the interpreter to make .venv with (Python 3.10 to 3.12). Default: the first one found.

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
VENV="$ROOT/.venv"
CONSTRAINTS="$ROOT/scripts/constraints.txt"
cd "$ROOT"

say() { printf '%s\n' "$*" >&2; }

version_of() { "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null || true; }

supported() { case "$1" in 3.10 | 3.11 | 3.12) return 0 ;; *) return 1 ;; esac }

# prints the interpreter to use
find_python() {
    local candidate version
    if [ -n "${PYTHON:-}" ]; then
        version="$(version_of "$PYTHON")"
        if ! supported "$version"; then
            say "PYTHON=$PYTHON is ${version:+Python }${version:-no Python that runs here}, but Python 3.10, 3.11 or 3.12 is needed" \
                "(BasicSR does not install on others). Try: PYTHON=python3.12 bash $0"
            return 1
        fi
        echo "$PYTHON"
        return
    fi
    for candidate in python3 python3.12 python3.11 python3.10; do
        if supported "$(version_of "$candidate")"; then
            echo "$candidate"
            return
        fi
    done
    say "No Python 3.10, 3.11 or 3.12 was found (python3 is ${1:-missing}). Install one, then: PYTHON=/path/to/python bash $0"
    return 1
}

# what the installed environment depends on: if it is unchanged, there is nothing to do
wanted_stamp() { { echo "$1 $ROOT"; cat setup.py pyproject.toml "$CONSTRAINTS" scripts/env.sh; } | cksum; }

make_venv() {
    local python
    python="$(find_python "$(version_of python3)")" || return 1
    say "Making $VENV with $("$python" --version) ..."
    if command -v uv >/dev/null; then
        uv venv --quiet --clear --python "$("$python" -c 'import sys; print(sys.executable)')" "$VENV"
    elif ! "$python" -m venv --clear "$VENV"; then
        say "Python's venv module does not work here (on Debian and Ubuntu: apt-get install python3-venv), and there is no uv."
        return 1
    fi
}

install_project() {
    local extras='.[lpips,mmengine,quickstart,report,spandrel,test]'
    say 'Installing the plugin with pinned dependencies (about 6 GB with CUDA libraries; minutes the first time) ...'
    if command -v uv >/dev/null; then
        set -- uv pip install --quiet --python "$VENV/bin/python"
    elif "$VENV/bin/python" -m pip install --quiet uv; then
        set -- "$VENV/bin/python" -m uv pip install --quiet --python "$VENV/bin/python"
    else
        PIP_CONSTRAINT="$CONSTRAINTS" PIP_BUILD_CONSTRAINT="$CONSTRAINTS" "$VENV/bin/python" -m pip install -e "$extras"
        return
    fi
    "$@" --constraints "$CONSTRAINTS" --build-constraints "$CONSTRAINTS" -e "$extras"
}

# installs one more package, without its dependencies
add_package() {
    if command -v uv >/dev/null; then
        uv pip install --quiet --python "$VENV/bin/python" --no-deps "$1"
    else
        "$VENV/bin/python" -m uv pip install --quiet --python "$VENV/bin/python" --no-deps "$1" 2>/dev/null ||
            "$VENV/bin/python" -m pip install --quiet --no-deps "$1"
    fi
}

prepare_environment() {
    local version stamp="$VENV/.installed"
    version="$(version_of "$VENV/bin/python")"
    if ! supported "$version" || { [ -n "${PYTHON:-}" ] && [ "$(version_of "$PYTHON")" != "$version" ]; }; then
        make_venv || return 1
        version="$(version_of "$VENV/bin/python")"
    fi
    if [ "$(cat "$stamp" 2>/dev/null)" != "$(wanted_stamp "$version")" ]; then
        install_project || return 1
        wanted_stamp "$version" >"$stamp.new" && mv "$stamp.new" "$stamp"
    fi
    export PATH="$VENV/bin:$PATH" VIRTUAL_ENV="$VENV"
    # threads that wait for others would otherwise burn their core; beside other work on the machine that made a
    # training step seven times slower
    export OMP_WAIT_POLICY="${OMP_WAIT_POLICY:-PASSIVE}"
}

prepare_environment
