"""How a run ended, in a sentence: verdict, scores, gate, rows, reasons, and what to do."""

from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import pytest
from usecases.toy import toy_rows

from serving.records.contest import Comparison, Contest
from serving.records.ledger import Decision
from tasks.ledger import outcomes
from tasks.ledger.entries import now
from tasks.measures.metrics import score
from tasks.models import modelling
from tasks.steps import challenger
from usecases.definition import LOG_LOSS, ROC_AUC, Gate, UseCase


def decision(
    verdict: str, champion: str | None = "3", gain: float = -0.01, **changed: Any
) -> Decision:
    main = Comparison(
        metric="roc_auc",
        rows=1680,
        champion=0.81,
        challenger=0.81 + gain,
        gain=gain,
        low=gain - 0.01,
        high=gain + 0.01,
    )
    contest = Contest(
        verdict="keep", reasons=[], blocks=28, replicates=400, confidence=0.95, seed=0, main=main
    )
    parts: dict[str, Any] = {
        "use_case": "toy",
        "time": now(),
        "kind": "contest",
        "verdict": verdict,
        "reasons": ["The gain is not reliably above zero"],
        "by": "a test",
        "run": None,
        "challenger": "4",
        "champion": champion,
        "holdout": "2024-06",
        "contest": contest if champion else None,
        "gate_score": 0.8,
        "facts": {"rows": 1680.0},
    }
    return Decision(**{**parts, **changed})


def with_step(case: UseCase, contest: Decision, asks: bool = False) -> Decision:
    return replace(
        contest, facts={**contest.facts, "next": outcomes.next_step(case, contest, asks)}
    )


def test_lost_contest_says_scores_gate_rows_reasons_and_what_to_do(case: UseCase) -> None:
    outcome = outcomes.contest_ended(with_step(case, decision("keep")))
    assert outcome.name == "Champion stays"
    assert outcome.message == (
        "Challenger 4: keep: ROC AUC 0.8000 against 0.8100 of champion 3 (gain -0.0100, at "
        "least -0.0200), gate 0.75 passed "
        "(higher is better), on 1,680 rows of 2024-06 in 28 blocks. The gain is not reliably "
        "above zero. "
        "Nothing is broken: the next retrain tries again."
    )


@pytest.mark.parametrize("verdict", ["keep", "suspicious", "unfair", "inconclusive"])
def test_without_a_champion_nobody_stays_and_each_verdict_says_what_to_do(
    case: UseCase, verdict: str
) -> None:
    outcome = outcomes.contest_ended(with_step(case, decision(verdict, champion=None)))
    assert outcome.name == "No champion yet"
    assert (
        f"Challenger 4: {verdict}: ROC AUC 0.8000 (there is no champion), gate 0.75 passed"
        in outcome.message
    )
    assert "laurel run " in outcome.message and "1,680 rows of 2024-06" in outcome.message


def test_champion_that_could_not_be_scored_leaves_a_person_to_judge(case: UseCase) -> None:
    unscored = decision(
        "unfair",
        contest=None,
        facts={"rows": 1680.0, "unscored": "the champion is of another schema"},
    )
    outcome = outcomes.contest_ended(with_step(case, unscored))
    assert (
        "(champion 3 was not scored)" in outcome.message and "docs/renaming.md" in outcome.message
    )
    assert "laurel run adopt toy --param version=4" in outcome.message


def test_score_that_does_not_exist_misses_the_gate_in_words(case: UseCase) -> None:
    assert "ROC AUC not known (there is no champion), gate 0.75 missed" in outcomes.in_a_sentence(
        decision("keep", None, gate_score=None)
    )


def test_below_the_gate_says_score_gate_rows_and_which_way_is_better(case: UseCase) -> None:
    other = case.model_copy(update={"gate": Gate(metric=LOG_LOSS, threshold=0.3)})
    outcome = outcomes.below_the_gate(other, "boosting", 0.45, 1, "2024-06", tuned=True)
    assert outcome.name == "Below the gate"
    assert outcome.message.startswith(
        "boosting scores log loss 0.4500 on 1 row of 2024-06, gate 0.3 missed (lower is "
        "better), also after HPO: no challenger"
    )


def test_roc_plot_of_a_use_case_with_another_gate_names_the_area_beneath_its_curve(
    case: UseCase,
) -> None:
    """Its title once had the gate's log loss."""
    from matplotlib.figure import Figure

    lossy = case.model_copy(update={"gate": Gate(metric=LOG_LOSS, threshold=0.6)})
    rows = pl.concat([toy_rows("2024-01"), toy_rows("2024-02")])
    fitted = modelling.fit(lossy, lossy.candidate("boosting"), {"max_iter": 10}, rows, seed=1)
    plots = challenger.draw(lossy, fitted, rows, seed=1)
    truth, predicted = modelling.labels(lossy, rows), modelling.predict(fitted, lossy, rows)
    titles = {
        path: figure.axes[0].get_title()
        for path, figure in plots.items()
        if isinstance(figure, Figure)
    }
    assert (
        titles["plots/roc.png"]
        == f"ROC on the hold-out, AUC {score(ROC_AUC, truth, predicted):.4f}"
    )
    assert not np.isclose(
        score(ROC_AUC, truth, predicted), score(LOG_LOSS, truth, predicted), atol=1e-3
    )
    assert "log loss" in plots["plots/importance.png"].axes[0].get_xlabel()
