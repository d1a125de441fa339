"""Where the microseconds of a request of many rows go, part by part, in this process: JSON beside
Arrow.

The parts are the service's own functions, called with the bodies of different thousands of rows in
turn. A part's figure is the fastest fifth of its calls in CPU time of this thread: what others do
on the machine counts less."""

import statistics
import time
from collections.abc import Callable, Sequence
from itertools import cycle
from pathlib import Path

from benchmarks.serving.figures import machine
from benchmarks.serving.model import Row, prepare
from benchmarks.serving.servers import arrow_body, rows_body
from serving.champions.champion import Champion
from serving.formats.bodies import ARROW, JSON, read_rows
from serving.formats.rows import CheckedRows
from serving.package.manifest import MANIFEST, digest
from serving.package.model import Package, load
from serving.scoring.answers import write_answer
from serving.scoring.column_lines import column_line
from serving.scoring.predictions import PredictionIds, predict

COUNT, CALLS = 1000, 200
FORMS = {
    "JSON": (JSON, rows_body),
    "Arrow, texts": (ARROW, arrow_body),
    "Arrow, dictionaries": (ARROW, lambda rows: arrow_body(rows, encoded=True)),
}
PARTS = ("read and check", "event times", "encode the matrix", "score", "log line", "answer")


def measure(
    champion: Champion, kind: str, bodies: Sequence[bytes], calls: int = CALLS
) -> dict[str, float]:
    """Microseconds of each part, and the sum of all."""
    ids = PredictionIds()
    requests = [read_rows(champion.reader, kind, body, COUNT) for body in bodies]
    scored = [predict(champion, request.rows, ids, Package.score) for request in requests]
    matrices = [champion.package.encode_rows(request.rows, []) for request in requests]
    turns: dict[str, Callable[[int], object]] = {
        "read and check": lambda at: read_rows(champion.reader, kind, bodies[at], COUNT),
        "event times": lambda at: champion.events.check_rows(requests[at].rows),
        "encode the matrix": lambda at: champion.package.encode_rows(requests[at].rows, []),
        "score": lambda at: champion.package.score(matrices[at]),
        "log line": lambda at: column_line(scored[at], requests[at].rows),
        "answer": lambda at: write_answer(scored[at], kind),
    }
    micros = {part: _fastest(turn, len(bodies), calls) for part, turn in turns.items()}
    return micros | {"all": sum(micros.values())}


def _fastest(turn: Callable[[int], object], bodies: int, calls: int) -> float:
    places, seconds = cycle(range(bodies)), []
    for _ in range(calls):
        place = next(places)
        start = time.thread_time()
        turn(place)
        seconds.append(time.thread_time() - start)
    return 1e6 * statistics.mean(sorted(seconds)[: max(1, calls // 5)])


def table(micros: dict[str, dict[str, float]]) -> str:
    lines = [
        f"| µs of CPU for {COUNT:,} rows | {' | '.join(micros)} |",
        "|---|" + "---|" * len(micros),
    ]
    for part in (*PARTS, "all"):
        cells = " | ".join(f"{of[part]:,.0f}" for of in micros.values())
        lines.append(f"| {part} | {cells} |")
    return "\n".join(lines)


def run(state: Path) -> int:
    here, model = machine(), prepare(state)
    folder = next((model.registry / "artifacts").rglob(MANIFEST)).parent
    sha256 = digest((folder / MANIFEST).read_bytes())
    champion = Champion.crown(model.use_case, "1", sha256, load(folder, sha256))
    thousands: list[list[Row]] = [
        model.rows[at : at + COUNT] for at in range(0, len(model.rows), COUNT)
    ]
    micros = {
        name: measure(champion, kind, [write(rows) for rows in thousands])
        for name, (kind, write) in FORMS.items()
    }
    print(f"load average before {here['load_average'][0]}, {CALLS} calls of each part\n")
    print(table(micros))
    return 0


def read(champion: Champion, name: str, rows: list[Row]) -> CheckedRows:
    """The rows as one of ``FORMS`` gives them."""
    kind, write = FORMS[name]
    return read_rows(champion.reader, kind, write(rows), COUNT)
