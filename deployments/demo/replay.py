"""Windows replayed as callers would send them: one request for the rows of each hour, labels as
feedback a day later, and steady traffic.
"""

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import msgspec
import polars as pl
from pydantic import SecretStr

from usecases.definition import Binary, UseCase

TRAFFIC_PAUSE_SECONDS = 0.02
# On a busy machine an answer may be late, which is not a failed request.
ANSWER_SECONDS = 120


@dataclass
class Answers:
    """All answers that the callers got. Several threads add to it; each addition is one append."""

    times: list[tuple[float, str]] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    @property
    def requests(self) -> int:
        return len(self.times) + len(self.failures)

    def longest_gap_ms(self, swap: float, around_seconds: float = 2.0) -> float:
        """The longest wait between two answers within ``around_seconds`` of ``swap``
        (``time.monotonic``), in ms; NaN if there were none.
        """
        moments = sorted(moment for moment, _ in self.times if abs(moment - swap) <= around_seconds)
        return 1000 * max(
            (late - early for early, late in zip(moments, moments[1:], strict=False)),
            default=float("nan"),
        )


class Caller:
    """One client of the service: sends rows of a use case, with ``key`` if the service requires
    one, and counts the answers.
    """

    def __init__(
        self, url: str, case: UseCase, answers: Answers, key: SecretStr | None = None
    ) -> None:
        headers = {"Authorization": f"Bearer {key.get_secret_value()}"} if key else {}
        self._http = httpx.Client(base_url=url, headers=headers, timeout=ANSWER_SECONDS)
        self._case = case
        self._answers = answers

    def predict(self, rows: list[dict[str, Any]]) -> list[str]:
        """Request predictions for ``rows`` and return their ids; none if the request failed, which
        is counted.
        """
        answer = self._post("predict", {"rows": rows})
        return [prediction["id"] for prediction in answer["predictions"]] if answer else []

    def feedback(self, labels: list[dict[str, Any]]) -> None:
        self._post("feedback", {"feedback": labels})

    def _post(self, what: str, body: dict[str, Any]) -> dict[str, Any] | None:
        try:
            response = self._http.post(
                f"/v1/{self._case.name}/{what}", content=msgspec.json.encode(body)
            )
            response.raise_for_status()
        except httpx.HTTPError as error:
            self._answers.failures.append(f"{what}: {error}")
            return None
        content: dict[str, Any] = msgspec.json.decode(response.content)
        self._answers.times.append((time.monotonic(), str(content.get("model_version", ""))))
        return content


def as_rows(case: UseCase, frame: pl.DataFrame) -> list[dict[str, Any]]:
    """Rows as a caller sends them: the input columns, and the local event time as text."""
    event_time = pl.col(case.event_time).dt.strftime("%Y-%m-%dT%H:%M:%S")
    return frame.select(*case.column_names, event_time).to_dicts()


def _hours(case: UseCase, frame: pl.DataFrame) -> Iterator[pl.DataFrame]:
    hour = frame[case.event_time].dt.truncate("1h")
    yield from frame.with_columns(hour.alias("_hour")).partition_by(
        "_hour", maintain_order=True, include_key=False
    )


def replay(case: UseCase, frame: pl.DataFrame, caller: Caller) -> int:
    """Send a period: one request for the rows of each hour, and at the end of each day its known
    labels. Returns the number of rows.
    """
    labels: list[dict[str, Any]] = []
    as_label: Any = int if isinstance(case.target, Binary) else lambda label: label
    day = None
    for rows in _hours(case, frame.sort(case.event_time)):
        today = rows[case.event_time][0].date()
        if day is not None and today != day and labels:
            caller.feedback(labels)
            labels = []
        day = today
        requested = as_rows(case, rows)
        ids = caller.predict(requested)
        labelled = zip(ids, rows[case.label].to_list(), requested, strict=False)
        labels += [
            {"id": i, "label": as_label(y), "event_time": row[case.event_time]}
            for i, y, row in labelled
            if y is not None
        ]
    if labels:
        caller.feedback(labels)
    return len(frame)


class Traffic:
    """Sends single rows steadily, from its own thread, while the context is open."""

    def __init__(self, caller: Caller, rows: list[dict[str, Any]]) -> None:
        """``rows`` may be replaced at any time, for example when a month is over."""
        self._caller, self.rows = caller, rows
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._send, name="traffic", daemon=True)

    def _send(self) -> None:
        position = 0
        while not self._stop.wait(TRAFFIC_PAUSE_SECONDS):
            rows = self.rows
            self._caller.predict([rows[position % len(rows)]])
            position += 1

    def __enter__(self) -> "Traffic":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
