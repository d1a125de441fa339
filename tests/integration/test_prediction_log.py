"""The prediction log of the service as a user starts it: kills, a full disk, a lake that is away,
and personal data.
"""

import re
import secrets
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from serving.package.manifest import MANIFEST, read_manifest, write
from tests.fakes.registry import RegistryServer
from tests.fixtures.packages import write_package
from tests.fixtures.processes import ServiceProcess, wait_until
from tests.fixtures.toy_services import toy_registry

ROW = {"carrier": "AA", "distance": 800.0, "wind": 3.0, "time_hour": "2013-06-01T15:00:00"}
SECRET = "7f3a Erika Mustermann"
LONG = 3600


@pytest.fixture
def mlflow(tmp_path: Path) -> Iterator[RegistryServer]:
    with toy_registry(tmp_path / "artifacts") as server:
        yield server


@contextmanager
def traffic(service: ServiceProcess, connections: int) -> Iterator[list[str]]:
    """Callers that send one request after another, of one to three rows; the ids that they
    received, until the service is gone.
    """
    ids: list[str] = []
    over = threading.Event()

    def call(rows: int) -> None:
        with httpx.Client(
            base_url=str(service.client.base_url), trust_env=False, timeout=30
        ) as client:
            while not over.is_set():
                try:
                    answer = client.post("/v1/toy/predict", json={"rows": [ROW] * rows})
                except httpx.TransportError:
                    return
                assert answer.status_code == 200, answer.text
                ids.extend(said["id"] for said in answer.json()["predictions"])

    callers = [
        threading.Thread(target=call, args=(1 + number % 3,)) for number in range(connections)
    ]
    for caller in callers:
        caller.start()
    try:
        yield ids
    finally:
        over.set()
        for caller in callers:
            caller.join()


def logged_ids(service: ServiceProcess) -> list[str]:
    return [row["id"] for row in service.in_lake("predictions")]


@pytest.mark.parametrize("durability", ["os", "fsync"])
@pytest.mark.nightly("a further variant", only=("os",))
def test_every_id_that_a_caller_received_is_in_the_lake_after_kills_under_traffic(
    mlflow: RegistryServer, tmp_path: Path, durability: str
) -> None:
    received: list[str] = []
    # Segments of 100 rows, so that the kill finds some open, some closed, and some on their way.
    with ServiceProcess(
        tmp_path, mlflow.url, log_durability=durability, log_flush_rows=100
    ) as service:
        for _ in range(3):
            service.wait_for_version("1")
            with traffic(service, connections=6) as ids:
                wait_until(lambda ids=ids: len(ids) > 600, "some hundred requests are answered")
                assert service.end(signal.SIGKILL) == -signal.SIGKILL
            received += ids
            service.start()
        service.wait_until_uploaded()
        logged = logged_ids(service)
    assert len(received) == len(set(received)) and len(logged) == len(set(logged))
    assert set(received) <= set(logged)
    assert (
        len(logged) - len(received) <= 3 * 6 * 3
    )  # answered by the log, and killed before the caller had read it


# L writes to the log, S synced it, A answers, W had the kernel write all there is, U removes a
# segment.
KINDS = {
    "L": r'write\(\d+, "\{\\"rows\\":',
    "S": r"(fdatasync\(\d+\) +|<\.\.\. fdatasync resumed>\) +)= 0",
    "A": r'"HTTP/1.1 200 ',
    "W": r"(\bsync\(\) +|<\.\.\. sync resumed>\) +)= 0",
    "U": r'unlink(at)?\(.*\.jsonl"',
}


def traced(service: ServiceProcess, folder: Path, kinds: str, calls: Callable[[], None]) -> str:
    """What the service asks of the kernel during ``calls``, as a letter each, those of
    ``kinds``.
    """
    assert service._process is not None
    output = folder / "strace"
    names = "trace=fdatasync,write,writev,sendto,sendmsg,sync,unlink,unlinkat"
    command = [
        "strace",
        "-f",
        "-qq",
        "-s",
        "500",
        "-e",
        names,
        "-o",
        str(output),
        "-p",
        str(service._process.pid),
    ]
    tracer = subprocess.Popen(command, stderr=subprocess.PIPE)
    try:
        status = Path(f"/proc/{service._process.pid}/status")
        wait_until(
            lambda: (
                f"TracerPid:\t{tracer.pid}\n" in status.read_text() or tracer.poll() is not None
            ),
            "the tracer is there",
        )
        if tracer.poll() is not None:
            pytest.skip("this machine does not let a process be traced")
        time.sleep(0.5)  # the other threads are attached one by one
        calls()
    finally:
        tracer.send_signal(signal.SIGINT)
        tracer.communicate(timeout=30)
    found = [
        (kind, re.search(KINDS[kind], line))
        for line in output.read_text().splitlines()
        for kind in kinds
    ]
    return "".join(kind for kind, match in found if match)


@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")
@pytest.mark.parametrize(("durability", "each"), [("os", "LA"), ("fsync", "LSA")])
def test_an_answer_goes_out_after_its_line_was_written_and_with_fsync_after_it_was_synced(
    mlflow: RegistryServer, tmp_path: Path, durability: str, each: str
) -> None:
    with ServiceProcess(
        tmp_path, mlflow.url, log_durability=durability, log_flush_seconds=LONG
    ) as service:
        service.wait_for_version("1")
        service.predict(ROW)  # opens the segment
        seen = traced(
            service, tmp_path, "LSA", lambda: [service.predict(ROW) for _ in range(10)] and None
        )
    assert seen == each * 10


@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")
@pytest.mark.parametrize(("durability", "each"), [("os", "U"), ("fsync", "WU")])
@pytest.mark.nightly("a further variant", only=("os",))
def test_with_fsync_a_segment_goes_when_what_it_became_is_on_the_disk(
    mlflow: RegistryServer, tmp_path: Path, durability: str, each: str
) -> None:
    with ServiceProcess(tmp_path, mlflow.url, log_durability=durability) as service:
        service.wait_for_version("1")

        def upload() -> None:
            for _ in range(3):
                service.predict(ROW)
                service.wait_until_uploaded()

        assert traced(service, tmp_path, "WU", upload) == each * 3


@contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[Path]:
    """A file system of its own, mounted for the test."""
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)],
        capture_output=True,
        check=False,
    )
    if done.returncode != 0:
        pytest.skip("a test that fills a disk needs to mount one, which only root may")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(file: Path) -> None:
    """Take all the room that there is, to the last byte."""
    size = 1 << 20
    with file.open("ab", buffering=0) as handle:
        while size:
            try:
                size = size if handle.write(b"x" * size) == size else size // 2
            except OSError:
                size //= 2


FEEDBACK = {"feedback": [{"id": "a", "label": 1}]}


def dropped(service: ServiceProcess) -> int:
    return service.describe()["log"]["rows_dropped"]


def test_a_full_disk_costs_no_answer_and_feedback_is_refused_until_there_is_room(
    mlflow: RegistryServer, tmp_path: Path
) -> None:
    with (
        small_disk(tmp_path / "state", 4) as disk,
        ServiceProcess(tmp_path, mlflow.url, log_flush_seconds=LONG) as service,
    ):
        service.wait_for_version("1")
        kept = [service.predict(ROW)["predictions"][0]["id"] for _ in range(5)]
        fill(disk / "filler")
        while dropped(service) == 0:  # the last page of the segment has some room
            kept.append(service.predict(ROW)["predictions"][0]["id"])
        lost = {kept.pop(), *(service.predict(ROW)["predictions"][0]["id"] for _ in range(300))}
        assert dropped(service) == len(lost) == 301
        refused = service.client.post("/v1/toy/feedback", json=FEEDBACK)
        assert refused.status_code == 503 and int(refused.headers["retry-after"]) > 0
        assert len(list(disk.glob("serving/log/*/*.jsonl"))) == 1
        (disk / "filler").unlink()
        wait_until(
            lambda: service.client.post("/v1/toy/feedback", json=FEEDBACK).status_code == 200,
            "feedback is taken again",
        )
        before = dropped(service)
        kept += [service.predict(ROW)["predictions"][0]["id"] for _ in range(5)]
        assert dropped(service) == before
        service.end(signal.SIGTERM)
        assert "Traceback" not in service.output.read_text()
        logged = logged_ids(service)
        assert set(kept) == set(logged) and len(kept) == len(logged)
        assert [row["id"] for row in service.in_lake("feedback")] == ["a"]


def test_a_start_on_a_full_disk_answers_and_the_lake_makes_room(
    mlflow: RegistryServer, tmp_path: Path
) -> None:
    """What fills the disk is the log of a process that was killed while the lake was away."""
    with small_disk(tmp_path / "state", 4) as disk, ServiceProcess(tmp_path, mlflow.url) as service:
        service.lake.write_text("a file where the lake should be")
        service.wait_for_version("1")
        ids = [service.predict(ROW)["predictions"][0]["id"] for _ in range(5)]
        assert service.end(signal.SIGKILL) == -signal.SIGKILL
        fill(disk / "filler")
        service.start()
        lost = service.predict(ROW)["predictions"][0]["id"]
        while (
            dropped(service) == 0
        ):  # the start removed what the killed process counted, and a page of it is free
            ids.append(lost)
            lost = service.predict(ROW)["predictions"][0]["id"]
        assert dropped(service) == 1 and service.describe()["version"] == "1"
        service.lake.unlink()
        wait_until(lambda: set(logged_ids(service)) == set(ids), "what was left is in the lake")
        wait_until(
            lambda: service.predict(ROW) and service.describe()["log"]["rows_waiting"] > 0,
            "rows are logged again",
        )
        service.wait_until_uploaded()
        assert lost not in logged_ids(service)


@pytest.mark.nightly("waits for real seconds")
def test_with_the_lake_away_many_segments_wait_through_a_kill_and_all_arrive_once(
    mlflow: RegistryServer, tmp_path: Path
) -> None:
    with ServiceProcess(tmp_path, mlflow.url, log_flush_rows=10) as service:
        service.lake.write_text("a file where the lake should be")
        ids: list[str] = []
        for restarted in (False, True):
            service.wait_for_version("1")
            ids += [service.predict(ROW)["predictions"][0]["id"] for _ in range(150)]
            said = service.describe()["log"]
            assert (said["rows_waiting"], said["rows_dropped"]) == (len(ids), 0)
            if not restarted:
                assert service.end(signal.SIGKILL) == -signal.SIGKILL
                service.start()
        assert len(list(tmp_path.glob("state/serving/log/*/*.jsonl"))) >= 30
        wait_until(
            lambda: service.describe()["log"]["last_error"] is not None,
            "the lake's absence is told",
        )
        service.lake.unlink()
        service.wait_until_uploaded()
        assert sorted(logged_ids(service)) == sorted(ids)
        assert service.describe()["log"]["rows_uploaded"] == 300
        assert not list(tmp_path.glob("state/serving/log/*/*.jsonl"))


@pytest.mark.nightly("waits for real seconds")
def test_a_backlog_that_is_full_is_bounded_counted_and_drained_and_then_it_logs_again(
    mlflow: RegistryServer, tmp_path: Path
) -> None:
    with ServiceProcess(tmp_path, mlflow.url, log_backlog_megabytes=1) as service:
        service.lake.write_text("a file where the lake should be")
        service.wait_for_version("1")
        answers = [service.predict(*[ROW] * 500)["predictions"] for _ in range(20)]
        said = service.describe()["log"]
        assert said["rows_dropped"] > 0 and said["rows_waiting"] + said["rows_dropped"] == 10_000
        assert (
            sum(path.stat().st_size for path in tmp_path.glob("state/serving/log/*/*.jsonl"))
            <= 1_000_000
        )
        body = {"feedback": [{"id": secrets.token_hex(60), "label": 1}] * 1000}
        assert service.client.post("/v1/toy/feedback", json=body).status_code == 503
        service.lake.unlink()
        service.wait_until_uploaded()
        logged = set(logged_ids(service))
        whole = [{said["id"] for said in answer} for answer in answers]
        assert all(answer <= logged or not answer & logged for answer in whole)
        assert len(logged) == said["rows_waiting"]
        more = service.predict(ROW)["predictions"][0]["id"]
        service.wait_until_uploaded()
        assert more in logged_ids(service)


def private_package(folder: Path, **policy: Any) -> str:
    """The toy's package with another policy of its prediction log."""
    write_package(folder)
    manifest = msgspec.structs.replace(read_manifest((folder / MANIFEST).read_bytes()), **policy)
    return write(folder, {name: (folder / name).read_bytes() for name in manifest.files}, manifest)


def files_with(text: str, *folders: Path) -> list[Path]:
    paths = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    assert paths
    return [path for path in paths if text.encode() in path.read_bytes()]


def test_a_column_that_is_left_out_reaches_no_disk(mlflow: RegistryServer, tmp_path: Path) -> None:
    mlflow.register("toy", 2, lambda folder: private_package(folder, log_leave_out=["carrier"]))
    mlflow.crown("toy", 2)
    row = ROW | {"carrier": SECRET}
    with ServiceProcess(tmp_path, mlflow.url, log_flush_seconds=LONG) as service:
        service.wait_for_version("2")
        ids = [said["id"] for said in service.predict(row, row)["predictions"]]
        ids += [said["id"] for _ in range(20) for said in service.predict(row)["predictions"]]
        assert (
            service.client.post(
                "/v1/toy/predict", json={"rows": [row | {"distance": "far"}]}
            ).status_code
            == 422
        )
        assert service.end(signal.SIGKILL) == -signal.SIGKILL
        assert files_with(ids[0], tmp_path / "state") and not files_with(SECRET, tmp_path / "state")
        service.start()
        service.wait_until_uploaded()
        assert (
            not files_with(SECRET, tmp_path / "state", service.lake)
            and SECRET not in service.output.read_text()
        )
        logged = service.in_lake("predictions")
    assert {one["id"] for one in logged} == set(ids)
    assert all(
        "carrier" not in one
        and (one["distance"], one["wind"], one["sample_rate"]) == (800.0, 3.0, 1.0)
        for one in logged
    )


@pytest.mark.nightly("a service of its own")
def test_of_a_sample_the_lake_has_a_share_and_says_which(
    mlflow: RegistryServer, tmp_path: Path
) -> None:
    """Of 400 requests at a rate of a quarter 100 are expected, with a standard deviation of 9."""
    mlflow.register("toy", 2, lambda folder: private_package(folder, log_sample_rate=0.25))
    mlflow.crown("toy", 2)
    with ServiceProcess(tmp_path, mlflow.url) as service:
        service.wait_for_version("2")
        answered = [
            tuple(said["id"] for said in service.predict(ROW, ROW)["predictions"])
            for _ in range(400)
        ]
        service.wait_until_uploaded()
        logged = service.in_lake("predictions")
        assert dropped(service) == 0
    ids = {one["id"] for one in logged}
    assert all((first in ids) == (second in ids) for first, second in answered)
    assert 110 < len(ids) < 290 and ids <= {name for pair in answered for name in pair}
    assert {one["sample_rate"] for one in logged} == {0.25}
