"""Somebody's first evening with a small table: a first champion on little evidence, told
everywhere. In the order of the file.
"""

import pytest
import usecases.toy_small

from flows.promote import promote
from flows.retrain import retrain
from flows.train import train
from tasks.packages.registered import read_manifest
from tests.integration.planting import Loop, Outcome
from usecases.definition import load

CASE = "toy_small"
THIN = "140 labelled rows in 28 blocks; the rule requires at least 500 rows in 10 blocks."


@pytest.fixture(scope="module")
def suspicious(loop: Loop) -> Outcome:
    """The very first model, under a rule that suspects it."""
    with pytest.MonkeyPatch.context() as patch:
        case = load(CASE)
        rule = case.promotion.model_copy(update={"suspicious_score": 0.56})
        patch.setattr(usecases.toy_small, "USE_CASE", case.model_copy(update={"promotion": rule}))
        return loop.run(retrain, CASE, through="2024-03")


@pytest.fixture(scope="module")
def crowned(loop: Loop, suspicious: Outcome) -> Outcome:
    return loop.run(retrain, CASE, through="2024-03")


def test_suspicious_first_model_ends_as_no_champion_yet_and_says_what_to_do(
    loop: Loop, suspicious: Outcome
) -> None:
    contest, end = loop.decisions(CASE, "contest", "retrain")[-2:]
    assert (suspicious.name, contest["verdict"], contest["champion"]) == (
        "No champion yet",
        "suspicious",
        None,
    )
    score = (
        f"suspicious: ROC AUC {contest['gate_score']:.4f} (there is no champion), gate 0.55 passed"
    )
    adopt = f"laurel run adopt toy_small --param version={contest['challenger']}"
    for told in (suspicious.message, end["reasons"][0], loop.artifact("toy-small-retrain")):
        assert score in told and "on 140 rows of 2024-03" in told and adopt in told
    assert end["verdict"] == "no champion yet"
    assert adopt in suspicious.told[-1] and "there is still no champion" in suspicious.told[-1]


def test_first_champion_on_little_evidence_has_a_provisional_crown_that_says_so_everywhere(
    loop: Loop, crowned: Outcome
) -> None:
    version = crowned.result
    contest, crown = loop.decisions(CASE, "contest")[-1], loop.decisions(CASE, "crown")[-1]
    assert (crowned.name, loop.crowned(CASE), loop.served(CASE)) == (
        "Completed",
        version.number,
        version.number,
    )
    assert contest["facts"]["provisional"] == crown["facts"]["provisional"] == THIN
    assert THIN.removesuffix(".") in crowned.message and version.tags["laurel.provisional"] == THIN
    assert read_manifest(loop.registry, version).provisional == THIN
    assert loop.service.get(f"/v1/{CASE}").json()["provisional"] == THIN
    first = next(
        text for text in crowned.told if "becomes the first champion, provisionally, on" in text
    )
    assert THIN in first and "judged on: 140 rows" in first


def test_successor_of_a_provisional_champion_needs_the_same_evidence(
    loop: Loop, crowned: Outcome
) -> None:
    loop.plant(CASE, "2024-05", ["2024-01", "2024-02", "2024-03"], dataset_version=ingested(loop))
    outcome = loop.run(promote, CASE)
    assert (outcome.name, loop.decisions(CASE, "contest")[-1]["verdict"]) == (
        "Champion stays",
        "inconclusive",
    )
    assert (
        THIN in outcome.message
        and "Promotion.minimum_rows in usecases/toy_small.py" in outcome.message
    )


def ingested(loop: Loop) -> str:
    from flows.ingest import ingest

    return loop.run(ingest, CASE, through="2024-05").result.version


def test_holdout_of_one_class_is_named_before_anything_is_fitted(
    loop: Loop, crowned: Outcome
) -> None:
    fits = len(loop.registry.runs(CASE, {}))
    outcome = loop.run(train, CASE, holdout="2024-04")
    assert outcome.name == "Failed"
    assert (
        "The hold-out 2024-04 of 'toy_small' has 140 labelled rows, and 'won' is 1 in all of them"
        in outcome.message
    )
    assert len(loop.registry.runs(CASE, {})) == fits
