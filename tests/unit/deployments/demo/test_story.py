"""The summary of any story: what is not as expected is said, and nothing is lost on the way."""

import io

import pytest
from rich.console import Console

from blocks.settings import Settings
from deployments.demo.story import Story, gain, labels_of, number, tell


def summary(story: Story) -> str:
    output = io.StringIO()
    tell(story, Settings(), Console(file=output, width=40))
    return output.getvalue()


def test_story_as_expected_has_no_departures() -> None:
    story = Story("toy", requests=5)
    story.expect(True, "the week was broken")
    assert story.departures() == [] and "Not as expected" not in summary(story)


def test_each_departure_is_said() -> None:
    story = Story("toy", requests=5, failed_requests=2)
    story.expect(False, "the week was broken")
    assert story.departures() == ["the week was broken", "2 requests failed"]
    assert "Not as expected: the week was broken.\n" in summary(story)


def test_reason_with_brackets_is_printed_as_it_is() -> None:
    story = Story("toy", lines=["95 % interval [bold red][/] on a narrow terminal, in one line"])
    assert story.lines[0] in summary(story)


def test_score_that_is_not_known_is_not_a_number() -> None:
    assert number(None) == "not known" and number(0.5, "+") == "+0.5000"


@pytest.mark.parametrize(
    ("confidence", "sure"), [(0.95, "95 %"), (0.975, "97.5 %"), (None, "95 %")]
)
def test_each_bound_has_its_confidence(confidence: float | None, sure: str) -> None:
    contest = {"difference": 0.1, "low": 0.0, "high": None, "confidence": confidence}
    assert gain(contest) == f"gain +0.1000, interval +0.0000 – not known, each bound at {sure}"


def test_late_labels_are_told_beside_the_hold_out_and_unknown_scores_as_such() -> None:
    told = labels_of(
        {
            "performance": {
                "labels": 1500,
                "metrics": {"log_loss": {"value": 1.5}, "interval coverage": {"value": 0.875}},
                "holdout": {"log_loss": {"low": 0.25, "high": None}},
            }
        },
        "log_loss",
    )
    assert told == (
        "1,500 labels later: log_loss 1.5000, on the hold-out 0.2500 – not known; "
        "the interval held 88% of them."
    )


def test_model_that_answers_without_intervals_has_none_to_tell_of() -> None:
    checked = {"performance": {"labels": 0, "metrics": {}, "holdout": {}}}
    told = "0 labels later: auc not known, on the hold-out not known – not known."
    assert labels_of(checked, "auc") == told
