"""Requests of many small files with many pixels: refused by their headers, and never decoded where
other requests would wait."""

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from serving.champions.champion import Champion
from serving.errors import InputError
from serving.formats.bodies import ARROW, CSV, FORM, JSON, read_pieces
from serving.formats.columns import columns_of
from serving.formats.rows import CheckedRows
from serving.formats.tensors import read_inference, read_tensor_pieces
from serving.log.prediction_log import PredictionLog
from serving.metrics.counters import Metrics
from serving.package.encoders import pictures
from serving.package.model import load
from serving.routes import mlflow_protocol
from serving.scoring.large_requests import WHOLE_CELLS
from serving.scoring.pixels import MOST_PIXELS, check_pixels
from serving.scoring.scorer import Scorer
from tests.fixtures.packages import write_package
from tests.fixtures.six_kinds import png, png_text, write_six_kinds

MAX_ROWS = 10_000
BOMB = png(5000, 5000, mode="1")
BOMB_TEXT = png_text(5000, 5000, mode="1")
FITTING = MOST_PIXELS // 25_000_000

Read = Callable[[Champion, int | None], Iterator[CheckedRows]]


class Asking:
    def __init__(self, champion: Champion, body: bytes) -> None:
        self.champion = champion
        self.body = body
        self.checked_rows: CheckedRows | None = None
        self.canary = self.stand_in = self.place = None
        self.done = asyncio.Event()
        self.answer = b""
        self.error: Exception | None = None

    def succeed(self, answer: bytes, rows: int) -> None:
        self.answer = answer
        self.done.set()

    def fail(self, error: Exception) -> None:
        self.error = error
        self.done.set()


@pytest.fixture(scope="module")
def champion(tmp_path_factory: pytest.TempPathFactory) -> Champion:
    folder = tmp_path_factory.mktemp("package")
    digest = write_six_kinds(folder)
    return Champion.crown("toy", "1", digest, load(folder, digest))


@pytest.fixture
def works(tmp_path: Path) -> Iterator[Scorer]:
    log = PredictionLog(tmp_path, flush_seconds=3600, flush_rows=10**6, backlog_bytes=10**9)
    log.start()
    scorer = Scorer(log, Metrics(), threads=2, queue_limit=4, max_rows=MAX_ROWS)
    yield scorer
    scorer.stop()


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the threads that decoded an image, in order."""
    threads: list[str] = []
    decode = pictures._resize

    def spy(*args: Any) -> np.ndarray:
        threads.append(threading.current_thread().name)
        return decode(*args)

    monkeypatch.setattr(pictures, "_resize", spy)
    return threads


def rows_body(*images: Any) -> bytes:
    return json.dumps({"rows": [{"distance": 1, "picture": image} for image in images]}).encode()


def form_body(count: int) -> bytes:
    parts = [b'name="distance"\r\n\r\n1', b'name="picture"; filename="a.png"\r\n\r\n' + BOMB]
    head = b"--xyz\r\nContent-Disposition: form-data; "
    return b"\r\n".join([head + part for part in parts] * count) + b"\r\n--xyz--\r\n"


def arrow_body(count: int) -> bytes:
    sink = pa.BufferOutputStream()
    table = pa.table({"distance": np.ones(count), "picture": pa.array([BOMB] * count)})
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()


def of_kind(kind: str, body: bytes) -> tuple[str, bytes, Read]:
    return (
        kind,
        body,
        lambda champion, size: read_pieces(champion.reader, kind, body, MAX_ROWS, size),
    )


def of_mlflow(body: Any) -> tuple[str, bytes, Read]:
    data = json.dumps(body).encode()
    return (
        JSON,
        data,
        lambda champion, size: mlflow_protocol.read_pieces(
            champion.reader, JSON, data, MAX_ROWS, size
        ),
    )


def of_tensors(count: int) -> tuple[str, bytes, Read]:
    inputs: list[dict[str, Any]] = [
        {"name": "distance", "datatype": "FP64", "data": [1] * count, "shape": [count]},
        {"name": "picture", "datatype": "BYTES", "data": [BOMB_TEXT] * count, "shape": [count]},
    ]
    body = json.dumps({"inputs": inputs}).encode()

    def read(champion: Champion, size: int | None) -> Iterator[CheckedRows]:
        inference = read_inference(body, champion.form.tensors)
        columns = columns_of(champion.reader)
        return read_tensor_pieces(columns, inference, memoryview(b""), MAX_ROWS, size or MAX_ROWS)

    return JSON, body, read


COUNT = 1000
BODIES = {
    "rows": lambda: of_kind(JSON, rows_body(*[BOMB_TEXT] * COUNT)),
    "columns": lambda: of_kind(
        JSON,
        json.dumps({"columns": {"distance": [1] * COUNT, "picture": [BOMB_TEXT] * COUNT}}).encode(),
    ),
    "csv": lambda: of_kind(CSV, b"distance,picture\n" + f"1,{BOMB_TEXT}\n".encode() * COUNT),
    "form": lambda: of_kind(FORM, form_body(COUNT)),
    "arrow": lambda: of_kind(ARROW, arrow_body(COUNT)),
    "tensors": lambda: of_tensors(COUNT),
    "records": lambda: of_mlflow(
        {"dataframe_records": [{"distance": 1, "picture": BOMB_TEXT}] * COUNT}
    ),
    # of all, the shortest: one picture stands for the whole column
    "inputs": lambda: of_mlflow({"inputs": {"distance": [1] * COUNT, "picture": BOMB_TEXT}}),
}


@pytest.mark.parametrize("form", BODIES)
def test_a_thousand_bombs_are_refused_before_any_is_decoded(
    champion: Champion, works: Scorer, decoded: list[str], form: str
) -> None:
    kind, body, read = BODIES[form]()
    with pytest.raises(InputError, match=f"at most {MOST_PIXELS:,} are accepted: send") as caught:
        asyncio.run(works.score(champion, body, kind, read, logged=True))
    assert (caught.value.row, caught.value.field) == (FITTING, "picture")
    assert str(caught.value).startswith(f"Row {FITTING}, field 'picture': with this image")
    assert decoded == []


def test_bombs_on_the_hot_path_are_refused_too_and_as_many_as_fit_are_answered(
    champion: Champion, works: Scorer, decoded: list[str]
) -> None:
    async def ask(*images: Any) -> Asking:
        call = Asking(champion, rows_body(*images))
        works.submit(call)
        async with asyncio.timeout(60):
            await call.done.wait()
        return call

    refused = asyncio.run(ask(*[BOMB_TEXT] * COUNT))
    assert isinstance(refused.error, InputError) and refused.error.row == FITTING
    assert decoded == []
    answered = asyncio.run(ask(*[BOMB_TEXT] * FITTING))
    assert len(json.loads(answered.answer)["predictions"]) == FITTING


@pytest.mark.parametrize("size", [257, 2500])
def test_small_requests_are_answered_while_a_body_of_a_kilobyte_is_decoded(
    champion: Champion,
    works: Scorer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    decoded: list[str],
    size: int,
) -> None:
    digest = write_package(tmp_path / "other", use_case="other")
    other = Champion.crown("other", "1", digest, load(tmp_path / "other", digest))
    release, decode = threading.Event(), pictures._resize

    def wait(*args: Any) -> np.ndarray:
        assert release.wait(20), "the event loop waits for the decoder"
        return decode(*args)

    monkeypatch.setattr(pictures, "_resize", wait)
    body = rows_body(png_text(size, 256, mode="1"))
    assert len(body) < 1024

    async def run() -> None:
        large, small = Asking(champion, body), Asking(other, b'{"rows":[{"distance":1}]}')
        works.submit(large)
        works.submit(small)
        async with asyncio.timeout(20):
            await small.done.wait()
            assert small.answer and not large.done.is_set()
            release.set()
            await large.done.wait()
        assert large.answer

    asyncio.run(run())
    assert len(decoded) == 1 and decoded[0].startswith("score")


def test_a_small_picture_is_decoded_at_once(
    champion: Champion, works: Scorer, decoded: list[str]
) -> None:
    async def run() -> None:
        call = Asking(champion, rows_body(png_text()))
        works.submit(call)
        async with asyncio.timeout(20):
            await call.done.wait()
        assert call.answer

    asyncio.run(run())
    assert decoded == [threading.current_thread().name]


def test_pictures_in_other_forms_are_decoded_on_threads(
    champion: Champion, works: Scorer, decoded: list[str]
) -> None:
    kind, body, read = of_kind(FORM, form_body(1))
    asyncio.run(works.score(champion, body, kind, read, logged=True))
    assert len(decoded) == 1 and decoded[0].startswith("score")


def score_large(champion: Champion, works: Scorer, pictures: list[Any]) -> InputError:
    kind, body, read = of_kind(JSON, rows_body(*pictures))
    assert len(pictures) * champion.package.row_cells > WHOLE_CELLS
    with pytest.raises(InputError) as caught:
        asyncio.run(works.score(champion, body, kind, read, logged=True))
    return caught.value


def test_pixels_are_summed_over_the_pieces_of_a_request_and_the_refusal_counts_its_rows(
    champion: Champion, works: Scorer, tmp_path: Path
) -> None:
    side = 1000
    pictures = [png_text(side, side, mode="1") if row % 70 == 0 else None for row in range(8000)]
    refusal = score_large(champion, works, pictures)
    row = MOST_PIXELS // side**2 * 70
    assert refusal.row == row and str(refusal).startswith(f"Row {row}, field 'picture'")
    assert not any(b'"picture"' in path.read_bytes() for path in tmp_path.rglob("*.jsonl"))


def test_a_damaged_picture_in_a_late_piece_is_refused_by_its_row_of_the_request(
    champion: Champion, works: Scorer
) -> None:
    cut_off = png_text()[:-40]
    pictures = [cut_off if row == 6543 else None for row in range(8000)]
    refusal = score_large(champion, works, pictures)
    assert refusal.row == 6543 and str(refusal).startswith("Row 6543, field 'picture'")


def test_arrays_nulls_and_packages_without_images_have_no_pixels(
    champion: Champion, tmp_path: Path
) -> None:
    rows = [("AA", 1.0, None, None, None, picture, None) for picture in (None, [[1, 2]], "[[1]]")]
    assert check_pixels(champion.package, rows, 5) == 5
    picture = ("AA", 1.0, None, None, None, png_text(3, 7), None)
    assert check_pixels(champion.package, [picture] * 2, 5) == 5 + 2 * 21
    with pytest.raises(InputError, match="Row 0, field 'picture'"):
        check_pixels(champion.package, [picture], MOST_PIXELS - 20)
    digest = write_package(tmp_path)
    assert check_pixels(load(tmp_path, digest), [("AA", 1.0, None, None)]) == 0
