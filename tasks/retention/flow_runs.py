"""Ended runs of a use case's flows in Prefect, with their logs; no other's on the same server."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterEndTime,
    FlowRunFilterParentFlowRunId,
    FlowRunFilterState,
    FlowRunFilterStateType,
    FlowRunFilterTags,
)
from prefect.client.schemas.objects import TERMINAL_STATES
from prefect.client.schemas.sorting import FlowRunSort
from prefect.exceptions import ObjectNotFound

from tasks.retention.removable import Removable

_PAGE = 200  # an answer of Prefect's API holds no more
_MOST = 5000  # in one call: what is left goes with the next


def old_runs(use_case: str, days: int, now: datetime) -> Removable:
    """Runs that ended before; one that waits for a person has not ended."""
    with get_client(sync_client=True) as client:
        ids = list(_find(client, use_case, now - timedelta(days)))
    return Removable("runs", days, len(ids), None, lambda: _remove(ids))


def _find(client: SyncPrefectClient, use_case: str, before: datetime) -> Iterator[UUID]:
    wanted = FlowRunFilter(
        tags=FlowRunFilterTags(all_=["laurel", use_case]),
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[*TERMINAL_STATES])),
        end_time=FlowRunFilterEndTime(before_=before),
    )
    for offset in range(0, _MOST, _PAGE):
        page = client.read_flow_runs(
            flow_run_filter=wanted, limit=_PAGE, offset=offset, sort=FlowRunSort.END_TIME_DESC
        )
        yield from (run.id for run in page)
        if len(page) < _PAGE:
            return


def _remove(ids: list[UUID]) -> None:
    """With the runs inside them, which would stay."""
    with get_client(sync_client=True) as client:
        for run in ids:
            inside = FlowRunFilter(parent_flow_run_id=FlowRunFilterParentFlowRunId(any_=[run]))
            for one in [*(sub.id for sub in client.read_flow_runs(flow_run_filter=inside)), run]:
                try:
                    client.delete_flow_run(one)
                except ObjectNotFound:  # another call was quicker
                    continue
