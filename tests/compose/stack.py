"""A Compose project for a test, with its own secrets, ports, containers and volumes, which are
removed afterwards.
"""

import json
import os
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import httpx

from tests.compose.images import database_images

REPOSITORY = Path(__file__).resolve().parents[2]
PROJECT = "laurel-test"
PORTS = ("LAUREL_PREFECT", "LAUREL_MLFLOW", "LAUREL_SERVING", "PROMETHEUS")
LONG_RUNNING = ("postgres", "seaweedfs", "prefect", "mlflow", "worker", "serving", "prometheus")
HEAL_SECONDS = 180
RETRAIN = """
import sys
from prefect.client.orchestration import SyncPrefectClient
from blocks.settings import Settings
from deployments.demo.runs import Runs
from deployments.servers.environment import prefect_auth

settings = Settings.read()
with SyncPrefectClient(settings.prefect_api_url, auth_string=prefect_auth(settings)) as prefect:
    runs = Runs(settings, prefect, "flights")
    run = runs.start("retrain", through=sys.argv[1], reason="asked for by the test")
    print(runs.wait(run, "retrain").state)
"""


@dataclass(frozen=True)
class Stack:
    """``secrets`` as .env has them; ``ports`` on the loopback address by name."""

    env_file: Path
    secrets: dict[str, str]
    ports: dict[str, int]
    images: dict[str, str]

    @classmethod
    def made_in(cls, folder: Path) -> Self:
        subprocess.run([str(REPOSITORY / "infra/compose/make-env"), str(folder)], check=True)
        lines = (folder / ".env").read_text().splitlines()
        secrets = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
        free = [socket.create_server(("127.0.0.1", 0)) for _ in PORTS]
        ports = {
            name: listener.getsockname()[1] for name, listener in zip(PORTS, free, strict=True)
        }
        for listener in free:
            listener.close()
        return cls(folder / ".env", secrets, ports, database_images())

    @property
    def serving_url(self) -> str:
        return f"http://127.0.0.1:{self.ports['LAUREL_SERVING']}"

    def compose(self, *arguments: str, stdin: str | None = None, check: bool = True) -> str:
        """The standard output of ``docker compose`` in this project. Raises ``AssertionError`` with
        its whole output if it fails.
        """
        return self.run("docker", "compose", "--profile", "*", *arguments, stdin=stdin, check=check)

    def run(self, *line: str, stdin: str | None = None, check: bool = True) -> str:
        """The standard output of a command for this project. Raises ``AssertionError`` as
        ``compose`` does.
        """
        ports = {f"{name}_PORT": str(port) for name, port in self.ports.items()}
        ports |= {
            "COMPOSE_PROJECT_NAME": PROJECT,
            "COMPOSE_ENV_FILES": str(self.env_file),
            **self.images,
        }
        # Whatever else the shell or a .env of the checkout says must not reach this project.
        inherited = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("LAUREL_", "COMPOSE_"))
        }
        process = subprocess.run(
            line,
            cwd=REPOSITORY,
            env={**inherited, **ports},
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
        )
        assert process.returncode == 0 or not check, (
            f"{' '.join(line)}: exit code {process.returncode}\n{process.stdout}\n{process.stderr}"
        )
        return process.stdout

    def build(self) -> None:
        self.compose("build", "--quiet")

    def up(self) -> None:
        """Start what is not running, except Grafana: its queries go to Prometheus directly."""
        self.compose("up", "--detach", "--wait", *LONG_RUNNING)

    def down(self) -> None:
        self.compose("down", "--volumes", "--remove-orphans", "--timeout", "30", check=False)

    def logs(self) -> str:
        return self.compose("logs", "--no-color", "--tail", "40", check=False)

    def inside(self, *line: str, stdin: str | None = None, **settings: str) -> str:
        """Run a command in a container of the flows' image, with the flows' settings and these."""
        more = [f"--env={name}={value}" for name, value in settings.items()]
        return self.compose("run", "--rm", "--no-deps", "-T", *more, "apply", *line, stdin=stdin)

    def champion(self) -> dict[str, Any]:
        """The service's description of its champion."""
        headers = {"Authorization": f"Bearer {self.secrets['LAUREL_SERVING_KEY']}"}
        description: dict[str, Any] = httpx.get(
            f"{self.serving_url}/v1/flights", headers=headers, timeout=10
        ).json()
        return description

    def insist_on_champion(self) -> None:
        """Train a champion if the demo did not run before."""
        if not self.champion()["ready"]:
            self.retrain("2013-03")

    def retrain(self, through: str) -> str:
        """Run the deployment on the worker. Raises ``AssertionError`` if it does not complete."""
        return self.inside("python", "-c", RETRAIN, through)

    def container(self, service: str) -> dict[str, Any]:
        """Docker's information on the service's container, even if it has ended."""
        ids = self.compose("ps", "--all", "--quiet", service).split()
        assert len(ids) == 1, f"{service} has {len(ids)} containers"
        containers: list[dict[str, Any]] = json.loads(
            subprocess.check_output(["docker", "inspect", ids[0]], text=True)
        )
        return containers[0]

    def kill(self, service: str) -> None:
        """Kill the container's first process, as the kernel would if memory ran out. Not by
        ``docker kill``: Docker takes that for a person's decision, and does not restart the
        container.
        """
        pid = self.container(service)["State"]["Pid"]
        script = f"import os; os.kill({pid}, 9)"
        line = [
            "docker",
            "run",
            "--rm",
            "--pid",
            "host",
            "--user",
            "0",
            "--network",
            "none",
            "--entrypoint",
            "python",
            "laurel-flows",
            "-c",
            script,
        ]
        subprocess.run(line, check=True, capture_output=True)

    def wait_until_healed(self, service: str, killed: dict[str, Any]) -> float:
        """Seconds until the container that was ``killed`` runs again and is healthy. Raises
        ``AssertionError``.
        """
        since = time.monotonic()
        while time.monotonic() - since < HEAL_SECONDS:
            container = self.container(service)
            if (
                container["RestartCount"] > killed["RestartCount"]
                and container["State"].get("Health", {}).get("Status") == "healthy"
            ):
                return time.monotonic() - since
            time.sleep(0.5)
        raise AssertionError(
            f"{service} did not heal within {HEAL_SECONDS} s: "
            f"{self.container(service)['State']}\n{self.logs()}"
        )
