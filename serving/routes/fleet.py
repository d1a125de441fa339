"""All use cases at once: as clients need them, and as the page's first table shows them."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from fastapi import FastAPI, Query, Request
from fastapi.responses import Response

from serving.edge.answers import json_response, told_response
from serving.edge.language import ReadersLanguage
from serving.errors import Forbidden
from serving.history.fleet import Need, Records, need
from serving.records.reasons import because
from serving.routes.lake_reader import Brief, LakeReader
from serving.service.description import describe
from serving.service.service import Service
from serving.service.siblings import flows

View = Annotated[
    Literal["fleet"],
    Query(
        description="a row for each use case: its champion, live score, drift, traffic, last "
        "retrain and running rollout, and what needs a person; without the scope operate, what the "
        "flows recorded is null"
    ),
]
_SCOPE = "operate"
_OF_RECORDS = ("live", "drift", "retrain")


def add_routes(app: FastAPI, service: Service, lake: LakeReader) -> None:
    @app.get("/v1", tags=["model"])
    async def describe_all(
        request: Request, language: ReadersLanguage, view: View | None = None
    ) -> Response:
        """Every use case that this service serves."""
        names = list(service.use_cases.watches)
        if view is None:
            return json_response({"use_cases": [describe(service, name) for name in names]})
        as_of = datetime.now(UTC).isoformat(timespec="seconds")
        if _may_read(service, request):
            briefs = await lake.briefs(names)
        else:
            briefs = dict.fromkeys(names, Brief(None, None, "scope"))
        rows = [row_of(service, name, briefs[name]) for name in names]
        return told_response({"use_cases": rows, "as_of": as_of}, language)


def _may_read(service: Service, request: Request) -> bool:
    try:
        service.keys.check(request.headers.raw, _SCOPE)
    except Forbidden:
        return False
    return True


def row_of(service: Service, use_case: str, brief: Brief) -> dict[str, Any]:
    """One row. What is ``None`` in it has its reason in ``unknown``, by name."""
    unknown: dict[str, str] = {}
    watch = service.use_cases.watch(use_case)
    records = brief.records
    if records is None:
        unknown |= dict.fromkeys(_OF_RECORDS, brief.trouble)
    else:
        unknown |= records.unknown
    traffic = service.traffic.describe(use_case, flows(service.board, service.metrics, use_case))
    if traffic["seconds_p99"] is None:
        unknown["p99"] = "no_requests"
    champion = watch.champion
    return {
        "use_case": use_case,
        "title": champion.package.manifest.title if champion else use_case,
        "ready": champion is not None,
        "needs": [*_own_needs(service, use_case, records), *(records.needs if records else ())],
        "champion": _champion(service, use_case, records, unknown),
        "live": _live(records, champion.version if champion else None, unknown),
        "holdout": _holdout(service, use_case, records, unknown),
        "scores": records.scores if records else [],
        "drift": _drift(records),
        "traffic": {
            "requests_per_second": traffic["requests_per_second"],
            "p99": traffic["seconds_p99"],
        },
        "retrain": records.retrain if records else None,
        "rollout": records.rollout if records else None,
        "unknown": unknown,
        "records_as_of": brief.as_of,
    }


def _own_needs(service: Service, use_case: str, records: Records | None) -> list[Need]:
    """What this process knows without the flows' records. A use case that nobody has trained needs
    nobody."""
    watch, href = service.use_cases.watch(use_case), f"#{use_case}"
    if watch.champion is None:
        if records and not (records.retrain or records.reign):
            return []
        message = watch.last_error
        sentence = (
            because("nothing_serves_since", message=message)
            if message
            else because("nothing_serves_here")
        )
        return [Need("no_champion", {"message": message}, href, sentence)]
    needs = []
    if watch.last_error and watch.alias_version not in (None, watch.champion.version):
        version, alias = watch.champion.version, watch.alias_version
        needs.append(need(because("swap_failed", alias=alias, version=version), href))
    state = service.log.state(use_case)
    if state.rows_dropped:
        needs.append(need(because("log_dropped", rows=state.rows_dropped), href))
    return needs


def _champion(
    service: Service, use_case: str, records: Records | None, unknown: dict[str, str]
) -> dict[str, Any] | None:
    champion = service.use_cases.watch(use_case).champion
    if champion is None:
        unknown["champion"] = "no_champion"
        return None
    since = None
    if records and records.reign and records.reign.version == champion.version:
        since = records.reign.since
    else:
        unknown["champion.since"] = "not_in_ledger" if records else unknown["live"]
    manifest = champion.package.manifest
    return {
        "version": champion.version,
        "since": since,
        "recipe": manifest.recipe,
        "trained_through": manifest.trained_through,
        "provisional": manifest.provisional or None,
    }


def _live(
    records: Records | None, serving: str | None, unknown: dict[str, str]
) -> Mapping[str, Any] | None:
    window = records.live if records else None
    if window is None:
        return None
    if window.champion != serving:
        unknown["live"] = "other_champion"
    return {
        "metric": records.metric if records else None,
        "window": window.window,
        "version": window.champion,
        "value": window.score.value,
        "low": window.score.low,
        "high": window.score.high,
        "coverage": window.score.coverage,
        "provisional": window.score.provisional,
    }


def _holdout(
    service: Service, use_case: str, records: Records | None, unknown: dict[str, str]
) -> Mapping[str, Any] | None:
    champion = service.use_cases.watch(use_case).champion
    metrics = champion.package.manifest.metrics if champion else {}
    metric = records.metric if records and records.metric in metrics else next(iter(metrics), None)
    if metric is None:
        unknown["holdout"] = "no_champion" if champion is None else "not_in_package"
        return None
    return {"metric": metric, "value": metrics[metric]}


def _drift(records: Records | None) -> Mapping[str, Any] | None:
    window = records.drift if records else None
    if window is None:
        return None
    return {
        "window": window.window,
        "outcome": window.outcome,
        "share": window.drift_share,
        "limit": window.limit,
        "checked": window.checked,
    }
