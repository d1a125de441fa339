"""The steps of ``backtest``: history out of the lake, the replay, and what people see of it."""

from typing import Any

from prefect import get_run_logger, task
from prefect.artifacts import create_markdown_artifact, create_table_artifact

from tasks.backtest.figure import draw_backtest
from tasks.backtest.fits import History
from tasks.backtest.replay import NEVER, Backtest, Replay, run, with_policy
from tasks.data.dataset import DatasetMissing, read_periods, read_version
from tasks.measures import plots
from tasks.messages.announcements import interval, metric_name, number
from tasks.outside.blocks_of_run import PATIENT, artifact_key, lake
from tasks.steps.pictures import show_picture
from usecases.definition import load, period_named

NOT_JUDGED = (
    "Not judged: performance on late labels, and people's answers. A winning challenger counts as "
    "approved; a suspicious one is not promoted."
)
_TRAINED = 2  # periods, before those that judge the first champion


@task(**PATIENT)
def replay_history(
    use_case: str,
    start: str | None,
    through: str | None,
    policy: dict[str, dict[str, Any]],
    dataset_version: str | None,
    seed: int,
) -> Backtest:
    """Read the labelled periods and replay them. Raises ``DatasetMissing``, and ``UseCaseError``
    for an invalid policy."""
    case, log = with_policy(load(use_case), policy), get_run_logger()
    dataset = read_version(lake(), use_case, dataset_version)
    periods = [
        period
        for period in dataset.labelled_periods
        if through is None or period_named(period).end <= period_named(through).end
    ]
    first = _TRAINED - 1 + case.promotion.holdout_periods
    if len(periods) < first + 2:
        raise DatasetMissing(
            f"Dataset {dataset.version} of {use_case!r} has labelled periods {periods}: a "
            f"backtest needs {first + 2} or more. Ingest more: laurel run "
            f"ingest {use_case}."
        )
    rows = {period: read_periods(lake(), dataset, [period]) for period in periods}
    return run(
        case, History(case, rows, seed, log.info), start or periods[first], dataset.version, policy
    )


@task(**PATIENT)
def report_backtest(backtest: Backtest) -> None:
    """Write the backtest into the lake and onto the run's page: a table of the strategies, one of
    the periods, a plot."""
    use_case, metric = backtest.use_case, load(backtest.use_case).gate.metric.name
    lake().write(
        f"reports/{use_case}/backtest/{backtest.dataset_version}-from-{backtest.start}.json",
        backtest.model_dump_json(indent=1).encode(),
    )
    create_markdown_artifact(
        in_words(backtest, metric),
        key=artifact_key(use_case, "backtest"),
        description="What the policy would have done",
    )
    create_table_artifact(
        [_line(replay, metric) for replay in backtest.replays.values()],
        key=artifact_key(use_case, "backtest-strategies"),
    )
    periods = [
        {
            "strategy": name,
            **period.model_dump(exclude={"reasons"}),
            "why": "; ".join(period.reasons),
        }
        for name, replay in backtest.replays.items()
        for period in replay.periods
    ]
    create_table_artifact(
        periods,
        key=artifact_key(use_case, "backtest-periods"),
        description=f"From {backtest.first_champion} on",
    )
    replays = {name: replay.periods for name, replay in backtest.replays.items()}
    show_picture(
        use_case,
        "backtest-plot",
        plots.png(draw_backtest(replays, metric)),
        f"{metric_name(metric)} of the version that served",
    )
    message = "backtest use_case=%s from=%s retrains=%d promoted=%d fit_seconds=%.1f"
    policy = backtest.replays["policy"]
    get_run_logger().info(
        message,
        use_case,
        backtest.start,
        policy.retrains,
        policy.count("promoted"),
        policy.fit_seconds,
    )


def in_short(backtest: Backtest) -> str:
    """Say what the policy did, and what it gained, in a sentence."""
    name, policy = metric_name(load(backtest.use_case).gate.metric.name), backtest.replays["policy"]
    gains = ", ".join(
        f"{number(gain.gain, signed=True)} against {other!r}"
        for other, gain in backtest.gains.items()
    )
    did = (
        f"{policy.retrains} retrains, {policy.count('promoted')} promoted, {name} "
        f"{number(policy.pooled)}"
    )
    return (
        f"From {backtest.start} on, {backtest.first_champion} first: {did} ({gains}). Nothing was "
        "decided."
    )


def _line(replay: Replay, metric: str) -> dict[str, Any]:
    return {
        "strategy": replay.strategy,
        "drifted": replay.drifted if replay.strategy == "policy" else None,
        "refused": replay.count("refused"),
        "retrains": replay.retrains,
        "promoted": replay.count("promoted"),
        "fit seconds": round(replay.fit_seconds, 1),
        f"{metric} of all rows": None if replay.pooled is None else round(replay.pooled, 4),
    }


def in_words(backtest: Backtest, metric: str) -> str:
    """Return the strategies side by side, and what the policy gained, as Markdown."""
    name = metric_name(metric)
    lines = [
        f"# Backtest from {backtest.start}, first champion {backtest.first_champion}",
        f"| strategy | drifted | refused | retrains | promoted | fit seconds | {name} |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for replay in backtest.replays.values():
        drifted = str(replay.drifted) if replay.strategy == "policy" else "-"
        counts = (
            f"{drifted} | {replay.count('refused')} | {replay.retrains} | "
            f"{replay.count('promoted')}"
        )
        lines.append(
            f"| {replay.strategy} | {counts} | {replay.fit_seconds:.1f} | {number(replay.pooled)} |"
        )
    lines.append("")
    for other, gain in backtest.gains.items():
        noun = load(backtest.use_case).period_kind.noun
        against = "never retraining" if other == NEVER else f"retraining each {noun}"
        lines.append(
            f"- Against {against}: {name} {number(gain.gain, signed=True)}, interval "
            f"{interval(gain.low, gain.high, signed=True)}, on {gain.rows:,} rows."
        )
    lines.append(f"- {NOT_JUDGED}")
    return "\n".join(lines)
