"""Drift checks and open questions over HTTP: a few at a time, on threads that score nothing."""

import asyncio
from typing import Annotated

import msgspec
from fastapi import FastAPI, Query
from fastapi.responses import HTMLResponse, Response

from serving.edge.answers import told_response
from serving.edge.language import ReadersLanguage
from serving.edge.security_headers import REPORT_HEADERS
from serving.errors import PrefectAway, Refused
from serving.history.approvals import state_of
from serving.history.ledger import Approval
from serving.outside.prefect_api import PrefectApi
from serving.routes.lake_reader import AT_ONCE, LakeReader
from serving.service.service import Service

_MOST = 200
_MOST_QUESTIONS = 20

Limit = Annotated[int, Query(ge=1, le=_MOST, description="how many at most, the latest first")]


def add_routes(app: FastAPI, service: Service, lake: LakeReader) -> None:
    """``/v1/{use_case}/drift``, its reports, and ``/approvals``."""
    turns = asyncio.Semaphore(AT_ONCE)

    @app.get("/v1/{use_case}/drift", tags=["history"])
    async def drift(use_case: str, language: ReadersLanguage, limit: Limit = 50) -> Response:
        """The drift checks of the last windows, with what drove their outcomes."""
        checks = await lake.ask(use_case, lambda history: history.drift(use_case, limit))
        return told_response({"use_case": use_case, "drift": checks}, language)

    @app.get("/v1/{use_case}/drift/{window}/report", tags=["history"], response_class=HTMLResponse)
    async def report(use_case: str, window: str) -> Response:
        """Evidently's report of a window's latest check. Its scripts run in an origin of their own
        and reach nothing.
        """
        html = await lake.ask(use_case, lambda history: history.report(use_case, window))
        if html is None:
            raise Refused(
                404,
                "no_report",
                f"There is no drift report of {use_case} for {window!r}; GET "
                f"/v1/{use_case}/drift lists them.",
            )
        return HTMLResponse(html, headers=dict(REPORT_HEADERS))

    @app.get("/v1/{use_case}/approvals", tags=["history"])
    async def approvals(use_case: str, language: ReadersLanguage) -> Response:
        """Challengers that wait for approval: the contest's figures, the run that waits, and until
        when.
        """
        service.check_loop(use_case)
        questions = await lake.ask(
            use_case, lambda history: history.approvals(use_case)[:_MOST_QUESTIONS]
        )
        async with turns:
            open_questions, trouble = await asyncio.to_thread(look_up, service.prefect, questions)
        return told_response(
            {"use_case": use_case, "approvals": open_questions, "prefect": trouble}, language
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
