import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from serving.log.prediction_log import PredictionLog
from serving.log.segments import Segment, Unreadable, feedback_header, line_of, read_header
from serving.upload.parquet import convert

HEADER = feedback_header("toy")
LONG = 3600.0


def body(number: int) -> bytes:
    return b'{"feedback": [{"id": "%d", "label": 1}]}' % number


def make_log(folder: Path, **other: object) -> PredictionLog:
    settings: dict[str, object] = {
        "flush_seconds": LONG,
        "flush_rows": 1000,
        "backlog_bytes": 10**6,
    } | other
    log = PredictionLog(folder, **settings)  # type: ignore[arg-type]
    log.start()
    return log


def bodies(log: PredictionLog) -> list[bytes]:
    """The requests of the closed segments, line by line."""
    requests = []
    for segment in log.closed:
        _, start = read_header(segment.path)
        requests += [
            json.loads(line)["request"]
            for line in segment.path.read_bytes()[start:].splitlines()
            if line
        ]
    return [json.dumps(request).encode() for request in requests]


def test_a_line_is_with_the_operating_system_when_append_returns(tmp_path: Path) -> None:
    log = make_log(tmp_path)
    assert log.append(HEADER, "toy", line_of(body(1), b"", 1), 1)
    (path,) = tmp_path.glob("*/*.jsonl")
    assert path.read_bytes().count(b"\n") == 2
    assert log.state("toy").rows_waiting == 1


def test_newlines_between_the_tokens_of_a_request_do_not_break_the_line(tmp_path: Path) -> None:
    log = make_log(tmp_path)
    log.append(
        HEADER, "toy", line_of(json.dumps(json.loads(body(1)), indent=2).encode(), b"", 1), 1
    )
    log.append(HEADER, "toy", line_of(body(2), b"", 1), 1)
    log.close_old(everything=True)
    assert [json.loads(request)["feedback"][0]["id"] for request in bodies(log)] == ["1", "2"]


def test_a_segment_closes_when_it_has_its_rows(tmp_path: Path) -> None:
    log = make_log(tmp_path, flush_rows=2)
    for number in range(5):
        log.append(HEADER, "toy", line_of(body(number), b"", 1), 1)
    assert [segment.rows for segment in log.closed] == [2, 2]
    assert log.wake.is_set()


def test_a_segment_closes_when_it_is_old(tmp_path: Path) -> None:
    log = make_log(tmp_path, flush_seconds=0.0)
    log.append(HEADER, "toy", line_of(body(1), b"", 1), 1)
    log.close_old()
    assert [segment.rows for segment in log.closed] == [1]


def test_beyond_the_backlog_rows_are_dropped_and_counted_and_room_made_is_used_again(
    tmp_path: Path,
) -> None:
    log = make_log(tmp_path, flush_rows=1, backlog_bytes=600)
    results = [log.append(HEADER, "toy", line_of(body(number), b"", 1), 1) for number in range(20)]
    assert results[0] and not results[-1]
    state = log.state("toy")
    assert state.rows_dropped == results.count(False) and state.rows_waiting == results.count(True)
    assert sum(path.stat().st_size for path in tmp_path.glob("*/*.jsonl")) <= 600
    log.uploaded(log.closed[0], rows=1, torn=0)
    assert log.append(HEADER, "toy", line_of(body(99), b"", 1), 1)


@contextmanager
def full_disk(log: PredictionLog) -> Iterator[None]:
    """The open segment's file is a device that accepts no byte and cannot be truncated."""
    (segment,) = log._open.values()
    real, full = os.dup(segment._file), os.open("/dev/full", os.O_WRONLY)
    os.dup2(full, segment._file)
    os.close(full)
    yield
    os.dup2(real, segment._file)
    os.close(real)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's /dev/full")
def test_a_full_disk_drops_rows_and_raises_nothing(tmp_path: Path) -> None:
    log = make_log(tmp_path)
    log.append(HEADER, "toy", line_of(body(1), b"", 1), 1)
    with full_disk(log):
        refused = [
            line_of(body(2) + b" " * size, b"", 1) for size in (10_000, 0) for _ in range(200)
        ]
        assert not any(
            log.append(HEADER, "toy", line, 1) for line in refused
        )  # twice the backlog, of which nothing is used up
    assert log.append(HEADER, "toy", line_of(body(3), b"", 1), 1)
    log.close_old(everything=True)
    assert bodies(log) == [body(1), body(3)]
    assert (log.state("toy").rows_dropped, log.state("toy").rows_waiting) == (400, 2)


def test_a_disk_that_takes_no_new_segment_costs_neither_files_nor_handles(tmp_path: Path) -> None:
    """A limit on the size of files refuses the header itself; thousands of requests come
    meanwhile.
    """
    code = f"""
import resource, signal, os
from pathlib import Path
from serving.log.prediction_log import PredictionLog
from serving.log.segments import feedback_header, line_of
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
log = PredictionLog(Path({str(tmp_path)!r}), 3600.0, 1000, 10**6)
log.start()
limits = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (10, limits[1]))
handles = len(os.listdir("/proc/self/fd"))
for _ in range(3000):
    log._refusal = (0.0, "")  # each of them tries again
    assert not log.append(feedback_header("toy"), "toy", line_of(b"{{}}", b"", 1), 1)
assert len(os.listdir("/proc/self/fd")) == handles
assert log.state("toy").rows_dropped == 3000
resource.setrlimit(resource.RLIMIT_FSIZE, limits)
log._refusal = (0.0, "")
assert log.append(feedback_header("toy"), "toy", line_of(b"{{}}", b"", 1), 1)
"""
    subprocess.run([sys.executable, "-c", code], check=True)
    assert len(list(tmp_path.glob("*/*.jsonl"))) == 1


def test_a_part_of_a_line_that_the_disk_took_is_taken_back(tmp_path: Path) -> None:
    """The limit lets half of the second batch through; the third, when there is room again, stands
    whole behind the first.
    """
    code = f"""
import resource, signal
from pathlib import Path
from serving.log.prediction_log import PredictionLog
from serving.log.segments import feedback_header, line_of
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
log = PredictionLog(Path({str(tmp_path)!r}), 3600.0, 1000, 10**6)
log.start()
line = line_of({body(7)!r}, b"", 1)
assert log.append(feedback_header("toy"), "toy", line, 1)
(segment,) = log._open.values()
limits = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (segment.size + len(line) + 5, limits[1]))
assert not log.append(feedback_header("toy"), "toy", line * 3, 3)
assert segment.path.stat().st_size == segment.size
resource.setrlimit(resource.RLIMIT_FSIZE, limits)
assert log.append(feedback_header("toy"), "toy", line, 1)
assert (log.state("toy").rows_waiting, log.state("toy").rows_dropped) == (2, 3)
assert log.bytes_waiting("toy") == segment.path.stat().st_size
"""
    subprocess.run([sys.executable, "-c", code], check=True)
    assert [segment.rows for segment in make_log(tmp_path).closed] == [2]


def test_a_part_that_cannot_be_taken_back_costs_no_other_line(tmp_path: Path) -> None:
    """A small pipe takes a part of the second row and cannot be cut: the third begins on a line of
    its own.
    """
    log = make_log(tmp_path, backlog_bytes=10**8)
    log.append(HEADER, "toy", line_of(body(1), b"", 1), 1)
    (segment,) = log._open.values()
    real, (reader, writer) = os.dup(segment._file), os.pipe()
    os.set_blocking(writer, False)
    os.dup2(writer, segment._file)
    assert not log.append(HEADER, "toy", line_of(b" " * 10**6 + body(2), b"", 1), 1)
    part = os.read(reader, 10**6)
    for handle in (reader, writer):
        os.close(handle)
    os.dup2(real, segment._file)
    os.close(real)
    segment.path.write_bytes(segment.path.read_bytes() + part)
    assert log.append(HEADER, "toy", line_of(body(3), b"", 1), 1)
    assert segment.size == segment.path.stat().st_size == log.bytes_waiting("toy")
    assert Segment.recover(segment.path).rows == 2
    log.close_old(everything=True)
    assert convert(segment.path).rows == 2


def test_lines_appended_together_are_kept_together_with_one_write(tmp_path: Path) -> None:
    log = make_log(tmp_path)
    assert log.append(
        HEADER, "toy", b"".join(line_of(body(number), b"", 1) for number in range(5)), 5
    )
    assert log.state("toy").rows_waiting == 5
    log.close_old(everything=True)
    assert bodies(log) == [body(number) for number in range(5)]


def test_a_segment_closes_when_it_is_large_whatever_its_rows(tmp_path: Path) -> None:
    log = make_log(tmp_path, flush_rows=10**9, backlog_bytes=10**9)
    wide = line_of(b'{"feedback":"%b"}' % (b"x" * 10_000_000), b"", 1)
    for _ in range(7):
        log.append(HEADER, "toy", wide, 1)
    assert [segment.rows for segment in log.closed] == [7]


def test_the_lag_is_the_age_of_the_oldest_row_that_waits(tmp_path: Path) -> None:
    log = make_log(tmp_path)
    assert (log.lag_seconds("toy"), log.bytes_waiting("toy")) == (0.0, 0)
    before = time.time()
    for _ in range(2):
        log.append(HEADER, "toy", line_of(body(1), b"", 1), 1)
        log.close_old(everything=True)
        time.sleep(0.05)
    assert 0.1 <= log.lag_seconds("toy") <= time.time() - before
    assert log.bytes_waiting("toy") == sum(
        path.stat().st_size for path in tmp_path.glob("*/*.jsonl")
    )
    assert (log.lag_seconds("other"), log.bytes_waiting("other")) == (0.0, 0)
    first, second = log.closed
    log.uploaded(first, rows=1, torn=0)
    assert log.lag_seconds("toy") < time.time() - before - 0.04
    log.uploaded(second, rows=1, torn=0)
    assert (log.lag_seconds("toy"), log.bytes_waiting("toy")) == (0.0, 0)


def test_the_lag_of_what_a_dead_process_left_counts_from_its_first_row(tmp_path: Path) -> None:
    dead = tmp_path / "dead"
    dead.mkdir()
    hour_ago = int((time.time() - 3600) * 1e6)
    (dead / "a.jsonl").write_bytes(HEADER + b'\n{"rows":3,"time":%d,"request":{}}\n' % hour_ago)
    log = make_log(tmp_path)
    assert log.state("toy").rows_waiting == 3
    assert 3600 <= log.lag_seconds("toy") < 3700


def test_with_fsync_appends_from_many_threads_are_all_kept_and_wait_for_the_disk(
    tmp_path: Path,
) -> None:
    log = make_log(tmp_path, flush_rows=7, durability="fsync")
    assert log.blocking and not make_log(tmp_path / "other").blocking

    def work(start: int) -> None:
        for number in range(start, start + 25):
            assert log.append(HEADER, "toy", line_of(body(number), b"", 1), 1)

    threads = [threading.Thread(target=work, args=(start,)) for start in range(0, 200, 25)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    log.close_old(everything=True)
    assert sorted(bodies(log)) == sorted(body(number) for number in range(200))
    assert all(segment._synced == segment.size for segment in log.closed)


def test_with_fsync_a_disk_that_does_not_keep_what_it_took_is_said(tmp_path: Path) -> None:
    """A pipe takes bytes and refuses to be synced: nothing is acknowledged, and the next row goes
    to a new segment.
    """
    log = make_log(tmp_path, durability="fsync")
    assert log.append(HEADER, "toy", line_of(body(1), b"", 1), 1)
    (segment,) = log._open.values()
    reader, writer = os.pipe()
    os.dup2(writer, segment._file)
    assert log.append(HEADER, "toy", line_of(body(2), b"", 1), 1) is False
    os.close(reader)
    os.close(writer)
    assert log.append(HEADER, "toy", line_of(body(3), b"", 1), 1)
    log.close_old(everything=True)
    assert bodies(log) == [body(1), body(3)] and len(log.closed) == 2
    assert log.state("toy").rows_dropped == 1


def test_a_clean_stop_with_nothing_waiting_leaves_no_folder(tmp_path: Path) -> None:
    log = make_log(tmp_path)
    log.append(HEADER, "toy", line_of(body(1), b"", 1), 1)
    log.close_old(everything=True)
    log.uploaded(log.closed[0], rows=1, torn=0)
    log.stop()
    assert [path.name for path in tmp_path.iterdir()] == ["lock"]


def test_what_a_dead_process_left_is_adopted_and_a_living_one_keeps_its_own(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys\nfrom pathlib import Path\nfrom serving.log.prediction_log "
        "import PredictionLog\n"
        "from serving.log.segments import feedback_header, line_of\n"
        f"log = PredictionLog(Path({str(tmp_path)!r}), 3600.0, 1000, 10**6)\nlog.start()\n"
        f"for _ in range(3): log.append(feedback_header('toy'), 'toy', line_of({body(7)!r}, "
        "b'', 1), 1)\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", code], check=False)
    living = make_log(tmp_path)
    assert [segment.rows for segment in living.closed] == [3]
    assert living.state("toy").rows_waiting == 3
    living.append(HEADER, "toy", line_of(body(1), b"", 1), 1)
    third = make_log(tmp_path)
    assert not third.closed


def test_processes_that_start_and_stop_at_once_adopt_each_segment_once(tmp_path: Path) -> None:
    code = f"""
import sys
from pathlib import Path
from serving.log.prediction_log import PredictionLog
input()
for _ in range(150):
    log = PredictionLog(Path({str(tmp_path)!r}), 3600.0, 1000, 10**6)
    log.start()
    for segment in list(log.closed):
        print(segment.path.name, flush=True)
        log.uploaded(segment, segment.rows, 0)
    log.stop()
"""
    names = [f"{folder}-{number}.jsonl" for folder in range(10) for number in range(3)]
    for name in names:
        (tmp_path / name.partition("-")[0]).mkdir(exist_ok=True)
        (tmp_path / name.partition("-")[0] / name).write_bytes(
            HEADER + b"\n" + line_of(body(1), b"", 1)
        )
    command = [sys.executable, "-c", code]
    processes = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    adopted = [name for process in processes for name in process.communicate(timeout=60)[0].split()]
    assert [process.returncode for process in processes] == [0] * 4
    assert sorted(adopted) == names
    assert [path.name for path in tmp_path.iterdir()] == ["lock"]


def test_a_torn_last_line_is_dropped_and_counted(tmp_path: Path) -> None:
    log = make_log(tmp_path)
    for number in range(3):
        log.append(HEADER, "toy", line_of(body(number), b"", 1), 1)
    log.close_old(everything=True)
    path = log.closed[0].path
    path.write_bytes(path.read_bytes()[:-5])
    assert Segment.recover(path).rows == 2
    converted = convert(path)
    assert converted.torn == 1 and len(converted.files) == 1


def test_a_segment_without_a_header_is_set_aside_at_the_start(tmp_path: Path) -> None:
    dead = tmp_path / "dead"
    dead.mkdir()
    (dead / "a.jsonl").write_bytes(b'{"kind":"feed')
    log = make_log(tmp_path)
    assert not log.closed
    assert (dead / "a.unreadable").exists()
    with pytest.raises(Unreadable):
        convert(dead / "a.unreadable")


def test_rows_appended_from_many_threads_are_all_kept(tmp_path: Path) -> None:
    log = make_log(tmp_path, flush_rows=7)
    threads = [
        threading.Thread(
            target=lambda start: [
                log.append(HEADER, "toy", line_of(body(n), b"", 1), 1)
                for n in range(start, start + 50)
            ],
            args=(k * 50,),
        )
        for k in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    log.close_old(everything=True)
    assert sorted(bodies(log)) == sorted(body(n) for n in range(200))
    assert log.state("toy").rows_waiting == 200
