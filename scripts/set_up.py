"""Makes .venv for the stack that this machine can run, and .tools for development: set_up.py run|dev.

Any Python 3.8 or later runs it, and nothing else is needed: uv comes through pip when missing, a Python for
the stack through uv. The environment variable STACK names a stack to take instead of the newest.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

from stack import COMPAT, Choice, NoStackError, choose, machine_glibc

_ROOT = Path(__file__).resolve().parent.parent
_PYTHON = _ROOT / ".venv" / "bin" / "python"
_TOOLS_PYTHON = _ROOT / ".tools" / "bin" / "python"
_LOCKS = {"run": "{}.lock", "dev": "{}-dev.lock"}


def main() -> None:
    """Chooses the stack, says so in one line, and brings .venv up to its lock."""
    lock_name = _LOCKS[sys.argv[1]]
    uv = _find_uv()
    try:
        choice = choose(
            glibc=machine_glibc(),
            architecture=platform.machine(),
            find_python=lambda version: _find_python(uv, version),
            fetch_python=lambda version: _fetch_python(uv, version),
            only=os.environ.get("STACK", ""),
        )
    except NoStackError as error:
        sys.exit(f"error: {error}")
    stack = choice.stack
    print(f"stack: {stack.name} (TFX {stack.tfx}, Python {choice.python}): {choice.reason}", flush=True)
    _check_compiler(choice)
    lock = _ROOT / "requirements" / lock_name.format(stack.name)
    _sync(uv, _PYTHON, base=choice.python, lock=lock)
    install = ["pip", "install", "--quiet", "--offline", "--no-deps", "--no-build-isolation"]
    ours = ["--editable", str(_ROOT), "--editable", str(_ROOT / "pipeline")]
    _run(uv, *install, "--python", str(_PYTHON), *ours)
    if sys.argv[1] == "dev":
        _sync(uv, _TOOLS_PYTHON, base=choice.python, lock=_ROOT / "requirements" / "tools.lock")
    _cache_bytecode()
    (_ROOT / ".venv" / ".stack").write_text(stack.name + "\n", encoding="utf-8")


def _cache_bytecode() -> None:
    """Imports the pipeline once; else every start compiles TFX where PYTHONDONTWRITEBYTECODE is set."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    command = [str(_PYTHON), "-c", "import pipeline.kubeflow.compiler, pipeline.runners.local"]
    done = subprocess.run(command, cwd=_ROOT, env=environment, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(f"error: the pipeline cannot be imported: {done.stderr}")


def _sync(uv: str, python: Path, *, base: str, lock: Path) -> None:
    """Brings the environment of an interpreter up to a lock file."""
    if _version(str(python)) != _version(base):
        _run(uv, "venv", "--quiet", "--clear", "--python", base, str(python.parent.parent))
    _run(uv, "pip", "sync", "--quiet", "--require-hashes", "--python", str(python), str(lock))


def _find_uv() -> str:
    found = shutil.which("uv")
    if found:
        return found
    folder = _ROOT / ".uv"
    if not (folder / "bin" / "uv").exists():
        print("uv not found: installing it into .uv with pip", flush=True)
        lock = _ROOT / "requirements" / "uv.lock"
        # --target leaves the machine's own Python alone, and works where it is marked externally managed.
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--require-hashes", "--target", str(folder)]
        done = subprocess.run([*pip, "-r", str(lock)], env={**os.environ, "PIP_ROOT_USER_ACTION": "ignore"})
        if done.returncode:
            sys.exit("error: pip could not install uv; install python3-pip, or uv itself, and try again")
    return str(folder / "bin" / "uv")


def _find_python(uv: str, version: str) -> str | None:
    """An interpreter on this machine; uv does not look at pyenv versions that are not active."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    for python in sorted(pyenv.glob(f"{version}.*/bin/python")):
        if _version(str(python)) == version:
            return str(python)
    return _uv_python(uv, version)


def _fetch_python(uv: str, version: str) -> str | None:
    print(f"no Python {version} here: fetching one with uv", flush=True)
    subprocess.run([uv, "python", "install", "--quiet", "--no-bin", version])
    return _uv_python(uv, version)


def _uv_python(uv: str, version: str) -> str | None:
    # Not .venv's own, which is about to be replaced where it is of another stack.
    command = [uv, "python", "find", "--system", "--no-python-downloads", version]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    return done.stdout.strip() if done.returncode == 0 else None


def _version(python: str) -> str | None:
    """An interpreter's version, such as 3.13; None where it does not run."""
    command = [python, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    except OSError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _check_compiler(choice: Choice) -> None:
    """One package of the older stack, pyfarmhash, has no wheel for its Python."""
    if choice.stack == COMPAT and not (shutil.which("c++") or shutil.which("g++")):
        sys.exit("error: the compat stack compiles a C++ package: install g++, and try again")


def _run(*command: str) -> None:
    if subprocess.run(command, cwd=_ROOT).returncode:
        sys.exit(f"error: this failed: {' '.join(command)}")


if __name__ == "__main__":
    main()
