import json
import os
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, get_args

import pytest
from starlette.testclient import TestClient

from blocks.clients.objects import Stored
from blocks.settings import Settings
from serving.errors import LakeAway, Refused
from serving.history.checks import History
from serving.history.decisions import Wanted
from serving.history.ledger import CheckedEntry
from serving.outside.lake import FolderLake
from serving.records.ledger import Kind
from serving.server.app import create_app
from tests.fixtures.lake_records import write_check, write_decision


class Counting(FolderLake):
    """Counts what it is asked for, and is away when told."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.asked: list[str] = []
        self.away = False
        self._lock = threading.Lock()

    def get(self, key: str) -> bytes:
        self._ask(key)
        return super().get(key)

    def list(self, prefix: str) -> list[Stored]:
        self._ask(prefix)
        return super().list(prefix)

    def _ask(self, request: str) -> None:
        with self._lock:
            self.asked.append(request)
        if self.away:
            raise LakeAway("nobody is there")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "lake"


@pytest.fixture
def history(root: Path) -> History:
    return History(FolderLake(root), listing_seconds=0)


def latest(history: History, most: int) -> list[CheckedEntry]:
    """The last entries of the ledger, the latest first."""
    return [each.entry for each in history.entries("toy", most)][::-1]


def test_a_drift_check_is_told_as_the_flow_wrote_it(root: Path, history: History) -> None:
    write_check(root, "2013-06", "drifted", champion="2")
    (check,) = history.drift("toy", 50)
    assert (check.window, check.outcome, check.champion, check.rows) == (
        "2013-06",
        "drifted",
        "2",
        28243,
    )
    assert (check.share, check.limit, check.columns) == (2 / 3, 0.5, 3)
    assert [driver.name for driver in check.drivers] == ["distance", "wind", "carrier"]
    assert (check.label_coverage, check.scores) == (0.96, {"roc_auc": 0.7633})
    assert check.performance is not None and check.performance.verdict == "provisional"
    assert {name: entry.value for name, entry in check.performance.estimates.items()} == {
        "roc_auc": 0.7701,
        "log_loss": None,
    }
    assert check.report == "/v1/toy/drift/2013-06/report" and check.report_url is not None
    assert check.checked.timestamp() == pytest.approx(
        (root / "reports/toy/2013-06/verdict.json").stat().st_mtime
    )


def test_a_decision_is_told_as_the_flow_wrote_it(root: Path, history: History) -> None:
    write_decision(root, "2026-11-21T05:00:00.874+00:00")
    (decision,) = latest(history, 50)
    assert (decision.verdict, decision.promoted, decision.challenger, decision.champion) == (
        "promote",
        True,
        "3",
        "2",
    )
    assert (
        decision.contest is not None
        and decision.contest.main.low == 0.0208
        and decision.contest.confidence == 0.95
    )
    assert decision.reasons == ["promote for the test"] and decision.by.startswith("http://")


def test_a_check_tells_what_the_labels_say_and_what_the_scores_let_expect(
    root: Path, history: History
) -> None:
    write_check(
        root,
        "2013-06",
        "drifted",
        importance={"carrier": 0.7, "distance": 0.1, "wind": 0.2},
        how="all 28,243 predictions",
    )
    (check,) = history.drift("toy", 50)
    assert (
        check.performance is not None
        and check.performance.provisional
        and check.performance.coverage == 0.6
    )
    assert (
        check.performance.estimates["roc_auc"].value == 0.7701
        and check.performance.estimates["roc_auc"].error == 0.0068
    )
    assert check.weighted and check.how == "all 28,243 predictions"
    assert [(driver.name, driver.weight) for driver in check.drivers] == [
        ("wind", 0.2),
        ("distance", 0.1),
        ("carrier", 0.7),
    ]


def test_a_check_tells_each_metric_beside_the_champion_s_own_hold_out(
    root: Path, history: History
) -> None:
    verdict = write_check(root, "2013-06", "drifted") / "verdict.json"
    content = json.loads(verdict.read_text())
    content["performance"] |= {
        "metrics": {"roc_auc": {"value": 0.7001, "low": 0.69, "high": 0.71}},
        "holdout": {"roc_auc": {"low": 0.75, "high": 0.77}},
    }
    verdict.write_text(json.dumps(content))
    performance = history.drift("toy", 50)[0].performance
    assert performance is not None and performance.metrics["roc_auc"].bounds == (0.69, 0.71)
    assert performance.holdout["roc_auc"].bounds == (0.75, 0.77)


def test_what_a_newer_version_wrote_is_told_as_far_as_it_is_known(
    root: Path, history: History
) -> None:
    verdict = write_check(root, "2013-06", "drifted") / "verdict.json"
    check = json.loads(verdict.read_text())
    check["verdict"] |= {"outcome": "seasonal", "embedding": [0.1]}
    check["performance"]["verdict"] = "better"
    verdict.write_text(json.dumps(check | {"cause": "season", "arms": 2}))
    path = write_decision(root, "2026-11-21T05:00:00.874+00:00")
    entry = json.loads(path.read_text())
    entry["contest"] |= {"verdict": "shadow", "arms": {"b": 1}}
    path.write_text(json.dumps(entry | {"kind": "bandit", "verdict": "widened", "share": 0.1}))
    (drift_check,) = history.drift("toy", 50)
    assert (drift_check.outcome, drift_check.cause, drift_check.columns) == (
        "seasonal",
        "season",
        3,
    )
    assert drift_check.performance is not None and drift_check.performance.verdict == "better"
    (decision,) = latest(history, 50)
    assert (decision.kind, decision.verdict, decision.tampered) == ("bandit", "widened", False)
    assert decision.contest is not None and decision.contest.verdict == "shadow"
    assert history.decisions("toy", Wanted(kind="contest"), None, 50).items == []


def test_a_check_of_before_there_were_weights_and_performance_is_told_as_well(
    root: Path, history: History
) -> None:
    verdict = write_check(root, "2013-06", "drifted") / "verdict.json"
    content = json.loads(verdict.read_text())
    for name in ("performance", "cause", "time"):
        content.pop(name, None)
    for name in ("importance", "described", "how", "beyond"):
        content["verdict"].pop(name, None)
    verdict.write_text(json.dumps(content))
    (check,) = history.drift("toy", 50)
    assert (check.outcome, check.performance, check.weighted, check.columns) == (
        "drifted",
        None,
        False,
        3,
    )


KINDS = {
    "contest": "keep",
    "approval": "asked",
    "crown": "crowned",
    "rollback": "rollback",
    "rollout": "began",
    "drift": "drifted",
    "retrain": "started",
    "refusal": "cooldown",
    "breaker": "closed",
    "ledger": "accepted",
}


def fill_ledger(root: Path) -> list[Path]:
    """One entry of each kind, and then a contest that was won."""
    facts: dict[str, Any] = {"rows": 3.0, "driver": "distance", "none": None}
    paths = [
        write_decision(root, f"2026-11-21T05:00:0{n}+00:00", KINDS[kind], kind=kind, facts=facts)
        for n, kind in enumerate(KINDS)
    ]
    return [*paths, write_decision(root, "2026-11-21T05:00:09+00:00")]


def test_every_kind_of_the_ledger_is_told_in_its_order_and_the_chain_holds(
    root: Path, history: History
) -> None:
    fill_ledger(root)
    decisions = latest(history, 50)
    assert [entry.kind for entry in decisions] == ["contest", *reversed(KINDS)]
    assert [entry.sequence for entry in decisions] == list(range(11, 0, -1))
    assert not any(entry.tampered for entry in decisions) and decisions[1].facts == {
        "rows": 3.0,
        "driver": "distance",
        "none": None,
    }
    assert set(KINDS) == set(get_args(Kind))


@pytest.mark.parametrize("kind", KINDS)
def test_decisions_of_one_kind_can_be_asked_for(root: Path, history: History, kind: Any) -> None:
    fill_ledger(root)
    page = history.decisions("toy", Wanted(kind=kind), None, 50)
    assert {item.kind for item in page.items} == {kind}
    assert page.total == (2 if kind == "contest" else 1)
    (latest_contest,) = history.decisions("toy", Wanted(kind="contest"), None, 1).items
    assert latest_contest.promoted


def tampered(history: History, limit: int = 50) -> dict[int, str]:
    return {entry.sequence: entry.fault for entry in latest(history, limit) if entry.tampered}


def test_an_entry_that_was_edited_is_given_away_by_the_one_after_it(
    root: Path, history: History
) -> None:
    paths = fill_ledger(root)
    assert tampered(history) == {}
    paths[3].write_text(paths[3].read_text().replace("rollback for the test", "nothing happened"))
    assert list(tampered(history)) == [5] and "00000004.json was changed" in tampered(history)[5]
    assert tampered(history, 7) == tampered(history), (
        "the entry before the first that is shown is read as well"
    )
    assert tampered(history, 6) == {}


def test_an_entry_that_is_gone_or_says_another_place_or_is_none_is_told(
    root: Path, history: History
) -> None:
    paths = fill_ledger(root)
    paths[1].unlink()
    assert list(tampered(history)) == [3] and "00000002.json is missing" in tampered(history)[3]
    paths[6].write_text(paths[6].read_text().replace('"sequence": 7', '"sequence": 17'))
    assert "entry 17" in tampered(history)[17]
    (root / "decisions" / "toy" / "2026-11-21T05:00:00.json").write_text(paths[0].read_text())
    assert any("not an entry of the ledger" in fault for fault in tampered(history).values())


def test_an_entry_cannot_say_of_itself_that_all_is_well(root: Path, history: History) -> None:
    paths = fill_ledger(root)
    paths[3].write_text(paths[3].read_text().replace("{", '{"tampered": false, "fault": "",', 1))
    lies = paths[10].read_text().replace("{", '{"tampered": true, "fault": "lies",', 1)
    paths[10].write_text(lies)
    assert list(tampered(history)) == [5]


def test_a_forged_first_entry_is_told(root: Path, history: History) -> None:
    path = fill_ledger(root)[0]
    path.write_text(path.read_text().replace("0" * 64, "1" * 64))
    assert "the first entry but names one before it" in tampered(history)[1]


@pytest.mark.parametrize("outcome", ["broken", "inconclusive"])
def test_a_window_without_a_share_has_its_reasons_and_no_report(
    root: Path, history: History, outcome: str
) -> None:
    write_check(root, "2013-06", outcome)
    (check,) = history.drift("toy", 50)
    assert (check.outcome, check.share, check.report, check.reasons) == (
        outcome,
        None,
        None,
        [f"{outcome} for the test"],
    )


def test_a_distance_that_is_no_number_comes_first(root: Path, history: History) -> None:
    write_check(
        root,
        "2013-06",
        "inconclusive",
        distances={"wind": None, "distance": 9.0},
        thresholds={"wind": 0.1, "distance": 0.1},
    )
    (check,) = history.drift("toy", 50)
    assert [(driver.name, driver.distance) for driver in check.drivers] == [
        ("wind", None),
        ("distance", 9.0),
    ]


def test_the_latest_come_first_and_no_more_than_asked_for_are_read(root: Path) -> None:
    for month in range(1, 13):
        write_check(root, f"2013-{month:02}")
        write_decision(root, f"2026-11-{month:02}T05:00:00.874+00:00")
    lake = Counting(root)
    history = History(lake)
    assert [check.window for check in history.drift("toy", 3)] == ["2013-12", "2013-11", "2013-10"]
    assert [decision.time[:10] for decision in latest(history, 2)] == [
        "2026-11-12",
        "2026-11-11",
    ]
    assert (
        len(lake.asked) == 2 + 3 + 3
    )  # one decision more than was asked for: the chain is held against it


@pytest.mark.parametrize(
    "content", [b"{", b"", b"null", b'{"champion": 3}', b"\xff\xfe", b"[" * 5000]
)
def test_a_record_that_cannot_be_read_hides_no_other(
    root: Path, history: History, content: bytes
) -> None:
    write_check(root, "2013-05")
    (write_check(root, "2013-06") / "verdict.json").write_bytes(content)
    write_decision(root, "2026-11-20T05:00:00.874+00:00")
    write_decision(root, "2026-11-21T05:00:00.874+00:00").write_bytes(content)
    assert [check.outcome for check in history.drift("toy", 50)] == ["unreadable", "stable"]
    assert [decision.verdict for decision in latest(history, 50)] == [
        "unreadable",
        "promote",
    ]
    assert "verdict.json" in history.drift("toy", 50)[0].reasons[0]
    assert history.report("toy", "2013-06") is None


def test_a_record_that_is_far_too_large_is_not_even_fetched(root: Path) -> None:
    verdict = write_check(root, "2013-06") / "verdict.json"
    verdict.write_text(verdict.read_text() + " " * 2**20)
    lake = Counting(root)
    (check,) = History(lake).drift("toy", 50)
    assert check.outcome == "unreadable" and "larger than 1 MiB" in check.reasons[0]
    assert len(lake.asked) == 1


def test_a_window_that_is_checked_again_is_told_anew(root: Path, history: History) -> None:
    write_check(root, "2013-06", "stable")
    assert history.drift("toy", 50)[0].outcome == "stable"
    verdict = write_check(root, "2013-06", "drifted") / "verdict.json"
    os.utime(verdict, (1, 1))  # two writes may come within the clock's step
    assert history.drift("toy", 50)[0].outcome == "drifted"


def test_what_was_read_once_is_not_read_again(root: Path) -> None:
    write_check(root, "2013-06")
    lake = Counting(root)
    history = History(lake, listing_seconds=0)
    for _ in range(3):
        history.drift("toy", 50)
    assert lake.asked.count("reports/toy/2013-06/verdict.json") == 1


def test_many_who_ask_at_once_are_one_to_the_lake(root: Path) -> None:
    write_check(root, "2013-06")
    lake = Counting(root)
    history = History(lake, listing_seconds=60)
    with ThreadPoolExecutor(16) as callers:
        answers = list(callers.map(lambda _: history.drift("toy", 50), range(64)))
    assert all(len(checks) == 1 for checks in answers)
    assert len(lake.asked) == 2


def test_of_the_records_that_were_read_only_so_many_are_kept(root: Path) -> None:
    for month in range(1, 6):
        write_check(root, f"2013-0{month}")
    lake = Counting(root)
    history = History(lake, listing_seconds=60, most_records=3)
    for _ in range(2):
        assert len(history.drift("toy", 50)) == 5
    assert len([key for key in lake.asked if key.endswith("verdict.json")]) == 5 + 2


def test_a_lake_that_is_away_is_told_and_asked_once_in_a_while(root: Path) -> None:
    write_check(root, "2013-06")
    lake = Counting(root)
    lake.away = True
    patient = History(lake, listing_seconds=60)
    for _ in range(3):
        with pytest.raises(LakeAway, match="nobody is there"):
            patient.drift("toy", 50)
    assert len(lake.asked) == 1
    history = History(lake, listing_seconds=0)
    with pytest.raises(LakeAway):
        latest(history, 50)
    lake.away = False
    assert len(history.drift("toy", 50)) == 1


def test_nothing_in_the_lake_is_nothing_to_tell(history: History) -> None:
    assert history.drift("toy", 50) == [] and latest(history, 50) == []


def test_other_objects_beside_the_verdicts_are_no_checks(root: Path, history: History) -> None:
    folder = write_check(root, "2013-06")
    (folder / "deeper").mkdir()
    (folder / "deeper" / "verdict.json").write_text("{}")
    (folder / "comparison-2-4.json").write_text("{}")
    (root / "reports" / "toy" / "verdict.json").write_text("{}")
    assert [check.window for check in history.drift("toy", 50)] == ["2013-06"]


def test_the_report_of_a_window_is_that_of_its_latest_check(root: Path, history: History) -> None:
    write_check(root, "2013-06", champion="1")
    write_check(root, "2013-06", champion="2").joinpath("champion-2.html").write_text(
        "of the second"
    )
    assert history.report("toy", "2013-06") == b"of the second"


def test_an_older_report_does_not_stand_in_for_a_check_that_made_none(
    root: Path, history: History
) -> None:
    write_check(root, "2013-06", "stable")
    write_check(root, "2013-06", "broken")
    assert history.report("toy", "2013-06") is None
    assert history.drift("toy", 50)[0].report is None


@pytest.mark.parametrize(
    "window",
    [
        "..",
        "../other/2013-06",
        "2013-06/../../other/2013-06",
        "/etc",
        ".",
        "",
        "2013-06/",
        "%2e%2e",
        "2013-06\0",
        "../../secret",
    ],
)
def test_no_window_leads_out_of_the_use_case_s_own_reports(
    root: Path, history: History, window: str
) -> None:
    write_check(root, "2013-06")
    write_check(root, "2013-06", use_case="other")
    secret = write_check(root.parent, "secret", use_case="..")
    assert (secret / "verdict.json").exists()
    assert history.report("toy", "2013-06") is not None
    assert history.report("toy", window) is None


@pytest.mark.parametrize(
    "champion",
    [
        "../../other/2013-06/champion-1",
        "../2013-05/champion-1",
        "/etc/passwd",
        "1.html/../champion-1",
    ],
)
def test_no_record_leads_out_of_its_window_s_reports(
    root: Path, history: History, champion: str
) -> None:
    write_check(root, "2013-05")
    write_check(root, "2013-06", use_case="other")
    verdict = write_check(root, "2013-06") / "verdict.json"
    verdict.write_text(verdict.read_text().replace('"champion": "1"', f'"champion": "{champion}"'))
    assert history.report("toy", "2013-06") is None
    assert history.drift("toy", 1)[0].report is None


def test_a_report_that_memory_should_not_hold_is_refused(root: Path, history: History) -> None:
    report = write_check(root, "2013-06") / "champion-1.html"
    os.truncate(report, 64 * 2**20 + 1)
    with pytest.raises(Refused, match="MLflow"):
        history.report("toy", "2013-06")


@pytest.fixture
def hung_s3() -> Iterator[str]:
    """An S3 server that takes connections and says nothing."""
    sockets: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def accept() -> None:
            with suppress(OSError):
                while True:
                    sockets.append(listener.accept()[0])

        threading.Thread(target=accept, daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)
    for connection in sockets:
        connection.close()


@pytest.mark.parametrize(
    "path", ["drift", "decisions", "decisions/1", "approvals", "champions", "series"]
)
@pytest.mark.nightly("a further variant", only=("approvals", "champions", "series", "decisions/1"))
def test_a_lake_that_says_nothing_is_told_as_away_while_somebody_still_waits(
    hung_s3: str, tmp_path: Path, path: str
) -> None:
    settings = {
        "lake": "s3://laurel",
        "s3_endpoint": hung_s3,
        "s3_access_key": "key",
        "s3_secret_key": "secret",
        "state": tmp_path,
    }
    app = create_app(Settings.model_validate(settings | {"serving_use_cases": "toy"}))
    answer = TestClient(app, base_url="http://localhost").get(f"/v1/toy/{path}")
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "lake_away")
    assert answer.elapsed.total_seconds() < 3


def test_a_fingerprint_changes_with_every_record(root: Path, history: History) -> None:
    seen = [history.fingerprint("toy")]
    write_check(root, "2013-06")
    seen.append(history.fingerprint("toy"))
    write_decision(root, "2026-11-21T05:00:00+00:00")
    seen.append(history.fingerprint("toy"))
    os.utime(write_check(root, "2013-06", "drifted") / "verdict.json", (4e9, 4e9))
    seen.append(history.fingerprint("toy"))
    assert len(set(seen)) == 4 and history.fingerprint("toy") == seen[-1]
