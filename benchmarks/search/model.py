"""A model whose fit takes as long as it is told: some time of a core, and the rest waiting."""

import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from usecases.definition import Candidate, Layout, Range, Search


class Slow:
    """About half of the trials take half as long again, by their ``rate``."""

    def __init__(self, params: Mapping[str, Any]) -> None:
        self._params = params

    def fit(self, matrix: np.ndarray, labels: np.ndarray) -> None:
        rate, computes = self._params["rate"], self._params["computes"]
        began, end = time.monotonic(), time.process_time() + computes
        while time.process_time() < end:
            np.linalg.norm(matrix)
        time.sleep(max(0.0, seconds_of(rate, self._params["seconds"]) + began - time.monotonic()))

    def predict(self, matrix: np.ndarray) -> np.ndarray:
        scaled: np.ndarray = self._params["rate"] * matrix[:, -1]
        return scaled


def seconds_of(rate: float, seconds: float) -> float:
    """How long a trial takes, whose shortest are ``seconds``."""
    return seconds * (1.5 if rate < 0.5 else 1.0)


def build(params: Mapping[str, Any], layout: Layout, seed: int) -> Slow:
    return Slow(params)


def export(model: Any, n_features: int) -> bytes:
    raise NotImplementedError


def slow_candidate(trials: int, at_once: int, seconds: float, computes: float) -> Candidate:
    return Candidate(
        name="slow",
        build=build,
        export=export,
        params={"seconds": seconds, "computes": computes},
        search=Search(
            space={"rate": Range(low=0.0, high=1.0)},
            resource=("rounds", (1,)),
            trials=trials,
            at_once=at_once,
        ),
    )
