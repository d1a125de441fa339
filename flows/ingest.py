"""Source to lake: rows validated, versions named by content, bad rows in quarantine."""

from prefect import flow
from prefect.states import State

from flows.runs import OPTIONS, completed, run_name
from tasks.data.dataset import DatasetVersion
from tasks.steps.ingest import find_periods, publish_dataset, take_in


@flow(name="ingest", flow_run_name=run_name("through"), **OPTIONS)
async def ingest(
    use_case: str,
    through: str | None = None,
    since: str | None = None,
    at_most: bool = False,
) -> State[DatasetVersion]:
    """Ingest every complete period up to ``through`` (``2013-03``; default: all there is),
    or, if it may be ``at_most`` that one, to the last that the source has.

    With ``since``, only periods from there on are read again; earlier ones come from the previous
    version. The same source gives the same version, and writes nothing. A batch that is broken as a
    whole is refused before anything is visible."""
    periods = find_periods(use_case, through, since, at_most)
    batches = [take_in(use_case, period) for period in periods]
    dataset = publish_dataset(use_case, batches, since)
    return completed(dataset.in_short, dataset)
