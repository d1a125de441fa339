"""The same CPU time by shared library, as Linux's perf samples it: a check of the stopwatch that
does not touch the service.
"""

import shutil
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

SECONDS = 3.0
SMALLEST_SHARE = 0.01
# The beginning of a file's name, and what it is.
LIBRARIES = {
    "libpython": "Python's interpreter",
    "python3": "Python's interpreter",
    "onnxruntime": "ONNX Runtime",
    "[kernel": "kernel",
    "libc.so": "C library",
    "_core.": "msgspec",
    "parser.": "httptools",
    "loop.": "uvloop",
    "_multiarray_umath": "numpy",
    "libcrypto": "OpenSSL",
}


def sample(pid: int, load: Callable[[], object], file: Path) -> dict[str, float]:
    """Shares (0-1) of the CPU time of the process's first thread while ``load`` runs, largest
    first; empty where perf is not to be had.
    """
    if shutil.which("perf") is None:
        return {}
    loading = threading.Thread(target=load)
    loading.start()
    time.sleep(0.5)
    record = [
        "perf",
        "record",
        "-q",
        "-e",
        "cpu-clock",
        "-F",
        "1999",
        "-t",
        str(pid),
        "-o",
        str(file),
        "--",
        "sleep",
        str(SECONDS),
    ]
    recorded = subprocess.run(record, capture_output=True, check=False).returncode == 0
    loading.join()
    report = ["perf", "report", "-i", str(file), "--sort", "dso", "--stdio"]
    return (
        read_shares(subprocess.run(report, capture_output=True, text=True, check=False).stdout)
        if recorded
        else {}
    )


def read_shares(report: str) -> dict[str, float]:
    """What ``perf report --sort dso`` says, under the names that people know; small ones as one."""
    shares: dict[str, float] = {}
    for line in report.splitlines():
        share, _, library = line.strip().partition("%")
        if not library or line.startswith("#"):
            continue
        kind = next(
            (name for begin, name in LIBRARIES.items() if library.strip().startswith(begin)),
            "others",
        )
        shares[kind] = shares.get(kind, 0.0) + float(share) / 100
    small = [name for name, share in shares.items() if share < SMALLEST_SHARE and name != "others"]
    rest = sum(shares.pop(name) for name in small) + shares.pop("others", 0.0)
    ordered = dict(sorted(shares.items(), key=lambda item: -item[1]))
    return ordered | ({"others": rest} if rest else {})
