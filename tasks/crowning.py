"""The crown: a version gets the alias, and is tried where it serves. Whatever fails there, the alias goes back."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

import numpy as np
from prefect import get_run_logger, task
from prefect.artifacts import create_markdown_artifact

from blocks.registry import CHAMPION, ModelRegistry, ModelVersion
from blocks.service import ServiceAway
from blocks.settings import Settings
from serving.package import Package
from tasks.announcements import deployed, deployment_failed, rolled_back
from tasks.champions import opened
from tasks.ledger import Decision, Entry, read, record
from tasks.outside import RESUMED, artifact_key, lake, registry, service, tell
from usecases.definition import load

CROWNED_AT = "laurel.crowned_at"
SMOKE_TOLERANCE = 1e-4
RECENT_ENTRIES = 50


class NotServed(RuntimeError):
    """The new champion did not get into service; the alias is back where it was. The message says why."""


class ChampionChanged(RuntimeError):
    """Somebody else has the crown than when it was decided who gets it. The alias is as it was."""


@dataclass(frozen=True)
class Crowning:
    """Why the crown moves: ``champion`` has it until now (``None``: nobody), and ``kind`` is the entry's in the ledger."""

    champion: str | None
    reasons: list[str]
    kind: Literal["crown", "rollback"] = "crown"


@task(task_run_name="crown version {version.number}", **RESUMED)
def crown(version: ModelVersion, why: Crowning) -> float:
    """Prove that the package loads and answers, give ``version`` the alias, wait for the service, try it there, and record it.

    Returns seconds from alias to served. Raises ``RegistryError`` or ``PackageError`` for what cannot serve and ``ChampionChanged``,
    each before anything is changed; ``NotServed`` after the alias is back with whoever had it.
    """
    use_case, store = version.use_case, registry()
    with opened(store, version) as (package, _):
        pass
    _check_champion(store, version, why)
    store.set_alias(version, CHAMPION)
    try:
        seconds = service().wait_until_serves(use_case, version.number, Settings.read().promote_timeout_seconds)
        _try_smoke_rows(use_case, version, package.smoke.rows, package.smoke.scores)
    except BaseException as error:  # a cancelled run must not leave an untried champion either
        _give_back(store, use_case, why.champion)
        tell(deployment_failed(use_case, version=version.number, reason=str(error), restored_version=why.champion))
        _record(version, why, package, "failed", [*why.reasons, str(error)], {})
        if not isinstance(error, (ServiceAway, NotServed)):
            raise
        raise NotServed(
            f"Version {version.number} of {use_case!r} is not in service: {error} The alias is back at {why.champion}."
        ) from error
    store.tag(version, {CROWNED_AT: datetime.now(UTC).isoformat(timespec="milliseconds")})
    _record(version, why, package, "rollback" if why.kind == "rollback" else "crowned", why.reasons, {"seconds_to_served": seconds})
    _tell(version, why, seconds, len(package.smoke.rows))
    get_run_logger().info("%s use_case=%s version=%s seconds=%.2f", why.kind, use_case, version.number, seconds)
    return seconds


def _check_champion(store: ModelRegistry, version: ModelVersion, why: Crowning) -> None:
    holder = store.at(version.use_case, CHAMPION)
    number = holder.number if holder else None
    # The version itself: this run had given it the alias before it was interrupted.
    if number not in (why.champion, version.number):
        raise ChampionChanged(
            f"Version {version.number} of {version.use_case!r} does not get the crown: version {number} has it by now, and the decision "
            f"was made against {why.champion}. Decide again."
        )


def _give_back(store: ModelRegistry, use_case: str, champion: str | None) -> None:
    if champion is None:
        store.remove_alias(use_case, CHAMPION)
    else:
        store.set_alias(ModelVersion(use_case, champion, "", {}), CHAMPION)


def _record(version: ModelVersion, why: Crowning, package: Package, verdict: str, reasons: Sequence[str], facts: dict[str, Any]) -> None:
    """Into the ledger, once: a step that is run again finds what it wrote."""
    decision = Decision(
        use_case=version.use_case,
        kind=why.kind,
        verdict=verdict,
        reasons=list(reasons),
        version=version.number,
        challenger=version.tags.get("laurel.refit_of") if why.kind == "crown" else None,
        champion=why.champion,
        promoted=verdict != "failed",
        holdout=version.tags.get("laurel.holdout", ""),
        dataset_version=package.manifest.dataset_version,
        gate_score=package.manifest.metrics[load(version.use_case).gate.metric.name],
        facts={"recipe": package.manifest.recipe, "refit_of": version.tags.get("laurel.refit_of"), **facts},
    )
    if not stands(read(lake(), version.use_case, RECENT_ENTRIES), decision):
        record(decision)


def stands(entries: Sequence[Entry], decision: Decision) -> bool:
    """Whether the same run has recorded the same outcome already. ``entries`` are the latest ones of the ledger."""

    def event(one: Decision) -> tuple[Any, ...]:
        return one.run, one.kind, one.verdict, one.version, one.challenger, one.champion

    return decision.run is not None and any(event(entry) == event(decision) for entry in entries)


def _tell(version: ModelVersion, why: Crowning, seconds: float, smoke_rows: int) -> None:
    use_case = version.use_case
    if why.kind == "crown":
        tell(deployed(use_case, version=version.number, seconds=seconds, smoke_rows=smoke_rows, champion_before=why.champion))
        return
    reason, before = "; ".join(why.reasons), why.champion or "none"
    create_markdown_artifact(f"Rolled back from version {before} to {version.number}: {reason}", key=artifact_key(use_case, "rollback"))
    tell(rolled_back(use_case, version=version.number, from_version=before, reason=reason, seconds=seconds))


def _try_smoke_rows(use_case: str, version: ModelVersion, rows: list[dict], expected: list[float]) -> None:
    """Raises ``NotServed`` where the service answers a smoke row otherwise than the pipeline did, or with another version."""
    answer = service().predict(use_case, rows)
    if answer["model_version"] != version.number:
        raise NotServed(f"smoke rows were answered by version {answer['model_version']}")
    got = np.array([one["score"] for one in answer["predictions"]])
    worst = float(np.abs(got - np.array(expected)).max())
    if not worst <= SMOKE_TOLERANCE:
        raise NotServed(f"smoke rows score otherwise than expected, by up to {worst:.2g}")
