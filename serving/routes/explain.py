"""Why a row scores what it scores: how much each field moves the score away from that of other
rows, in the score's own unit, such as probability. The score is the number that the package gives;
of several, such as a probability for each class, the largest one of the row.

Shapley values by permutations (Štrumbelj and Kononenko 2014,
https://doi.org/10.1007/s10115-013-0679-x; Lundberg and Lee 2017, https://arxiv.org/abs/1705.07874):
beginning at a background row, the fields take the explained row's values one after the other, and
each is credited with the change of the score that it makes. The credits are averaged over many such
walks. Each order of the fields is walked backwards as well, which takes away part of what chance
adds, and the orders are drawn from a fixed seed: the same row has the same explanation. Up to four
fields every order is walked, and the values are exact.

The background is the package's smoke rows. With more of them an explanation hardly costs more, and
is nearer to what all training rows would give: on flights the largest error falls from 0.058 with
20 of them to 0.014 with 100."""

import asyncio
from collections.abc import Callable
from functools import lru_cache
from itertools import permutations
from typing import Any

import msgspec
import numpy as np
from fastapi import FastAPI, Request
from fastapi.responses import Response

from serving.champions.champion import Champion
from serving.edge.answers import json_response
from serving.edge.requests import read_body, read_content_type
from serving.errors import Overloaded, PackageError
from serving.formats.bodies import read_rows
from serving.scoring.pixels import check_pixels
from serving.service.service import Service

Score = Callable[[np.ndarray], np.ndarray]

_WALKS = 200
_CELLS = (
    4_000_000  # of the matrix that is scored, 32 MB: fewer walks where there are hundreds of fields
)
_EXACT_FIELDS = 4
_MOST_WAITING = 8
_SEED = 0


class Contribution(msgspec.Struct, frozen=True):
    """The amount that ``field`` adds to the score by being ``value``."""

    field: str
    value: Any
    contribution: float


class Explanation(msgspec.Struct, frozen=True):
    """``base``, the mean score of the background rows, and all contributions add up to the score.
    The largest come first. ``outputs`` are what an answer says of the row; ``explains`` names the
    one that is the score, where several are numbers.
    """

    use_case: str
    outputs: dict[str, Any]
    explains: str | None
    base: float
    contributions: list[Contribution]
    model_version: str
    method: str

    @property
    def content(self) -> dict[str, Any]:
        """The content of the answer: with the outputs side by side, as in ``/predict``."""
        explains = {"explains": self.explains} if self.explains else {}
        rest = {
            name: getattr(self, name)
            for name in ("base", "contributions", "model_version", "method")
        }
        return {"use_case": self.use_case, **self.outputs, **explains, **rest}


def explain(champion: Champion, row: tuple[Any, ...]) -> Explanation:
    """The explanation of a row that ``champion.reader`` has read. Raises ``PackageError`` if the
    model returns no number.
    """
    package = champion.package
    examples = package.smoke.rows
    orders, begins = walks(len(package.names), len(examples), package.width)
    background = package.encode(
        {name: [example[name] for example in examples[: begins[-1] + 1]] for name in package.names}
    )
    matrix = package.encode_rows([row])
    numbers = package.score(matrix)  # alone, as /predict scores it
    number = int(package.without_quantiles(numbers).reshape(-1).argmax())

    def score_rows(rows: np.ndarray) -> np.ndarray:
        scores = package.score(rows)
        return scores if scores.ndim == 1 else scores[:, number]

    _, base, credits = shapley_values(
        score_rows, matrix[0], background, orders, begins, package.owners
    )
    contributions = [
        Contribution(name, value, credit)
        for name, value, credit in zip(package.names, row, credits.tolist(), strict=False)
    ]
    form = champion.form
    values = [value for (value,) in package.values_of(numbers)]
    return Explanation(
        package.manifest.use_case,
        dict(zip(form.names, values, strict=True)),
        form.names[form.numbers[number]] if len(form.numbers) > 1 else None,
        base,
        sorted(contributions, key=lambda item: -abs(item.contribution)),
        champion.version,
        f"Shapley values: {len(orders)} walks from {len(background)} background rows",
    )


def shapley_values(
    score_rows: Score,
    row: np.ndarray,
    background: np.ndarray,
    orders: np.ndarray,
    begins: np.ndarray,
    owners: np.ndarray,
) -> tuple[float, float, np.ndarray]:
    """The row's score, the background's mean score, and the credit of each field ``(n_features,)``.

    ``score_rows`` scores a matrix; ``row`` ``(width,)`` and ``background`` ``(n_background,
    width)`` are encoded for it, and ``owners`` ``(width,)`` is the field of each of its places;
    ``orders`` and ``begins`` are from ``walks``. Raises ``PackageError`` if the model returns no
    number."""
    count, fields = orders.shape
    place = np.argsort(orders, axis=1)
    changed = place[:, None, :] < np.arange(1, fields)[None, :, None]
    between = np.where(changed[:, :, owners], row, background[begins][:, None, :])
    score = float(score_rows(row[None])[0])  # alone, as /predict scores it
    scores = score_rows(np.concatenate([background, between.reshape(-1, len(owners))])).astype(
        np.float64
    )
    if not (np.isfinite(score) and np.isfinite(scores).all()):
        raise PackageError(
            "The model returns no number for this row, or for one between it and the package's "
            "smoke rows."
        )
    start, on_the_way = (
        scores[: len(background)],
        scores[len(background) :].reshape(count, fields - 1),
    )
    path = np.concatenate([start[begins][:, None], on_the_way, np.full((count, 1), score)], axis=1)
    credits = (
        np.bincount(orders.ravel(), weights=np.diff(path, axis=1).ravel(), minlength=fields) / count
    )
    return score, float(start.mean()), credits


@lru_cache(maxsize=16)
def walks(fields: int, examples: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Orders of the fields ``(n_walks, fields)``, and the background row at which each begins
    ``(n_walks,)``: each row as often as any other. The fields are ``width`` places of the matrix.
    """
    if fields <= _EXACT_FIELDS:
        every = np.array(list(permutations(range(fields))))
        used = min(examples, max(1, _CELLS // (len(every) * fields * width)))
        return np.tile(every, (used, 1)), np.repeat(np.arange(used), len(every))
    pairs = max(1, min(_WALKS, _CELLS // (fields * width)) // 2)
    used = min(examples, pairs)
    chance = np.random.default_rng(_SEED)
    forward = np.array([chance.permutation(fields) for _ in range(pairs // used * used)])
    orders = np.stack([forward, forward[:, ::-1]], axis=1).reshape(-1, fields)
    return orders, np.repeat(np.arange(used), len(orders) // used)


def add_routes(app: FastAPI, service: Service) -> None:
    """``POST /v1/{use_case}/explain``: one at a time, on one of the threads that score, so that
    predictions keep the others.
    """
    turn = asyncio.Semaphore(1)
    waiting = 0

    @app.post("/v1/{use_case}/explain", openapi_extra=_DOCUMENT, tags=["model"])
    async def explain_row(use_case: str, request: Request) -> Response:
        """Explain the score of one row: what each field adds. It is not logged, and costs as much
        as scoring some 6000 rows.
        """
        nonlocal waiting
        champion = service.use_cases.champion(use_case)
        body, kind = await read_body(request), read_content_type(request)

        def read_and_explain() -> Explanation:
            rows = read_rows(champion.reader, kind, body, 1).rows
            check_pixels(champion.package, rows)
            return explain(champion, rows[0])

        if waiting >= _MOST_WAITING:
            raise Overloaded(f"{waiting} explanations are waiting already. Try again later.")
        waiting += 1
        try:
            async with turn:
                explanation = await service.scorer.run(read_and_explain)
            return json_response(explanation.content)
        finally:
            waiting -= 1


_DOCUMENT: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "one row, in any form that /predict accepts",
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["rows"],
                    "properties": {
                        "rows": {
                            "type": "array",
                            "minItems": 1,
                            "maxItems": 1,
                            "items": {"type": "object"},
                        }
                    },
                    "additionalProperties": False,
                }
            }
        },
    },
    "responses": {
        "200": {
            "description": "base and contributions add up to the score",
            "content": {
                "application/json": {
                    "schema": {
                        "type": "object",
                        "required": [
                            "use_case",
                            "base",
                            "contributions",
                            "model_version",
                            "method",
                        ],
                        "description": "with the model's outputs, such as score and decision, "
                        "as /predict returns them",
                        "properties": {
                            "use_case": {"type": "string"},
                            "explains": {
                                "type": "string",
                                "description": "the explained output, if several are numbers",
                            },
                            "base": {
                                "type": "number",
                                "description": "mean score of the background rows",
                            },
                            "contributions": {
                                "type": "array",
                                "description": "the largest first",
                                "items": {
                                    "type": "object",
                                    "required": ["field", "value", "contribution"],
                                    "properties": {
                                        "field": {"type": "string"},
                                        "value": {},
                                        "contribution": {"type": "number"},
                                    },
                                },
                            },
                            "model_version": {"type": "string"},
                            "method": {"type": "string"},
                        },
                    }
                }
            },
        }
    },
}
