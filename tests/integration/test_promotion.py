"""The crown: who gets it, who does not, and what happens when the winner cannot be served. On the
real stack, in the order of the file.
"""

import json
from collections import Counter
from typing import Any
from uuid import uuid4

import httpx
import mlflow
import mlflow.sklearn
import polars as pl
import pytest

from blocks.clients.registry import CHALLENGER
from blocks.lake import BLOCK as LAKE
from blocks.lake import Lake
from blocks.registry import BLOCK as REGISTRY
from blocks.registry import ModelVersion
from blocks.service import BLOCK as SERVICE
from blocks.slack import BLOCK as SLACK
from flows.compare import compare
from flows.ingest import ingest
from flows.promote import promote
from flows.retrain import retrain
from tasks.contest.behaviour import in_words
from tasks.data import frames
from tasks.data.dataset import write_period, write_version
from tasks.data.validation import REASON, Validated, validate
from tasks.outside import blocks_of_run
from tasks.packages.packaging import SMOKE_ROWS
from tasks.packages.registered import read_manifest
from tests.fixtures.browser import CHROMIUM, MISSING, Browser
from tests.fixtures.processes import wait_until
from tests.integration.planting import Loop, Outcome
from usecases.definition import load

CASE = "toy_contest"
STRICT = "toy_strict"
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
def fetched() -> Counter[str]:
    """How often the first retrain read each period, loaded each block and each model."""
    return Counter()


@pytest.fixture(scope="module")
def crowned(loop: Loop, refused_first: Outcome, fetched: Counter[str]) -> Outcome:
    """As a process of a worker runs it."""
    read, read_block, load_model = Lake.read, blocks_of_run._read, mlflow.sklearn.load_model

    def counted_read(lake: Lake, path: str) -> bytes:
        fetched.update([path] if f"datasets/{CASE}/periods/" in path else [])
        return read(lake, path)

    def counted_block(kind: Any, name: str) -> Any:
        fetched.update([name])
        return read_block(kind, name)

    def counted_model(address: str) -> Any:
        fetched.update([address])
        return load_model(address)

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PREFECT__FLOW_RUN_ID", str(uuid4()))
        patch.setattr(frames, "_kept", {})
        patch.setattr(Lake, "read", counted_read)
        patch.setattr(blocks_of_run, "_read", counted_block)
        patch.setattr(mlflow.sklearn, "load_model", counted_model)
        return loop.run(retrain, CASE, through="2024-03")


@pytest.fixture(scope="module")
def champion(loop: Loop, crowned: Outcome) -> ModelVersion:
    """The first champion, trained through March, with a dataset through June."""
    loop.run(ingest, CASE, through="2024-06")
    return crowned.result


def stays(
    loop: Loop, champion: ModelVersion, challenger: ModelVersion, outcome: Outcome, verdict: str
) -> dict[str, Any]:
    """Everything that must hold when the champion stays. Returns the ledger's entry."""
    assert (outcome.name, outcome.state.is_completed()) == ("Champion stays", True)
    assert (loop.crowned(CASE), loop.served(CASE)) == (champion.number, champion.number)
    assert loop.registry.versions(CASE)[0].number == challenger.number, "something was refitted"
    assert loop.registry.at(CASE, CHALLENGER) is None
    assert loop.registry.version(CASE, challenger.number).tags["laurel.verdict"] == verdict
    entry = loop.decisions(CASE)[-1]
    assert (entry["verdict"], entry["promoted"], entry["challenger"]) == (
        verdict,
        False,
        challenger.number,
    )
    assert loop.artifact("toy-contest-contest").startswith(
        f"# {verdict.capitalize()}: challenger {challenger.number} against champion"
    )
    assert (
        len(outcome.told) == 1 and f"champion v{champion.number} keeps the crown" in outcome.told[0]
    )
    return entry


def test_a_retrain_fetches_nothing_again_that_it_has_or_has_made(
    crowned: Outcome, fetched: Counter[str]
) -> None:
    assert crowned.name == "Completed", crowned.message
    # The ingest looks whether a file is whole, the steps read it, and the contest proves what the
    # challenger was trained on.
    periods = sorted(path for path in fetched if path.startswith("datasets/"))
    assert [fetched[path] for path in periods] == [3, 3, 2]
    assert {name: fetched[name] for name in (LAKE, REGISTRY, SERVICE, SLACK)} == dict.fromkeys(
        (LAKE, REGISTRY, SERVICE, SLACK), 1
    )
    assert not [name for name in fetched if name.startswith("runs:/")]


def test_without_a_champion_the_gate_refuses(loop: Loop, refused_first: Outcome) -> None:
    assert refused_first.name == "No champion yet"
    entry = loop.decisions(CASE)[0]
    score = (
        f"ROC AUC {entry['gate_score']:.4f} (there is no champion), gate 0.75 missed "
        "(higher is "
        "better), on 1,680 rows of 2024-03"
    )
    assert refused_first.message.startswith(f"Challenger {entry['challenger']}: keep: {score}.")
    assert "laurel run retrain toy_contest" in refused_first.message
    assert (
        entry["facts"]["next"] in refused_first.message
        and entry["facts"]["next"] in refused_first.told[0]
    )
    assert (entry["verdict"], entry["champion"], entry["contest"]) == ("keep", None, None)
    assert len(refused_first.told) == 1 and "there is still no champion" in refused_first.told[0]
    assert f"{entry['gate_score']:.4f}" in refused_first.told[0]


def test_without_a_champion_the_gate_crowns(loop: Loop, crowned: Outcome) -> None:
    version: ModelVersion = crowned.result
    assert (crowned.name, loop.crowned(CASE), loop.served(CASE)) == (
        "Completed",
        version.number,
        version.number,
    )
    assert loop.decisions(CASE, "contest")[1]["promoted"] is True
    manifest = read_manifest(loop.registry, version)
    assert (manifest.trained_through, sorted(manifest.trained_on)) == ("2024-03", months(3))
    card = loop.artifact("toy-contest-retrain")
    assert "**Why:** asked for" in card and f"[version {version.number}]" in card
    first, served = crowned.told[-2:]
    assert "becomes the first champion with ROC AUC" in first and "gate 0.75" in first
    assert (
        f"version {version.number} serves after" in served
        and f"{SMOKE_ROWS} smoke requests passed" in served
    )


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
    assert (
        f"(ROC AUC: challenger {main['challenger']:.4f}, champion {main['champion']:.4f})"
        in outcome.told[0]
    )


def test_challenger_that_learned_the_holdout_is_unfair(loop: Loop, champion: ModelVersion) -> None:
    leaky = loop.plant(CASE, "2024-06", months(6))
    entry = stays(loop, champion, leaky, loop.run(promote, CASE), "unfair")
    assert entry["contest"] is None
    assert entry["reasons"] == [
        f"challenger {leaky.number} was trained on 2024-06, so it cannot be judged on it"
    ]


def test_challenger_that_learned_the_same_rows_under_another_name_is_unfair(
    loop: Loop, champion: ModelVersion
) -> None:
    """The rows of the hold-out, told apart by nothing but their digest."""
    case = load(CASE)
    dataset = loop.run(ingest, CASE, through="2024-05").result
    june, january = dataset.periods[-1], dataset.periods[0]
    disguised = [
        january.model_copy(update={"path": june.path, "sha256": june.sha256}),
        *dataset.periods[1:],
    ]
    made, _ = write_version(loop.lake, case, disguised)
    leaky = loop.plant(CASE, "2024-05", months(4), dataset_version=made.version)
    entry = stays(loop, champion, leaky, loop.run(promote, CASE), "unfair")
    assert entry["reasons"] == [
        f"challenger {leaky.number} was trained on 2024-05, so it cannot be judged on it"
    ]


def test_holdout_that_the_champion_learned_is_unfair(loop: Loop, champion: ModelVersion) -> None:
    challenger = loop.plant(CASE, "2024-03", months(2))
    entry = stays(loop, champion, challenger, loop.run(promote, CASE), "unfair")
    assert entry["reasons"] == [
        f"champion {champion.number} was trained on 2024-03, so it cannot be judged on it"
    ]


def test_challenger_that_was_told_the_label_by_a_column_is_suspicious(
    loop: Loop, champion: ModelVersion
) -> None:
    case = load(CASE)
    told = [
        case.source.read(period).with_columns(steady=5 + 0.1 * pl.col("won")) for period in TO_MAY
    ]
    files = [
        write_period(loop.lake, case, period, validate(case, period, rows))
        for period, rows in zip(TO_MAY, told, strict=True)
    ]
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
    assert (
        f"failed; the alias is back at version {champion.number}" in failed
        and "does not answer" in failed
    )
    assert told.startswith(f"{CASE}: flow promote failed: NotServed: Version")
    challenger = loop.registry.at(CASE, CHALLENGER)
    assert challenger and challenger.number == better.number
    assert "laurel.crowned_at" not in loop.registry.versions(CASE)[0].tags
    entry = loop.decisions(CASE)[-1]
    assert (entry["kind"], entry["verdict"], entry["promoted"]) == ("crown", "failed", False)
    assert (entry["champion"], entry["challenger"]) == (
        champion.number,
        better.number,
    ) and "does not answer" in entry["reasons"][-1]


@pytest.fixture(scope="module")
def won(loop: Loop, better: ModelVersion) -> Outcome:
    return loop.run(promote, CASE, version=better.number)


def test_better_challenger_wins_and_serves_refitted(
    loop: Loop, champion: ModelVersion, better: ModelVersion, won: Outcome
) -> None:
    winner: ModelVersion = won.result
    assert won.name == "Completed" and len({winner.number, better.number, champion.number}) == 3
    assert (loop.crowned(CASE), loop.served(CASE)) == (winner.number, winner.number)
    assert loop.registry.at(CASE, CHALLENGER) is None
    manifest = read_manifest(loop.registry, winner)
    assert sorted(manifest.trained_on) == months(6) and manifest.trained_through == "2024-06"
    assert (manifest.recipe, manifest.params) == (
        "boosting",
        read_manifest(loop.registry, better).params,
    )
    assert loop.registry.version(CASE, better.number).tags["laurel.refit"] == winner.number
    assert (winner.tags["laurel.refit_of"], winner.tags["laurel.verdict"]) == (
        better.number,
        "promote",
    )


def test_decision_is_told_everywhere_with_both_scores(
    loop: Loop, champion: ModelVersion, better: ModelVersion, won: Outcome
) -> None:
    entry = loop.decisions(CASE, "contest")[-1]
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
    assert (tags["laurel.verdict"], tags["laurel.reasons"]) == (
        "promote",
        "; ".join(entry["reasons"]),
    )
    scores = f"challenger {main['challenger']:.4f}, champion {main['champion']:.4f}"
    assert (
        f"challenger v{better.number} beats champion v{champion.number} (ROC AUC: {scores})"
        in won.told[0]
    )
    report = loop.artifact("toy-contest-contest")
    assert (
        f"{main['champion']:.4f} | {main['challenger']:.4f} | {main['gain']:+.4f}" in report
        and "group=c" in report
    )


def test_contest_is_titled_and_leads_to_its_decision_its_versions_and_back(
    loop: Loop, champion: ModelVersion, better: ModelVersion, won: Outcome
) -> None:
    place, service = loop.decisions(CASE, "contest")[-1]["sequence"], loop.settings.serving_pages
    decision = f"[decision]({service}/#{CASE}&decision={place})"
    about = loop.about("toy-contest-contest")
    assert about.startswith("**toy_contest: contest on 2024-06: promote**\n")
    for number in (better.number, champion.number):
        assert (
            f" {number}]({loop.settings.mlflow_pages}/#/models/{CASE}/versions/{number}?" in about
        )
    assert decision in about and loop.service.get(f"/v1/{CASE}/decisions/{place}").is_success
    client = mlflow.MlflowClient(loop.settings.mlflow_tracking_uri)
    winner: ModelVersion = won.result
    described = [
        client.get_model_version(CASE, number).description
        for number in (better.number, winner.number)
    ]
    assert all(decision in words for words in described)
    assert described[0].startswith("planted by a test\n\n") and "promote: ROC AUC" in described[0]
    assert f"[challenger {better.number}](" in described[1] and "[model card](" in described[1]
    assert f"/flow-run/{won.run_id})" in described[1]
    run = loop.registry.run(winner.run_id)
    assert run.tags["mlflow.note.content"].startswith(f"**{CASE}: boosting, fitted again through")
    learned = client.get_run(winner.run_id).inputs.dataset_inputs
    assert [{tag.key: tag.value for tag in one.tags}["laurel.periods"] for one in learned] == [
        ", ".join(months(6))
    ]


def test_every_artifact_has_a_title_and_the_address_of_laurels_page(
    loop: Loop, won: Outcome
) -> None:
    asked = {"artifacts": {"key": {"like_": "toy-contest-%"}}, "limit": 100}
    answer = httpx.post(f"{loop.settings.prefect_api_url}/artifacts/latest/filter", json=asked)
    abouts = {one["key"]: one["description"] for one in answer.raise_for_status().json()}
    assert {"candidates", "scores", "contest", "contest-interval", "retrain", "validation"} <= {
        key.removeprefix("toy-contest-") for key in abouts
    }
    for key, about in abouts.items():
        assert about.startswith(f"**{CASE}: "), key
        assert f"[Laurel]({loop.settings.serving_pages}/#{CASE})" in about, key


@pytest.mark.skipif(CHROMIUM is None, reason=MISSING)
def test_picture_of_a_contest_is_a_file_that_prefects_page_shows(loop: Loop, won: Outcome) -> None:
    shown = loop.artifact("toy-contest-contest-interval")
    words, address = shown.removeprefix("![").removesuffix(")").split("](")
    assert words.startswith("Gain +0.") and "base64" not in shown
    answer = httpx.get(address)
    assert answer.is_success and answer.content.startswith(b"\x89PNG")
    asked = {"artifacts": {"key": {"any_": ["toy-contest-contest-interval"]}}}
    found = httpx.post(f"{loop.settings.prefect_api_url}/artifacts/latest/filter", json=asked)
    page_id = found.raise_for_status().json()[0]["latest_id"]
    with (
        Browser() as browser,
        browser.open(f"{loop.settings.prefect_pages}/artifacts/artifact/{page_id}") as page,
    ):
        there = "[...document.images].some(one => one.alt.startsWith('Gain') && one.naturalWidth)"
        page.wait_for(there, "the picture is shown", seconds=120)


def test_smoke_requests_are_not_in_the_prediction_log(loop: Loop, won: Outcome) -> None:
    log = loop.service.get(f"/v1/{CASE}").json()["log"]
    assert (log["rows_waiting"], log["rows_uploaded"]) == (0, 0)
    assert loop.objects(f"predictions/{CASE}") == {}


def test_compare_tells_what_the_promotion_was_worth_on_later_rows(
    loop: Loop, champion: ModelVersion, won: Outcome
) -> None:
    loop.run(ingest, CASE, through="2024-07", since="2024-07")
    winner: ModelVersion = won.result
    outcome = loop.run(
        compare, CASE, window="2024-07", champion=champion.number, challenger=winner.number
    )
    assert outcome.result.main.gain > 0
    path = f"reports/{CASE}/2024-07/comparison-{champion.number}-{winner.number}.json"
    assert json.loads(loop.lake.read(path))["main"]["gain"] == outcome.result.main.gain
    unfair = loop.run(
        compare, CASE, window="2024-06", champion=champion.number, challenger=winner.number
    )
    assert (
        unfair.name == "Failed"
        and f"version {winner.number} was trained on 2024-06" in unfair.message
    )


def test_champion_does_not_contest_itself(loop: Loop, won: Outcome) -> None:
    outcome = loop.run(promote, CASE, version=won.result.number)
    assert (
        outcome.name == "Failed"
        and "is already the champion: it cannot contest itself" in outcome.message
    )


@pytest.mark.nightly("as of a winner")
def test_first_champion_that_cannot_be_served_loses_the_alias(
    loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``toy_easy`` is not among the use cases of the stack's service."""
    monkeypatch.setenv("LAUREL_PROMOTE_TIMEOUT_SECONDS", "1")
    loop.run(ingest, "toy_easy", through="2024-02")
    challenger = loop.plant("toy_easy", "2024-02", months(1))
    outcome = loop.run(promote, "toy_easy")
    assert outcome.name == "Failed" and "Unknown use case 'toy_easy'" in outcome.message
    assert loop.crowned("toy_easy") is None
    assert (
        loop.registry.at("toy_easy", CHALLENGER) is not None
        and loop.registry.versions("toy_easy")[0].number != challenger.number
    )
    assert "the alias is removed, and there is no earlier champion" in outcome.told[1]
    (failed,) = loop.decisions("toy_easy", "crown")
    assert (failed["verdict"], failed["champion"]) == ("failed", None)


@pytest.fixture(scope="module")
def reigning(loop: Loop) -> ModelVersion:
    """A small champion of ``toy_strict``, trained through March; nobody serves it, since none of
    these challengers may win.
    """
    loop.run(ingest, STRICT, through="2024-06")
    version = loop.plant(STRICT, "2024-04", months(3), params={"max_iter": 5})
    loop.reign(version)
    return version


def as_it_is(loop: Loop, reigning: ModelVersion) -> str:
    """The dataset version of the source's own rows: others are published after it."""
    return read_manifest(loop.registry, reigning).dataset_version


def changed(loop: Loop, change: Any) -> str:
    """A dataset version of January to June whose months are what ``change`` makes of them, by the
    month's name.
    """
    case = load(STRICT)
    files = []
    for period in months(6):
        rows = change(period, case.source.read(period)).select(
            [one.name for one in case.columns] + ["id", "at", "won"]
        )
        none = rows[:0].with_columns(pl.lit("").alias(REASON))
        files.append(write_period(loop.lake, case, period, Validated(good=rows, quarantined=none)))
    return write_version(loop.lake, case, files)[0].version


def refused(
    loop: Loop, reigning: ModelVersion, challenger: ModelVersion, verdict: str
) -> dict[str, Any]:
    outcome = loop.run(promote, STRICT, version=challenger.number)
    assert (outcome.name, loop.crowned(STRICT)) == ("Champion stays", reigning.number), outcome
    entry = loop.decisions(STRICT, "contest")[-1]
    assert (entry["verdict"], entry["promoted"], entry["challenger"]) == (
        verdict,
        False,
        challenger.number,
    )
    return entry


@pytest.mark.nightly("a further variant")
def test_challenger_that_learned_some_rows_of_the_holdout_is_unfair(
    loop: Loop, reigning: ModelVersion
) -> None:
    """May's file has twelve rows of June, three of them as they were before a correction: no name
    and no file's digest tells.
    """
    june = load(STRICT).source.read("2024-06")[:12]
    june = june.with_columns(
        steady=pl.when(pl.int_range(pl.len()) < 3).then(4.5).otherwise("steady")
    )
    mixed = changed(
        loop, lambda period, rows: pl.concat([rows, june]) if period == "2024-05" else rows
    )
    challenger = loop.plant(STRICT, "2024-06", TO_MAY, dataset_version=mixed)
    entry = refused(loop, reigning, challenger, "unfair")
    told = (
        f"challenger {challenger.number} was trained on 12 rows of the hold-out (3 of them "
        "corrected since), such as id="
    )
    assert (
        entry["contest"] is None
        and len(entry["reasons"]) == 1
        and entry["reasons"][0].startswith(told)
    )


@pytest.mark.nightly("a forest of a thousand trees; test_latency.py proves the verdict")
def test_challenger_that_is_much_slower_does_not_win(loop: Loop, reigning: ModelVersion) -> None:
    slow = loop.plant(
        STRICT,
        "2024-06",
        TO_MAY,
        params={"max_iter": 900, "learning_rate": 0.005},
        dataset_version=as_it_is(loop, reigning),
    )
    entry = refused(loop, reigning, slow, "keep")
    assert entry["contest"]["verdict"] == "promote"
    assert [
        reason.startswith("It takes ") and "ms for 100 rows" in reason
        for reason in entry["reasons"]
    ] == [True]
    assert [one["rows"] for one in entry["latency"]] == [1, 100]
    assert (
        entry["latency"][1]["challenger_milliseconds"]
        > entry["latency"][1]["champion_milliseconds"]
    )
    assert [(one["name"], one["passed"]) for one in entry["behaviours"]] == [
        ("steady is noise", True)
    ]
    assert entry["facts"]["strongest_column_roc_auc"] < 0.9


@pytest.mark.nightly("test_behaviour.py proves the verdict")
def test_challenger_that_misbehaves_does_not_win(loop: Loop, reigning: ModelVersion) -> None:
    """It leans on ``steady``, which tells the label in its data: more than suspicious, since it
    fails a test as well.
    """
    told = changed(loop, lambda _, rows: rows.with_columns(steady=5 + 0.1 * pl.col("won")))
    entry = refused(
        loop, reigning, loop.plant(STRICT, "2024-06", TO_MAY, dataset_version=told), "keep"
    )
    assert entry["contest"]["verdict"] == "suspicious"
    assert any("'steady' alone has ROC AUC 1.0000" in reason for reason in entry["reasons"])
    (failed,) = [
        reason
        for reason in entry["reasons"]
        if reason.startswith("'steady is noise' fails with steady set to 3.0, 7.0:")
    ]
    assert "the worst goes from 0." in failed and "'group': " in failed
    assert (
        not entry["behaviours"][0]["passed"]
        and entry["behaviours"][0]["held"] < entry["behaviours"][0]["rows"]
    )
    (test,) = load(STRICT).behaviours
    assert f"| steady is noise | {in_words(test)} | fails |" in loop.artifact("toy-strict-contest")


@pytest.mark.nightly("test_verdict.py proves the verdict")
def test_challenger_that_loses_a_slice_does_not_win(loop: Loop, reigning: ModelVersion) -> None:
    """In its training months the labels of group b are the opposite of what they are in June: all
    others gain much.
    """
    wrong = (
        pl.when(pl.col("group") == "b")
        .then(1 - pl.col("won"))
        .otherwise("won")
        .cast(pl.Int8)
        .alias("won")
    )
    mistaken = changed(
        loop, lambda period, rows: rows if period == "2024-06" else rows.with_columns(wrong)
    )
    entry = refused(
        loop, reigning, loop.plant(STRICT, "2024-06", TO_MAY, dataset_version=mistaken), "keep"
    )
    contest = entry["contest"]
    loss, spent = entry["reasons"]
    assert "group=b " in loss and " worse: ROC AUC -" in loss
    assert " on these days" in spent
    assert contest["main"]["low"] > 0 and contest["slices"]["group=c"]["low"] > 0
    assert list(contest["unjudged"]) == ["group=a"]


@pytest.mark.nightly("test_verdict.py proves the verdict")
def test_challenger_that_is_overconfident_does_not_win(loop: Loop, reigning: ModelVersion) -> None:
    """Many quick trees know every row of the training months by heart."""
    sure = loop.plant(
        STRICT,
        "2024-06",
        TO_MAY,
        params={"max_iter": 150, "learning_rate": 0.5},
        dataset_version=as_it_is(loop, reigning),
    )
    entry = refused(loop, reigning, sure, "keep")
    assert entry["contest"]["main"]["low"] > 0
    assert any(reason.startswith("calibration error may get worse") for reason in entry["reasons"])
    assert any(reason.startswith("log loss may get worse") for reason in entry["reasons"])


def test_first_challenger_that_misbehaves_is_not_crowned(loop: Loop) -> None:
    """Nobody reigns: the gate is passed, and the tests are not."""
    loop.run(ingest, "toy_strict_first", through="2024-03")
    case = load("toy_strict_first")
    loop.plant("toy_strict_first", "2024-03", months(2))
    outcome = loop.run(promote, "toy_strict_first")
    assert (outcome.name, loop.crowned("toy_strict_first")) == ("No champion yet", None)
    entry = loop.decisions("toy_strict_first", "contest")[-1]
    assert entry["gate_score"] >= case.gate.threshold and entry["verdict"] == "keep"
    assert [
        "'always sure' fails: row 1 of the test scores 0." in reason for reason in entry["reasons"]
    ] == [True]
