"""``tidy`` on a whole stack: what it finds in the lake, in MLflow and in Prefect, what it announces
first, and what it leaves.
"""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterTags
from prefect.states import Completed, Running

from blocks.clients.registry import TIDIED_TAG
from blocks.registry import RegistryError
from flows.tidy import tidy
from tasks.retention import lake_objects, mlflow_files
from tests.fixtures.mlflow_server import register
from tests.fixtures.rollout_log import Log
from tests.integration.planting import Loop

CASE = "toy"
RESULTS = "results/of-this-test"
Later = Callable[[float], None]


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Iterator[Later]:
    """Let the flow think that it is so many days later."""
    start = datetime.now(UTC)

    def move(days: float) -> None:
        now = start + timedelta(days=days)
        monkeypatch.setattr("tasks.steps.tidy.clock", lambda: now)

    monkeypatch.setenv("LAUREL_KEEP_CHALLENGERS_DAYS", "50")
    monkeypatch.setattr(mlflow_files, "NEWEST_VERSIONS", 1)
    # Other tests' runs of this stack need their results, whatever the time.
    monkeypatch.setattr(lake_objects, "PREFIX", RESULTS)
    move(0.1)
    return move


def page_runs(loop: Loop) -> dict[str, bool]:
    """Of each drift check in MLflow, by its name, whether its page is there."""
    with loop.registry.api("look") as api:
        runs = list(api.search_runs(f"{CASE}-drift", 2**53))
        return {
            run["info"]["run_name"]: "drift_report.html" in api.files(run["info"]["artifact_uri"])
            for run in runs
        }


def log_check(loop: Loop, name: str, window: str, verdict: str) -> str:
    return loop.registry.log_run(
        f"{CASE}-drift",
        name,
        params={"window": window, "champion": "1"},
        metrics={"distance.first": 0.1},
        tags={"laurel.window": window, "laurel.verdict": verdict},
        texts={"drift_report.html": "<p>large</p>"},
        note="what it says",
    )


def prefect_runs(loop: Loop) -> set[str]:
    wanted = FlowRunFilter(tags=FlowRunFilterTags(all_=["tidied"]))
    return {run.name for run in loop.prefect.read_flow_runs(flow_run_filter=wanted)}


@pytest.fixture
def grown(loop: Loop, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A log, reports, runs and versions. Yields the run of a check by its name."""
    Log(3).write(loop.lake, "ab")
    loop.lake.write(f"{RESULTS}/one", b"returned")
    loop.lake.write(f"reports/{CASE}/2026-09/champion-1.html", b"no verdict beside it")
    checks = [("first", "2026-08", "stable"), ("acted on", "2026-09", "drifted")]
    checks = [*checks[1:], *checks, ("last", "2026-09", "drifted")]
    runs = {
        f"{place} {name}": log_check(loop, f"{place} {name}", window, verdict)
        for place, (name, window, verdict) in enumerate(checks)
    }
    for name, tags, state in [
        ("ours", ["laurel", CASE], Completed()),
        ("waits", ["laurel", CASE], Running()),
        ("of another", ["laurel", "another"], Completed()),
        ("a stranger's", [], Completed()),
    ]:
        loop.prefect.create_flow_run(tidy, name=name, tags=[*tags, "tidied"], state=state)
    folder = tmp_path_factory.mktemp("packages")
    for number in range(4):
        register(loop.registry.tracking_uri, folder / str(number), bias=float(number))
    versions = loop.registry.versions(CASE)
    loop.registry.set_alias(versions[1], "challenger")
    yield runs
    loop.registry.remove_alias(CASE, "challenger")
    for prefix in (f"reports/{CASE}", f"predictions/{CASE}", f"feedback/{CASE}", "compacted"):
        loop.lake.remove(loop.lake.list(prefix))


def test_what_is_older_goes_a_day_after_it_was_announced(
    loop: Loop, grown: dict[str, str], later: Later
) -> None:
    first = loop.run(tidy, CASE)
    assert first.message.startswith("6 files of 3 days of the log became few"), first.message
    assert first.told == [] and loop.lake.list(f"compacted/predictions/{CASE}") != []

    later(100)
    listed = loop.run(tidy, CASE, dry_run=True)
    before = (page_runs(loop), prefect_runs(loop), loop.lake.list(RESULTS))
    assert "to be removed later: " in listed.message and listed.told == []
    soon = loop.run(tidy, CASE)
    assert soon.result.removed == {} and len(soon.told) == 1
    assert "from tomorrow on" in soon.told[0] and "drift reports: 3" in soon.told[0]
    assert "LAUREL_KEEP_RUNS_DAYS" in soon.told[0]
    assert (page_runs(loop), prefect_runs(loop)) == before[:2] and all(before[0].values())
    assert loop.lake.list(RESULTS) == before[2] == [f"{RESULTS}/one"]

    later(101)
    gone_now = loop.run(tidy, CASE)
    counts = {kind: count for kind, (count, _) in gone_now.result.removed.items()}
    assert gone_now.told == []
    assert {"results": 1, "report_pages": 3}.items() <= counts.items()
    # Other tests leave versions and runs of this use case on the stack, which are as old by now.
    assert counts["runs"] >= 1 and counts["challengers"] >= 2
    assert loop.lake.list(RESULTS) == []
    assert "removed" in str(loop.artifact(f"{CASE}-tidied"))
    assert [name for name, there in page_runs(loop).items() if there and name in grown] == [
        "3 last"
    ]
    run = loop.registry.run(grown["1 first"])
    assert run.metrics == {"distance.first": 0.1} and TIDIED_TAG in run.tags
    note = run.tags["mlflow.note.content"]
    assert note.startswith("Its page was removed on ") and "what it says" in note
    assert prefect_runs(loop) == {"waits", "of another", "a stranger's"}
    assert len(loop.lake.list(f"reports/{CASE}/2026-09")) == 1
    assert loop.lake.list(f"predictions/{CASE}") == [] != loop.lake.list("compacted")

    versions = sorted(loop.registry.versions(CASE), key=lambda version: int(version.number))
    gone, *others = versions[-4:]
    with pytest.raises(RegistryError, match=f"{gone.number} of 'toy' was removed .*never served"):
        loop.registry.download_package(gone, loop.settings.state / "tmp" / "gone")
    assert [TIDIED_TAG in version.tags for version in others] == [True, False, False]
    loop.registry.download_package(others[1], loop.settings.state / "tmp" / "there")
    assert loop.run(tidy, CASE).message == "Nothing to tidy"


def test_fewer_days_are_announced_again_and_a_person_need_not_wait(
    loop: Loop, later: Later, monkeypatch: pytest.MonkeyPatch
) -> None:
    later(0)
    loop.run(tidy, CASE)
    loop.lake.write(f"{RESULTS}/two", b"returned")
    monkeypatch.setenv("LAUREL_KEEP_RESULTS_DAYS", "1")
    later(2)
    told = loop.run(tidy, CASE)
    assert told.result.removed == {} and told.result.announced["results"][0] >= 1
    assert "from tomorrow on" in told.told[0] and "LAUREL_KEEP_RESULTS_DAYS" in told.told[0]
    assert f"{RESULTS}/two" in loop.lake.list("results")
    at_once = loop.run(tidy, CASE, at_once=True)
    assert at_once.result.removed["results"][0] >= 1 and "Removed: " in at_once.told[0]
    assert f"{RESULTS}/two" not in loop.lake.list("results")


def test_while_mlflow_is_away_the_rest_is_tidied_and_the_run_says_so(
    loop: Loop, later: Later, monkeypatch: pytest.MonkeyPatch
) -> None:
    later(0)
    loop.run(tidy, CASE)
    loop.lake.write(f"{RESULTS}/three", b"returned")
    later(40)
    monkeypatch.setattr(type(loop.registry), "api", _refuses)
    told = loop.run(tidy, CASE, at_once=True)
    assert told.name == "Failed" and "report_pages: MLflow is away" in told.message
    assert f"{RESULTS}/three" not in loop.lake.list("results")


def _refuses(self: object, action: str) -> None:
    raise RegistryError("MLflow is away")
