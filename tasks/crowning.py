"""The winner of a contest: fitted again on all that is known, crowned, and tried where it serves."""

import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl
from prefect import get_run_logger, task

from blocks.registry import CHAMPION, ModelRegistry, ModelVersion
from blocks.service import ServiceAway
from blocks.settings import Settings
from tasks import modelling
from tasks.announcements import deployed, deployment_failed
from tasks.champions import opened
from tasks.dataset import read_periods, read_version
from tasks.ledger import Decision
from tasks.model_card import as_page, model_card
from tasks.outside import RESUMED, lake, registry, service, tell
from tasks.packaging import Origin, make_package
from tasks.training import run_tags
from usecases.definition import load

CROWNED_AT = "laurel.crowned_at"
SMOKE_TOLERANCE = 1e-4


class NotServed(RuntimeError):
    """The new champion did not get into service; the alias is back where it was. The message says why."""


@task(**RESUMED)
def refit_winner(challenger: ModelVersion, decision: Decision, seed: int) -> ModelVersion:
    """Fit the winner's recipe on everything up to and with the hold-out, package and prove it, and register it.

    The recipe won, not the weights: the newest month is the one that tells most about the next.
    """
    case, store = load(challenger.use_case), registry()
    with opened(store, challenger) as (package, _):
        won = package.manifest
    dataset = read_version(lake(), case.name, won.dataset_version)
    periods = (*sorted(won.trained_on), decision.holdout)
    rows = read_periods(lake(), dataset, periods, case.label)
    start = time.monotonic()
    fitted = modelling.fit(case, case.candidate(won.recipe), won.params, rows, seed)
    seconds = time.monotonic() - start
    proof = rows.filter(pl.col(case.event_time).dt.strftime("%Y-%m") == decision.holdout)
    tags = {**run_tags(dataset, periods), "laurel.refit_of": challenger.number, "laurel.holdout": decision.holdout}
    origin = Origin(won.recipe, won.params, dataset.version, dataset.digests(periods), won.metrics)
    with tempfile.TemporaryDirectory() as folder:
        made = make_package(Path(folder), case, fitted, origin, rows, proof, seed)
        run_id = store.log_run(
            case.name,
            f"{won.recipe} refit through {decision.holdout}",
            params={"candidate": won.recipe, "seed": seed, **won.params},
            metrics={"fit_seconds": seconds, "training_rows": len(rows), **{f"holdout_{k}": v for k, v in won.metrics.items()}},
            tags=tags,
            model=fitted,
            example=modelling.inputs(case, rows.head(5)),
            package=made.folder,
        )
    name = case.gate.metric.name
    version = store.register(
        case.name,
        run_id,
        made.sha256,
        {
            "laurel.refit_of": challenger.number,
            "laurel.recipe": won.recipe,
            "laurel.holdout": decision.holdout,
            "laurel.verdict": decision.verdict,
        },
        f"{won.recipe}, refit through {decision.holdout} after its contest ({name} {won.metrics[name]:.4f} before the refit)",
        about=f"{case.title}. {case.question}",
    )
    store.tag(challenger, {"laurel.refit": version.number})
    card = model_card(case, made.manifest, version.number, decision, dataset)
    store.log_texts(run_id, {"model_card.md": card, "model_card.html": as_page(card)})
    store.tag(version, {"laurel.model_card": store.artifact_url(run_id, "model_card.html")})
    return version


@task(task_run_name="crown version {version.number}", cache_policy=RESUMED["cache_policy"])
def crown(version: ModelVersion) -> float:
    """Give ``version`` the alias, wait until the service serves it, and try it there. Returns seconds from alias to served.

    Raises ``NotServed`` after the alias is back with whoever had it.
    """
    use_case, store = version.use_case, registry()
    before = _champion_before(store, version)
    with opened(store, version) as (package, _):
        smoke = package.smoke
    store.set_alias(version, CHAMPION)
    try:
        seconds = service().wait_until_serves(use_case, version.number, Settings.read().promote_timeout_seconds)
        _try_smoke_rows(use_case, version, smoke.rows, smoke.scores)
    except BaseException as error:  # a cancelled run must not leave an untried champion either
        if before is None:
            store.remove_alias(use_case, CHAMPION)
        else:
            store.set_alias(before, CHAMPION)
        restored = before.number if before else None
        tell(deployment_failed(use_case, version=version.number, reason=str(error), restored_version=restored))
        if not isinstance(error, (ServiceAway, NotServed)):
            raise
        raise NotServed(f"Version {version.number} of {use_case!r} is not in service: {error} The alias is back at {restored}.") from error
    store.tag(version, {CROWNED_AT: datetime.now(UTC).isoformat(timespec="milliseconds")})
    tell(deployed(use_case, version=version.number, seconds=seconds, smoke_rows=len(smoke.rows)))
    get_run_logger().info("deployed use_case=%s version=%s seconds=%.2f", use_case, version.number, seconds)
    return seconds


def _champion_before(store: ModelRegistry, version: ModelVersion) -> ModelVersion | None:
    """Who has the alias; where ``version`` has it from an attempt that was lost half way, who was crowned last."""
    holder = store.at(version.use_case, CHAMPION)
    if holder is None or holder.number != version.number:
        return holder
    crowned = [one for one in store.versions(version.use_case) if CROWNED_AT in one.tags and one.number != version.number]
    return max(crowned, key=lambda one: one.tags[CROWNED_AT], default=None)


def _try_smoke_rows(use_case: str, version: ModelVersion, rows: list[dict], expected: list[float]) -> None:
    """Raises ``NotServed`` where the service answers a smoke row otherwise than the pipeline did, or with another version."""
    answer = service().predict(use_case, rows)
    if answer["model_version"] != version.number:
        raise NotServed(f"smoke rows were answered by version {answer['model_version']}")
    got = np.array([one["score"] for one in answer["predictions"]])
    worst = float(np.abs(got - np.array(expected)).max())
    if not worst <= SMOKE_TOLERANCE:
        raise NotServed(f"smoke rows score otherwise than expected, by up to {worst:.2g}")
