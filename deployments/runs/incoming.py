"""A new object under ``incoming/<use case>/`` of the lake starts the use case's deployment
``ingest``.

    python -m deployments.runs.incoming <key> <write>

EventBridge runs this inside the cluster, since Prefect is private. ``write`` identifies this write
of the object (S3's sequencer): an event that is delivered twice starts one run. If the command
fails, EventBridge keeps the event's task in the dead-letter queue."""

import sys
import time
from collections.abc import Callable
from uuid import UUID

import httpx
from prefect.client.orchestration import SyncPrefectClient
from prefect.exceptions import ObjectNotFound
from pydantic import ValidationError

from blocks.settings import Settings

FOLDER = "incoming"
PATIENCE_SECONDS = 300
PAUSE_SECONDS = 5


class IncomingError(Exception):
    """The object cannot start a run; the message says why and what to do."""


def use_case_of(key: str) -> str | None:
    """The use case of ``incoming/<use case>/<name>``; ``None`` for the folder object that S3's
    console makes.

    Raises ``IncomingError`` for any other key.
    """
    folder, _, rest = key.partition("/")
    use_case, separator, name = rest.partition("/")
    if folder != FOLDER or not use_case or not separator:
        raise IncomingError(
            f"{key!r} belongs to no use case. Put the object at {FOLDER}/<use case>/<name>."
        )
    return use_case if name and not name.endswith("/") else None


def start_ingest(prefect: SyncPrefectClient, use_case: str, key: str, write: str) -> UUID:
    """Start the ingest run; a second call for the same write returns the same run. Raises
    ``IncomingError``.
    """
    try:
        deployment = prefect.read_deployment_by_name(f"ingest/{use_case}")
    except ObjectNotFound as error:
        raise IncomingError(
            f"There is no deployment 'ingest/{use_case}' for {key!r}. Apply it: python -m "
            "deployments.apply"
        ) from error
    run = prefect.create_flow_run_from_deployment(
        deployment.id, idempotency_key=f"{key} {write}", tags=["laurel", use_case, FOLDER]
    )
    return run.id


def patiently(
    start: Callable[[], UUID],
    patience_seconds: float = PATIENCE_SECONDS,
    pause_seconds: float = PAUSE_SECONDS,
) -> UUID:
    """Repeat ``start`` while the server is unreachable (deploying Prefect takes a minute). Raises
    ``httpx.HTTPError`` in the end.
    """
    since = time.monotonic()
    while True:
        try:
            return start()
        except httpx.TransportError:
            if time.monotonic() - since > patience_seconds:
                raise
        time.sleep(pause_seconds)


def main(arguments: list[str]) -> int:
    """The exit code."""
    if len(arguments) != 2:
        print("usage: python -m deployments.runs.incoming <key> <write>", file=sys.stderr)
        return 2
    key, write = arguments
    try:
        settings, use_case = Settings.read(), use_case_of(key)
        if use_case is None:
            print(f"{key} is a folder: nothing to ingest.")
            return 0
        auth = settings.prefect_auth.get_secret_value() if settings.prefect_auth else None
        with SyncPrefectClient(settings.prefect_api_url, auth_string=auth) as prefect:
            run = patiently(lambda: start_ingest(prefect, use_case, key, write))
    except (IncomingError, ValidationError, httpx.HTTPError) as error:
        print(f"No run was started for {key}: {error}", file=sys.stderr)
        return 1
    print(f"{key} starts ingest/{use_case}: flow run {run}.")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
