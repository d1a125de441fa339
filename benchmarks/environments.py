"""Virtual environments for the peers that cannot share ours, made once by uv from pins in a file
``<name>.txt``."""

import hashlib
import subprocess
import sys
from pathlib import Path


class Unavailable(RuntimeError):
    """A server cannot be measured here; the message says why."""


def python_of(name: str, environments: Path) -> Path:
    """The interpreter of the environment, which ``install`` made."""
    return environments / name / "bin" / "python"


def install(name: str, environments: Path, pins_folder: Path) -> None:
    """Make the environment, unless it stands already with these pins. Raises ``Unavailable``."""
    pins, stamp = pins_folder / f"{name}.txt", environments / name / "stamp"
    digest = hashlib.sha256(pins.read_bytes()).hexdigest() + sys.version
    if stamp.exists() and stamp.read_text() == digest and python_of(name, environments).exists():
        return
    uv = Path(sys.executable).with_name("uv")
    if not uv.exists():
        raise Unavailable(f"uv is not installed beside {sys.executable}; `make venv` puts it there")
    print(f"Installing {name} into {environments / name} (once) ...", file=sys.stderr)
    _run(
        [
            str(uv),
            "venv",
            "--quiet",
            "--clear",
            "--python",
            sys.executable,
            str(environments / name),
        ]
    )
    _run(
        [
            str(uv),
            "pip",
            "sync",
            "--quiet",
            "--python",
            str(python_of(name, environments)),
            str(pins),
        ]
    )
    stamp.write_text(digest)


def _run(command: list[str]) -> None:
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    if process.returncode:
        last = " ".join(process.stderr.split())[-300:]
        raise Unavailable(f"`uv {' '.join(command[1:3])}` failed: {last}")
