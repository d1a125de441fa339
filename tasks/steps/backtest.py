"""The steps of ``backtest``: history out of the lake, the replay, and what people see of it."""

from typing import Any

from prefect import get_run_logger, task

from tasks.backtest.figure import draw_backtest
from tasks.backtest.fits import History
from tasks.backtest.replay import NEVER, Backtest, Replay, run, with_policy
from tasks.data.dataset import DatasetMissing, read_periods, read_version
from tasks.messages.announcements import interval, metric_name, number
from tasks.outside.artifacts import show_picture, show_table, show_text
from tasks.outside.blocks_of_run import PATIENT, lake, registry
from tasks.steps.provenance import page_of
from usecases.definition import load, period_named

NOT_JUDGED = (
    "Not judged: performance on late labels, and people's answers. A winning challenger counts as "
    "approved; a suspicious one is not promoted."
)
_TRAINED = 2  # periods, before those that judge the first champion
_PICTURE = "plots/backtest.png"


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
    """Write the backtest into the lake, an MLflow run and onto the run's page: a table of the
    strategies, one of the periods, a plot."""
    case = load(backtest.use_case)
    use_case, metric = case.name, case.gate.metric.name
    lake().write(
        f"reports/{use_case}/backtest/{backtest.dataset_version}-from-{backtest.start}.json",
        backtest.model_dump_json(indent=1).encode(),
    )
    title, sentence = f"backtest from {backtest.start}", in_short(backtest)
    replays = {name: replay.periods for name, replay in backtest.replays.items()}
    run_id = registry().log_run(
        f"{use_case}-backtest",
        f"{backtest.dataset_version} from {backtest.start}",
        params={"start": backtest.start, "dataset_version": backtest.dataset_version},
        metrics={
            f"{metric}.{name}": replay.pooled
            for name, replay in backtest.replays.items()
            if replay.pooled is not None
        },
        tags={},
        figures={_PICTURE: draw_backtest(replays, metric)},
        note=page_of(case, title, sentence),
    )
    links = {"MLflow run": registry().run_url(run_id)}
    show_text(use_case, "backtest", in_words(backtest, metric), title, links=links)
    lines = [_line(replay, metric) for replay in backtest.replays.values()]
    show_table(use_case, "backtest-strategies", lines, f"{title}, by strategy", sentence, links)
    periods = [
        {
            "strategy": name,
            **period.model_dump(exclude={"reasons"}),
            "why": "; ".join(period.reasons),
        }
        for name, replay in backtest.replays.items()
        for period in replay.periods
    ]
    show_table(
        use_case,
        "backtest-periods",
        periods,
        f"{title}, by period",
        f"From {backtest.first_champion} on.",
        links,
    )
    words = f"{metric_name(metric)} of the version that served, by period and strategy."
    show_picture(use_case, "backtest-plot", run_id, _PICTURE, title, words, links)
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
