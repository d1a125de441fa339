"""Checks in a process of their own, within a time limit: what hangs, exits or crashes is a finding
too."""

import json
import os
import selectors
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from tasks.checks.child import BEGIN, END, FINDING, START
from tasks.checks.finding import Finding

LIMIT_SECONDS = 60.0
START_SECONDS = 120.0
_PROGRAM = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from tasks.checks.child import main; main(sys.argv[2], int(sys.argv[3]))"
)


def watch_checks(
    use_case: str, rows: int, limit_seconds: float = LIMIT_SECONDS
) -> Iterator[Finding]:
    """The findings on ``use_case``, each as it is known; a check that takes longer than
    ``limit_seconds`` is ended, and those after it are not made."""
    path = json.dumps([entry or str(Path.cwd()) for entry in sys.path])
    program = [sys.executable, "-c", _PROGRAM, path, use_case, str(rows)]
    with tempfile.TemporaryFile() as errors:
        child = subprocess.Popen(program, stdout=subprocess.PIPE, stderr=errors)
        try:
            current = START
            for kind, content in _answers(child, limit_seconds):
                if kind == BEGIN:
                    current = str(content)
                elif kind == FINDING:
                    yield Finding(**content)  # type: ignore[arg-type]
                elif kind == END:
                    return
                else:
                    break
            yield _ended(child, current, limit_seconds, errors)
            yield Finding("rest", "not checked", f"since {current} did not end")
        finally:
            child.kill()
            child.wait()


def _answers(child: "subprocess.Popen[bytes]", seconds: float) -> Iterator[tuple[str, object]]:
    """What the child says; ``("", None)`` when it is silent for too long, or has ended."""
    assert child.stdout is not None
    line, until = b"", time.monotonic() + START_SECONDS
    with selectors.DefaultSelector() as ready:
        ready.register(child.stdout, selectors.EVENT_READ)
        while ready.select(max(0.0, until - time.monotonic())):
            part = os.read(child.stdout.fileno(), 1 << 16)
            if not part:
                break
            *lines, line = (line + part).split(b"\n")
            for each in lines:
                kind, content = json.loads(each)
                yield kind, content
                until = time.monotonic() + (START_SECONDS if content == START else seconds)
    yield "", None


def _ended(
    child: "subprocess.Popen[bytes]", check: str, limit: float, errors: IO[bytes]
) -> Finding:
    """Why the child says no more."""
    name, _, candidate = check.partition(" ")
    about = f"{candidate}: " * bool(candidate)
    try:
        code = child.wait(1)
    except subprocess.TimeoutExpired:
        sentence = f"{about}no answer within {limit:g} s"
        remedy = (
            "Does the source, or the candidate, wait for something? A slow one gets more time with "
            "--limit SECONDS."
        )
        return Finding(name, "wrong", sentence, remedy=remedy)
    errors.seek(0)
    lines = errors.read().decode(errors="replace").strip().splitlines()
    last = lines[-1][:300] if lines else "it said nothing"
    sentence = f"{about}the process of the check ended with code {code}: {last}"
    remedy = "Does the use case's code exit, or was memory too little? Try fewer rows: --rows."
    return Finding(name, "wrong", sentence, remedy=remedy)
