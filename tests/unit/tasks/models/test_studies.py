"""A search that was killed goes on: the record, in SQLite and PostgreSQL."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import optuna
import polars as pl
import pytest
from sqlalchemy.engine import make_url
from usecases.toy import toy_rows

from deployments.servers.databases import make_missing
from tasks.models.climbing import TrialFailed
from tasks.models.executors import core_threads
from tasks.models.studies import find_old_studies, open_record, remove_studies, study_name
from tasks.models.tuning import SearchFailed, Tuned, tune
from tests.fixtures.postgres import postgres, program
from usecases.definition import LOG_LOSS, Gate, UseCase, load

Sides = tuple[pl.DataFrame, pl.DataFrame]


class Counted:
    """An executor that counts what it fits; the trial with the number ``heavy`` has no memory, and
    the fit with the number ``ends`` is one that ends the process."""

    def __init__(self, heavy: int = -1, ends: int = -1) -> None:
        self.fits, self._heavy, self._ends = 0, heavy, ends

    def submit(self, call: Any, step: Any, split: Any) -> Any:
        from concurrent.futures import Future

        future = Future()
        if self.fits == self._ends:
            raise KeyboardInterrupt
        if self.fits == self._heavy:
            future.set_exception(TrialFailed(f"{step.call} ran out of memory"))
        else:
            future.set_result(call(step, split))
        self.fits += 1
        return future


@pytest.fixture(scope="module")
def case() -> UseCase:
    return load("toy")


@pytest.fixture(scope="module")
def sides() -> Sides:
    return toy_rows("2024-01"), toy_rows("2024-02")


@pytest.fixture(scope="module")
def whole(case: UseCase, sides: Sides) -> Tuned:
    with core_threads(2) as threads:
        return tune(case, case.candidate("boosting"), *sides, 7, threads)


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/studies.db"


def no_warning(warning: str) -> None:
    raise AssertionError(warning)


def search(case: UseCase, sides: Sides, url: str | None, executor: Any, **more: Any) -> Tuned:
    with open_record(url, "toy/boosting/1", True, more.pop("warn", no_warning), **more) as record:
        return tune(case, case.candidate("boosting"), *sides, 7, executor, record=record)


def stored(url: str, name: str = "toy/boosting/1") -> list[Any]:
    return optuna.load_study(study_name=name, storage=url).trials


@pytest.mark.parametrize("fits", [0, 3, 9])
def test_a_search_that_was_broken_off_goes_on_and_finds_the_same(
    case: UseCase, sides: Sides, whole: Tuned, url: str, fits: int
) -> None:
    with pytest.raises(KeyboardInterrupt):
        search(case, sides, url, Counted(ends=fits))
    ended, again = len(stored(url)), Counted()
    assert search(case, sides, url, again) == whole
    assert len(stored(url)) == len(whole.trials) == 8
    steps = sum(len(trial.scores) for trial in whole.trials)
    known = sum(len(trial.intermediate_values) for trial in stored(url)[:ended])
    assert again.fits == steps - known
    assert (fits < 9) or known > 0


def test_a_search_that_is_over_is_not_fitted_again(
    case: UseCase, sides: Sides, whole: Tuned, url: str
) -> None:
    search(case, sides, url, Counted())
    again = Counted()
    assert search(case, sides, url, again) == whole
    assert again.fits == 0


def test_what_was_asked_otherwise_is_fitted_anew(
    case: UseCase, sides: Sides, whole: Tuned, url: str
) -> None:
    """As after an update of Optuna: the record answers only for the same parameters."""
    with open_record(url, "toy/boosting/1", True, no_warning) as record:
        tune(case, case.candidate("boosting"), *sides, 8, Counted(), record=record)
    again = Counted()
    assert search(case, sides, url, again) == whole
    assert again.fits == sum(len(trial.scores) for trial in whole.trials)


def test_a_trial_without_memory_fails_alone_and_is_not_tried_again(
    case: UseCase, sides: Sides, url: str
) -> None:
    tuned = search(case, sides, url, Counted(heavy=0))
    assert [bool(trial.failed) for trial in tuned.trials] == [True] + 7 * [False]
    assert "ran out of memory" in tuned.trials[0].failed
    assert len(stored(url)) == len(tuned.trials) == 8
    assert search(case, sides, url, again := Counted()) == tuned
    assert again.fits == 0


def test_trials_that_all_fail_at_the_last_rung_are_told_though_others_were_pruned(
    case: UseCase, sides: Sides
) -> None:
    class Heavy(Counted):
        def submit(self, call: Any, step: Any, split: Any) -> Any:
            self._heavy = self.fits if step.rung == 40 else -1
            return super().submit(call, step, split)

    with pytest.raises(SearchFailed, match=r"none of the 8 trials .* was finished: .*memory"):
        search(case, sides, None, Heavy())


def test_trials_that_all_score_nan_are_told(
    case: UseCase, sides: Sides, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Optuna prunes each of them at the first rung, so that none has failed."""
    monkeypatch.setattr("tasks.models.climbing.score", lambda *_: float("nan"))
    with pytest.raises(SearchFailed, match=r"none of the 8 trials .*: all scored NaN"):
        search(case, sides, None, Counted())


@pytest.mark.parametrize("change", ["data", "metric", "code", "library"])
def test_another_data_set_metric_or_code_makes_another_study(
    case: UseCase, change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    boosting, version = case.candidate("boosting"), "1"
    before = study_name(case, boosting, version, 7)
    assert before == study_name(case, boosting, version, 7)
    if change == "metric":
        case = case.model_copy(update={"gate": Gate(metric=LOG_LOSS, threshold=0.5)})
    elif change == "data":
        version = "2"
    elif change == "code":
        monkeypatch.setattr("tasks.models.studies.code_of_trials", lambda name: {"Laurel": "new"})
    else:
        monkeypatch.setattr("optuna.__version__", "6.0.0")
    assert study_name(case, boosting, version, 7) != before


def test_a_fit_that_runs_out_of_memory_is_such_a_trial(
    case: UseCase, sides: Sides, monkeypatch: pytest.MonkeyPatch
) -> None:
    def greedy(*_: Any) -> None:
        raise MemoryError

    monkeypatch.setattr("tasks.models.growing.WARM_START.grow.__code__", greedy.__code__)
    with core_threads(1) as threads, pytest.raises(SearchFailed, match=r"none of the 8 .*memory"):
        tune(case, case.candidate("boosting"), *sides, 7, threads)


def test_a_database_that_is_away_costs_a_warning_and_nothing_else(
    case: UseCase, sides: Sides, whole: Tuned
) -> None:
    warnings = list[str]()
    away = "postgresql://search:secret@127.0.0.1:9/search"
    assert search(case, sides, away, Counted(), warn=warnings.append) == whole
    assert len(warnings) == 1
    assert "LAUREL_SEARCH_DATABASE" in warnings[0]
    assert "Connection refused" in warnings[0]
    assert "secret" not in warnings[0]


@pytest.mark.parametrize(
    "url", ["nonsense", "sqlite:////no/such/folder/x.db", "oracle+none://a:secret@b/c"]
)
def test_a_url_that_cannot_be_used_is_told_without_its_password(
    case: UseCase, sides: Sides, whole: Tuned, url: str
) -> None:
    warnings = list[str]()
    assert search(case, sides, url, Counted(), warn=warnings.append) == whole
    assert len(warnings) == 1
    assert "secret" not in warnings[0]


def test_a_database_that_goes_away_in_the_middle_costs_a_warning(
    case: UseCase, sides: Sides, whole: Tuned, url: str
) -> None:
    warnings = list[str]()
    with open_record(url, "toy/boosting/1", True, warnings.append) as record:
        Path(url.removeprefix("sqlite:///")).write_bytes(b"no database any more" * 500)
        assert tune(case, case.candidate("boosting"), *sides, 7, Counted(), record=record) == whole
    assert len(warnings) == 1


KILLED = """
import os, signal, sys
from concurrent.futures import ThreadPoolExecutor
from usecases.toy import toy_rows
from tasks.models.studies import open_record
from tasks.models.tuning import tune
from usecases.definition import load

url, trial = sys.argv[1:]

class Killing(ThreadPoolExecutor):
    started = 0
    def submit(self, call, step, split):
        Killing.started += 1
        if Killing.started == int(trial):
            record.settled()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().submit(call, step, split)

case = load("toy")
with open_record(url, "toy/boosting/1", True, print) as record:
    tune(
        case, case.candidate("boosting"), toy_rows("2024-01"), toy_rows("2024-02"), 7, Killing(1),
        record=record,
    )
"""


def run_killed(url: str, trial: int) -> subprocess.CompletedProcess[str]:
    root = Path(__file__).parents[4]
    path = os.pathsep.join(map(str, [root, root / "tests" / "fixtures"]))
    return subprocess.run(
        [sys.executable, "-c", KILLED, url, str(trial)],
        cwd=root,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.mark.slow("a process that imports scikit-learn and Optuna")
def test_a_trial_that_kills_its_process_too_often_is_given_up(
    case: UseCase, sides: Sides, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed = run_killed(url, 1)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert stored(url) == []
    with pytest.raises(KeyboardInterrupt):  # the second time it may be luck
        search(case, sides, url, Counted(ends=0))
    monkeypatch.setattr("tasks.models.tuning.MOST_KILLS", 1)
    tuned = search(case, sides, url, Counted())
    assert [trial.number for trial in tuned.trials if trial.failed] == [0]
    assert "killed 1 times" in tuned.trials[0].failed
    assert len(stored(url)) == 8


def test_a_run_that_ends_by_itself_counts_as_no_kill(
    case: UseCase, sides: Sides, whole: Tuned, url: str
) -> None:
    for _ in range(4):
        with pytest.raises(KeyboardInterrupt):
            search(case, sides, url, Counted(ends=1))
    assert search(case, sides, url, Counted()) == whole


def test_studies_that_nobody_has_opened_for_long_are_found_and_removed(
    case: UseCase, sides: Sides, url: str
) -> None:
    now = datetime.now(UTC)
    for name in ("toy/boosting/1", "toy/boosting/2", "toy_own/network/1"):
        with open_record(url, name, True, no_warning):
            pass
    assert find_old_studies(url, "toy", 30, now) == []
    old = find_old_studies(url, "toy", 30, now + timedelta(31))
    assert old == ["toy/boosting/1", "toy/boosting/2"]
    remove_studies(url, [*old, "toy/gone/1"])
    assert [study.study_name for study in optuna.get_all_study_summaries(url)] == [
        "toy_own/network/1"
    ]


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    if program("postgres") is None:
        pytest.skip("PostgreSQL is not installed")
    with postgres() as address:
        yield address


@pytest.mark.slow("starts PostgreSQL")
def test_the_record_in_postgresql_is_the_same_to_the_last_bit(
    case: UseCase, sides: Sides, whole: Tuned, server: str
) -> None:
    administrator = make_url(f"postgresql://{server}/postgres")
    url = f"postgresql://search:pass@{server.partition('@')[2]}/search"
    asyncio.run(make_missing([make_url(url)], administrator))
    with pytest.raises(KeyboardInterrupt):
        search(case, sides, url, Counted(ends=9))
    assert 0 < len(stored(url)) < 8
    start = time.monotonic()
    assert search(case, sides, url, Counted()) == whole
    assert time.monotonic() - start < 60
