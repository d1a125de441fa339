"""The steps of ``promote`` and ``rollback``: the contest, the winner's refit, the crown, and the way back."""

import base64
import io
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl
from prefect import get_run_logger, task
from prefect.artifacts import create_image_artifact, create_markdown_artifact
from prefect.runtime import flow_run
from pydantic import BaseModel, ConfigDict

from blocks.registry import CHALLENGER, CHAMPION, ModelVersion, RegistryError
from blocks.service import ServiceAway
from blocks.settings import Settings
from tasks import modelling, plots
from tasks.announcements import contest_decided, deployed, deployment_failed, first_champion, rolled_back
from tasks.champions import opened, read_manifest
from tasks.contest import Contest, hold
from tasks.dataset import DatasetVersion, read_periods, read_version
from tasks.outside import PATIENT, artifact_key, lake, registry, service, tell
from tasks.packaging import Origin, make_package, score_rows
from tasks.training import run_tags
from usecases.definition import UseCase, load

CROWNED_AT = "laurel.crowned_at"
SMOKE_TOLERANCE = 1e-4


class NotServed(RuntimeError):
    """The new champion did not get into service; the alias is back where it was. The message says why."""


class Decision(BaseModel):
    """The record of a contest, or of a crown given without one, as it stands in the ledger."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    use_case: str
    time: str
    challenger: str
    champion: str | None
    holdout: str
    dataset_version: str
    promoted: bool
    verdict: str
    reasons: list[str]
    contest: Contest | None
    gate_score: float
    by: str


@task(**PATIENT)
def find_challenger(use_case: str, number: str | None) -> ModelVersion:
    """The named version, or the one with the alias. Raises ``RegistryError`` where there is none."""
    case, store = load(use_case), registry()
    if number is not None:
        return store.version(case.name, number)
    found = store.at(case.name, CHALLENGER)
    if found is None:
        raise RegistryError(f"{use_case!r} has no challenger. Make one: prefect deployment run 'evaluate/{use_case}'.")
    return found


@task(task_run_name="contest of version {challenger.number}", **PATIENT)
def hold_contest(challenger: ModelVersion, seed: int) -> Decision:
    """Champion and challenger, each from its own package, on the same rows that neither was trained on."""
    use_case, store = challenger.use_case, registry()
    case, champion = load(use_case), store.at(use_case, CHAMPION)
    if champion is not None and champion.number == challenger.number:
        raise RegistryError(f"Version {champion.number} of {use_case!r} is the champion already: it cannot contest itself.")
    with opened(store, challenger) as (package, _):
        manifest, holdout = package.manifest, challenger.tags.get("laurel.holdout", "")
        dataset = read_version(lake(), use_case, manifest.dataset_version)
        rows = read_periods(lake(), dataset, [holdout], case.label)
        scores = score_rows(package, rows)
    decision = Decision(
        use_case=use_case,
        time=datetime.now(UTC).isoformat(timespec="milliseconds"),
        challenger=challenger.number,
        champion=champion.number if champion else None,
        holdout=holdout,
        dataset_version=dataset.version,
        promoted=False,
        verdict="unfair",
        reasons=seen(f"challenger {challenger.number}", manifest.trained_on, dataset, holdout),
        contest=None,
        gate_score=manifest.metrics[case.gate.metric.name],
        by=flow_run.ui_url or "a direct call",
    )
    if decision.reasons:
        return decision
    if champion is None:
        return _without_champion(case, decision)
    with opened(store, champion) as (package, _):
        if unfair := seen(f"champion {champion.number}", package.manifest.trained_on, dataset, holdout):
            return decision.model_copy(update={"reasons": unfair})
        contest = judge_rows(case, rows, score_rows(package, rows), scores, seed)
    found = {"contest": contest, "verdict": contest.verdict, "reasons": contest.reasons, "promoted": contest.promoted}
    return decision.model_copy(update=found)


def judge_rows(case: UseCase, rows: pl.DataFrame, champion: np.ndarray, challenger: np.ndarray, seed: int) -> Contest:
    """The contest on labelled ``rows``: blocks from the event time, slices from the promotion rule's columns."""
    policy = case.promotion
    width = {"hour": "1h", "day": "1d", "week": "1w"}[policy.block]
    block = rows[case.event_time].dt.truncate(width).to_numpy()
    slices = {
        f"{name}={value}": (rows[name] == value).fill_null(False).to_numpy()
        for name in policy.slices
        for value in rows[name].drop_nulls().unique().sort()
    }
    return hold(policy, case.gate.metric, modelling.labels(case, rows), champion, challenger, block, slices, seed)


def seen(who: str, trained_on: dict[str, str], dataset: DatasetVersion, holdout: str) -> list[str]:
    """Why a contest on ``holdout`` would be unfair: by the period's name, and by the digest of its rows."""
    digest = dataset.digests([holdout])[holdout]
    if holdout in trained_on or digest in trained_on.values():
        return [f"{who} was trained on {holdout}, so it cannot be judged on it"]
    if max(trained_on) > holdout:
        return [f"{who} was trained through {max(trained_on)}, later than {holdout}: it knows the future of those rows"]
    return []


def _without_champion(case: UseCase, decision: Decision) -> Decision:
    """Nobody to contest: the gate decides, and a score too good to be true is suspicious here too."""
    gate, name = case.gate, case.gate.metric.name
    if name == "roc_auc" and decision.gate_score > case.promotion.suspicious_score:
        reason = f"{name} {decision.gate_score:.4f} is too good to be true: look for a leak"
        return decision.model_copy(update={"verdict": "suspicious", "reasons": [reason]})
    passed = gate.passes(decision.gate_score)
    reason = f"no champion yet; {name} {decision.gate_score:.4f} against the gate of {gate.threshold:g}"
    return decision.model_copy(update={"verdict": "promote" if passed else "keep", "promoted": passed, "reasons": [reason]})


@task(**PATIENT)
def record_decision(decision: Decision, challenger: ModelVersion) -> None:
    """Into the ledger, onto the version's tags, into the run's artifacts, and to people."""
    use_case = decision.use_case
    lake().write(f"decisions/{use_case}/{decision.time.replace(':', '-')}.json", decision.model_dump_json(indent=1).encode())
    registry().tag(challenger, {"laurel.verdict": decision.verdict, "laurel.reasons": "; ".join(decision.reasons)[:4000]})
    create_markdown_artifact(_in_words(decision), key=artifact_key(use_case, "contest"), description=_in_short(decision))
    contest, metric = decision.contest, load(use_case).gate.metric.name
    if contest is not None:
        drawn = plots.contest_interval(contest.main.low, contest.main.gain, contest.main.high, metric)
        picture = io.BytesIO()
        drawn.savefig(picture, format="png", dpi=80)
        url = f"data:image/png;base64,{base64.b64encode(picture.getvalue()).decode()}"
        create_image_artifact(url, key=artifact_key(use_case, "contest-interval"), description="Right of the line the challenger is better")
    said = "contest use_case=%s challenger=%s verdict=%s: %s"
    get_run_logger().info(said, use_case, challenger.number, decision.verdict, "; ".join(decision.reasons))
    links = {"MLflow version": registry().version_url(challenger)}
    if decision.champion is None and decision.promoted:
        recipe, gate = challenger.tags.get("laurel.recipe", "?"), load(use_case).gate.threshold
        score = decision.gate_score
        tell(first_champion(use_case, version=challenger.number, candidate=recipe, metric=metric, score=score, gate=gate, links=links))
        return
    main, unknown = (contest.main if contest else None), float("nan")
    tell(
        contest_decided(
            use_case,
            verdict=decision.verdict,
            champion_version=decision.champion,
            challenger_version=decision.challenger,
            metric=metric,
            champion=main.champion if main else unknown,
            challenger=main.challenger if main else decision.gate_score,
            gain=main.gain if main else unknown,
            low=main.low if main else unknown,
            high=main.high if main else unknown,
            confidence=contest.confidence if contest else 0.95,
            reasons=decision.reasons,
            rows=main.rows if main else None,
            blocks=contest.blocks if contest else None,
            links=links,
        )
    )


def _in_short(decision: Decision) -> str:
    gain = f": {decision.contest.main.metric} {decision.contest.main.gain:+.4f}" if decision.contest else ""
    return f"Contest on {decision.holdout}: {decision.verdict}{gain}"


def _in_words(decision: Decision) -> str:
    against = f"champion {decision.champion}" if decision.champion else "no champion"
    lines = [
        f"# {decision.verdict.capitalize()}: challenger {decision.challenger} against {against}, on {decision.holdout}",
        *[f"- {reason}" for reason in decision.reasons],
    ]
    if decision.contest is None:
        return "\n".join(lines)
    contest = decision.contest
    lines += ["", "| | metric | champion | challenger | gain | interval | rows |", "|---|---|---:|---:|---:|---|---:|"]
    named = [("hold-out", contest.main), *(("guard", guard) for guard in contest.guards), *contest.slices.items()]
    for name, one in named:
        interval = f"[{one.low:+.4f}, {one.high:+.4f}]"
        lines.append(f"| {name} | {one.metric} | {one.champion:.4f} | {one.challenger:.4f} | {one.gain:+.4f} | {interval} | {one.rows:,} |")
    kind = f"{contest.replicates} paired bootstrap replicates of {contest.blocks} whole blocks, seed {contest.seed}"
    return "\n".join([*lines, "", f"The interval holds {2 * contest.confidence - 1:.0%}: {kind}."])


@task(**PATIENT)
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
    return version


@task(task_run_name="crown version {version.number}", cache_policy=PATIENT["cache_policy"])
def crown(version: ModelVersion) -> float:
    """Give ``version`` the alias, wait until the service serves it, and try it there. Returns seconds from alias to served.

    Raises ``NotServed`` after the alias is back with whoever had it.
    """
    use_case, store = version.use_case, registry()
    before = store.at(use_case, CHAMPION)
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


def _try_smoke_rows(use_case: str, version: ModelVersion, rows: list[dict], expected: list[float]) -> None:
    """Raises ``NotServed`` where the service answers a smoke row otherwise than the pipeline did, or with another version."""
    answer = service().predict(use_case, rows)
    if answer["model_version"] != version.number:
        raise NotServed(f"smoke rows were answered by version {answer['model_version']}")
    got = np.array([one["score"] for one in answer["predictions"]])
    worst = float(np.abs(got - np.array(expected)).max())
    if not worst <= SMOKE_TOLERANCE:
        raise NotServed(f"smoke rows score otherwise than expected, by up to {worst:.2g}")


@task(**PATIENT)
def retire_challenger(challenger: ModelVersion) -> None:
    """Take the alias from a challenger that was judged: it wants the crown no more, whoever has it now."""
    holder = registry().at(challenger.use_case, CHALLENGER)
    if holder is not None and holder.number == challenger.number:
        registry().remove_alias(challenger.use_case, CHALLENGER)


@task(**PATIENT)
def find_predecessor(use_case: str, number: str | None) -> tuple[ModelVersion, ModelVersion]:
    """The champion, and the version to go back to: the named one, or the one crowned before it.

    Raises ``RegistryError`` where there is no champion, no such version, or no earlier champion.
    """
    store = registry()
    champion = store.at(load(use_case).name, CHAMPION)
    if champion is None:
        raise RegistryError(f"{use_case!r} has no champion to roll back from.")
    if number is not None:
        target = store.version(use_case, number)
    else:
        crowned = [v for v in store.versions(use_case) if CROWNED_AT in v.tags and v.number != champion.number]
        earlier = [v for v in crowned if v.tags[CROWNED_AT] < champion.tags.get(CROWNED_AT, "9")]
        if not earlier:
            raise RegistryError(f"{use_case!r} has no champion before version {champion.number}. Name a version to go to.")
        target = max(earlier, key=lambda v: v.tags[CROWNED_AT])
    if target.number == champion.number:
        raise RegistryError(f"Version {target.number} of {use_case!r} is the champion already.")
    return champion, target


@task(**PATIENT)
def prove_package(version: ModelVersion) -> None:
    """Load the version's package and let it answer its smoke rows. Raises ``RegistryError`` or ``PackageError``."""
    with opened(registry(), version):
        pass


@task(**PATIENT)
def record_rollback(champion: ModelVersion, target: ModelVersion, reason: str) -> None:
    """Into the ledger and to people."""
    use_case, now = champion.use_case, datetime.now(UTC).isoformat(timespec="milliseconds")
    manifest = read_manifest(registry(), target)
    decision = Decision(
        use_case=use_case,
        time=now,
        challenger=target.number,
        champion=champion.number,
        holdout=target.tags.get("laurel.holdout", ""),
        dataset_version=manifest.dataset_version,
        promoted=True,
        verdict="rollback",
        reasons=[reason],
        contest=None,
        gate_score=manifest.metrics[load(use_case).gate.metric.name],
        by=flow_run.ui_url or "a direct call",
    )
    lake().write(f"decisions/{use_case}/{now.replace(':', '-')}.json", decision.model_dump_json(indent=1).encode())
    create_markdown_artifact(
        f"Rolled back from version {champion.number} to {target.number}: {reason}", key=artifact_key(use_case, "rollback")
    )
    tell(rolled_back(use_case, version=target.number, from_version=champion.number, reason=reason))
