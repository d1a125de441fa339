"""The story of the departures: daily counts from a MariaDB, labels that come late, and a June that
is not March.
"""

import os
from collections.abc import Callable
from datetime import date, datetime, time, timedelta

import polars as pl
from pydantic import SecretStr

from blocks.settings import REPOSITORY, Settings
from blocks.warehouse import Warehouse
from deployments.demo.steps import Demo
from deployments.demo.stories._departures_tables import fill
from deployments.demo.story import Story
from deployments.local.settings import import_from
from deployments.servers import mariadb
from usecases.definition import SqlSource

EXAMPLES = REPOSITORY / "examples"
MARCH, JUNE = date(2013, 3, 11), date(2013, 6, 24)  # Mondays
# The tables keep what a model learns, and the ten days that it is judged on.
KEPT_DAYS = timedelta(days=59)
_DAY, _WEEK = timedelta(days=1), timedelta(days=7)


class Departures:
    """Two weeks of 2013. ``owner_url`` is the database's address for whoever fills it; by default
    it is that of the demo's own MariaDB.
    """

    brings_servers = True

    def __init__(self, owner_url: str | None = None) -> None:
        self._owner_url = owner_url

    def prepare(self, settings: Settings, say: Callable[[str], None]) -> Settings:
        """A MariaDB in the state folder, and the folder of the use case on ``PYTHONPATH``. Raises
        ``StackError`` if MariaDB is not installed.
        """
        if settings.warehouse_url is not None:
            say("The demo has a database of its own: it ignores LAUREL_WAREHOUSE_URL.")
        folders = [str(EXAMPLES), *filter(None, [settings.pythonpath])]
        import_from(folders)
        settings = mariadb.prepare(settings)
        return settings.model_copy(update={"pythonpath": os.pathsep.join(folders)})

    def play(self, demo: Demo) -> Story:
        """Play the story. Raises ``DemoFailed`` if a step does not end as expected."""
        self._fill(demo, MARCH - KEPT_DAYS, MARCH - _DAY)
        demo.crown_first(through=f"{MARCH - _DAY}")
        self._live(demo, MARCH, "stable")
        self._fill(demo, JUNE + _WEEK - KEPT_DAYS, JUNE - _DAY, keep=False)
        retrains = demo.runs.known_retrains()
        if self._live(demo, JUNE, "drifted"):
            # The challenger does better on ten days of June, but days differ so much that this is
            # not sure: the champion stays.
            demo.watch_automatic_retrain(retrains, "challenger", "keep")
        return demo.end()

    def _fill(self, demo: Demo, first: date, last: date, keep: bool = True) -> None:
        with demo.stages.stage(f"{first} to {last}: rows into MariaDB") as stage:
            stage.note(f"{fill(self._url(demo), first, last, keep):,} rows")

    def _url(self, demo: Demo) -> str:
        return self._owner_url or mariadb.owner_url(demo.settings)

    def _live(self, demo: Demo, monday: date, expected: str) -> bool:
        """A week passes: its rows come into the database, the service is asked about each hour,
        its labels follow, and the week is checked. Returns whether the verdict was ``expected``.
        """
        sunday, window = monday + _WEEK - _DAY, monday.strftime("%G-W%V")
        self._fill(demo, monday, sunday)
        return demo.live(window, expected, self._rows(demo, monday))

    def _rows(self, demo: Demo, monday: date) -> pl.DataFrame:
        """The week as the use case's own query gives it, so that callers and ingest agree."""
        assert isinstance(demo.case.source, SqlSource)
        start = datetime.combine(monday, time())
        return Warehouse(url=SecretStr(self._url(demo))).read(
            demo.case.source.query, demo.case.event_time, start, start + _WEEK
        )


PLAY = Departures()
