"""Whether the service would serve the use case at all: checked before the work, and not only when a
version is crowned."""

from prefect import get_run_logger, task

from tasks.outside.blocks_of_run import PATIENT, service


@task(**PATIENT)
def check_service(use_case: str) -> str | None:
    """Log what keeps the service from serving a new champion of the use case now; ``None`` if
    nothing does.

    A service that does not answer may be back when there is something to serve. Raises
    ``ServiceRefuses`` if the service can never serve the use case as it is set up."""
    hindrance = service().check_serves(use_case)
    if hindrance:
        get_run_logger().warning(
            "a champion of %s could not be served now: %s", use_case, hindrance
        )
    return hindrance
