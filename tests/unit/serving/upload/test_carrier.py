import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import psutil
import pyarrow.parquet as pq
import pytest

from serving.errors import LakeAway
from serving.log.segments import Unreadable, feedback_header, line_of
from serving.upload.carrier import Carrier, CarrierEnded, Receipt
from tests.fixtures.processes import wait_until

pytestmark = pytest.mark.slow("starts the carrier's process again and again")


@pytest.fixture
def lake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The lake in the process's environment."""
    monkeypatch.setenv("LAUREL_LAKE", f"file://{tmp_path}/lake")
    monkeypatch.setenv("LAUREL_STATE", str(tmp_path))
    return tmp_path / "lake"


@pytest.fixture
def segment(tmp_path: Path) -> Path:
    """Three rows of feedback, of one day."""
    path = tmp_path / "a segment.jsonl"
    line = line_of(
        b'{"feedback": [{"id": "a", "label": 1}, {"id": "b", "label": 0}, {"id": "c", '
        b'"label": true}]}',
        b"",
        3,
    )
    path.write_bytes(feedback_header("toy") + b"\n" + line)
    return path


def carriers() -> list[psutil.Process]:
    """The carriers that this process started."""
    return [
        child
        for child in psutil.Process().children()
        if "serving.upload.carrier" in child.cmdline()
    ]


def kill_the_next() -> threading.Thread:
    """End the carrier with SIGKILL once there is one."""

    def run() -> None:
        wait_until(lambda: bool(carriers()), "a carrier runs")
        carriers()[0].kill()

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def test_segments_reach_the_lake_by_way_of_one_process(segment: Path, lake: Path) -> None:
    carrier = Carrier(idle_seconds=60)
    for _ in range(2):
        assert carrier.carry(segment) == Receipt(3, 0)
    assert len(carriers()) == 1
    (file,) = lake.rglob("*.parquet")
    assert pq.ParquetFile(file).read()["id"].to_pylist() == ["a", "b", "c"]
    carrier.rest(now=True)
    assert not carriers()


def test_small_objects_reach_the_lake_by_way_of_the_same_process(segment: Path, lake: Path) -> None:
    carrier = Carrier(idle_seconds=60)
    carrier.carry(segment)
    carrier.put("traffic/toy/2026-11/가.json", '{"hours":"가"}'.encode())
    assert (lake / "traffic/toy/2026-11/가.json").read_text() == '{"hours":"가"}'
    assert len(carriers()) == 1
    shutil.rmtree(lake)
    lake.write_text("a file where the lake's folder was")
    with pytest.raises(LakeAway, match="Not a directory"):
        carrier.put("traffic/toy/2026-11/a.json", b"{}")
    carrier.rest(now=True)


def test_a_wrong_segment_is_told_from_a_lake_that_is_away_and_the_process_goes_on(
    segment: Path, lake: Path, tmp_path: Path
) -> None:
    carrier = Carrier(idle_seconds=60)
    (tmp_path / "wrong.jsonl").write_bytes(b"no header\n")
    with pytest.raises(Unreadable, match=r"wrong\.jsonl has no header"):
        carrier.carry(tmp_path / "wrong.jsonl")
    lake.write_text("a file where the lake's folder was")
    with pytest.raises(LakeAway, match="Not a directory"):
        carrier.carry(segment)
    lake.unlink()
    assert carrier.carry(segment) == Receipt(3, 0)
    assert len(carriers()) == 1
    carrier.rest(now=True)


def test_the_process_rests_when_nothing_came_for_a_while_and_is_started_again(
    segment: Path, lake: Path
) -> None:
    carrier = Carrier(idle_seconds=0)
    assert carrier.carry(segment) == Receipt(3, 0)
    first = carriers()[0].pid
    carrier.rest()
    assert not carriers()
    assert carrier.carry(segment) == Receipt(3, 0)
    assert carriers()[0].pid != first
    carrier.rest(now=True)


def test_a_killed_process_costs_one_try_and_a_segment_that_kills_it_each_time_is_given_up(
    segment: Path, lake: Path, tmp_path: Path
) -> None:
    carrier = Carrier(idle_seconds=60)
    endless = tmp_path / "endless.jsonl"
    os.mkfifo(endless)  # whoever opens it waits
    for _ in range(3):
        killer = kill_the_next()
        with pytest.raises(CarrierEnded, match=r"ended \(status -9\) at endless\.jsonl"):
            carrier.carry(endless)
        killer.join()
        assert carrier.carry(segment) == Receipt(3, 0)  # others are converted meanwhile
        carrier.rest(now=True)
    with pytest.raises(Unreadable, match=r"endless\.jsonl ended its upload process 3 times"):
        carrier.carry(endless)


POISON = """
import os
import shutil
import signal
import sys

sys.path.insert(0, {repository!r})
from serving.upload.row_tables import FeedbackTables

read = FeedbackTables.read


def read_or_crash(tables, lines):
    if b'"b"' in bytes(lines):
        os.kill(os.getpid(), signal.SIGSEGV)
    return read(tables, lines)


FeedbackTables.read = read_or_crash
"""


def test_a_row_that_crashes_the_process_costs_one_try_and_itself(
    segment: Path, lake: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        POISON.format(repository=str(Path(__file__).parents[4]))
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    carrier = Carrier(idle_seconds=60)
    with pytest.raises(CarrierEnded, match=r"ended \(status -11\) at a segment\.jsonl"):
        carrier.carry(segment)
    assert carrier.carry(segment) == Receipt(2, 1, 1)
    assert len(carriers()) == 1  # only forks of it crashed
    (table,) = lake.rglob("*.parquet")
    assert pq.ParquetFile(table).read()["id"].to_pylist() == ["a", "c"]
    aside = segment.with_suffix(".unreadable").read_bytes()
    assert (
        b'"b"' in aside
        and b'"a"' not in aside
        and b"ends the process that reads it (status -11)" in aside
    )
    carrier.rest(now=True)


GIVES_WAY = """
import os
import sys
from pathlib import Path
from serving.upload.carrier import Carrier


def policies():
    pid = carrier._process.pid
    threads = map(int, os.listdir(f"/proc/{pid}/task"))
    return pid, {os.sched_getscheduler(thread) for thread in threads}


segment = Path(sys.argv[1])
carrier = Carrier(idle_seconds=60)
carrier.carry(segment, 3600.0)
first, gentle = policies()
assert gentle == {os.SCHED_IDLE}
assert os.getsid(first) == os.getsid(0) and os.getpgid(first) != os.getpgid(0)
assert carrier.carry(segment, 0.0).rows == 3
second, hurried = policies()
assert hurried == {os.SCHED_OTHER}
carrier.carry(segment, 0.0)
assert policies() == (second, {os.SCHED_OTHER})
carrier.carry(segment, 3600.0)
assert policies() == (second, {os.SCHED_IDLE})
carrier.carry(segment)
assert policies() == (second, {os.SCHED_IDLE})
carrier.rest(now=True)
print(first == second)
"""
WITHOUT_THE_RIGHT = ["setpriv", "--bounding-set", "-sys_nice", "--inh-caps", "-sys_nice"]


@pytest.mark.skipif(not hasattr(os, "SCHED_IDLE"), reason="Linux alone knows idle processes")
@pytest.mark.parametrize("may_take_back", [True, False])
def test_the_process_gives_way_until_what_it_has_is_late(
    segment: Path, lake: Path, *, may_take_back: bool
) -> None:
    """In the session of the service: Linux shares cores among sessions before it looks at
    priorities. Who may not take back that a process gives way replaces it."""
    if os.geteuid() == 0:
        if not may_take_back and shutil.which("setpriv") is None:
            pytest.skip("root without setpriv has the right")
        command = [] if may_take_back else WITHOUT_THE_RIGHT
    elif may_take_back:
        pytest.skip("root alone has the right")
    else:
        command = []
    process = subprocess.run(
        [*command, sys.executable, "-c", GIVES_WAY, str(segment)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (process.stdout, process.stderr) == (f"{may_take_back}\n", "")


OWNER = """
import sys
from pathlib import Path
from serving.upload.carrier import Carrier
carrier = Carrier(idle_seconds=60)
carrier.carry(Path(sys.argv[1]))
print(carrier._process.pid, flush=True)
sys.stdin.read()
"""


def test_the_process_does_not_outlive_a_killed_service(segment: Path, lake: Path) -> None:
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(segment)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert owner.stdout is not None
    pid = int(owner.stdout.readline())
    assert psutil.pid_exists(pid)
    owner.send_signal(signal.SIGKILL)
    owner.communicate()
    wait_until(lambda: not psutil.pid_exists(pid), "the carrier ended")
