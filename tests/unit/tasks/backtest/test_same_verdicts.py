"""The backtest and the loop reach the same verdict on the same challenger and months."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from usecases.toy import toy_rows

from blocks.lake import Lake
from blocks.registry import ModelVersion
from serving.records.contest import Contest
from serving.records.ledger import Decision
from tasks.backtest.fits import History, Model
from tasks.backtest.replay import first_champion, retrain
from tasks.contest.decide import decide
from tasks.data.dataset import (
    DatasetVersion,
    read_periods,
    write_version,
)
from tasks.data.ingestion import ingest_period
from tasks.models import modelling
from tasks.models.selection import choose_recipes
from tasks.packages.packaging import Origin, make_package
from tasks.steps import promote
from usecases.definition import (
    ROC_AUC,
    Gate,
    MinimumFunction,
    Promotion,
    UseCase,
    load,
    periods_of,
)

START, MONTH = "2024-03", "2024-07"
PERIODS = [f"2024-{month:02d}" for month in range(1, 8)]


def always(case: UseCase, recipe: str, **changed: Any) -> UseCase:
    """The toy with ``recipe`` as its only candidate, and no search."""
    candidate = case.candidate(recipe).model_copy(update={"baseline": True, "search": None})
    gate = Gate(metric=ROC_AUC, threshold=0.3)
    return case.model_copy(update={"candidates": (candidate,), "gate": gate, **changed})


def patient(case: UseCase) -> UseCase:
    """The toy's world changes so much that gains are large without a leak."""
    promotion = {"suspicious_gain": None, "suspicious_score": 1.0}
    return case.model_copy(update={"promotion": case.promotion.model_copy(update=promotion)})


def two_months(case: UseCase) -> Promotion:
    return case.promotion.model_copy(update={"holdout_periods": 2})


UNREACHABLE = MinimumFunction(
    name="always sure",
    rows=({"first": 0.0, "second": 0.0, "steady": 5.0, "group": "a"},),
    low=0.999,
)


@pytest.fixture(scope="module")
def toy() -> UseCase:
    return patient(load("toy"))


def history(lake: Lake, dataset: DatasetVersion, case: UseCase) -> History:
    return History(case, {name: read_periods(lake, dataset, [name]) for name in PERIODS}, seed=0)


def world(lake: Lake, case: UseCase, change: Callable[[pl.DataFrame], pl.DataFrame]) -> Any:
    """A dataset whose months from May on are altered by ``change``."""

    class Months:
        def read(self, period: str) -> pl.DataFrame:
            rows = toy_rows(period)
            return change(rows) if period >= "2024-05" else rows

    monthly = case.model_copy(update={"source": Months()})
    return write_version(lake, case, [ingest_period(lake, monthly, name) for name in PERIODS])[0]


class Folder:
    """A registry of packages in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def add(
        self,
        case: UseCase,
        lake: Lake,
        dataset: DatasetVersion,
        model: Model,
    ) -> ModelVersion:
        """Fit, package and register the model as ``train``, ``evaluate`` and ``refit`` do."""
        number = str(1 + len(list(self.folder.iterdir())))
        training = read_periods(lake, dataset, model.trained_on, case.label)
        proof = read_periods(lake, dataset, periods_of(model.holdout), case.label)
        name, params = model.recipe.candidate, model.recipe.params
        fitted = modelling.fit(case, load("toy").candidate(name), params, training, 0)
        origin = Origin(
            name,
            params,
            dataset.version,
            dataset.digests(model.trained_on),
            {case.gate.metric.name: model.score},
        )
        saved = make_package(
            self.folder / number, case, fitted, origin, training, proof, 0, watched=False
        )
        tags = {"laurel.holdout": model.holdout, "laurel.package_sha256": saved.sha256}
        return ModelVersion(case.name, number, "", tags)

    def download_package(self, version: ModelVersion, into: Path) -> Path:
        return Path(shutil.copytree(self.folder / version.number, into / "package"))


@pytest.mark.slow("replays months of contests")
@pytest.mark.parametrize(
    ("name", "verdict"),
    [
        ("better", "promote"),
        ("worse", "keep"),
        ("misbehaves", "keep"),
        ("leaks", "suspicious"),
        ("two months", "promote"),
    ],
)
def test_the_backtest_promotes_whom_promote_would(
    name: str,
    verdict: str,
    toy: UseCase,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    one_thread: None,
) -> None:
    before = always(toy, "boosting")
    case = {
        "worse": always(toy, "logistic"),
        "misbehaves": always(toy, "boosting", behaviours=(UNREACHABLE,)),
        "two months": always(toy, "boosting", promotion=two_months(toy)),
    }.get(name, before)
    lake = Lake(url=f"file://{tmp_path}/lake")
    leaking = (
        (lambda rows: rows.with_columns(steady=5 + 0.1 * pl.col("won")))
        if name == "leaks"
        else (lambda rows: rows)
    )
    dataset = world(lake, toy, leaking)
    champion = first_champion(before, history(lake, dataset, before), START)
    past = history(lake, dataset, case)
    served, outcome, _, reasons = retrain(case, past, champion, MONTH)

    holdout = past.holdout_through(MONTH)
    assert holdout == ("2024-06 + 2024-07" if name == "two months" else MONTH)
    challenger, _ = past.challenger(holdout, champion)
    (tmp_path / "packages").mkdir()
    registry = Folder(tmp_path / "packages")
    reigning = registry.add(case, lake, dataset, champion)
    version = registry.add(case, lake, dataset, challenger)
    for place, value in {
        "registry": lambda: registry,
        "lake": lambda: lake,
        "load": lambda use_case: case,
        "find_champion": lambda use_case: reigning,
    }.items():
        monkeypatch.setattr(promote, place, value)
    decision: Decision = promote.hold_contest.fn(version, 0)

    assert (decision.verdict, decision.champion) == (verdict, reigning.number)
    assert decision.holdout == holdout
    assert outcome == ("promoted" if decision.promoted else "kept")
    assert reasons == decision.reasons
    assert served.trained_on == (
        (*challenger.trained_on, *periods_of(holdout)) if decision.promoted else champion.trained_on
    )


def all_baselines(toy: UseCase) -> UseCase:
    """All recipes compete, and each passes the gate."""
    candidates = tuple(
        candidate.model_copy(update={"baseline": True, "search": None})
        for candidate in toy.candidates
    )
    return toy.model_copy(
        update={"candidates": candidates, "gate": Gate(metric=ROC_AUC, threshold=0.01)}
    )


def test_the_challenger_is_chosen_before_the_hold_out_and_is_the_only_one_to_see_it(
    toy: UseCase, tmp_path: Path, one_thread: None
) -> None:
    """The recipe that is better on the hold-out, and worse on the period before it, is not
    chosen."""

    def july_upside_down(rows: pl.DataFrame) -> pl.DataFrame:
        july = (rows["at"].dt.month() == 7).all()
        return rows.with_columns(won=1 - pl.col("won")) if july else rows

    case = all_baselines(toy)
    lake = Lake(url=f"file://{tmp_path}/lake")
    past = history(lake, world(lake, toy, july_upside_down), case)
    learned = past.before(MONTH)

    def best(period: str, trained: tuple[str, ...]) -> str:
        scores = {
            recipe.candidate: past._enter(recipe, trained, period)[0].score
            for recipe in choose_recipes(case, None)
        }
        return max(scores, key=lambda name: scores[name])

    assert best("2024-06", learned[:-1]) != best(MONTH, learned)
    challenger, _ = past.challenger(MONTH, None)
    assert challenger.recipe.candidate == best("2024-06", learned[:-1])
    assert challenger.rivals == ()


def test_without_an_earlier_period_the_contest_knows_the_others(
    toy: UseCase, tmp_path: Path, one_thread: None
) -> None:
    case = all_baselines(toy)
    lake = Lake(url=f"file://{tmp_path}/lake")
    past = history(lake, world(lake, toy, lambda rows: rows), case)
    challenger, _ = past.challenger("2024-02", None)
    assert len(challenger.rivals) == len(case.candidates) - 1
    contestant = past.contestant(challenger, "2024-02")
    assert [len(scores) for scores in contestant.rivals] == [len(contestant.rows)]


@pytest.mark.slow("replays months of contests")
def test_a_hold_out_of_two_months_waits_for_both_and_is_spent_by_the_days_they_share(
    toy: UseCase, tmp_path: Path, one_thread: None
) -> None:
    """A champion that learned one of the two months is not judged on them; the month that two
    hold-outs share makes the second contest a second try."""
    case = always(toy, "boosting", promotion=two_months(toy))
    lake = Lake(url=f"file://{tmp_path}/lake")
    past = history(lake, world(lake, toy, lambda rows: rows), case)
    champion = first_champion(case, past, START)
    assert champion.holdout == "2024-02 + 2024-03"
    assert champion.trained_on == ("2024-01", "2024-02", "2024-03")
    contests: list[Contest] = []
    served, outcome, _, (reason,) = retrain(case, past, champion, "2024-04", contests)
    assert (served, outcome, contests) == (champion, "nothing to do", [])
    assert reason == "the champion has learned 2024-03 of the hold-out 2024-03 + 2024-04"
    for month in ("2024-05", "2024-06", "2024-07"):
        retrain(case, past, champion, month, contests)
    tries = [contest.spending.tries for contest in contests if contest.spending]
    assert tries == [1, 2, 2]
    days = [(contest.days[0][:10], contest.days[-1][:10]) for contest in contests]
    assert days[0] == ("2024-04-01", "2024-05-28")


@pytest.mark.slow("replays months of contests")
def test_recipes_are_compared_on_as_many_months_as_the_hold_out_has(
    toy: UseCase, tmp_path: Path, one_thread: None
) -> None:
    """May and June together choose another recipe than June alone."""

    def june_upside_down(rows: pl.DataFrame) -> pl.DataFrame:
        june = (rows["at"].dt.month() == 6).all()
        return rows.with_columns(won=1 - pl.col("won")).head(700) if june else rows

    single = all_baselines(toy)
    double = single.model_copy(update={"promotion": two_months(single)})
    lake = Lake(url=f"file://{tmp_path}/lake")
    dataset = world(lake, toy, june_upside_down)
    learned = tuple(PERIODS[:6])
    chosen = {}
    for name, case in {"june": single, "both": double}.items():
        past = history(lake, dataset, case)
        (chosen[name],), _ = past._compare(choose_recipes(case, None), learned)
    assert chosen["june"] != chosen["both"]


def test_a_best_trial_knows_the_candidates_that_missed_the_gate_on_its_hold_out(
    toy: UseCase, tmp_path: Path, one_thread: None
) -> None:
    """The gate looked at the hold-out for them; the second look was not counted."""
    lake = Lake(url=f"file://{tmp_path}/lake")
    past = history(lake, world(lake, toy, lambda rows: rows), toy)
    challenger, _ = past.challenger("2024-03", None)
    assert challenger.recipe.why.startswith("best of 8 trials")
    assert [rival.recipe.candidate for rival in challenger.rivals] == ["logistic"]
    champion = past._enter(challenger.recipe, ("2024-01",), "2024-03")[0]
    judged = [
        decide(toy, past.contestant(model, "2024-03"), past.contestant(champion, "2024-03"), 0)
        for model in (replace(challenger, rivals=()), challenger)
    ]
    alone, among = (judgement.contest for judgement in judged)
    assert alone is not None and among is not None
    assert alone.spending is not None and among.spending is not None
    assert among.spending.standard_errors > alone.spending.standard_errors
    assert (len(alone.influences), len(among.influences)) == (1, 2)
