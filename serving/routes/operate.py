"""What an operator may do over HTTP, or the page in his name: answer an approve run, and start a
rollback. Prefect does the work.
"""

import asyncio
from typing import Annotated, TypeVar

import msgspec
from fastapi import FastAPI, Request
from fastapi.responses import Response
from msgspec import Meta

from serving.edge.answers import json_response
from serving.edge.openapi import APPROVAL, ROLLBACK
from serving.edge.requests import read_body
from serving.errors import InputError, MalformedBody, Refused
from serving.history.approvals import LONGEST_WORDS, VERSION, Answer, answer_run, roll_back
from serving.service.service import Service

_NOBODY = "somebody at this service, which requires no key"
_Words = Annotated[str, Meta(max_length=LONGEST_WORDS)]

T = TypeVar("T")


class _Answer(msgspec.Struct, forbid_unknown_fields=True):
    approved: bool
    by: _Words | None = None
    why: _Words = ""


class _Rollback(msgspec.Struct, forbid_unknown_fields=True):
    version: Annotated[str, Meta(pattern=VERSION)] | None = None
    why: _Words = ""
    champion: Annotated[str, Meta(pattern=VERSION)] | None = None


# Made now, by one thread: msgspec ends the process if two threads meet a type for the first time
# (docs/decisions/0012-hot-path.md).
_ANSWER = msgspec.json.Decoder(_Answer)
_ROLLBACK = msgspec.json.Decoder(_Rollback)


def add_routes(app: FastAPI, service: Service) -> None:
    @app.post("/v1/{use_case}/approvals/{run}", openapi_extra=APPROVAL, tags=["operation"])
    async def answer(use_case: str, run: str, request: Request) -> Response:
        """Approve or reject the challenger that an approve run asks about. The first answer counts;
        409 if there is one already or the time is up.
        """
        service.check_loop(use_case)
        decision = read_asked(_ANSWER, await read_body(request))
        reply = Answer(decision.approved, author_of(decision.by, request), decision.why)
        approve_run = await asyncio.to_thread(answer_run, service.prefect, use_case, run, reply)
        return json_response(
            {
                "use_case": use_case,
                "run": approve_run.id,
                "approved": decision.approved,
                "by": reply.by,
                "page": page_of(service, approve_run.id),
            }
        )

    @app.post(
        "/v1/{use_case}/rollback", openapi_extra=ROLLBACK, tags=["operation"], status_code=202
    )
    async def rollback(use_case: str, request: Request) -> Response:
        """Start the flow that gives the crown back to the previous champion or a named version,
        once its package is proven to work.
        """
        service.check_loop(use_case)
        target = read_asked(_ROLLBACK, await read_body(request))
        serving = service.use_cases.watch(use_case).alias_version
        if target.champion is not None and target.champion != serving:
            raise Refused(
                409,
                "moved_on",
                f"Version {target.champion} of {use_case!r} is not the champion; nothing was "
                "rolled back.",
            )
        author = author_of(None, request)
        reason = f"{author}: {target.why}" if target.why.strip() else f"{author} asked for it"
        started = await asyncio.to_thread(
            roll_back, service.prefect, use_case, target.version, reason
        )
        return json_response(
            {"use_case": use_case, "run": started.id, "page": page_of(service, started.id)}, 202
        )


def author_of(name: str | None, request: Request) -> str:
    """The key is the only certain identity, so it stands beside the name that the caller claims."""
    key, name = request.scope.get("laurel.key", ""), (name or "").strip()
    if key and name and name != key:
        return f"{name} (with the key {key})"
    return name or key or _NOBODY


def page_of(service: Service, run: str) -> str:
    return f"{service.settings.prefect_pages}/runs/flow-run/{run}"


def read_asked(decoder: msgspec.json.Decoder[T], body: bytes) -> T:
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        raise InputError(f"{error}.") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedBody(f"The body is not JSON: {error}.") from error
