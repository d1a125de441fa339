"""The steps of ``compare``: two registered versions on the same rows."""

from prefect import get_run_logger, task

from blocks.registry import ModelVersion
from serving.records.contest import Contest
from serving.records.record import encode, fields_of
from tasks.contest.decide import judge_rows
from tasks.contest.fairness import why_unfair
from tasks.data.dataset import read_periods, read_version
from tasks.data.row_digests import HoldoutOverlap, rows_in
from tasks.messages.announcements import metric_name, number
from tasks.outside.artifacts import show_table
from tasks.outside.blocks_of_run import PATIENT, lake, registry
from tasks.packages.own_columns import OtherColumns, own_rows
from tasks.packages.packaging import score_rows
from tasks.packages.registered import open_package
from usecases.definition import load


class UnfairComparison(ValueError):
    """A version was trained on the rows to score, or needs columns that they do not have."""


@task(**PATIENT)
def compare_versions(
    use_case: str, window: str, champion: str, challenger: str, seed: int
) -> Contest:
    """Hold the contest of two versions on ``window``. Raises ``UnfairComparison``,
    ``RegistryError``, ``DatasetMissing``."""
    case, store, dataset = load(use_case), registry(), read_version(lake(), use_case)
    rows = read_periods(lake(), dataset, [window], case.label)
    rows_seen, scores = HoldoutOverlap(case, rows, rows_in(lake(), case)), []
    judged_on = dataset.digests([window])
    for version in (champion, challenger):
        with open_package(store, store.version(use_case, version)) as (package, _):
            if unfair := why_unfair(
                f"version {version}", package.manifest.trained_on, judged_on, rows_seen
            ):
                raise UnfairComparison("; ".join(unfair))
            try:
                scores.append(
                    score_rows(package, own_rows(lake(), case, package.manifest, rows, window))
                )
            except OtherColumns as error:
                raise UnfairComparison(
                    f"version {version} cannot be scored on {window}: {error}."
                ) from error
    return judge_rows(case, rows, scores[0], scores[1], seed)


def in_short(window: str, champion: str, challenger: str, contest: Contest) -> str:
    """Return both scores and the gain, in a sentence."""
    main = contest.main
    scores = (
        f"version {champion} {number(main.champion)}, version {challenger} "
        f"{number(main.challenger)}"
    )
    gain = f"gain {number(main.gain, signed=True)}, at least {number(main.low, signed=True)}"
    return (
        f"{metric_name(main.metric)} on {main.rows:,} rows of {window}: {scores} ({gain}). "
        "Nothing was decided."
    )


@task(**PATIENT)
def report_comparison(
    use_case: str, window: str, champion: str, challenger: str, contest: Contest
) -> None:
    """Write the comparison into the lake and an artifact, and both scores into the log."""
    path = f"reports/{use_case}/{window}/comparison-{champion}-{challenger}.json"
    lake().write(path, encode(contest))
    table = [
        {
            name: round(value, 4) if isinstance(value, float) else value
            for name, value in fields_of(comparison).items()
        }
        for comparison in (contest.main, *contest.guards)
    ]
    versions = [ModelVersion(use_case, number, "", {}) for number in (champion, challenger)]
    show_table(
        use_case,
        "comparison",
        table,
        f"versions {champion} and {challenger} on {window}",
        in_short(window, champion, challenger, contest),
        {f"version {version.number}": registry().version_url(version) for version in versions},
    )
    get_run_logger().info(
        "comparison use_case=%s: %s", use_case, in_short(window, champion, challenger, contest)
    )
