"""What the demo's callers count, and which labels they send."""

import json
import math
from datetime import datetime

import httpx
import polars as pl
import pytest

from deployments.demo import replay as module
from deployments.demo.replay import Answers, Caller, replay
from usecases.definition import UseCase, load


def test_the_gap_is_the_longest_wait_near_the_swap() -> None:
    answers = Answers(
        times=[(0.0, "1"), (5.0, "1"), (5.1, "1"), (5.4, "2"), (5.5, "2"), (9.0, "2")]
    )
    assert answers.longest_gap_ms(5.3) == pytest.approx(300)


def test_the_gap_around_a_swap_that_never_came_is_not_known() -> None:
    assert math.isnan(Answers(times=[(0.0, "1"), (0.1, "1")]).longest_gap_ms(math.nan))


class Service(httpx.Client):
    """Answers each request, and keeps the labels that came as feedback."""

    labels: list[object] = []

    def post(self, url: str, *, content: bytes, **_: object) -> httpx.Response:  # type: ignore[override]
        body = json.loads(content)
        self.labels += [label["label"] for label in body.get("feedback", [])]
        answer = {"predictions": [{"id": str(i)} for i, _ in enumerate(body.get("rows", []))]}
        return httpx.Response(200, json=answer, request=httpx.Request("POST", "http://service"))


def sent(monkeypatch: pytest.MonkeyPatch, case: UseCase, labels: list[object]) -> list[object]:
    """The labels that the service gets of rows with these labels."""
    monkeypatch.setattr(module.httpx, "Client", Service)
    monkeypatch.setattr(Service, "labels", [])
    rows = {name: [None] * len(labels) for name in case.column_names}
    at = [datetime(2024, 1, 1, hour) for hour in range(len(labels))]
    frame = pl.DataFrame({**rows, case.event_time: at, case.label: labels}, strict=False)
    assert replay(case, frame, Caller("http://service", case, Answers())) == len(labels)
    return Service.labels


def test_label_of_a_number_is_not_cut_to_a_whole_one(monkeypatch: pytest.MonkeyPatch) -> None:
    assert sent(monkeypatch, load("toy_number"), [1.75, None, -2.5]) == [1.75, -2.5]


def test_label_of_a_class_is_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    assert sent(monkeypatch, load("toy_classes"), ["red", None]) == ["red"]


def test_label_of_a_yes_or_no_is_sent_as_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    assert sent(monkeypatch, load("toy"), [True, None, False]) == [1, 0]
