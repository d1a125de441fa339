"""The report of a run, in Markdown and for Slack."""

from deployments.runs.run_report import Report, Step

CONTEST = (
    "# Promote: challenger 3 against champion 2, on 2024-07\n- the gain is certain\n- "
    "no slice "
    "gets worse\n\n| | metric |\n|---|---|"
)


def test_markdown_has_outcome_contest_steps_and_links_in_this_order() -> None:
    steps, links = (
        [Step("ingest", "Completed", 1.25), Step("promote", "Champion stays", 3)],
        {"flow run": "http://p/1", "change": "http://g/2"},
    )
    report = Report(
        "flights", "retrain", "Version 4 won.", contest=CONTEST, steps=steps, links=links
    )
    lines = [line for line in report.markdown.splitlines() if line]
    assert lines[:2] == [
        "## flights: Version 4 won.",
        "### Promote: challenger 3 against champion 2, on 2024-07",
    ]
    assert lines[-3:] == [
        "| ingest | Completed | 1.2 |",
        "| promote | Champion stays | 3.0 |",
        "[flow run](http://p/1) · [change](http://g/2)",
    ]


def test_first_sentence_of_an_outcome_is_the_headline() -> None:
    report = Report(
        "flights",
        "retrain",
        "Version 4 is champion, in service after 1.8 s. The gate of 0.75 is passed.",
    )
    assert report.markdown.startswith(
        "## flights: Version 4 is champion, in service after 1.8 s.\n\nThe gate of 0.75 is "
        "passed.\n"
    )
    assert report.message.text.splitlines() == [
        "flights: retrain from GitHub: Version 4 is champion, in service after 1.8 s.",
        "- The gate of 0.75 is passed.",
    ]


def test_completed_run_without_a_contest_says_that_there_was_none() -> None:
    assert "No contest was held." in Report("flights", "retrain", "Nothing to do.").markdown


def test_problem_is_said_first_and_never_beside_no_contest() -> None:
    text = Report(
        "flights", "retrain", "retrain Crashed", problem="It ended as Crashed: killed"
    ).markdown
    assert text == (
        "## flights: retrain Crashed\n\n> **The retrain did not complete.** It ended as "
        "Crashed: killed\n"
    )


def test_slack_is_told_outcome_reasons_and_links() -> None:
    message = Report(
        "flights", "retrain", "Version 4 won.", contest=CONTEST, links={"change": "http://g/2"}
    ).message
    assert message.text.splitlines() == [
        "flights: retrain from GitHub: Version 4 won.",
        "- the gain is certain",
        "- no slice gets worse",
        "change: http://g/2",
    ]


def test_slack_is_told_the_problem() -> None:
    message = Report(
        "flights", "retrain", "retrain Crashed", problem="It ended as Crashed: killed"
    ).message
    assert message.emoji == ":x:" and "- It ended as Crashed: killed" in message.text
