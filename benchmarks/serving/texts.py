"""What a text costs the service, beside scikit-learn's own pipeline on the same texts:

    python -m benchmarks.serving.texts

Texts are invented words, a few of them very frequent (Zipf); models are logistic regressions on the
terms. Times are medians of CPU time, in microseconds, of encoding and scoring a request of so many
rows, which either side does on one thread; HTTP, JSON and the log are not in them. The two sides
take turns."""

import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from serving.package.model import Package, load
from tasks.models.modelling import fit
from tasks.packages.packaging import Origin, make_package
from usecases.definition import ROC_AUC, Binary, Candidate, Column, FrameSource, Gate, UseCase

_WORDS, _TRAINED, _PIECE_SECONDS = 30_000, 3_000, 0.5
_REQUESTS = (1, 100)
_LENGTHS = (20, 200)  # words of a text
_RECIPES: dict[str, dict[str, Any]] = {
    "words, 20,000 terms": {"max_features": 20_000},
    "words and pairs, 20,000 terms": {"ngram_range": (1, 2), "max_features": 20_000},
    "letters in words, 2-4, 5,000 terms": {
        "analyzer": "char_wb",
        "ngram_range": (2, 4),
        "max_features": 5_000,
    },
}


def main() -> None:
    chance = np.random.default_rng(7)
    letters = list("abcdefghijklmnopqrstuvwxyzéß가나다라마바사")
    vocabulary = ["".join(chance.choice(letters, chance.integers(2, 9))) for _ in range(_WORDS)]
    print(f"{'':36} {'words':>6} {'rows':>5} {'service':>9} {'scikit-learn':>13}")
    for name, recipe in _RECIPES.items():
        for length in _LENGTHS:
            rows = _texts(vocabulary, length, chance)
            for count, service, peer in _measure(_case(rows, recipe), rows):
                print(f"{name:36} {length:6} {count:5} {service:9,.0f} {peer:13,.0f}", flush=True)


def _case(rows: pl.DataFrame, recipe: dict[str, Any]) -> UseCase:
    return UseCase(
        name="texts",
        title="Texts",
        question="Which kind?",
        source=FrameSource(function=lambda: rows),
        columns=(Column(name="text", kind="text"),),
        target=Binary(label="label"),
        event_time="at",
        key=("id",),
        candidates=(
            Candidate(
                name="logistic", build=_logistic, vectorizers={"text": lambda _: _terms(recipe)}
            ),
        ),
        gate=Gate(metric=ROC_AUC, threshold=0.5),
    )


def _logistic(params: Any, layout: Any, seed: int) -> Any:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(max_iter=100)


def _terms(recipe: dict[str, Any]) -> Any:
    from sklearn.feature_extraction.text import TfidfVectorizer

    return TfidfVectorizer(**recipe)


def _texts(vocabulary: Sequence[str], length: int, chance: np.random.Generator) -> pl.DataFrame:
    shares = 1 / np.arange(1, len(vocabulary) + 1)
    drawn = chance.choice(vocabulary, (_TRAINED, length), p=shares / shares.sum())
    start = datetime(2024, 1, 1)
    return pl.DataFrame(
        {
            "id": np.arange(_TRAINED),
            "at": [start + timedelta(minutes=minute) for minute in range(_TRAINED)],
            "text": [" ".join(words) for words in drawn],
            "label": chance.integers(0, 2, _TRAINED),
        }
    )


def _measure(case: UseCase, rows: pl.DataFrame) -> list[tuple[float, ...]]:
    """The rows of a request, and the microseconds of the service and of scikit-learn."""
    fitted = fit(case, case.candidates[0], {}, rows, 7)
    origin = Origin("logistic", {}, "2024-01-abc", {"2024-01": "a"}, {})
    with tempfile.TemporaryDirectory() as folder:
        saved = make_package(
            Path(folder), case, fitted, origin, rows, rows.head(200), 7, watched=False
        )
        package = load(saved.folder, saved.sha256)
    requests = [[(text, None) for text in rows["text"].head(count)] for count in _REQUESTS]
    frames = [rows.head(count).select("text").to_pandas() for count in _REQUESTS]
    measured = []
    for request, frame in zip(requests, frames, strict=True):
        times = _in_turns(partial(_serve, package, request), partial(fitted.predict_proba, frame))
        measured.append((len(request), *times))
    return measured


def _serve(package: Package, rows: Sequence[tuple[Any, ...]]) -> Any:
    return package.score(package.encode_rows(rows))


def _in_turns(*calls: Callable[[], Any]) -> tuple[float, ...]:
    """The median CPU time of each of ``calls``, in microseconds."""
    times: list[list[float]] = [[] for _ in calls]
    end = time.perf_counter() + _PIECE_SECONDS * len(calls)
    while time.perf_counter() < end or len(times[0]) < 5:
        for call, spent in zip(calls, times, strict=True):
            start = time.thread_time()
            call()
            spent.append(time.thread_time() - start)
    return tuple(float(np.median(spent)) * 1e6 for spent in times)


if __name__ == "__main__":
    main()
