"""The benchmark of the service: what it counts and what it refuses, and the file it writes."""

import asyncio
import json
import signal
import subprocess
import sys
import threading
import time
from array import array
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
import pytest

from benchmarks.environments import Unavailable, install
from benchmarks.serving import client, figures, perf, profile, report, swap, visit
from benchmarks.serving import load as serving_load
from benchmarks.serving import process as serving_process
from benchmarks.serving.load import Load, NothingInTime
from benchmarks.serving.model import REPOSITORY
from benchmarks.serving.process import BenchmarkFailed, Memory
from benchmarks.serving.servers import SERVERS, Place, Server, arrow_body
from benchmarks.serving.stages import COUNT, MODEL, STAGES, Stopwatch, microseconds
from benchmarks.serving.visit import LoadPlan, Measure, Visit

ROWS = [
    {
        "carrier": "UA",
        "distance": float(number),
        "wind": None if number % 3 else 4.5,
        "event_time": "2013-03-01T08:00:00",
    }
    for number in range(1200)
]
FIELDS = ("rps", "p50_ms", "p99_ms", "rss_mb", "cold_s")


def visited(rps: float, cold_s: float, rss_mb: float = 100.0) -> Visit:
    load = Load(round(5 * rps), 5.0, 1000 / rps, 3000 / rps, 9000 / rps, 0.4)
    return Visit(cold_s, None, {(1, 32): Measure(load, Memory(rss_mb, rss_mb / 2), 1e6 / rps, 140)})


def line_of(**changed: float) -> str:
    figures = {
        "requests": 100,
        "seconds": 2.0,
        "p50_ms": 1.5,
        "p99_ms": 9.0,
        "max_ms": 12.0,
        "refused": 0,
        "broken": 0,
    }
    return f"a warning of the generator\n{json.dumps(figures | changed)}\n"


def test_figures_are_medians_of_the_rounds() -> None:
    (result,) = figures.results_of(
        "laurel", [visited(1000, 0.5), visited(20, 9.0), visited(1100, 0.4, rss_mb=120)]
    )
    assert (result["rps"], result["cold_s"], result["rss_mb"], result["pss_mb"]) == (
        1000,
        0.5,
        100,
        50,
    )
    assert (result["p50_ms"], result["p99_ms"], result["cpu_us"]) == (1, 3, 1000)
    assert (result["server"], result["rows"], result["connections"], result["rounds_rps"]) == (
        "laurel",
        1,
        32,
        [1000, 20, 1100],
    )


def test_ratios_are_to_the_same_case_of_mlflow_and_of_the_floor() -> None:
    rates = {"laurel": 5000, "mlflow": 50, "floor-asgi": 10_000}
    results = [
        result
        for name, rps in rates.items()
        for result in figures.results_of(name, [visited(rps, 1000 / rps)])
    ]
    results += [{**results[1], "rows": 100, "rps": 7.0}, {**results[0], "rows": 1000}]
    laurel, mlflow, floor, hundred, thousand = figures.ratios(results)
    assert (
        laurel["rps_to_mlflow"],
        laurel["p99_to_mlflow"],
        laurel["cold_to_mlflow"],
        laurel["rps_to_floor"],
    ) == (100, 0.01, 0.01, 0.5)
    assert (mlflow["rps_to_mlflow"], floor["rps_to_floor"]) == (1, 1)
    assert (hundred["rps_to_mlflow"], hundred["rps_to_floor"]) == (1, None)
    assert (thousand["rps_to_mlflow"], thousand["rps_to_floor"]) == (None, None)
    assert "| laurel | 5,000 | 100× | 0.5 |" in report.table(results)
    assert (
        "| laurel | – / 5,000 | – / 0.2 | – / 0.6 | – / – | – / 5,000 | 100 | 50 | 0.20 |"
        in report.overview(results)
    )


def test_the_figures_of_a_generator_are_read_from_the_end_of_what_it_said() -> None:
    load = serving_load.read_figures(line_of(), "laurel", 0.5)
    assert (load.rps, load.p50_ms, load.p99_ms, load.generator_cpu) == (50, 1.5, 9, 0.25)


@pytest.mark.parametrize("changed", [{"refused": 1}, {"broken": 1}, {"requests": 0}])
def test_a_refusal_a_broken_connection_or_silence_fails_the_run(changed: dict[str, float]) -> None:
    with pytest.raises(BenchmarkFailed, match="laurel, 1 rows"):
        serving_load.read_figures(line_of(**changed), "laurel, 1 rows", 0.5)


def test_silence_is_told_apart_from_failure_since_a_longer_run_may_hear_something() -> None:
    with pytest.raises(NothingInTime):
        serving_load.read_figures(line_of(requests=0), "mlflow", 0.5)
    with pytest.raises(BenchmarkFailed) as failure:
        serving_load.read_figures(line_of(requests=0, broken=32), "mlflow", 0.5)
    assert not isinstance(failure.value, NothingInTime)


def place(folder: Path) -> Place:
    return Place(None, folder, 1, "", folder)


def server(port: int, name: str = "answering") -> Server:
    return Server(
        name,
        [],
        lambda rows: "/",
        SERVERS["floor-asgi"](place(Path())).body,
        lambda answer: json.loads(answer)["scores"],
        port,
    )


def test_bodies_differ_and_are_read_as_they_were_written(tmp_path: Path) -> None:
    single = serving_load.read_bodies(
        serving_load.write_bodies(tmp_path / "one", server(1), ROWS, 1)
    )
    assert single == serving_load.bodies(server(1), ROWS, 1)
    assert len(set(single)) == len(single) == 1000
    assert [
        len(json.loads(line)["rows"]) for line in serving_load.bodies(server(1), ROWS, 100)[:3]
    ] == [100] * 3


@pytest.mark.parametrize("encoded", [False, True])
def test_rows_in_arrow_are_those_in_json(*, encoded: bool) -> None:
    rows = [{**ROWS[0], "wind": None}, {**ROWS[1], "event_time": "2013-03-02T09:30:00"}]
    table = pa.ipc.open_stream(arrow_body(rows, encoded=encoded)).read_all()
    read = [{**row, "event_time": row["event_time"].isoformat()} for row in table.to_pylist()]
    assert read == rows


def judge(answers: list[client.Answer], broken: int = 0) -> dict[str, Any]:
    return swap.judge(answers, crowned=8.0, version="2", broken=broken)


def test_a_swap_is_judged_by_the_second_around_the_first_answer_of_the_new_version() -> None:
    old = [(0.01 * number, 0.002, 200, "1") for number in range(901)]
    new = [(0.01 * number, 0.006 if number < 940 else 0.5, 200, "2") for number in range(901, 1400)]
    warming_up = [(0.5, 3.0, 200, "1")] * 50
    verdict = judge([*warming_up, *old, *new])
    assert (
        verdict["p99_before_ms"],
        verdict["p99_swap_ms"],
        verdict["p99_ratio"],
        verdict["failed"],
    ) == (
        2,
        500,
        250,
        0,
    )
    assert (verdict["alias_to_first_answer_s"], verdict["alias_to_last_old_answer_s"]) == (
        1.01,
        1.0,
    )
    later = [
        *old,
        *((end, 0.006 if end < 9.6 else 0.5, status, version) for end, _, status, version in new),
    ]
    assert judge(later)["p99_ratio"] == 3


def test_failed_requests_of_a_swap_are_answers_that_are_no_2xx_and_broken_connections() -> None:
    answers = [
        (0.01 * number, 0.002, 503 if number in (820, 821) else 200, "2" if number > 830 else "1")
        for number in range(1000)
    ]
    assert judge(answers, broken=3)["failed"] == 5


def test_a_new_version_that_never_answers_fails_the_run() -> None:
    with pytest.raises(BenchmarkFailed, match="Version 2 did not answer"):
        judge([(0.01 * number, 0.002, 200, "1") for number in range(1000)])


def test_swaps_are_told_by_medians_and_delays_by_the_worst() -> None:
    swaps = [
        {
            "requests": 10,
            "failed": failed,
            "p99_before_ms": 2.0,
            "p99_swap_ms": p99,
            "p99_ratio": p99 / 2,
            "longest_swap_ms": p99,
        }
        | {"alias_to_first_answer_s": late, "alias_to_last_old_answer_s": late}
        for failed, p99, late in ((0, 4.0, 1.0), (2, 8.0, 2.0), (1, 3.0, 0.5))
    ]
    summary = swap.summary(swaps)
    assert (
        summary["requests"],
        summary["failed"],
        summary["p99_swap_ms"],
        summary["p99_ratio"],
    ) == (
        30,
        3,
        4,
        2,
    )
    assert (summary["longest_swap_ms"], summary["alias_to_first_answer_s"]) == (8, 2)


def test_memory_and_cpu_are_of_the_whole_process_tree(tmp_path: Path) -> None:
    busy = "end = time.process_time() + 0.2\nwhile time.process_time() < end: pass"
    child = (
        f"import time; held = bytearray(60_000_000); {busy}\nprint(1, flush=True); time.sleep(60)"
    )
    parent = (
        f"import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', {child!r}]); "
        "time.sleep(60)"
    )
    process = serving_process.start(
        [sys.executable, "-c", parent], {}, REPOSITORY, tmp_path / "said"
    )
    try:
        while not (tmp_path / "said").read_text():
            time.sleep(0.05)
        whole, alone = (
            serving_process.memory(process.pid),
            psutil.Process(process.pid).memory_info().rss / 1e6,
        )
        assert whole.rss_mb > alone + 60
        assert whole.pss_mb is None or whole.rss_mb >= whole.pss_mb > 60
        assert serving_process.cpu_seconds(process.pid) >= 0.2
        (below,) = psutil.Process(process.pid).children()
    finally:
        serving_process.end_group(process)
    assert not below.is_running() or below.status() == psutil.STATUS_ZOMBIE


class Answering(ThreadingHTTPServer):
    """Answers everybody with the same scores; tests may change ``status``."""

    daemon_threads = True
    status = 200


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        content = b'{"scores":[0.25],"model_version":"7"}'
        assert isinstance(self.server, Answering)
        if self.server.status == 0:
            self.close_connection = True
            return
        self.send_response(self.server.status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        """Write nothing to the test's terminal."""


@pytest.fixture
def answering() -> Iterator[Answering]:
    with Answering(("127.0.0.1", 0), _Handler) as http:
        threading.Thread(
            target=http.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
        ).start()
        yield http
        http.shutdown()


def test_an_answer_that_is_not_the_pipelines_fails_the_run(
    answering: Answering, tmp_path: Path
) -> None:
    def visit_of(score: float) -> LoadPlan:
        return LoadPlan(ROWS, [score] * len(ROWS), tmp_path, "python", 0.1, 0)

    assert visit.check(server(answering.server_port), visit_of(0.250001), 1) == 37
    with pytest.raises(BenchmarkFailed, match="more than 1e-05 apart"):
        visit.check(server(answering.server_port), visit_of(0.2502), 1)
    with pytest.raises(BenchmarkFailed, match="more than 1e-05 apart"):
        visit.check(
            server(answering.server_port), visit_of(0.25), 100
        )  # one score for a hundred rows
    answering.status = 503
    with pytest.raises(BenchmarkFailed, match="answers 503"):
        visit.check(server(answering.server_port), visit_of(0.25), 1)


def load_on(http: Answering) -> client.Load:
    async def ask() -> client.Load:
        request = b"POST / HTTP/1.1\r\nHost: here\r\nContent-Length: 2\r\n\r\n{}"
        load = client.Load([request], 0.2, timeline=True)
        await load.run("127.0.0.1", http.server_port, 4)
        return load

    return asyncio.run(ask())


def test_the_generator_in_python_tells_time_status_and_version_of_each_answer(
    answering: Answering,
) -> None:
    load = load_on(answering)
    assert len(load.answers) > 4 and load.broken == 0
    assert {(status, version) for _, _, status, version in load.answers} == {(200, "7")}
    assert all(seconds > 0 for _, seconds, _, _ in load.answers)
    figures = client.figures(load, 0.2)
    assert (figures["requests"], figures["refused"]) == (len(load.answers), 0)
    assert 0 < figures["p50_ms"] <= figures["p99_ms"] <= figures["max_ms"]


def test_the_generator_in_python_counts_refusals_and_broken_connections(
    answering: Answering,
) -> None:
    answering.status = 500
    assert client.figures(load_on(answering), 0.2)["refused"] > 4
    answering.status = 0
    results = client.figures(load_on(answering), 0.2)
    assert results["requests"] == 0 and results["broken"] >= 4


def test_a_stage_is_told_without_the_stages_below_it_and_without_the_stopwatch() -> None:
    now = 0.0

    def pass_time(seconds: float) -> None:
        nonlocal now
        now += seconds

    watch = Stopwatch(lambda: now)
    watch.inner, watch.outer = 0.25, 0.5
    below = watch.timed(lambda: pass_time(2.25), "below")

    def above() -> None:
        pass_time(8.25)
        for _ in range(2):
            below()
            pass_time(0.5)  # the stopwatch's own cost to its caller

    watch.timed(above, "above")()
    assert {stage: list(seconds) for stage, seconds in watch.seconds.items()} == {
        "below": [2, 2],
        "above": [8],
    }


def test_a_stage_of_several_requests_is_shared_by_them_and_the_warm_up_is_left_out() -> None:
    seconds = {
        COUNT: array("d", [9e-6, 9e-6, *[2e-6] * 8]),
        MODEL: array("d", [90e-6, *[20e-6] * 4]),
    }
    assert microseconds(seconds) == pytest.approx({COUNT: 2, MODEL: 10})


def test_what_the_service_spends_is_divided_as_the_stopwatch_says_and_the_rest_is_the_loops() -> (
    None
):
    shares = profile.divide({"key": 2.0, "model": 6.0}, watched=16.0, whole=8.0)
    assert shares == {"key": 1, "model": 3, profile.LOOP: 4}


def test_the_picture_of_the_profile_is_small_and_shows_all_stages(tmp_path: Path) -> None:
    stages = {**dict.fromkeys(STAGES.values(), 2.5), profile.LOOP: 4.0, profile.OTHERS: 1.0}
    profiles = [
        profile.Profile(connections, stages, 20.0, 30_000.0, 1.0, {}) for connections in (1, 32)
    ]
    profile.draw(profiles, tmp_path / "picture.svg")
    picture = (tmp_path / "picture.svg").read_text()
    assert len(picture) < 200_000
    assert all(
        f"<!-- {name} -->" in picture for name in (*stages, "Laurel, 32 conn.", "floor, 32 conn.")
    )


def test_libraries_are_told_by_the_names_that_people_know() -> None:
    output = """
# Overhead  Shared Object
#
    50.29%  libpython3.11.so.1.0
    15.46%  onnxruntime_pybind11_state.cpython-311-x86_64-linux-gnu.so
    30.01%  [kernel.kallsyms]
     3.77%  libstrange.so
     0.47%  _core.cpython-311-x86_64-linux-gnu.so
"""
    shares = perf.read_shares(output)
    assert list(shares) == ["Python's interpreter", "kernel", "ONNX Runtime", "others"]
    assert list(shares.values()) == pytest.approx([0.5029, 0.3001, 0.1546, 0.0424])


def test_the_stages_of_the_profile_are_in_the_service() -> None:
    """In a separate process, since the stopwatch cannot be removed."""
    code = (
        "from benchmarks.serving.stages import *; watch = Stopwatch(); [watch.watch(*one) for "
        "one in STAGES.items()]"
    )
    assert (
        subprocess.run(
            [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, check=False
        ).returncode
        == 0
    )


def test_a_peer_that_cannot_be_installed_is_unavailable_and_says_why(tmp_path: Path) -> None:
    (tmp_path / "peer.txt").write_text("this is no requirement\n")
    with pytest.raises(Unavailable, match=r"uv pip sync.* failed: .*peer\.txt"):
        install("peer", tmp_path / "venvs", tmp_path)


def run(arguments: list[str], state: Path) -> subprocess.CompletedProcess[str]:
    environment = {"LAUREL_STATE": str(state), "PATH": "/usr/bin:/bin"}
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=REPOSITORY,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow("starts servers and asks them")
@pytest.mark.nightly("starts peers")
def test_the_file_of_figures_has_results_and_says_who_was_skipped(tmp_path: Path) -> None:
    (tmp_path / "benchmarks").mkdir()
    (tmp_path / "benchmarks" / "venvs").write_text("a file where the environments should be")
    file = tmp_path / "figures.json"
    options = [
        "--quick",
        "--only",
        "mlserver,floor-asgi",
        "--rounds",
        "2",
        "--seconds",
        "0.2",
        "--generator",
        "python",
        "--json",
        str(file),
    ]
    process = run(["benchmarks/serving/__main__.py", *options], tmp_path)
    assert process.returncode == 0, process.stderr
    document = json.loads(file.read_text())
    assert {
        (result["server"], result["rows"], result["connections"]) for result in document["results"]
    } == {
        ("floor-asgi", rows, connections)
        for rows, connections in ((1, 32), (1, 1), (100, 32), (1000, 32))
    }
    assert all(
        isinstance(result[name], float) and result[name] > 0
        for result in document["results"]
        for name in FIELDS
    )
    assert [entry["server"] for entry in document["skipped"]] == [
        "mlserver"
    ] and "mlserver" in process.stderr
    assert (document["failed"], document["generator"], document["rounds"]) == ([], "python", 2)
    assert len(document["machine"]["load_average"]) == 3 and document["machine"]["cores"] >= 1


def test_the_benchmark_runs_as_a_module_too_and_refuses_servers_that_it_does_not_know(
    tmp_path: Path,
) -> None:
    process = run(["-m", "benchmarks.serving", "--only", "torchserve"], tmp_path)
    assert (
        process.returncode == 1
        and "Unknown server torchserve. There are: laurel, laurel-2-workers, laurel-arrow, mlflow"
        in process.stderr
    )


@pytest.mark.slow("starts a benchmark")
def test_a_run_that_is_told_to_end_leaves_no_server_behind(tmp_path: Path) -> None:
    options = ["--only", "floor-asgi", "--seconds", "60", "--generator", "python"]
    environment = {"LAUREL_STATE": str(tmp_path), "PATH": "/usr/bin:/bin", "TMPDIR": str(tmp_path)}
    with subprocess.Popen(
        [sys.executable, "benchmarks/serving/__main__.py", *options],
        cwd=REPOSITORY,
        env=environment,
    ) as bench:
        below: list[psutil.Process] = []
        while len(below) < 2 and bench.poll() is None:  # the server and its load generator
            time.sleep(0.05)
            below = psutil.Process(bench.pid).children(recursive=True)
        bench.terminate()
        assert bench.wait(60) == 128 + signal.SIGTERM
    gone, alive = psutil.wait_procs(below, 10)
    assert len(gone) == 2 and not alive
    assert list(tmp_path.iterdir()) == []
