"""Callers of the service: a few threads that request one flight after the other, and remember the
acknowledged predictions.
"""

import threading
import time
from dataclasses import dataclass
from typing import Self

import httpx

from deployments.demo.replay import as_rows
from usecases.definition import Source, load

CALLERS = 3
PAUSE_SECONDS = 0.05


@dataclass(frozen=True)
class Failure:
    """A request that got no answer with status 200: when it was sent (seconds of the epoch), and
    what came instead.
    """

    sent: float
    what: str


class Traffic:
    """Every prediction id that was acknowledged, and every request that was not."""

    def __init__(self, url: str, key: str) -> None:
        case = load("flights")
        assert isinstance(case.source, Source)
        self._rows = as_rows(case, case.source.read("2013-08").head(2000))
        self._url, self._headers = f"{url}/v1/flights/predict", {"Authorization": f"Bearer {key}"}
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._call, args=(number,), daemon=True)
            for number in range(CALLERS)
        ]
        self.acknowledged: list[str] = []
        self.failures: list[Failure] = []

    def _call(self, number: int) -> None:
        position = number
        with httpx.Client(headers=self._headers, timeout=20) as http:
            while not self._stop.wait(PAUSE_SECONDS):
                sent = time.time()
                rows = [
                    self._rows[(position + step) % len(self._rows)]
                    for step in range(1 + position % 3)
                ]
                position += CALLERS
                try:
                    answer = http.post(self._url, json={"rows": rows})
                except httpx.HTTPError as error:
                    self.failures.append(Failure(sent, type(error).__name__))
                    continue
                if answer.status_code == 200:
                    self.acknowledged += [
                        prediction["id"] for prediction in answer.json()["predictions"]
                    ]
                else:
                    self.failures.append(Failure(sent, f"{answer.status_code} {answer.text[:200]}"))

    def end(self) -> None:
        """No request is in progress afterwards."""
        self._stop.set()
        for thread in self._threads:
            if thread.is_alive():
                thread.join()

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.end()
