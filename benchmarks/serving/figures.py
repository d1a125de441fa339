"""From rounds to figures: medians, ratios to ``mlflow`` and to the floor, and the machine that they
hold for.
"""

import os
import platform
import shutil
import statistics
import subprocess
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.serving.visit import Case, Measure, Visit

PEER, FLOOR = "mlflow", "floor-asgi"
LIBRARIES = (
    "numpy",
    "scikit-learn",
    "pandas",
    "onnxruntime",
    "uvicorn",
    "uvloop",
    "httptools",
    "fastapi",
    "msgspec",
    "mlflow",
)

Result = dict[str, Any]


def results_of(server: str, visits: Sequence[Visit]) -> list[Result]:
    """One for each case, medians of the rounds. ``rss_mb`` is the sum over the process tree after
    the case's load.
    """
    cold_s = statistics.median(visit.cold_s for visit in visits)
    fetched = [visit.fetch_cold_s for visit in visits if visit.fetch_cold_s is not None]
    return [
        {
            **_result(server, case, [visit.measures[case] for visit in visits]),
            "cold_s": round(cold_s, 3),
            **({"cold_with_fetch_s": round(statistics.median(fetched), 3)} if fetched else {}),
        }
        for case in visits[0].measures
    ]


def _result(server: str, case: Case, measures: Sequence[Measure]) -> Result:
    rows, connections = case
    shared = [measure.memory.pss_mb for measure in measures if measure.memory.pss_mb is not None]
    return {
        "server": server,
        "rows": rows,
        "connections": connections,
        "rps": _median(measure.load.rps for measure in measures),
        "p50_ms": _median(measure.load.p50_ms for measure in measures),
        "p99_ms": _median(measure.load.p99_ms for measure in measures),
        "rss_mb": _median(measure.memory.rss_mb for measure in measures),
        "pss_mb": _median(shared) if shared else None,
        "cpu_us": _median(measure.cpu_us for measure in measures),
        "answer_bytes": measures[0].answer_bytes,
        "generator_cpu": _median(measure.load.generator_cpu for measure in measures),
        "rounds_rps": [_rounded(measure.load.rps) for measure in measures],
    }


def _median(values: Iterable[float]) -> float:
    return _rounded(statistics.median(values))


def _rounded(value: float) -> float:
    """Four significant digits: more would be noise."""
    return float(f"{value:.4g}")


def ratios(results: Sequence[Result]) -> list[dict[str, Any]]:
    """How many times as good as ``mlflow`` each is in its case, and which share of the floor's
    answers it gives; None: not measured.
    """
    by_case = {
        (result["server"], result["rows"], result["connections"]): result for result in results
    }
    compared = []
    for result in results:
        peer, floor = (
            by_case.get((name, result["rows"], result["connections"])) for name in (PEER, FLOOR)
        )
        compared.append(
            {
                "server": result["server"],
                "rows": result["rows"],
                "connections": result["connections"],
                "rps_to_mlflow": _ratio(result, peer, "rps"),
                "p99_to_mlflow": _ratio(result, peer, "p99_ms"),
                "rss_to_mlflow": _ratio(result, peer, "rss_mb"),
                "cold_to_mlflow": _ratio(result, peer, "cold_s"),
                "rps_to_floor": _ratio(result, floor, "rps"),
            }
        )
    return compared


def _ratio(result: Result, other: Result | None, name: str) -> float | None:
    return None if other is None else _rounded(result[name] / other[name])


def machine() -> dict[str, Any]:
    """What the figures hold for. The load average is the one before the first server starts."""
    wrk = (
        subprocess.run(["wrk", "-v"], capture_output=True, text=True, check=False).stdout
        if shutil.which("wrk")
        else ""
    )
    return {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "cores": os.cpu_count(),
        "cpu": _cpu_model(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        "kernel": platform.release(),
        "load_average": [round(result, 2) for result in os.getloadavg()],
        "python": platform.python_version(),
        "wrk": wrk.splitlines()[0].partition(" [")[0] if wrk else None,
        **{name: version(name) for name in LIBRARIES},
    }


def _cpu_model() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    return next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")),
        platform.machine(),
    )
