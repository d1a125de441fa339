"""Containers as a user runs them: the command line, a client of the published port."""

import json
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import httpx

from tests.fixtures.processes import wait_until

# As the manifests require: only the volume and /tmp are writable, and no process can gain
# privileges.
HARDENED = (
    "--read-only",
    "--tmpfs",
    "/tmp",
    "--cap-drop",
    "ALL",
    "--security-opt",
    "no-new-privileges",
    "--stop-timeout",
    "30",
)


def docker(*arguments: str) -> str:
    """Standard output. Raises ``subprocess.CalledProcessError`` with its output as a note."""
    try:
        return subprocess.run(
            ["docker", *arguments], capture_output=True, text=True, check=True
        ).stdout
    except subprocess.CalledProcessError as error:
        error.add_note(f"{error.stdout[-3000:]}\n{error.stderr[-3000:]}")
        raise


@dataclass
class Container:
    """One container; ``began`` is when ``docker run`` was called (``time.monotonic``)."""

    id: str
    began: float

    @classmethod
    def start(
        cls,
        image: str,
        arguments: tuple[str, ...],
        environment: dict[str, str],
        volumes: dict[str, str],
    ) -> Self:
        variables = [f"--env={name}={value}" for name, value in environment.items()]
        variables += [f"--volume={source}:{target}" for source, target in volumes.items()]
        began = time.monotonic()
        return cls(
            docker(
                "run",
                "--detach",
                "--publish",
                "127.0.0.1::8080",
                *HARDENED,
                *variables,
                image,
                *arguments,
            ).strip(),
            began,
        )

    @cached_property
    def client(self) -> httpx.Client:
        address = docker("port", self.id, "8080").splitlines()[0]
        return httpx.Client(base_url=f"http://{address}", trust_env=False, timeout=30)

    def wait_until_ready(self) -> None:
        self.wait_until(
            lambda: self.client.get("/ready").status_code == 200, "the container is ready"
        )

    def wait_until(self, what: Callable[[], bool], description: str) -> None:
        """Poll until it is so; fails at once if the container has ended."""

        def done() -> bool:
            assert self.inspect()["State"]["Running"], (
                f"the container ended; it said:\n{self.logs()}"
            )
            return what()

        wait_until(done, description)

    def inspect(self) -> dict[str, Any]:
        return json.loads(docker("inspect", self.id))[0]

    def wait(self) -> int:
        """The exit code, when it has ended."""
        return int(docker("wait", self.id))

    def logs(self) -> str:
        process = subprocess.run(
            ["docker", "logs", self.id], capture_output=True, text=True, check=True
        )
        return process.stdout + process.stderr

    def remove(self) -> None:
        docker("rm", "--force", "--volumes", self.id)
