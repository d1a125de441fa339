"""The crown: who gets it, who does not, and what happens when the winner cannot be served. On the real stack, in the order of the file."""

import json
from typing import Any

import polars as pl
import pytest
from mlflow import MlflowClient

from blocks.registry import CHALLENGER, ModelVersion
from flows.compare import compare
from flows.ingest import ingest
from flows.promote import promote
from flows.retrain import retrain
from flows.rollback import rollback
from tasks.champions import read_manifest
from tasks.dataset import write_period, write_version
from tasks.packaging import SMOKE_ROWS
from tasks.validation import validate
from tests.fixtures.processes import wait_until
from tests.integration.planting import Loop, Outcome
from usecases.definition import load

CASE = "toy_contest"
TO_MAY = ["2024-01", "2024-02", "2024-03", "2024-04", "2024-05"]


def months(through: int) -> list[str]:
    return [f"2024-{month:02d}" for month in range(1, through + 1)]


@pytest.fixture(scope="module")
def refused_first(loop: Loop) -> Outcome:
    """What promote says of a challenger below the gate when there is no champion."""
    loop.run(ingest, CASE, through="2024-03")
    loop.plant(CASE, "2024-03", months(2), flipped=True)
    return loop.run(promote, CASE)


@pytest.fixture(scope="module")
def crowned(loop: Loop, refused_first: Outcome) -> Outcome:
    return loop.run(retrain, CASE, through="2024-03")


@pytest.fixture(scope="module")
def champion(loop: Loop, crowned: Outcome) -> ModelVersion:
    """The first champion, trained through March, with a dataset through June."""
    loop.run(ingest, CASE, through="2024-06")
    return crowned.result


def stays(loop: Loop, champion: ModelVersion, challenger: ModelVersion, outcome: Outcome, verdict: str) -> dict[str, Any]:
    """Everything that must hold when the champion stays. Returns the ledger's entry."""
    assert (outcome.name, outcome.state.is_completed()) == ("Champion stays", True)
    assert (loop.crowned(CASE), loop.served(CASE)) == (champion.number, champion.number)
    assert loop.registry.versions(CASE)[0].number == challenger.number, "something was refitted"
    assert loop.registry.at(CASE, CHALLENGER) is None
    assert loop.registry.version(CASE, challenger.number).tags["laurel.verdict"] == verdict
    entry = loop.decisions(CASE)[-1]
    assert (entry["verdict"], entry["promoted"], entry["challenger"]) == (verdict, False, challenger.number)
    assert loop.artifact("toy-contest-contest").startswith(f"# {verdict.capitalize()}: challenger {challenger.number} against champion")
    assert len(outcome.told) == 1 and f"champion v{champion.number} keeps the crown" in outcome.told[0]
    return entry


def test_without_a_champion_the_gate_refuses(loop: Loop, refused_first: Outcome) -> None:
    assert refused_first.name == "Champion stays"
    entry = loop.decisions(CASE)[0]
    assert (entry["verdict"], entry["champion"], entry["contest"]) == ("keep", None, None)
    assert len(refused_first.told) == 1 and "there is still no champion" in refused_first.told[0]
    assert f"{entry['gate_score']:.4f}" in refused_first.told[0]


def test_without_a_champion_the_gate_crowns(loop: Loop, crowned: Outcome) -> None:
    version: ModelVersion = crowned.result
    assert (crowned.name, loop.crowned(CASE), loop.served(CASE)) == ("Completed", version.number, version.number)
    assert loop.decisions(CASE)[1]["promoted"] is True
    manifest = read_manifest(loop.registry, version)
    assert (manifest.trained_through, sorted(manifest.trained_on)) == ("2024-03", months(3))
    card = loop.artifact("toy-contest-retrain")
    assert "**Why:** asked for" in card and f"[version {version.number}]" in card
    first, served = crowned.told[-2:]
    assert "becomes the first champion with ROC AUC" in first and "gate 0.75" in first
    assert f"version {version.number} serves after" in served and f"{SMOKE_ROWS} smoke requests passed" in served


def test_equal_challenger_does_not_win(loop: Loop, champion: ModelVersion) -> None:
    manifest = read_manifest(loop.registry, champion)
    equal = loop.plant(CASE, "2024-06", months(3), recipe=manifest.recipe, params=manifest.params)
    contest = stays(loop, champion, equal, loop.run(promote, CASE), "keep")["contest"]
    assert contest["main"]["champion"] == contest["main"]["challenger"]
    assert (contest["main"]["gain"], contest["main"]["low"]) == (0, 0)


def test_worse_challenger_does_not_win(loop: Loop, champion: ModelVersion) -> None:
    worse = loop.plant(CASE, "2024-06", TO_MAY, flipped=True)
    outcome = loop.run(promote, CASE)
    main = stays(loop, champion, worse, outcome, "keep")["contest"]["main"]
    assert main["challenger"] < main["champion"] and main["high"] < 0
    assert f"(ROC AUC: challenger {main['challenger']:.4f}, champion {main['champion']:.4f})" in outcome.told[0]


def test_challenger_that_learned_the_holdout_is_unfair(loop: Loop, champion: ModelVersion) -> None:
    leaky = loop.plant(CASE, "2024-06", months(6))
    entry = stays(loop, champion, leaky, loop.run(promote, CASE), "unfair")
    assert entry["contest"] is None
    assert entry["reasons"] == [f"challenger {leaky.number} was trained on 2024-06, so it cannot be judged on it"]


def test_challenger_that_learned_the_same_rows_under_another_name_is_unfair(loop: Loop, champion: ModelVersion) -> None:
    """The rows of the hold-out, told apart by nothing but their digest."""
    case = load(CASE)
    dataset = loop.run(ingest, CASE, through="2024-05").result
    june, january = dataset.periods[-1], dataset.periods[0]
    disguised = [january.model_copy(update={"path": june.path, "sha256": june.sha256}), *dataset.periods[1:]]
    made, _ = write_version(loop.lake, case, disguised)
    leaky = loop.plant(CASE, "2024-05", months(4), dataset_version=made.version)
    entry = stays(loop, champion, leaky, loop.run(promote, CASE), "unfair")
    assert entry["reasons"] == [f"challenger {leaky.number} was trained on 2024-05, so it cannot be judged on it"]


def test_holdout_that_the_champion_learned_is_unfair(loop: Loop, champion: ModelVersion) -> None:
    challenger = loop.plant(CASE, "2024-03", months(2))
    entry = stays(loop, champion, challenger, loop.run(promote, CASE), "unfair")
    assert entry["reasons"] == [f"champion {champion.number} was trained on 2024-03, so it cannot be judged on it"]


def test_challenger_that_was_told_the_label_by_a_column_is_suspicious(loop: Loop, champion: ModelVersion) -> None:
    case = load(CASE)
    told = [case.source.read(period).with_columns(steady=5 + 0.1 * pl.col("won")) for period in TO_MAY]
    files = [write_period(loop.lake, case, period, validate(case, period, rows)) for period, rows in zip(TO_MAY, told, strict=True)]
    dataset, _ = write_version(loop.lake, case, files)
    leaky = loop.plant(CASE, "2024-05", months(4), dataset_version=dataset.version)
    outcome = loop.run(promote, CASE)
    entry = stays(loop, champion, leaky, outcome, "suspicious")
    assert entry["contest"]["main"]["challenger"] > 0.99
    assert "is too good to be true: look for a leak" in entry["reasons"][0]
    assert "it looks like a leak" in outcome.told[0]


@pytest.fixture(scope="module")
def better(loop: Loop, champion: ModelVersion) -> ModelVersion:
    """A challenger that has seen the world change."""
    return loop.plant(CASE, "2024-06", TO_MAY)


def test_winner_that_cannot_be_served_does_not_keep_the_alias(
    loop: Loop, champion: ModelVersion, better: ModelVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAUREL_PROMOTE_TIMEOUT_SECONDS", "1")
    with loop.stopped("service"):
        outcome = loop.run(promote, CASE)
    assert outcome.name == "Failed" and f"The alias is back at {champion.number}" in outcome.message
    assert loop.crowned(CASE) == champion.number
    wait_until(lambda: loop.served(CASE) == champion.number, "the champion serves again")
    won, failed, told = outcome.told
    assert "beats champion" in won
    assert f"failed, the alias is back at version {champion.number}" in failed and "does not answer" in failed
    assert told.startswith(f"{CASE}: flow promote failed: NotServed: Version")
    challenger = loop.registry.at(CASE, CHALLENGER)
    assert challenger and challenger.number == better.number
    assert "laurel.crowned_at" not in loop.registry.versions(CASE)[0].tags


@pytest.fixture(scope="module")
def won(loop: Loop, better: ModelVersion) -> Outcome:
    return loop.run(promote, CASE, version=better.number)


def test_better_challenger_wins_and_serves_refitted(loop: Loop, champion: ModelVersion, better: ModelVersion, won: Outcome) -> None:
    winner: ModelVersion = won.result
    assert won.name == "Completed" and len({winner.number, better.number, champion.number}) == 3
    assert (loop.crowned(CASE), loop.served(CASE)) == (winner.number, winner.number)
    assert loop.registry.at(CASE, CHALLENGER) is None
    manifest = read_manifest(loop.registry, winner)
    assert sorted(manifest.trained_on) == months(6) and manifest.trained_through == "2024-06"
    assert (manifest.recipe, manifest.params) == ("boosting", read_manifest(loop.registry, better).params)
    assert loop.registry.version(CASE, better.number).tags["laurel.refit"] == winner.number
    assert (winner.tags["laurel.refit_of"], winner.tags["laurel.verdict"]) == (better.number, "promote")


def test_decision_is_told_everywhere_with_both_scores(loop: Loop, champion: ModelVersion, better: ModelVersion, won: Outcome) -> None:
    entry = loop.decisions(CASE)[-1]
    main = entry["contest"]["main"]
    assert (entry["verdict"], entry["promoted"], entry["champion"], entry["challenger"]) == (
        "promote",
        True,
        champion.number,
        better.number,
    )
    assert 0 < main["low"] < main["gain"] < main["high"] and entry["contest"]["blocks"] == 28
    assert entry["by"].endswith(won.run_id)
    tags = loop.registry.version(CASE, better.number).tags
    assert (tags["laurel.verdict"], tags["laurel.reasons"]) == ("promote", "; ".join(entry["reasons"]))
    scores = f"challenger {main['challenger']:.4f}, champion {main['champion']:.4f}"
    assert f"challenger v{better.number} beats champion v{champion.number} (ROC AUC: {scores})" in won.told[0]
    report = loop.artifact("toy-contest-contest")
    assert f"{main['champion']:.4f} | {main['challenger']:.4f} | {main['gain']:+.4f}" in report and "group=c" in report
    assert loop.artifact("toy-contest-contest-interval").startswith("data:image/png;base64,")


def test_smoke_requests_are_not_in_the_prediction_log(loop: Loop, won: Outcome) -> None:
    log = loop.service.get(f"/v1/{CASE}").json()["log"]
    assert (log["rows_waiting"], log["rows_uploaded"]) == (0, 0)
    assert loop.objects(f"predictions/{CASE}") == {}


def test_compare_tells_what_the_promotion_was_worth_on_later_rows(loop: Loop, champion: ModelVersion, won: Outcome) -> None:
    loop.run(ingest, CASE, through="2024-07", since="2024-07")
    winner: ModelVersion = won.result
    outcome = loop.run(compare, CASE, window="2024-07", champion=champion.number, challenger=winner.number)
    assert outcome.result.main.gain > 0
    path = f"reports/{CASE}/2024-07/comparison-{champion.number}-{winner.number}.json"
    assert json.loads(loop.lake.read(path))["main"]["gain"] == outcome.result.main.gain
    unfair = loop.run(compare, CASE, window="2024-06", champion=champion.number, challenger=winner.number)
    assert unfair.name == "Failed" and f"version {winner.number} was trained on 2024-06" in unfair.message


def test_champion_does_not_contest_itself(loop: Loop, won: Outcome) -> None:
    outcome = loop.run(promote, CASE, version=won.result.number)
    assert outcome.name == "Failed" and "is the champion already: it cannot contest itself" in outcome.message


@pytest.mark.parametrize(
    ("version", "said"),
    [("999", "version 999 of 'toy_contest'"), ("champion", "is the champion already"), ("bare", "has no model package")],
)
def test_rollback_to_what_cannot_serve_leaves_the_alias(loop: Loop, won: Outcome, version: str, said: str) -> None:
    if version == "bare":
        version = MlflowClient().create_model_version(CASE, f"runs:/{won.result.run_id}/model", run_id=won.result.run_id).version
    outcome = loop.run(rollback, CASE, version=won.result.number if version == "champion" else str(version))
    assert outcome.name == "Failed" and said in outcome.message
    assert (loop.crowned(CASE), loop.served(CASE)) == (won.result.number, won.result.number)
    assert outcome.told[0].startswith(f"{CASE}: flow rollback failed: ")


def test_rollback_to_a_package_that_was_damaged_leaves_the_alias(loop: Loop, better: ModelVersion, won: Outcome) -> None:
    (path,) = [path for path in loop.lake.list("mlflow") if path.endswith(f"{better.run_id}/artifacts/package/model.onnx")]
    whole = loop.lake.read(path)
    loop.lake.write(path, whole[:-100] + bytes(100))
    outcome = loop.run(rollback, CASE, version=better.number)
    loop.lake.write(path, whole)
    assert outcome.name == "Failed" and "model.onnx" in outcome.message
    assert (loop.crowned(CASE), loop.served(CASE)) == (won.result.number, won.result.number)


def test_rollback_gives_the_crown_to_the_champion_before(loop: Loop, champion: ModelVersion, won: Outcome) -> None:
    outcome = loop.run(rollback, CASE, reason="complaints")
    assert outcome.result.number == champion.number
    assert (loop.crowned(CASE), loop.served(CASE)) == (champion.number, champion.number)
    entry = loop.decisions(CASE)[-1]
    assert (entry["verdict"], entry["champion"], entry["challenger"]) == ("rollback", won.result.number, champion.number)
    assert entry["reasons"] == ["complaints"] and 0.75 < entry["gate_score"] < 1
    assert outcome.told[-1].startswith(f"{CASE}: rolled back from version {won.result.number} to version {champion.number}")
    assert "complaints" in loop.artifact("toy-contest-rollback")


def test_rollback_to_a_named_version(loop: Loop, won: Outcome) -> None:
    outcome = loop.run(rollback, CASE, version=won.result.number)
    assert (outcome.name, loop.crowned(CASE), loop.served(CASE)) == ("Completed", won.result.number, won.result.number)


def test_first_champion_that_cannot_be_served_loses_the_alias(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    """``toy_easy`` is not among the use cases of the stack's service."""
    monkeypatch.setenv("LAUREL_PROMOTE_TIMEOUT_SECONDS", "1")
    loop.run(ingest, "toy_easy", through="2024-02")
    challenger = loop.plant("toy_easy", "2024-02", months(1))
    outcome = loop.run(promote, "toy_easy")
    assert outcome.name == "Failed" and "Unknown use case 'toy_easy'" in outcome.message
    assert loop.crowned("toy_easy") is None
    assert loop.registry.at("toy_easy", CHALLENGER) is not None and loop.registry.versions("toy_easy")[0].number != challenger.number
    assert "the alias is removed; there is no earlier champion" in outcome.told[1]
    refused = loop.run(rollback, "toy_easy")
    assert refused.name == "Failed" and "'toy_easy' has no champion to roll back from" in refused.message
