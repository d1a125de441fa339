"""The ledger over HTTP: decisions as a table, past champions, and the windows as a series."""

from datetime import datetime
from typing import Annotated

from fastapi import FastAPI, Query
from fastapi.responses import Response

from serving.edge.answers import json_response
from serving.errors import InputError, Refused
from serving.history.checks import History
from serving.history.decisions import Wanted
from serving.history.series import (
    MOST_WINDOWS,
    crowns_of,
    metric_of,
    window_of,
)
from serving.history.window_order import begin_of
from serving.records.ledger import Kind
from serving.routes.history import Limit
from serving.routes.lake_reader import LakeReader
from serving.service.service import Service

_LAST_PLACE = 99_999_999
_LONGEST_WORD = 100

Place = Annotated[int, Query(ge=1, le=_LAST_PLACE, description="only items before this one")]
OfKind = Annotated[Kind, Query(description="only items with an entry of this kind")]
OfVerdict = Annotated[
    str, Query(max_length=_LONGEST_WORD, description="only items with this verdict")
]
Text = Annotated[
    str, Query(max_length=_LONGEST_WORD, description="only items that hold these words")
]
Bound = Annotated[
    str, Query(max_length=20, description="a window, or its first day: 2013-06, 2013-W23")
]


def add_routes(app: FastAPI, service: Service, lake: LakeReader) -> None:
    @app.get("/v1/{use_case}/decisions", tags=["history"])
    async def decisions(
        use_case: str,
        limit: Limit = 50,
        before: Place | None = None,
        kind: OfKind | None = None,
        verdict: OfVerdict | None = None,
        q: Text = "",
    ) -> Response:
        """The ledger as a table, the latest first: one item for a retrain, with the entries of its
        drift check, contest, approval and deployment as `parts`; any other decision is an item of
        its own. `next` is the `before` of the following page, `total` counts what matches among
        the entries `searched`. An entry says whether the chain holds there (`tampered`).
        """
        wanted = Wanted(kind=kind, verdict=verdict or None, text=q.strip())
        page = await lake.ask(
            use_case, lambda history: history.decisions(use_case, wanted, before, limit)
        )
        return json_response(
            {
                "use_case": use_case,
                "items": page.items,
                "next": page.next,
                "total": page.total,
                "searched": {"first": page.first, "last": page.last},
            }
        )

    @app.get("/v1/{use_case}/decisions/{decision}", tags=["history"])
    async def decision(use_case: str, decision: int) -> Response:
        """One item of the ledger, by the place of any of its entries."""
        item = (
            await lake.ask(use_case, lambda history: history.decision(use_case, decision))
            if 0 < decision <= _LAST_PLACE
            else None
        )
        if item is None:
            raise Refused(
                404,
                "no_decision",
                f"The ledger of {use_case} has no entry {decision}; GET "
                f"/v1/{use_case}/decisions lists them.",
            )
        return json_response({"use_case": use_case, "decision": item})

    @app.get("/v1/{use_case}/champions", tags=["history"])
    async def champions(use_case: str) -> Response:
        """Who was champion, since when and until when, with the score that won the crown, the
        latest first; and what the last promotion `brought` on a later window, by the flow compare.
        """
        reigns, brought = await lake.ask(
            use_case, lambda history: (history.reigns(use_case), history.brought(use_case))
        )
        serving = service.use_cases.watch(use_case).champion
        return json_response(
            {
                "use_case": use_case,
                "serving": serving.version if serving else None,
                "champions": reigns,
                "brought": brought,
            }
        )

    @app.get("/v1/{use_case}/series", tags=["history"])
    async def series(
        use_case: str,
        since: Annotated[Bound | None, Query(alias="from")] = None,
        to: Bound | None = None,
    ) -> Response:
        """The last 400 windows in the order of time: the champion's score with its interval at 90 %
        and its coverage by labels, the estimate, the share of drift and its limit, requests and
        latency of all services by the time of their answer, counted since the hour `counted_since`
        (UTC); the crowns; and the last day of this service. What is null has its reason beside it.
        """
        first, last = _moment("from", since), _moment("to", to)

        def within(begin: datetime) -> bool:
            return (first is None or begin >= first) and (last is None or begin <= last)

        def read(history: History) -> dict[str, object]:
            checks = history.drift(use_case, MOST_WINDOWS, within)
            reigns = history.reigns(use_case)
            metric = metric_of(checks, reigns)
            hours = history.traffic(use_case)
            windows = [window_of(check, metric, hours) for check in reversed(checks)]
            return {
                "use_case": use_case,
                "metric": metric,
                "windows": windows,
                "crowns": crowns_of(reigns, windows),
                "counted_since": hours.since,
            }

        answer = await lake.ask(use_case, read)
        answer["traffic"] = service.traffic.day(use_case)
        return json_response(answer)


def _moment(name: str, window: str | None) -> datetime | None:
    """Raises ``InputError`` for what is neither a window nor a day."""
    if window is None:
        return None
    begin = begin_of(window)
    if begin == datetime.min:
        raise InputError(
            f"{name}={window!r} is not a window: write its name, such as 2013-06, or a day, such "
            "as 2013-06-01."
        )
    return begin
