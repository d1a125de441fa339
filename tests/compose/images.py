"""Which PostgreSQL image the test runs: the published one, or what stands in for it on an engine that reaches no registry."""

import json
import os
import subprocess

NAME = "postgres:16"
MENDED = "laurel-test-postgres:16"
# A stand-in may start initdb as another user than the one whose pipe the password comes by, which that user cannot read.
PIPE = """--pwfile=<(printf '%s' "${POSTGRES_PASSWORD:?}")"""
DOCKERFILE = f"""
FROM {NAME}
RUN sed -i -e 's#--pwfile=<([^)]*)#--pwfile=/tmp/password#' \\
  -e 's#^set -e$#set -e; (umask 077; printf %s "$POSTGRES_PASSWORD" >/tmp/password); chown postgres /tmp/password#' \\
  /usr/local/bin/docker-entrypoint.sh
"""


def postgres_image() -> str:
    """Its name. ``POSTGRES_IMAGE`` wins, as it does in compose.yaml."""
    given = os.environ.get("POSTGRES_IMAGE")
    if given or not _was_imported():
        return given or NAME
    entrypoint = _docker("run", "--rm", "--network", "none", "--entrypoint", "cat", NAME, "/usr/local/bin/docker-entrypoint.sh")
    if PIPE not in entrypoint or "setpriv" not in entrypoint:
        return NAME
    _docker("build", "--quiet", "--tag", MENDED, "-", stdin=DOCKERFILE)
    return MENDED


def _was_imported() -> bool:
    """Whether the engine has an image of that name which came from no registry."""
    found = subprocess.run(["docker", "image", "inspect", NAME], capture_output=True, text=True, check=False)
    return found.returncode == 0 and not json.loads(found.stdout)[0]["RepoDigests"]


def _docker(*arguments: str, stdin: str | None = None) -> str:
    return subprocess.run(["docker", *arguments], input=stdin, capture_output=True, text=True, check=True).stdout
