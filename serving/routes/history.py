"""Drift checks, decisions and open questions over HTTP: a few at a time, on threads that score
nothing.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, TypeVar

import msgspec
from fastapi import FastAPI, Query
from fastapi.responses import HTMLResponse, Response

from serving.edge.answers import json_response
from serving.edge.security_headers import REPORT_HEADERS
from serving.errors import LakeAway, PrefectAway, Refused
from serving.history.approvals import state_of
from serving.history.checks import History
from serving.history.heads import TIMEOUT_SECONDS, HeadReader
from serving.history.ledger import Approval
from serving.outside.lake import open_lake
from serving.outside.prefect_api import PrefectApi
from serving.outside.registry import Registry
from serving.records.ledger import Kind
from serving.service.service import Service

_AT_ONCE = 2
_PATIENCE_SECONDS = 2.5
_MOST = 200
_MOST_QUESTIONS = 20

T = TypeVar("T")
Limit = Annotated[int, Query(ge=1, le=_MOST, description="how many at most, the latest first")]
OfKind = Annotated[Kind | None, Query(description="only entries of this kind, among the last 1000")]


def add_routes(app: FastAPI, service: Service) -> None:
    """``/v1/{use_case}/drift``, its reports, ``/decisions`` and ``/approvals``."""
    registry = Registry.of(service.settings, TIMEOUT_SECONDS)
    history = History(open_lake(service.settings, for_page=True), heads=HeadReader(registry))
    turns = asyncio.Semaphore(_AT_ONCE)
    readers = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="history")

    async def ask(use_case: str, work: Callable[[], T]) -> T:
        """Raises ``LakeAway`` if the lake does not answer in time: its thread goes on waiting, and
        nobody with it.
        """
        service.use_cases.watch(use_case)
        reading = asyncio.get_running_loop().run_in_executor(readers, work)
        finished, _ = await asyncio.wait([reading], timeout=_PATIENCE_SECONDS)
        if not finished:
            reading.cancel()  # work that has not begun never will
            raise LakeAway(
                f"The lake did not answer within {_PATIENCE_SECONDS:g} seconds. Try again later."
            )
        return reading.result()

    @app.get("/v1/{use_case}/drift", tags=["history"])
    async def drift(use_case: str, limit: Limit = 50) -> Response:
        """The drift checks of the last windows, with what drove their outcomes."""
        return json_response(
            {
                "use_case": use_case,
                "drift": await ask(use_case, lambda: history.drift(use_case, limit)),
            }
        )

    @app.get("/v1/{use_case}/drift/{window}/report", tags=["history"], response_class=HTMLResponse)
    async def report(use_case: str, window: str) -> Response:
        """Evidently's report of a window's latest check. Its scripts run in an origin of their own
        and reach nothing.
        """
        html = await ask(use_case, lambda: history.report(use_case, window))
        if html is None:
            raise Refused(
                404,
                "no_report",
                f"There is no drift report of {use_case} for {window!r}; GET "
                f"/v1/{use_case}/drift lists them.",
            )
        return HTMLResponse(html, headers=dict(REPORT_HEADERS))

    @app.get("/v1/{use_case}/decisions", tags=["history"])
    async def decisions(use_case: str, limit: Limit = 50, kind: OfKind = None) -> Response:
        """The ledger: contests, approvals, crowns, rollbacks, drift, retrains, refusals; who
        decided, why, and whether the chain holds.
        """
        return json_response(
            {
                "use_case": use_case,
                "decisions": await ask(use_case, lambda: history.decisions(use_case, limit, kind)),
            }
        )

    @app.get("/v1/{use_case}/approvals", tags=["history"])
    async def approvals(use_case: str) -> Response:
        """Challengers that wait for approval: the contest's figures, the run that waits, and until
        when.
        """
        service.check_loop(use_case)
        questions = await ask(use_case, lambda: history.approvals(use_case)[:_MOST_QUESTIONS])
        async with turns:
            open_questions, trouble = await asyncio.to_thread(look_up, service.prefect, questions)
        return json_response(
            {"use_case": use_case, "approvals": open_questions, "prefect": trouble}
        )


def look_up(prefect: PrefectApi, questions: list[Approval]) -> tuple[list[Approval], str | None]:
    """The questions with the state of their runs, without those whose run is over; and why Prefect
    is unreachable, if it is.
    """
    open_questions: list[Approval] = []
    for number, question in enumerate(questions):
        try:
            run = prefect.run(question.run)
        except PrefectAway as error:
            return [*open_questions, *questions[number:]], str(error)
        state = state_of(run) if run else "over"
        if state != "over":
            open_questions.append(msgspec.structs.replace(question, state=state))
    return open_questions, None
