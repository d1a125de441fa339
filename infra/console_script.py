"""Write the command ``laurel`` beside the interpreter that runs this: it finds the repository from
any folder.

The kernel splits a script's first line at blanks, so the path of the interpreter stands in the
shell's second line, quoted."""

import os
import shlex
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
# Without -P, a file such as tasks.py in the person's folder would be imported instead of ours.
SCRIPT = """#!/bin/sh
exec {interpreter} -P -c {program} {repository} "$@"
"""
PROGRAM = (
    "import sys; sys.path.insert(0, sys.argv.pop(1)); sys.argv[0] = 'laurel'; "
    "from laurel.main import main; sys.exit(main())"
)


def script(interpreter: str, repository: str) -> str:
    """The text of the command, for paths with blanks, quotes and letters of any language."""
    return SCRIPT.format(
        interpreter=shlex.quote(interpreter),
        program=shlex.quote(PROGRAM),
        repository=shlex.quote(repository),
    )


def write(path: Path, text: str) -> bool:
    """Write the command unless it is there already. It is replaced whole: a copy of the
    environment made of hard links keeps its own. Returns whether it was written."""
    content = os.fsencode(text)
    if path.exists() and path.read_bytes() == content and os.access(path, os.X_OK):
        return False
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    draft.write_bytes(content)
    draft.chmod(0o755)
    draft.replace(path)
    return True


def main() -> None:
    interpreter = os.path.abspath(sys.executable)  # noqa: PTH100 - a link into .venv stays one
    write(Path(interpreter).with_name("laurel"), script(interpreter, str(REPOSITORY)))


if __name__ == "__main__":
    main()
