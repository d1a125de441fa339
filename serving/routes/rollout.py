"""The rollout of a use case over HTTP: where it is, what both sides do, and what an operator asks
of it. Prefect does the work."""

import asyncio
from typing import Annotated, Any, Literal

import msgspec
from fastapi import FastAPI, Request
from fastapi.responses import Response
from msgspec import Meta

from serving.edge.answers import json_response, told_response
from serving.edge.language import ReadersLanguage
from serving.edge.openapi import STEER
from serving.edge.requests import read_body
from serving.errors import Refused
from serving.history.approvals import LONGEST_WORDS, steer
from serving.history.checks import History
from serving.history.rollouts import LatestRollout
from serving.routes.lake_reader import LakeReader
from serving.routes.operate import author_of, page_of, read_asked
from serving.service.service import Service
from serving.service.variants import rollout_figures

_Words = Annotated[str, Meta(max_length=LONGEST_WORDS)]
_Reason = Annotated[str, Meta(max_length=LONGEST_WORDS, pattern=r"\S")]


class _Steer(msgspec.Struct, forbid_unknown_fields=True):
    do: Literal["advance", "hold", "resume", "revert"]
    why: _Reason
    by: _Words | None = None
    rollout: _Words | None = None
    stage: int | None = None
    step: int | None = None

    def is_of(self, latest: LatestRollout | None) -> bool:
        """Whether it still runs, and is where the caller sees it."""
        return (
            latest is not None
            and latest.is_running
            and self.rollout in (None, latest.id)
            and self.stage in (None, latest.stage)
            and self.step in (None, latest.step)
        )


# Made now, by one thread: msgspec ends the process if two threads meet a type for the first time
# (docs/decisions/0012-hot-path.md).
_STEER = msgspec.json.Decoder(_Steer)


def add_routes(app: FastAPI, service: Service, lake: LakeReader) -> None:
    """``/v1/{use_case}/rollout``."""

    @app.get("/v1/{use_case}/rollout", tags=["history"])
    async def rollout(use_case: str, language: ReadersLanguage) -> Response:
        """The running rollout, or the last one unless another contest was held since; null without
        one: stage and step, the plan, the judged blocks, the estimate as it narrowed (`looks`), and
        what is left. `service` has what this service counted since its start: both variants, the
        shadow, the guards (evidence from 0 to 1, where one reverts), and why one `reverted` it.
        """

        def read(history: History) -> tuple[LatestRollout | None, str | None]:
            latest = history.rollout(use_case)
            watch = service.use_cases.challengers[use_case]
            return latest, watch.why_reverted(latest.id) if latest else None

        latest, reverted = await lake.ask(use_case, read)
        answer: dict[str, Any] = {"use_case": use_case, "rollout": latest, "service": None}
        if latest is not None:
            answer["service"] = _figures(service, use_case, latest) | {"reverted": reverted}
        return told_response(answer, language)

    @app.post("/v1/{use_case}/rollout", openapi_extra=STEER, tags=["operation"], status_code=202)
    async def ask(use_case: str, request: Request) -> Response:
        """Start the flow that takes the rollout's next step now, holds it, resumes it, or ends it:
        the champion stays. The ledger records who asked, and why.
        """
        service.check_loop(use_case)
        asked = read_asked(_STEER, await read_body(request))
        latest = await lake.ask(use_case, lambda history: history.rollout(use_case))
        if not asked.is_of(latest):
            raise Refused(
                409,
                "moved_on",
                f"The rollout of {use_case!r} no longer runs, or is at another step; nothing was "
                "done.",
            )
        by = author_of(asked.by, request)
        started = await asyncio.to_thread(steer, service.prefect, use_case, asked.do, by, asked.why)
        return json_response(
            {"use_case": use_case, "run": started.id, "page": page_of(service, started.id)}, 202
        )


def _figures(service: Service, use_case: str, latest: LatestRollout) -> dict[str, Any]:
    """Of the two versions that the rollout compares."""
    cases = service.use_cases
    figures = rollout_figures(cases.variants, service.board, use_case, latest.version)
    compared = (latest.version, latest.champion)
    figures["variants"] = [side for side in figures["variants"] if side["version"] in compared]
    return figures
