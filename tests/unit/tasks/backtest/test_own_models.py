"""A candidate that brings its own ONNX is replayed on history like any other."""

import numpy as np
import pytest
from usecases.toy import toy_rows

from tasks.backtest.fits import History
from tasks.models.own_models import OwnModel
from usecases.definition import load

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.slow("searches, refits and cross-fits a network"),
]
MONTHS = [f"2024-{month:02d}" for month in (1, 2, 3)]


def test_network_is_searched_packaged_refitted_and_watched_in_a_replay() -> None:
    case = load("toy_own")
    history = History(case, {month: toy_rows(month, rows_a_day=30) for month in MONTHS}, seed=7)
    found, _ = history.challenger("2024-03", None)
    assert found.recipe.candidate == "network" and case.gate.passes(found.score)
    contestant = history.contestant(found, "2024-03")
    assert contestant.unfair == [] and contestant.package.manifest.parity.changed_decisions == 0
    assert [rival.shape for rival in contestant.rivals] == [(len(contestant.rows),)]
    assert contestant.refits is not None
    first, second, _ = contestant.refits()
    assert not np.array_equal(first, second)
    champion, _ = history.refit(found)
    assert isinstance(champion.fitted.named_steps["model"], OwnModel)
    watch = history.watch(champion)
    assert {"score", *case.column_names} == set(watch.thresholds)
