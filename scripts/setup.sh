#!/bin/sh
# Makes .venv from a lock file: scripts/setup.sh requirements.lock
# Needs python3 only: uv comes through pip when missing, Python 3.10 through uv when the machine has none.
set -eu
lock=$1
cd "$(dirname "$0")/.."

find_uv() {
    if command -v uv >/dev/null 2>&1; then command -v uv; return; fi
    if [ ! -x .uv/bin/uv ]; then
        echo "uv not found: installing it into .uv with pip" >&2
        # --target leaves the machine's own Python alone, and works where it is marked externally managed.
        PIP_ROOT_USER_ACTION=ignore python3 -m pip install --quiet --require-hashes --target .uv -r requirements-uv.lock >&2 || {
            echo "error: pip could not install uv; install python3-pip, or uv itself, and try again" >&2
            exit 1
        }
    fi
    echo .uv/bin/uv
}

find_python() {
    # uv does not look at pyenv versions that are not active, so they are named first.
    for candidate in "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.10*/bin/python "$(command -v python3.10 || true)"; do
        if [ -x "$candidate" ] && "$candidate" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 10))' 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
    echo 3.10 # uv searches the machine, then downloads it
}

uv=$(find_uv)
python=$(find_python)
echo "setting up .venv with Python $python from $lock"
[ -x .venv/bin/python ] || "$uv" venv --quiet --python "$python" .venv
"$uv" pip sync --quiet --require-hashes --python .venv/bin/python "$lock"
"$uv" pip install --quiet --offline --no-deps --no-build-isolation --python .venv/bin/python --editable .
