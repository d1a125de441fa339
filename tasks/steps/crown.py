"""The crown: a version gets the alias, and is proven where it serves. If anything fails there, the
alias goes back."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import numpy as np
from prefect import get_run_logger, task

from blocks.clients.registry import CHAMPION, DIGEST_TAG
from blocks.registry import ModelRegistry, ModelVersion
from blocks.service import ServiceAway
from blocks.settings import Settings
from serving.package.model import SMOKE_TOLERANCE, Package, smoke_distance
from serving.records.ledger import Decision, Entry
from tasks.ledger.entries import read, record, stamp
from tasks.ledger.reign import CROWNING, ENDED, PACKAGE_SHA256
from tasks.messages.announcements import adopted, deployed, deployment_failed, rolled_back
from tasks.outside.artifacts import show_text
from tasks.outside.blocks_of_run import RESUMED, lake, registry, service, tell
from tasks.packages.registered import open_package
from usecases.definition import load

CROWNED_AT = "laurel.crowned_at"
RECENT_ENTRIES = 50
# extra time of the proof beyond the wait for the service, before others consider the run dead
SMOKE_SECONDS = 60
_VERDICTS = {"crown": "crowned", "rollback": "rollback", "adoption": "adopted"}


class NotServed(RuntimeError):
    """The new champion did not get into service; the alias is back where it was. The message says
    why.
    """


class ChampionChanged(RuntimeError):
    """The champion is no longer the one of the decision. The alias is as it was."""


@dataclass(frozen=True)
class Crowning:
    """Why the crown moves, and from whom: ``champion`` has it until now, by the ledger (``None``:
    there is none).

    ``holder`` has MLflow's alias, if that is not the champion: somebody moved or deleted it, and a
    person settles that. An adoption is a crown that a person gave; its ``facts`` say who and why.
    """

    champion: str | None
    reasons: list[str]
    kind: Literal["crown", "rollback", "adoption"] = "crown"
    holder: str | None = CHAMPION
    facts: dict[str, str] = field(default_factory=dict)

    @property
    def alias(self) -> str | None:
        """The version that has MLflow's alias until now, and gets it back if anything fails."""
        return self.champion if self.holder == CHAMPION else self.holder


@task(task_run_name="crown version {version.number}", **RESUMED)
def crown(version: ModelVersion, why: Crowning) -> float:
    """Prove that the package loads and answers, give ``version`` the alias, wait for the service,
    prove it there, and record it.

    Returns seconds from alias to served. Raises ``RegistryError`` or ``PackageError`` for a version
    that cannot serve and ``ChampionChanged``, each before anything is changed; ``NotServed`` after
    the alias is back at its former place."""
    use_case, store = version.use_case, registry()
    with open_package(store, version) as (package, _):
        pass
    _check_champion(store, version, why)
    patience = Settings.read().promote_timeout_seconds
    until = datetime.now(UTC) + timedelta(seconds=patience + SMOKE_SECONDS)
    store.tag(
        version, {CROWNING: until.isoformat(timespec="seconds")}
    )  # others wait meanwhile, and can tell a killed run
    store.set_alias(version, CHAMPION)
    try:
        seconds = service().wait_until_serves(use_case, version.number, patience)
        _try_smoke_rows(use_case, version, package)
    except BaseException as error:  # a cancelled run must not leave an unproven champion either
        _give_back(store, version, why)
        tell(
            deployment_failed(
                use_case, version=version.number, reason=str(error), restored_version=why.alias
            )
        )
        _record(version, why, package, "failed", [*why.reasons, str(error)], {})
        store.tag(version, {CROWNING: ENDED})
        if not isinstance(error, (ServiceAway, NotServed)):
            raise
        alias = f"The alias is back at {why.alias}." if why.alias else "No version has the alias."
        raise NotServed(
            f"Version {version.number} of {use_case!r} is not in service: "
            f"{str(error).rstrip('.')}. {alias}"
        ) from error
    place = _record(
        version, why, package, _VERDICTS[why.kind], why.reasons, {"seconds_to_served": seconds}
    )
    store.tag(
        version, {CROWNED_AT: datetime.now(UTC).isoformat(timespec="milliseconds"), CROWNING: ENDED}
    )
    _tell(version, why, seconds, len(package.smoke.rows), service().page(use_case, place))
    get_run_logger().info(
        "%s use_case=%s version=%s seconds=%.2f", why.kind, use_case, version.number, seconds
    )
    return seconds


def _check_champion(store: ModelRegistry, version: ModelVersion, why: Crowning) -> None:
    holder = store.at(version.use_case, CHAMPION)
    number = holder.number if holder else None
    # The version itself: this run gave it the alias before it was interrupted.
    if number not in (why.alias, version.number):
        raise ChampionChanged(
            f"Version {version.number} of {version.use_case!r} is not crowned: version "
            f"{number} has the crown now, and the decision was made against {why.alias}. "
            "Decide again."
        )


def _give_back(store: ModelRegistry, version: ModelVersion, why: Crowning) -> None:
    if why.alias is None:
        store.remove_alias(version.use_case, CHAMPION)
    else:
        store.set_alias(ModelVersion(version.use_case, why.alias, "", {}), CHAMPION)


def _record(
    version: ModelVersion,
    why: Crowning,
    package: Package,
    verdict: str,
    reasons: Sequence[str],
    facts: dict[str, Any],
) -> int | None:
    """Record the crown in the ledger, once: a step that is run again finds its entry. Return the
    place of a new one."""
    decision = Decision(
        use_case=version.use_case,
        kind="rollback" if why.kind == "rollback" else "crown",
        verdict=verdict,
        reasons=list(reasons),
        version=version.number,
        challenger=version.tags.get("laurel.refit_of") if why.kind != "rollback" else None,
        champion=why.champion,
        promoted=verdict != "failed",
        holdout=version.tags.get("laurel.holdout", ""),
        dataset_version=package.manifest.dataset_version,
        gate_score=package.manifest.metrics.get(
            load(version.use_case).gate.metric.name
        ),  # an older one may not know the gate's
        facts={
            "recipe": package.manifest.recipe,
            "refit_of": version.tags.get("laurel.refit_of"),
            PACKAGE_SHA256: version.tags.get(DIGEST_TAG),
            "provisional": package.manifest.provisional or None,
            **why.facts,
            **facts,
        },
        **stamp(),
    )
    if not stands(read(lake(), version.use_case, RECENT_ENTRIES), decision):
        return record(decision).sequence
    return None


def stands(entries: Sequence[Entry], decision: Decision) -> bool:
    """Return whether the same run has recorded the same outcome already. ``entries`` are the latest
    ones of the ledger."""

    def event(decision: Decision) -> tuple[Any, ...]:
        return (
            decision.run,
            decision.kind,
            decision.verdict,
            decision.version,
            decision.challenger,
            decision.champion,
        )

    return decision.run is not None and any(event(entry) == event(decision) for entry in entries)


def _tell(
    version: ModelVersion, why: Crowning, seconds: float, smoke_rows: int, decision: str
) -> None:
    """Tell people, with the page of the ``decision``, and show a crown without a contest."""
    use_case, refit_of = version.use_case, version.tags.get("laurel.refit_of")
    holdout = version.tags.get("laurel.holdout", "")
    links = {"MLflow version": registry().version_url(version), "decision": decision}
    if why.kind == "crown":
        tell(
            deployed(
                use_case,
                version=version.number,
                seconds=seconds,
                smoke_rows=smoke_rows,
                champion_before=why.champion,
                refit_of=refit_of,
                holdout=holdout,
                links=links,
            )
        )
        return
    reason, before = "; ".join(why.reasons), why.champion or "none"
    if why.kind == "adoption":
        text = f"Adopted version {version.number} after {before}: {reason}"
        show_text(use_case, "adoption", text, f"version {version.number} adopted", links=links)
        tell(
            adopted(
                use_case,
                version=version.number,
                champion_before=why.champion,
                reason=reason,
                seconds=seconds,
                refit_of=refit_of,
                holdout=holdout,
                links=links,
            )
        )
        return
    text = f"Rolled back from version {before} to {version.number}: {reason}"
    show_text(use_case, "rollback", text, f"back to version {version.number}", links=links)
    tell(
        rolled_back(
            use_case,
            version=version.number,
            from_version=before,
            reason=reason,
            seconds=seconds,
            links=links,
        )
    )


def _try_smoke_rows(use_case: str, version: ModelVersion, package: Package) -> None:
    """Raises ``NotServed`` if the service scores a smoke row differently from the pipeline, or
    answers with another version."""
    answer = service().predict(use_case, package.smoke.rows)
    if answer["model_version"] != version.number:
        raise NotServed(f"smoke rows were answered by version {answer['model_version']}")
    names = [output.name for output in package.manifest.outputs if output.kind == "number"]
    scores = [[prediction[name] for name in names] for prediction in answer["predictions"]]
    expected = np.array(package.smoke.scores).reshape(len(package.smoke.rows), -1)
    expected = expected[:, : len(names)]  # without the quantiles of a number
    off = smoke_distance(np.array(scores), expected)
    if not off <= SMOKE_TOLERANCE:
        raise NotServed(f"the scores of smoke rows differ from those expected by up to {off:.2g}")
