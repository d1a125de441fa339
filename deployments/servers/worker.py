"""Run a worker of the pool ``ec2``, with the environment that flow runs inherit.

    python -m deployments.servers.worker [--type process|ecs] [--name NAME]

The same command serves the local stack, Compose and ECS. The process becomes ``prefect worker
start``."""

import argparse
import os
import socket
import sys
from typing import NoReturn

from pydantic import ValidationError

from blocks.settings import Settings
from deployments.launch import parent as warm_parent
from deployments.servers.environment import AUTHORITIES, environment

POOL = "ec2"
# With the defaults a run waits up to 10 s for the next poll, and cancelling it does nothing. If a
# proxy blocks websockets, the worker hears of a cancellation only after two minutes, when the
# server has already marked the run as cancelled (CANCELLING_SECONDS).
QUICK = {
    "PREFECT_WORKER_QUERY_SECONDS": "1",
    "PREFECT_WORKER_ENABLE_CANCELLATION": "true",
    "PREFECT_WORKER_CANCELLATION_POLL_SECONDS": "15",
}


def main(arguments: list[str] | None = None) -> NoReturn:
    """This process becomes the worker, or exits with 1 and the error in the settings."""
    parser = argparse.ArgumentParser(
        prog="python -m deployments.servers.worker",
        description=__doc__.splitlines()[0] if __doc__ else None,
    )
    parser.add_argument(
        "--type",
        choices=["process", "ecs"],
        default="process",
        help="type of the pool (default: process)",
    )
    parser.add_argument(
        "--name",
        default=socket.gethostname(),
        help="the worker's name on Prefect's pages (default: the host's name)",
    )
    parser.add_argument(
        "--with-healthcheck",
        action="store_true",
        help="answer GET /health (PREFECT_WORKER_WEBSERVER_HOST and _PORT)",
    )
    options = parser.parse_args(arguments)
    try:
        settings = Settings.read()
    except ValidationError as error:
        sys.exit(str(error))
    line = [
        sys.executable,
        "-m",
        "prefect",
        "worker",
        "start",
        "--pool",
        POOL,
        "--type",
        options.type,
        "--name",
        options.name,
    ]
    if options.type == "ecs":
        line.append(
            "--no-create-pool-if-not-found"
        )  # its template comes from the settings: python -m deployments.apply --pool-type ecs
    if options.with_healthcheck:
        line.append("--with-healthcheck")
    variables = {**os.environ, **environment(settings), **QUICK}
    if options.type == "ecs":
        variables.pop(AUTHORITIES, None)  # It would reach tasks whose image may not have the file.
    elif settings.warm_runs:
        variables |= warm_parent.start(variables)
    os.execve(sys.executable, line, variables)  # noqa: S606


if __name__ == "__main__":
    main()
