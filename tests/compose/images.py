"""The database images of the test: the published ones, or substitutes on an engine that reaches no
registry.
"""

import json
import os
import subprocess
from dataclasses import dataclass

ENTRYPOINT = "/usr/local/bin/docker-entrypoint.sh"


@dataclass(frozen=True)
class StandIn:
    """An imported image whose entrypoint fails to start its database, and the ``sed`` expressions
    that repair it.
    """

    variable: str
    name: str
    broken: str
    expressions: tuple[str, ...]

    def image(self) -> str:
        """The name of the image to run. The variable takes precedence, as in compose.yaml."""
        name_in_environment = os.environ.get(self.variable)
        if name_in_environment or not self._was_imported():
            return name_in_environment or self.name
        if self.broken not in _docker(
            "run", "--rm", "--network", "none", "--entrypoint", "cat", self.name, ENTRYPOINT
        ):
            return self.name
        mended = f"laurel-test-{self.name}"
        edits = " ".join(f"-e '{expression}'" for expression in self.expressions)
        _docker(
            "build",
            "--quiet",
            "--tag",
            mended,
            "-",
            stdin=f"FROM {self.name}\nRUN sed -i {edits} {ENTRYPOINT}\n",
        )
        return mended

    def _was_imported(self) -> bool:
        """Whether the engine has an image with that name that came from no registry."""
        listing = subprocess.run(
            ["docker", "image", "inspect", self.name], capture_output=True, text=True, check=False
        )
        return listing.returncode == 0 and not json.loads(listing.stdout)[0]["RepoDigests"]


STAND_INS = (
    # It starts initdb as another user than the one whose pipe the password comes by, which that
    # user cannot read.
    StandIn(
        "POSTGRES_IMAGE",
        "postgres:16",
        """--pwfile=<(printf '%s' "${POSTGRES_PASSWORD:?}")""",
        (
            "s#--pwfile=<([^)]*)#--pwfile=/tmp/password#",
            's#^set -e$#set -e; (umask 077; printf %s "$POSTGRES_PASSWORD" >/tmp/password); '
            "chown postgres /tmp/password#",
        ),
    ),
    # It gives two statements in one line to a server that reads one statement a line.
    StandIn(
        "MYSQL_IMAGE",
        "mysql:8.4",
        "'; GRANT ALL ON",
        (
            "s#; GRANT ALL ON#;\\\\nGRANT ALL ON#",
            's#&& echo "CREATE USER#\\&\\& echo -e "CREATE USER#',
        ),
    ),
)


def database_images() -> dict[str, str]:
    """Names by the variable of compose.yaml."""
    return {stand_in.variable: stand_in.image() for stand_in in STAND_INS}


def _docker(*arguments: str, stdin: str | None = None) -> str:
    return subprocess.run(
        ["docker", *arguments], input=stdin, capture_output=True, text=True, check=True
    ).stdout
