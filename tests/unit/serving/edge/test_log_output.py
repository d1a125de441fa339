import logging
import os
import threading

import pytest

from serving.edge import log_output
from serving.edge.access_log import AccessLog
from serving.edge.log_output import LogHandler, write_all


def full_pipe() -> tuple[int, int]:
    read, write = os.pipe()
    os.set_blocking(write, False)
    with pytest.raises(BlockingIOError):
        while True:
            os.write(write, b"x" * 4096)
    os.set_blocking(write, True)
    return read, write


def test_lines_of_the_log_come_out_in_their_order() -> None:
    read, write = os.pipe()
    handler = LogHandler(write)
    for number in range(100):
        handler.handle(logging.makeLogRecord({"msg": f"line {number} \udcff"}))
    handler.close()
    os.close(write)
    with os.fdopen(read) as lines:
        assert lines.read().split("\n")[:-1] == [f"line {number} \\udcff" for number in range(100)]


def test_a_reader_who_sleeps_costs_lines_and_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_output, "_END_SECONDS", 0.1)
    monkeypatch.setattr(log_output, "_MOST_LINES", 10)
    read, write = full_pipe()
    handler, dropped = LogHandler(write), LogHandler.dropped
    for number in range(100):
        handler.handle(logging.makeLogRecord({"msg": f"line {number}"}))
    handler.close()
    assert LogHandler.dropped - dropped >= 85
    os.close(read)  # the thread that writes ends with its reader
    handler._thread.join(10)
    os.close(write)


def test_an_access_log_without_a_reader_counts_what_it_drops() -> None:
    read, write = os.pipe()
    os.close(read)
    log = AccessLog("all", write)
    log.start()
    for _ in range(5):
        log.add(b"1", "GET", "/", 200, 0.1)
    log.stop()
    assert log.dropped == 5
    os.close(write)


def test_a_pipe_that_another_process_made_non_blocking_is_waited_for() -> None:
    read, write = os.pipe()
    os.set_blocking(write, False)
    data = os.urandom(300_000)
    writer = threading.Thread(target=write_all, args=(write, data))
    writer.start()
    received = b""
    while len(received) < len(data):
        received += os.read(read, 65536)
    writer.join()
    assert received == data
    os.close(read)
    os.close(write)
