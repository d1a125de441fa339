"""``backtest`` on real servers: it reads history, leaves figures, and touches no champion."""

import httpx

from tests.integration.planting import Loop

# Not ``toy`` itself, of which other modules expect that nobody has ingested it.
CASE = "toy_rollback"


def test_a_backtest_leaves_figures_and_a_plot_and_touches_no_champion(loop: Loop) -> None:
    from flows.backtest import backtest
    from flows.ingest import ingest

    version = loop.run(ingest, CASE, through="2024-08").result.version
    crowned, decisions = loop.crowned(CASE), len(loop.decisions(CASE))
    outcome = loop.run(backtest, CASE, dataset_version=version)
    assert outcome.state.is_completed()

    found = outcome.result
    # The world changes in May; it takes two months of the new one until anybody passes the gate
    # there.
    outcomes = [month.outcome for month in found.replays["policy"].periods]
    assert outcomes == ["quiet", "below the gate", "below the gate", "promoted", "quiet"]
    table = {line["strategy"]: line for line in loop.artifact("toy-rollback-backtest-strategies")}
    assert (
        table["policy"]["retrains"],
        table["policy"]["promoted"],
        table["monthly"]["retrains"],
    ) == (3, 1, 5)
    assert table["policy"]["roc_auc of all rows"] > table["never"]["roc_auc of all rows"]
    assert {line["period"] for line in loop.artifact("toy-rollback-backtest-periods")} == {
        f"2024-{month:02d}" for month in range(4, 9)
    }
    picture = loop.artifact("toy-rollback-backtest-plot")
    address = picture.rpartition("](")[2].removesuffix(")")
    assert httpx.get(address).content.startswith(b"\x89PNG") and "base64" not in picture
    assert "[MLflow run](" in loop.about("toy-rollback-backtest-periods")
    page = loop.artifact("toy-rollback-backtest")
    assert "Against never retraining: ROC AUC +" in page
    assert "Not judged: performance on late labels, and people's answers." in page
    assert (loop.crowned(CASE), len(loop.decisions(CASE))) == (crowned, decisions)


def test_a_policy_that_cannot_be_fails_the_run_by_name(loop: Loop) -> None:
    from flows.backtest import backtest

    outcome = loop.run(backtest, CASE, policy={"drift": {"shares": 0.2}})
    assert outcome.state.is_failed()
    assert "shares" in outcome.message


def test_a_history_that_is_too_short_says_what_to_ingest(loop: Loop) -> None:
    from flows.backtest import backtest
    from flows.ingest import ingest

    version = loop.run(ingest, CASE, through="2024-03").result.version
    outcome = loop.run(backtest, CASE, dataset_version=version)
    assert outcome.state.is_failed()
    assert "needs 4 or more" in outcome.message
    assert f"laurel run ingest {CASE}" in outcome.message
