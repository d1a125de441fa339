"""What workers know of each other, with other processes as the siblings."""

import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from blocks.settings import Settings
from serving.service.workers import WorkerBoard, begin_run, folder_of
from tests.fixtures.processes import REPOSITORY

SIBLING = """
import sys, time
from pathlib import Path
from serving.service.workers import WorkerBoard
board = WorkerBoard(Path(sys.argv[1]))
board.publish({"served": int(sys.argv[2])})
print(board.id, flush=True)
sys.stdin.read()
"""


class Sibling:
    """A worker in a process of its own, which lives until it is killed."""

    def __init__(self, folder: Path, served: int) -> None:
        command = [sys.executable, "-c", SIBLING, str(folder), str(served)]
        self.process = subprocess.Popen(
            command, cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout
        self.id = self.process.stdout.readline().strip()

    def die(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.communicate()


def join(folder: Path) -> WorkerBoard:
    board = WorkerBoard(folder)
    board.publish({"served": 0})
    return board


def published(board: WorkerBoard) -> list[tuple[str, bool, int]]:
    return [(sibling.id, sibling.alive, sibling.facts["served"]) for sibling in board.others()]


def test_a_worker_hears_what_the_others_said_last(tmp_path: Path) -> None:
    first, second = join(tmp_path), join(tmp_path)
    second.publish({"served": 1})
    second.publish(b'{"served": 2}')
    assert published(first) == [("2", True, 2)]
    assert published(second) == [("1", True, 0)]


def test_a_worker_that_was_killed_is_dead_and_what_it_counted_stays(tmp_path: Path) -> None:
    board = join(tmp_path)
    sibling = Sibling(tmp_path, served=7)
    assert published(board) == [(sibling.id, True, 7)]
    sibling.die()
    assert [published(board), published(board)] == [[(sibling.id, False, 7)]] * 2


def test_a_worker_that_replaces_a_dead_one_has_a_number_of_its_own(tmp_path: Path) -> None:
    board = join(tmp_path)
    sibling = Sibling(tmp_path, served=7)
    sibling.die()
    join(tmp_path).leave()
    assert [sibling[0] for sibling in published(board)] == ["2", "3"]


def test_workers_that_join_at_once_have_different_numbers(tmp_path: Path) -> None:
    siblings = [Sibling(tmp_path, served=number) for number in range(4)]
    assert sorted(sibling.id for sibling in siblings) == ["1", "2", "3", "4"]
    for sibling in siblings:
        sibling.die()


def test_a_new_run_forgets_the_dead_of_the_one_before(tmp_path: Path) -> None:
    sibling = Sibling(tmp_path, served=7)
    sibling.die()
    begin_run(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run", "turn"]
    assert published(join(tmp_path)) == []


def test_a_worker_of_the_run_before_that_finishes_its_work_is_no_sibling(tmp_path: Path) -> None:
    """Its answers go out still while the new run has begun: it must not hold up a promotion, nor be
    counted twice.
    """
    begin_run(tmp_path)
    last = join(tmp_path)
    begin_run(tmp_path)
    new, other = join(tmp_path), join(tmp_path)
    assert (new.id, published(new)) == ("1", [("2", True, 0)])
    assert last.publish({"served": 9}) and published(other) == [("1", True, 0)]


def test_two_services_on_one_disk_are_told_apart_by_their_port(tmp_path: Path) -> None:
    first, other = (
        folder_of(Settings.model_validate({"state": tmp_path, "serving_port": port}))
        for port in (5001, 5002)
    )
    assert join(first).others() == join(other).others() == []
    assert tmp_path in first.parents and tmp_path in other.parents


def test_facts_are_there_whole_while_they_are_being_written(tmp_path: Path) -> None:
    board, writer = join(tmp_path), join(tmp_path)
    over = threading.Event()

    def write() -> None:
        while not over.is_set():
            writer.publish({"served": 1, "padding": "x" * 100_000})

    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(write)
        views = [published(board) for _ in range(300)]
        over.set()
        writing.result(30)
    assert {tuple(sibling) for sibling in views} <= {(("2", True, 0),), (("2", True, 1),)}
    assert not list(tmp_path.glob("*.partial"))


def test_a_disk_that_refuses_is_logged_once_and_stops_nobody(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    board = WorkerBoard(tmp_path / "folder")
    (tmp_path / "folder").write_text("a file where the folder should be")
    assert [board.publish({"served": 1}) for _ in range(3)] == [False] * 3
    assert len(caplog.records) == 1 and board.others() == []
    (tmp_path / "folder").unlink()
    assert board.publish({"served": 1})
