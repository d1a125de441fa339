"""Runs the containers of stacks, Compose and Dockerfiles without an engine: the same command with
the same environment.

The image's variables, entry point and command come from its Dockerfile; its files are this
checkout."""

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from blocks.settings import REPOSITORY
from tests.infra.terraform import Plan


@dataclass(frozen=True)
class Image:
    """An image of ``infra/images``, as its Dockerfile's last stage says."""

    environment: dict[str, str]
    entry_point: list[str]
    command: list[str]
    health: list[str]

    @classmethod
    def read(cls, name: str) -> Self:
        text = (
            (REPOSITORY / "infra" / "images" / name / "Dockerfile").read_text().replace("\\\n", " ")
        )
        lines = text[text.rindex("\nFROM ") :].splitlines()
        pairs = [
            pair
            for line in lines
            if line.startswith("ENV ")
            for pair in shlex.split(line.removeprefix("ENV "))
        ]
        instructions = {
            words[0]: words[-1]
            for line in lines
            if (words := line.split(" ", 1)) and words[0] in ("ENTRYPOINT", "CMD", "HEALTHCHECK")
        }
        health = instructions.get("HEALTHCHECK", "").partition(" CMD ")[2]
        return cls(
            {name: value for name, _, value in (pair.partition("=") for pair in pairs)},
            json.loads(instructions.get("ENTRYPOINT", "[]")),
            json.loads(instructions.get("CMD", "[]")),
            ["CMD-SHELL", health] if health else [],
        )


@dataclass(frozen=True)
class Container:
    """A container to run in ``folder``, which replaces /var/lib/laurel."""

    name: str
    line: list[str]
    environment: dict[str, str]
    health: list[str]
    folder: Path

    def run(self, line: list[str] | None = None) -> subprocess.CompletedProcess[str]:
        """Run the container's command, or another in its environment, to its end."""
        return subprocess.run(
            _here(line or self.line),
            env=self.environment,
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def is_healthy(self, check: list[str] | None = None) -> bool:
        """Whether its health check (or another one) ends with 0. ``CMD``: as it is; ``CMD-SHELL``:
        by a shell.
        """
        kind, *words = check or self.health
        assert kind in ("CMD", "CMD-SHELL"), kind
        ended = self.run(words if kind == "CMD" else ["/bin/sh", "-c", *words])
        with (self.folder / "health.log").open("a") as log:
            log.write(f"{ended.returncode} {ended.stderr[-2000:]}\n")
        return ended.returncode == 0

    @contextmanager
    def running(self) -> Iterator["Running"]:
        with (self.folder / "output.log").open("wb") as output:
            process = subprocess.Popen(
                _here(self.line), env=self.environment, cwd=REPOSITORY, stdout=output, stderr=output
            )
        try:
            yield Running(self, process)
        finally:
            process.terminate()
            process.wait(60)


@dataclass(frozen=True)
class Running:
    """A running container."""

    container: Container
    process: "subprocess.Popen[bytes]"

    def is_well(self) -> bool:
        """Whether its health check passes. Raises ``AssertionError`` with its last lines if it has
        ended.
        """
        assert self.process.poll() is None, f"{self.container.name} ended:\n{self.log()}"
        return self.container.is_healthy()

    def log(self) -> str:
        folder = self.container.folder
        return "\n".join(
            path.read_text()[-3000:]
            for path in (folder / "output.log", folder / "health.log")
            if path.exists()
        )


def _here(line: list[str]) -> list[str]:
    """``python`` is found by the child's PATH only where a shell looks for it."""
    return [sys.executable, *line[1:]] if line[0] == "python" else line


def task_containers(
    plan: Plan, family: str, values: dict[str, str], folder: Path
) -> dict[str, Container]:
    """The containers of a planned task definition, by name. ``values``: what their secrets and
    parameters hold, by variable.
    """
    definitions = {
        entry["family"]: json.loads(entry["container_definitions"])
        for entry in plan.planned("aws_ecs_task_definition").values()
    }
    containers = {}
    for definition in definitions[family]:
        image = Image.read("serving" if "-serving:" in definition["image"] else "flows")
        named = [entry["name"] for entry in definition.get("secrets", [])]
        environment = {entry["name"]: entry["value"] for entry in definition.get("environment", [])}
        environment |= {name: values[name] for name in named}
        line = [
            *(definition.get("entryPoint") or image.entry_point),
            *(definition.get("command") or image.command),
        ]
        root = folder / definition["name"]
        root.mkdir(parents=True, exist_ok=True)
        health = (definition.get("healthCheck") or {}).get("command", [])
        containers[definition["name"]] = Container(
            definition["name"], line, _environment(image, environment, root), health, root
        )
    return containers


def _environment(image: Image, declared: dict[str, str], folder: Path) -> dict[str, str]:
    """The image's variables under the container's, with the image's folders where they are here."""
    state = folder / "state"
    state.mkdir(exist_ok=True)
    merged = image.environment | declared
    merged = {
        name: re.sub(r"^/var/lib/laurel", str(state), value) for name, value in merged.items()
    }
    merged = {name: re.sub(r"^/tmp/", f"{folder}/", value) for name, value in merged.items()}  # noqa: S108 - the image's own
    python = Path(sys.executable).parent
    here = {
        "PATH": f"{python}:/usr/bin:/bin",
        "PYTHONPATH": str(REPOSITORY),
        "LAUREL_HOME": str(REPOSITORY),
        "HOME": str(state),
    }
    merged.pop("PYTHONDONTWRITEBYTECODE", None)
    return merged | here


def parameters(plan: Plan) -> dict[str, str]:
    """Variable -> value of the Parameter Store; ids that AWS generates (of subnets, security
    groups) are ``unknown-yet``.
    """
    planned: dict[str, Any] = plan.planned("aws_ssm_parameter")
    return {
        parameter["name"].rpartition("/")[2]: parameter.get("value", "unknown-yet")
        for parameter in planned.values()
    }
