"""The summary of the flights: it must not report a closed loop that did not close."""

import pytest

from deployments.demo.stories._flights_summary import FlightsStory


def closed() -> FlightsStory:
    return FlightsStory(
        champions=[{"version": "2"}, {"version": "5"}],
        contest={"verdict": "promote"},
        drift={
            "2013-04": {"verdict": "stable"},
            "2013-05": {"verdict": "stable"},
            "2013-06": {"verdict": "drifted"},
        },
        shadow={"verdict": "stepped"},
        canary={"verdict": "won"},
        sick={"verdict": "reverted"},
        later_rows={"champion_1": 0.75, "champion_2": 0.78},
        rejection={"holdout": "2013-04", "verdict": "keep"},
        rollbacks=[{"to": "2"}, {"to": "5"}],
    )


def test_a_closed_loop_departs_nowhere() -> None:
    assert closed().departures() == []


@pytest.mark.parametrize(
    ("change", "departure"),
    [
        ({"drift": {}}, "not checked"),
        ({"champions": [{"version": "2"}]}, "1 champions"),
        ({"contest": {"verdict": "keep"}}, "ended with keep"),
        ({"failed_requests": 1}, "1 requests failed"),
        ({"later_rows": {}}, "not scored"),
        (
            {"rejection": {"holdout": "2013-04", "verdict": "promote"}},
            "the retrain by hand held a contest on 2013-04: promote",
        ),
        (
            {"rejection": {"holdout": "2013-03", "verdict": "keep"}},
            "the retrain by hand held a contest on 2013-03",
        ),
        ({"rejection": {}}, "the retrain by hand held a contest on None"),
        ({"rollbacks": [{"to": "2"}]}, "did not go back and forth"),
        ({"shadow": {"verdict": "no difference"}}, "the shadow ended with no difference"),
        ({"canary": {}}, "the canary ended with None, not won"),
        ({"sick": {"verdict": "began"}}, "the sick canary ended with began"),
    ],
)
def test_every_departure_is_said(change: dict, departure: str) -> None:
    story = closed()
    for name, value in change.items():
        setattr(story, name, value)
    assert any(departure in line for line in story.departures())


def test_a_quiet_month_that_drifts_is_a_departure() -> None:
    story = closed()
    story.drift["2013-05"] = {"verdict": "drifted"}
    assert story.departures() == ["2013-05 was drifted, not stable"]
