"""The servers of the running stack, for a command in any shell: nothing has to be exported."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from laurel.output import CommandFailed

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

    from blocks.clients.service import ServiceApi
    from blocks.settings import Settings


def stack_settings() -> "Settings":
    """The running stack's settings; the use cases of its folders can be imported afterwards."""
    from deployments.local.settings import read_stack_settings

    return read_stack_settings()


def check_prefect(settings: "Settings") -> None:
    """Raises ``CommandFailed`` if Prefect does not answer, or not to these credentials."""
    from deployments.servers.environment import prefect_auth
    from deployments.supervision.programs import ask

    status, _ = ask(f"{settings.prefect_api_url}/flows/count", {}, prefect_auth(settings))
    if status == 0:
        way = (
            "LAUREL_PREFECT_URL names it: is the address right?"
            if settings.prefect_url
            else "The stack is down. Start it: laurel up"
        )
        raise CommandFailed(f"Prefect at {settings.prefect_api_url} does not answer. {way}")
    if status in (401, 403):
        raise CommandFailed(
            f"Prefect at {settings.prefect_api_url} refuses the password. Set LAUREL_PREFECT_AUTH "
            "to its user:password."
        )
    if status != 200:
        raise CommandFailed(f"Prefect at {settings.prefect_api_url} answered {status}.")


@contextmanager
def open_prefect(settings: "Settings") -> Iterator["SyncPrefectClient"]:
    """A client of the stack's Prefect, which does not retry in silence. Raises
    ``CommandFailed``."""
    check_prefect(settings)
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.settings import PREFECT_CLIENT_MAX_RETRIES, temporary_settings

    from deployments.servers.environment import prefect_auth

    with (
        temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 0}),
        SyncPrefectClient(settings.prefect_api_url, auth_string=prefect_auth(settings)) as client,
    ):
        yield client


def service_api(settings: "Settings", timeout_seconds: float = 10) -> "ServiceApi":
    """Requests to the model service, with the stack's key."""
    from blocks.clients.service import ServiceApi

    return ServiceApi(settings.serving_base_url, settings.serving_key, timeout_seconds)
