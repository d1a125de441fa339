"""A training that has no room in memory says so before it starts."""

from pathlib import Path

import pytest

from tasks.data import room
from tasks.data.room import Room, needed_bytes, room_of
from usecases.definition import Sample, UseCase, load

GIB = 1 << 30


@pytest.fixture
def toy() -> UseCase:
    return load("toy")


def test_few_rows_have_room_and_many_have_not(toy: UseCase) -> None:
    assert Room(8 * GIB, stated=True).why_too_small(toy, 100_000) == ""
    why = Room(8 * GIB, stated=True).why_too_small(toy, 200_000_000)
    assert "200,000,000 rows of 4 columns" in why and "LAUREL_MEMORY_GIB says 8.0" in why
    assert "this machine has" in Room(8 * GIB, stated=False).why_too_small(toy, 200_000_000)


def test_sample_that_is_advised_has_room(toy: UseCase) -> None:
    why = Room(8 * GIB, stated=True).why_too_small(toy, 200_000_000)
    rows = int(why.partition("Sample(rows=")[2].partition(")")[0])
    sampled = toy.model_copy(update={"sample": Sample(rows=rows)})
    assert Room(8 * GIB, stated=True).why_too_small(sampled, 200_000_000) == ""
    more = toy.model_copy(update={"sample": Sample(rows=round(1.01 * rows))})
    assert Room(8 * GIB, stated=True).why_too_small(more, 200_000_000) != ""


def test_model_that_learns_in_batches_needs_less(toy: UseCase) -> None:
    recipes = [one.model_copy(update={"batch_rows": 1000}) for one in toy.candidates]
    in_batches = toy.model_copy(update={"candidates": tuple(recipes)})
    assert needed_bytes(in_batches, 1_000_000) < needed_bytes(toy, 1_000_000)


def test_room_is_what_was_stated_or_the_least_of_machine_and_container(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert room_of(2.5) == Room(int(2.5 * GIB), stated=True)
    limit, none = tmp_path / "memory.max", tmp_path / "none"
    monkeypatch.setattr(room, "_CGROUP", (limit, none))
    limit.write_text("1048576\n")
    assert room_of(None) == Room(1 << 20, stated=False)
    limit.write_text("max\n")
    machine = room_of(None)
    assert machine.size > 100 * (1 << 20) and not machine.stated
