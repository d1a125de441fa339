"""Whether the service would serve the use case at all: asked before the work, and not only when somebody is crowned."""

from prefect import get_run_logger, task

from blocks.service import ServiceRefuses
from tasks.outside import PATIENT, service


@task(**PATIENT)
def check_service(use_case: str, must_serve: bool) -> str | None:
    """Say in the run's log what will keep a new champion of the use case from being served; ``None`` where nothing will.

    Raises ``ServiceRefuses`` where it ``must_serve`` and never will as the service is set up now. A service that does not answer
    may be back when there is something to serve.
    """
    try:
        hindrance = service().check_serves(use_case)
    except ServiceRefuses as error:
        if must_serve:
            raise
        hindrance = str(error)
    if hindrance:
        get_run_logger().warning("a champion of %s could not be served now, so that nobody will be crowned: %s", use_case, hindrance)
    return hindrance
