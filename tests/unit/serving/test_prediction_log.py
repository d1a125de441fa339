import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from serving.parquet import convert
from serving.prediction_log import PredictionLog
from serving.segments import Segment, Unreadable, feedback_header, lines

HEADER = feedback_header("toy")
LONG = 3600.0


def body(number: int) -> bytes:
    return b'{"feedback": [{"id": "%d", "label": 1}]}' % number


def make_log(folder: Path, **other: object) -> PredictionLog:
    given: dict[str, object] = {"flush_seconds": LONG, "flush_rows": 1000, "backlog_bytes": 10**6} | other
    log = PredictionLog(folder, **given)  # type: ignore[arg-type]
    log.start()
    return log


def bodies(log: PredictionLog) -> list[bytes]:
    return [bytes(line.request) for segment in log.closed for line in lines(segment.path) if line is not None]


def test_a_line_is_with_the_operating_system_when_append_returns(tmp_path: Path) -> None:
    log = make_log(tmp_path)
    assert log.append(HEADER, "toy", body(1), b"", 1)
    (path,) = tmp_path.glob("*/*.jsonl")
    assert path.read_bytes().count(b"\n") == 2
    assert log.state("toy").rows_waiting == 1


def test_newlines_between_the_tokens_of_a_request_do_not_break_the_line(tmp_path: Path) -> None:
    log = make_log(tmp_path)
    log.append(HEADER, "toy", json.dumps(json.loads(body(1)), indent=2).encode(), b"", 1)
    log.append(HEADER, "toy", body(2), b"", 1)
    log.close_old(everything=True)
    assert [json.loads(kept)["feedback"][0]["id"] for kept in bodies(log)] == ["1", "2"]


def test_a_segment_closes_when_it_has_its_rows(tmp_path: Path) -> None:
    log = make_log(tmp_path, flush_rows=2)
    for number in range(5):
        log.append(HEADER, "toy", body(number), b"", 1)
    assert [segment.rows for segment in log.closed] == [2, 2]
    assert log.wake.is_set()


def test_a_segment_closes_when_it_is_old(tmp_path: Path) -> None:
    log = make_log(tmp_path, flush_seconds=0.0)
    log.append(HEADER, "toy", body(1), b"", 1)
    log.close_old()
    assert [segment.rows for segment in log.closed] == [1]


def test_beyond_the_backlog_rows_are_dropped_and_counted_and_room_made_is_used_again(tmp_path: Path) -> None:
    log = make_log(tmp_path, flush_rows=1, backlog_bytes=600)
    kept = [log.append(HEADER, "toy", body(number), b"", 1) for number in range(20)]
    assert kept[0] and not kept[-1]
    state = log.state("toy")
    assert state.rows_dropped == kept.count(False) and state.rows_waiting == kept.count(True)
    assert sum(path.stat().st_size for path in tmp_path.glob("*/*.jsonl")) <= 600
    log.uploaded(log.closed[0], torn=0)
    assert log.append(HEADER, "toy", body(99), b"", 1)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's /dev/full")
def test_a_full_disk_drops_rows_and_raises_nothing(tmp_path: Path) -> None:
    log = make_log(tmp_path)
    log.append(HEADER, "toy", body(1), b"", 1)
    (segment,) = log._open.values()
    real = os.dup(segment._file)
    full = os.open("/dev/full", os.O_WRONLY)
    os.dup2(full, segment._file)
    os.close(full)
    with pytest.raises(OSError):
        segment._write(b"x")  # the device refuses even to be truncated
    assert log.append(HEADER, "toy", body(2), b"", 1) is False
    os.dup2(real, segment._file)
    os.close(real)
    assert log.append(HEADER, "toy", body(3), b"", 1)
    log.close_old(everything=True)
    assert bodies(log) == [body(1), body(3)]
    assert log.state("toy").rows_dropped == 1


def test_a_clean_stop_with_nothing_waiting_leaves_no_folder(tmp_path: Path) -> None:
    log = make_log(tmp_path)
    log.append(HEADER, "toy", body(1), b"", 1)
    log.close_old(everything=True)
    log.uploaded(log.closed[0], torn=0)
    log.stop()
    assert [path.name for path in tmp_path.iterdir()] == ["lock"]


def test_what_a_dead_process_left_is_adopted_and_a_living_one_keeps_its_own(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys\nfrom pathlib import Path\nfrom serving.prediction_log import PredictionLog\n"
        "from serving.segments import feedback_header\n"
        f"log = PredictionLog(Path({str(tmp_path)!r}), 3600.0, 1000, 10**6)\nlog.start()\n"
        f"for _ in range(3): log.append(feedback_header('toy'), 'toy', {body(7)!r}, b'', 1)\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", code], check=False)
    living = make_log(tmp_path)
    assert [segment.rows for segment in living.closed] == [3]
    assert living.state("toy").rows_waiting == 3
    living.append(HEADER, "toy", body(1), b"", 1)
    third = make_log(tmp_path)
    assert not third.closed


def test_a_torn_last_line_is_dropped_and_counted(tmp_path: Path) -> None:
    log = make_log(tmp_path)
    for number in range(3):
        log.append(HEADER, "toy", body(number), b"", 1)
    log.close_old(everything=True)
    path = log.closed[0].path
    path.write_bytes(path.read_bytes()[:-5])
    assert Segment.found(path).rows == 2
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
            target=lambda start: [log.append(HEADER, "toy", body(n), b"", 1) for n in range(start, start + 50)], args=(k * 50,)
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
