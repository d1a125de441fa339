import asyncio
import re
import tomllib
from pathlib import Path

import pytest

import serving
from blocks.settings import REPOSITORY, Settings
from serving import VERSION
from serving.routes.pages.page import home_page
from serving.server.app import create_app
from serving.service.service import Service


@pytest.mark.parametrize("use_cases", ["", " , ", "../flights", "a b", "flights,log", "workers"])
def test_use_cases_that_cannot_be_are_refused_before_the_start(use_cases: str) -> None:
    with pytest.raises(ValueError, match="LAUREL_SERVING_USE_CASES"):
        Service(Settings(serving_use_cases=use_cases))


def test_use_cases_are_separated_by_commas() -> None:
    assert list(Service(Settings(serving_use_cases=" flights, digits ")).use_cases.watches) == [
        "flights",
        "digits",
    ]


def test_building_the_app_touches_no_disk(tmp_path: Path) -> None:
    create_app(Settings(state=tmp_path / "state", lake=f"file://{tmp_path}/lake"))
    assert not list(tmp_path.iterdir())


def test_the_version_is_the_project_s() -> None:
    assert (
        tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["version"] == VERSION
    )


def test_addresses_cannot_break_out_of_the_page() -> None:
    page = home_page('http://x/"><script>', "http://127.0.0.1:5000")
    assert "<script>" not in page.split("<main")[0] and "http://127.0.0.1:5000" in page


def test_the_map_of_the_service_names_every_module() -> None:
    words = set(re.findall(r"\w+", serving.__doc__ or ""))
    modules = {path.stem for path in (REPOSITORY / "serving").rglob("*.py")} - {"__init__"}
    # What stands in a room of a room is named by that: rows and messages of arrow, rows and pieces
    # of mlflow.
    assert len(modules) > 40 and modules - words == {"messages", "pieces", "local_times"}


@pytest.mark.parametrize("turns", range(5))
def test_a_swap_at_the_moment_of_the_end_loses_no_cancellation(tmp_path: Path, turns: int) -> None:
    """``turns`` of the event loop lie between the swap and the end."""
    service = Service(
        Settings(state=tmp_path / "state", lake=f"file://{tmp_path}/lake", serving_use_cases="toy")
    )

    async def end_at_a_swap() -> bool:
        service.board.join()
        ticks = asyncio.create_task(service._tick())
        await asyncio.sleep(0.05)
        service._swapped.set()
        for _ in range(turns):
            await asyncio.sleep(0)
        ticks.cancel()
        finished, _ = await asyncio.wait([ticks], timeout=0.5)
        return bool(finished)

    assert asyncio.run(end_at_a_swap())
