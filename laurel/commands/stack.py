"""``laurel up`` and ``laurel down``: the stack on this machine."""

import subprocess
import sys

import typer


def up() -> None:
    """Start Prefect, the lake, MLflow, the service and a worker, and apply the deployments.

    Example: laurel up
    """
    _run("deployments.local", "up")
    _run("deployments.apply")


def down() -> None:
    """Stop everything that `laurel up` started.

    Example: laurel down
    """
    _run("deployments.local", "down")


def _run(module: str, *arguments: str) -> None:
    command = [sys.executable, "-m", module, *arguments]
    if code := subprocess.run(command, check=False).returncode:
        raise typer.Exit(code)
