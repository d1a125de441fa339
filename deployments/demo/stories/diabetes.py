"""The story of the patients: a table of 442 rows without a time gets a champion, and a laboratory
changes its unit.
"""

from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta

import polars as pl

from blocks.settings import Settings
from deployments.demo.steps import Demo
from deployments.demo.story import Story
from usecases.definition import FrameSource

# From mg/dl to mmol/l.
_CHOLESTEROL = 38.67
_IN_MMOL = {"total_cholesterol": _CHOLESTEROL, "ldl": _CHOLESTEROL, "hdl": _CHOLESTEROL}
SAME_TABLE = "Nothing to do"


class Diabetes:
    """The patients come twice: in the units of the table, and in other ones."""

    brings_servers = False

    def prepare(self, settings: Settings, say: Callable[[str], None]) -> Settings:
        """The patients come with scikit-learn: nothing is needed."""
        return settings

    def play(self, demo: Demo) -> Story:
        """Play the story. Raises ``DemoFailed`` if a step does not end as expected."""
        story, (before, last) = demo.story, _weeks(datetime.now(UTC).date())
        assert isinstance(demo.case.source, FrameSource)
        patients: pl.DataFrame = demo.case.source.function()
        demo.crown_first()
        demo.send(_name(before), _visits(demo, patients, before))
        demo.check(_name(before), "stable")
        story.lines.append("Then the laboratory sends cholesterol in mmol/l instead of mg/dl.")
        other_unit = patients.with_columns(pl.col(name) / by for name, by in _IN_MMOL.items())
        demo.send(_name(last), _visits(demo, other_unit, last))
        demo.check(_name(last), "broken")
        _retrain_again(demo)
        return demo.end()


def _retrain_again(demo: Demo) -> None:
    """The table is the same, so there is nothing to learn."""
    with demo.stages.stage("retrain on the same table") as stage:
        run = demo.runs.wait(demo.runs.start("retrain", reason="somebody asks"), "the retrain")
        outcome = str(run.state.name if run.state else "")
        stage.note(outcome)
    demo.story.lines.append(f"Retrained by hand on the same table: {outcome}.")
    demo.story.expect(outcome == SAME_TABLE, f"the same table again ended as {outcome}")


def _weeks(today: date) -> tuple[date, date]:
    """The Mondays of the last two ISO weeks that are over."""
    this_monday = today - timedelta(days=today.weekday())
    return this_monday - timedelta(weeks=2), this_monday - timedelta(weeks=1)


def _name(monday: date) -> str:
    return monday.strftime("%G-W%V")


def _visits(demo: Demo, patients: pl.DataFrame, monday: date) -> pl.DataFrame:
    """The patients, one after the other through the week; nobody knows yet how they will fare."""
    step = timedelta(days=7) / len(patients)
    start = datetime.combine(monday, time())
    at = [start + step * place for place in range(len(patients))]
    return patients.with_columns(
        pl.Series(demo.case.event_time, at, dtype=pl.Datetime("us")),
        pl.lit(None, dtype=pl.Float64).alias(demo.case.label),
    )


PLAY = Diabetes()
