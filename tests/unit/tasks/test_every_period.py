"""The loop by days, weeks and hours: what is ingested, learned, judged and checked for drift, over
a leap day and a week 53, with gaps, late rows and a source that is read twice."""

import io
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from usecases._toy_spans import SpanSource, span_rows

from blocks.lake import Lake
from tasks.backtest.fits import History
from tasks.backtest.replay import first_champion, retrain
from tasks.backtest.windows import check_windows, decisive
from tasks.data.dataset import (
    ColumnsDiffer,
    DatasetVersion,
    read_periods,
    read_version,
    verify_periods,
    write_version,
)
from tasks.data.ingestion import ingest_period
from tasks.data.sources import Checked
from tasks.data.tables import Query
from tasks.data.validation import BatchRefused, validate
from tasks.drift.checks.broken import find_broken
from tasks.drift.checks.spikes import find_spikes
from tasks.drift.examine import examine
from tasks.drift.late_labels import count_unknown
from tasks.drift.profile.profile import draw_days
from tasks.drift.thresholds import calibrate
from tasks.drift.training_windows import BLOCK, cut
from tasks.drift.verdict import judge
from tasks.log.files import latest_window, logged_windows
from tasks.log.windows import read_window
from tasks.outside.user_code import UseCaseFailed
from tasks.steps.ingest import NoPeriod, find_periods
from usecases.definition import DriftPolicy, UseCase, holdout_named, load, periods_of, window_kind


@dataclass(frozen=True)
class Told:
    """A use case, some of its periods one after the other, and windows before and after its world
    changed."""

    use_case: str
    periods: tuple[str, ...]
    through: str
    quiet: str
    changed: str


DAILY = Told(
    "toy_daily",
    ("2024-02-28", "2024-02-29", "2024-03-01"),
    *("2024-03-17", "2024-03-31", "2024-04-07"),
)
WEEKLY = Told(
    "toy_weekly", ("2020-W52", "2020-W53", "2021-W01"), *("2021-W06", "2021-W08", "2021-W09")
)
HOURLY = Told(
    "toy_hourly",
    ("2024-02-29T22", "2024-02-29T23", "2024-03-01T00"),
    *("2024-03-01T23", "2024-03-03T11", "2024-03-04T11"),
)


@pytest.fixture(params=[DAILY, WEEKLY, HOURLY], ids=["daily", "weekly", "hourly"], scope="module")
def told(request: pytest.FixtureRequest) -> Told:
    return request.param


@pytest.fixture(scope="module")
def case(told: Told) -> UseCase:
    return load(told.use_case)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(url=f"file://{tmp_path}")


def ingest(lake: Lake, case: UseCase, *periods: str) -> DatasetVersion:
    return write_version(lake, case, [ingest_period(lake, case, name) for name in periods])[0]


def with_source(case: UseCase, **changes: object) -> UseCase:
    """Another source of the same world."""
    old = case.source
    assert isinstance(old, SpanSource)
    fields = {"first": old.first, "last": old.last, "change": old.change} | changes
    rows = {"rows_an_hour": old.rows_an_hour} | fields
    return case.model_copy(update={"source": SpanSource(case.period, **rows)})  # type: ignore[arg-type]


def test_periods_are_ingested_in_the_order_of_time_and_twice_is_once(
    told: Told, case: UseCase, lake: Lake
) -> None:
    assert Checked(case.name, case.period_kind, case.source).periods() == case.source.periods()  # type: ignore[union-attr,arg-type]
    dataset = ingest(lake, case, *told.periods)
    assert [file.period for file in dataset.periods] == list(told.periods)
    assert dataset.version.startswith(f"{told.periods[-1]}-")
    files = lake.list("datasets")
    assert ingest(lake, case, *told.periods) == dataset
    assert lake.list("datasets") == files
    assert ingest(lake, case, *told.periods[:2]).version < dataset.version
    assert read_version(lake, case.name).version == dataset.version
    times = read_periods(lake, dataset, told.periods[1:2])["at"]
    period = case.period_kind.parse(told.periods[1])
    assert period.start <= times.min() and times.max() < period.end  # type: ignore[operator]


def test_a_row_of_the_next_period_is_put_aside_and_an_empty_period_is_refused(
    told: Told, case: UseCase
) -> None:
    source = case.source
    rows = pl.concat([source.read(told.periods[1]), source.read(told.periods[2]).head(3)])  # type: ignore[union-attr]
    reasons = validate(case, told.periods[1], rows).reasons
    assert reasons == {f"at: outside {told.periods[1]}": 3}
    with pytest.raises(BatchRefused, match="the batch is empty"):
        validate(case, told.periods[1], rows.head(0))


def test_a_gap_stays_a_gap_and_the_hold_out_bridges_it(
    told: Told, case: UseCase, lake: Lake
) -> None:
    gap = told.periods[1]
    gapped = with_source(case, gaps=(gap,))
    available = gapped.source.periods()  # type: ignore[union-attr]
    assert gap not in available
    around = [name for name in available if name >= told.periods[0]][:2]
    assert around == [told.periods[0], told.periods[2]]
    dataset = ingest(lake, gapped, *around)
    assert dataset.labelled_periods == around
    assert periods_of(holdout_named(around)) == tuple(around)


def test_rows_that_come_late_make_a_second_version_of_the_period(
    told: Told, case: UseCase, lake: Lake
) -> None:
    first = ingest(lake, with_source(case, rows_an_hour=4), *told.periods)
    late = ingest(lake, with_source(case, rows_an_hour=5), *told.periods)
    assert late.version != first.version and late.rows > first.rows
    assert read_version(lake, case.name).version == late.version
    assert len(read_periods(lake, first, told.periods)) == first.rows


def test_a_version_mixes_no_two_kinds_of_period(told: Told, case: UseCase, lake: Lake) -> None:
    dataset = ingest(lake, case, *told.periods)
    other = load("toy_weekly" if case.period != "week" else "toy_daily")
    with pytest.raises(ColumnsDiffer, match=f"is not a {other.period}, which is the period of"):
        verify_periods(lake, other, dataset, dataset.periods)


def test_a_source_that_names_its_periods_otherwise_is_told_how(told: Told, case: UseCase) -> None:
    class Other:
        def __init__(self, *names: object) -> None:
            self.names = names

        def periods(self) -> list[object]:
            return list(self.names)

    for name, instead in {
        "day": [("20240229", "'2024-02-29'"), ("2024-2-9", "'2024-02-09'")],
        "week": [("2020W53", "'2020-W53'"), ("2021-W1", "'2021-W01'")],
        "hour": [("2024-02-29 23:00", "'2024-02-29T23'"), ("2024-03-01T5", "'2024-03-01T05'")],
    }[case.period]:
        with pytest.raises(UseCaseFailed, match=f"write {instead}. periods\\(\\) must return"):
            Checked(case.name, case.period_kind, Other(name)).periods()  # type: ignore[arg-type]
    form = {"day": "%Y-%m-%d", "week": "%G-W%V", "hour": "%Y-%m-%dT%H"}[case.period]
    with pytest.raises(UseCaseFailed, match=f"write period.strftime\\('{form}'\\)"):
        Checked(case.name, case.period_kind, Other(datetime(2024, 2, 29, 5))).periods()  # type: ignore[arg-type]
    with pytest.raises(UseCaseFailed, match=f"complete {case.period}s, oldest first, such as"):
        Checked(case.name, case.period_kind, Other("2024-02")).periods()  # type: ignore[arg-type]


def test_ingest_goes_through_a_longer_span_and_to_what_there_is_of_it(
    told: Told, case: UseCase
) -> None:
    every = case.source.periods()  # type: ignore[union-attr]
    kind = case.period_kind
    whole = find_periods.fn(case.name, told.through, None)
    assert whole == every[: every.index(told.through) + 1]
    assert find_periods.fn(case.name, told.through, told.through) == [told.through]
    year = "2021" if case.period == "week" else "2024"
    months = [name for name in every if kind.parse(name).end <= datetime(int(year), 3, 1)]
    assert find_periods.fn(case.name, f"{year}-02", None) == months
    after = kind.next(kind.parse(every[-1])).name
    with pytest.raises(NoPeriod, match=f"it has {every[0]} to {every[-1]}"):
        find_periods.fn(case.name, after, None)
    assert find_periods.fn(case.name, after, None, at_most=True) == every
    with pytest.raises(ValueError, match="names no period"):
        find_periods.fn(case.name, "2024-2", None)


class Times:
    """A warehouse with rows at these times; it notes the span that it was asked for."""

    def __init__(self, *times: datetime) -> None:
        self.times, self.asked = times, None

    def days(self, query: str, event_time: str) -> list[object]:
        return sorted({time.date() for time in self.times})

    def hours(self, query: str, event_time: str) -> list[object]:
        return sorted({time.replace(minute=0) for time in self.times})

    def read(self, query: str, event_time: str, start: datetime, end: datetime) -> pl.DataFrame:
        self.asked = (start, end)  # type: ignore[assignment]
        return pl.DataFrame({event_time: [start]})


def test_a_query_gives_what_is_over_and_what_lies_in_it(told: Told, case: UseCase) -> None:
    """A day later, wherever on earth times are local to; hours, which are UTC, an hour later."""
    kind = case.period_kind
    last = kind.parse(told.periods[2])
    warehouse = Times(*(kind.parse(name).start + timedelta(minutes=9) for name in told.periods))
    query = Query(warehouse, "SELECT 1", "at", kind)  # type: ignore[arg-type]
    grace = timedelta(hours=1) if case.period == "hour" else timedelta(days=1)
    assert query.periods(last.end + grace) == list(told.periods)
    assert query.periods(last.end + grace - timedelta(seconds=1)) == list(told.periods[:2])
    query.read(told.periods[1])
    assert warehouse.asked == (kind.parse(told.periods[1]).start, kind.parse(told.periods[1]).end)


@pytest.mark.slow("fits champions and holds a contest")
def test_a_champion_wins_a_quiet_window_is_stable_and_a_changed_one_drifts(
    told: Told, case: UseCase, one_thread: None
) -> None:
    names = case.source.periods()  # type: ignore[union-attr]
    last = names.index(told.changed)
    history = History(
        case,
        {name: case.source.read(name) for name in names[: last + 1]},  # type: ignore[union-attr]
        seed=0,
    )
    champion = first_champion(case, history, told.through)
    learned = names[: names.index(told.through) + 1]
    assert champion.trained_on == tuple(learned[-(case.train_periods or len(learned)) :])
    assert periods_of(champion.holdout) == tuple(learned[-case.promotion.holdout_periods :])
    quiet = decisive(check_windows(history, champion, told.quiet, []))
    assert quiet is not None and quiet.outcome == "stable", quiet and quiet.reasons
    changed = decisive(check_windows(history, champion, told.changed, []))
    assert changed is not None and changed.outcome == "drifted", changed and changed.reasons
    assert (changed.window, changed.calibrated) == (_window(case, told.changed), True)
    early = names[len(learned) - 2 + case.promotion.holdout_periods]
    assert retrain(case, history, champion, early)[1] == "nothing to do"
    new = names[len(learned) - 1 + case.promotion.holdout_periods]
    same, outcome, _, reasons = retrain(case, history, champion, new)
    assert (same, outcome) == (champion, "kept") and reasons


@pytest.mark.slow("fits a champion")
def test_a_champion_of_windows_of_another_length_is_uncalibrated(
    told: Told, case: UseCase, one_thread: None
) -> None:
    names = case.source.periods()  # type: ignore[union-attr]
    learned = names[: names.index(told.through) + 1]
    history = History(case, {name: case.source.read(name) for name in learned}, seed=0)  # type: ignore[union-attr]
    watch = history.watch(first_champion(case, history, told.through))
    assert watch.calibrated and watch.profile is not None
    assert watch.profile.window == case.drift_window.noun
    other = case.model_copy(update={"drift": DriftPolicy(window="3d", minimum_rows=500)})
    rows = rows_of(other, datetime(2024, 3, 4), datetime(2024, 3, 9))
    verdict = judge(
        other.drift, examine(other, watch, rows, window="2024-03-04-3d", counted=len(rows))
    )
    assert not verdict.calibrated and verdict.outcome == "stable", verdict.reasons
    assert any("retrain to calibrate it anew" in reason for reason in verdict.reasons)


def _window(case: UseCase, period: str) -> str:
    return case.drift_window.containing(case.period_kind.parse(period).start).name


def test_a_window_longer_than_a_period_is_checked_when_it_ends(case: UseCase) -> None:
    if case.period == "day":
        from tasks.backtest.windows import _ending_in

        days = [case.period_kind.parse(f"2024-03-{day:02d}") for day in range(1, 32)]
        ends = {day.name: _ending_in(case.drift_window, day) for day in days}
        assert {
            name: [window.name for window in ended] for name, ended in ends.items() if ended
        } == {
            "2024-03-03": ["2024-W09"],
            "2024-03-10": ["2024-W10"],
            "2024-03-17": ["2024-W11"],
            "2024-03-24": ["2024-W12"],
            "2024-03-31": ["2024-W13"],
        }


def rows_of(case: UseCase, start: datetime, end: datetime) -> pl.DataFrame:
    return span_rows(start, end, 5, datetime(2030, 1, 1))


def test_thresholds_are_calibrated_on_windows_of_the_length_that_is_checked() -> None:
    daily = load("toy_daily")
    rows = rows_of(daily, datetime(2024, 2, 7), datetime(2024, 3, 1))  # Wednesday to Thursday
    cut_rows, weeks = cut(daily, rows, 0)
    assert weeks == ["2024-W07", "2024-W08"]  # the first and the last week are not whole
    assert cut_rows[BLOCK].unique(maintain_order=True).to_list() == weeks
    assert not calibrate(daily, rows, 0)[2]
    longer = rows_of(daily, datetime(2024, 2, 7), datetime(2024, 3, 4))
    assert cut(daily, longer, 0)[1] == ["2024-W07", "2024-W08", "2024-W09"]
    assert calibrate(daily, longer, 0)[2]
    by_quarter = daily.model_copy(update={"drift": DriftPolicy(window="quarter")})
    assert cut(by_quarter, longer, 0)[1] == [""] and not calibrate(by_quarter, longer, 0)[2]


def test_of_very_many_windows_some_are_drawn_and_the_same_again() -> None:
    hourly = load("toy_hourly").model_copy(update={"drift": DriftPolicy(window="1h")})
    rows = rows_of(hourly, datetime(2024, 2, 26), datetime(2024, 3, 2))
    some, hours = cut(hourly, rows, 3)
    assert len(hours) == 60 and hours == sorted(hours)
    assert sorted(some[BLOCK].unique()) == hours
    assert cut(hourly, rows, 3)[1] == hours != cut(hourly, rows, 4)[1]
    assert cut(hourly, rows, 3, by_day=True)[1] == [
        *("2024-02-26", "2024-02-27", "2024-02-28", "2024-02-29", "2024-03-01")
    ]


def test_what_a_training_window_did_too_is_weather_and_not_broken() -> None:
    """A week without rain, and a week in which all values are a tenth."""
    case = load("toy_daily")
    week = case.drift_window.parse("2024-W10")
    training = rows_of(case, datetime(2024, 2, 5), datetime(2024, 4, 1)).with_columns(
        steady=pl.when(pl.col("at").is_between(week.start, week.end, closed="left"))
        .then(pl.lit(5.0))
        .otherwise(pl.col("steady")),
        first=pl.col("first").abs() + 1,
    )
    dry = rows_of(case, datetime(2024, 4, 8), datetime(2024, 4, 15)).with_columns(
        steady=pl.lit(5.0), first=pl.col("first").abs() + 1
    )
    without = training.filter(pl.col("steady") != 5)
    constant = ["column 'steady' is constant (5.0)"]
    assert find_broken(case, training, dry, 7) == []
    assert find_broken(case, without, dry, 7) == constant
    monthly = load("toy")  # of longer windows it is asked all the same
    assert find_broken(monthly, training, dry, 7) == constant
    usual = dry.with_columns(steady=pl.Series(range(len(dry))) * 0.001 + 5)
    cold = usual.with_columns(pl.col("first") / 10)
    assert "did its unit change?" in find_broken(case, training, cold, 7)[0]
    inside = pl.col("at").is_between(week.start, week.end, closed="left")
    once = training.with_columns(pl.when(inside).then(pl.col("first") / 10).otherwise("first"))
    assert find_broken(case, once, cold, 7) == []


@pytest.mark.parametrize(("window", "word"), [("12h", "said"), ("1d", "said"), ("7d", "broken")])
def test_a_spike_in_a_window_shorter_than_a_week_is_said(window: str, word: str) -> None:
    case = load("toy_daily").model_copy(update={"drift": DriftPolicy(window=window)})
    training = rows_of(case, datetime(2024, 2, 5), datetime(2024, 4, 1))
    rows = rows_of(case, datetime(2024, 4, 8), datetime(2024, 4, 15))
    spiked = rows.with_columns(
        first=pl.when(pl.int_range(pl.len()) % 20 == 0).then(9.0).otherwise("first")
    )
    (spike,) = find_spikes(case, training, spiked, "at")
    assert (spike.column, spike.word) == ("first", word)


def test_few_days_are_drawn_from_any_weekday() -> None:
    import numpy as np

    dates = [datetime(2024, 2, 5).date() + timedelta(days=number) for number in range(28)]
    chance = np.random.default_rng(0)
    assert {int(flags.sum()) for flags in draw_days(dates, 1, 20, chance)} == {1}
    assert {int(flags.sum()) for flags in draw_days(dates, 7, 20, chance)} == {7}


def plant(lake: Lake, name: str, *times: datetime | None) -> None:
    """A file of the prediction log for each day of events; one without a time was answered at
    noon of 29 February."""
    answered = datetime(2024, 2, 29, 12, 30, tzinfo=UTC)
    days: dict[str, list[datetime | None]] = {}
    for time in times:
        days.setdefault(f"{time or answered:%Y-%m-%d}", []).append(time)
    for day, events in days.items():
        rows = pl.DataFrame(
            {
                "id": [f"{day} {number}" for number in range(len(events))],
                "time": [answered] * len(events),
                "event_time": events,
                "first": [0.5] * len(events),
                "score": [0.5] * len(events),
            },
            schema_overrides={"event_time": pl.Datetime("us")},
        )
        data = io.BytesIO()
        rows.write_parquet(data)
        lake.write(f"predictions/{name}/date={day}/a.parquet", data.getvalue())


def test_a_window_of_hours_is_a_part_of_the_logs_days(lake: Lake) -> None:
    hourly = load("toy_hourly")
    noon = datetime(2024, 2, 29, 12)
    before = noon - timedelta(microseconds=1)
    plant(lake, "toy_hourly", datetime(2024, 2, 28, 11), datetime(2024, 2, 28, 12))
    plant(lake, "toy_hourly", before, noon, None, noon + timedelta(hours=12), datetime(2024, 3, 1))
    counted = {
        window: read_window(lake, hourly, window, 100, 0).counted
        for window in ("2024-02-29T00-12h", "2024-02-29T12-12h", "2024-02-29T12", "2024-02-29")
    }
    assert list(counted.values()) == [1, 2, 2, 3]
    part = read_window(lake, hourly, "2024-02-29T12-12h", 100, 0, columns=("id", "score"))
    assert set(part.rows["id"]) == {"2024-02-29 1", "2024-02-29 2"}
    across = window_kind("36h").containing(noon)
    assert (across.start, across.end) == (datetime(2024, 2, 28, 12), datetime(2024, 3, 1))
    read = read_window(lake, hourly, across.name, 100, 0)
    assert (read.counted, read.files) == (4, 2)
    assert count_unknown(lake, "toy_hourly", "2024-02-29T12-12h", part.rows["id"]) is None
    assert count_unknown(lake, "toy_hourly", "2024-02-29", part.rows["id"]) == 0


@pytest.mark.parametrize(
    ("window", "now", "latest"),
    [
        ("12h", datetime(2024, 3, 1, 12), "2024-02-29T12-12h"),  # nobody called in the last one
        ("12h", datetime(2024, 2, 29, 23), "2024-02-29T00-12h"),  # the one that is going on waits
        ("1h", datetime(2024, 3, 1, 12), "2024-02-29T23"),
        ("24h", datetime(2024, 3, 1, 12), "2024-02-29"),
        ("7d", datetime(2024, 3, 1, 12), "2024-W08"),
        ("7d", datetime(2024, 3, 4), "2024-W09"),
        ("28d", datetime(2024, 2, 27), "2024-W09-4w"),
        ("month", datetime(2024, 2, 27), "2024-02"),  # longer ones are checked while they go on
        ("1h", datetime(2023, 1, 1), "2024-02-22T01"),  # all of it is to come
    ],
)
def test_the_latest_window_is_one_with_predictions_and_a_short_one_is_over(
    lake: Lake, window: str, now: datetime, latest: str
) -> None:
    case = load("toy_hourly").model_copy(update={"drift": DriftPolicy(window=window)})
    times = [datetime(2024, 2, 22, 1), datetime(2024, 2, 29, 1), datetime(2024, 2, 29, 23, 30)]
    plant(lake, "toy_hourly", *times)
    assert latest_window(lake, case, now).name == latest
    names = [found.name for found in logged_windows(lake, case)]
    assert latest in names or window == "28d"
