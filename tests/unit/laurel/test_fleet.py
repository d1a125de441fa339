"""A use case in a row, and what needs a person."""

from typing import Any

from laurel.fleet import Need, row

SINCE = "2026-11-18T09:12:00+00:00"


def described(**fields: Any) -> dict[str, Any]:
    usual = {
        "use_case": "flights",
        "ready": True,
        "version": "7",
        "alias": {"version": "7"},
        "last_error": None,
        "traffic": {"requests_per_second": 41.2, "seconds_p99": 0.004},
        "log": {"last_error": None},
        "metrics": {"roc_auc": 0.788, "log_loss": 0.5},
    }
    return usual | fields


def entry(kind: str, verdict: str, **fields: Any) -> dict[str, Any]:
    usual = {"kind": kind, "verdict": verdict, "time": SINCE, "tampered": False}
    return usual | fields


CROWNED = entry("crown", "crowned", version="7")
KEPT = entry("retrain", "kept", time="2026-11-30T10:00:00+00:00")
CHECK = {
    "window": "2013-06",
    "outcome": "drifted",
    "share": 0.67,
    "performance": {
        "coverage": 0.64,
        "metrics": {"log_loss": {"value": 0.6}, "roc_auc": {"value": 0.771}},
    },
}


def test_a_row_has_the_figures_of_the_gate_s_metric() -> None:
    entries = [entry("retrain", "started"), KEPT, entry("crown", "failed", version="8"), CROWNED]
    one = row(described(), entries, [CHECK], [])
    assert (one.champion, one.live, one.coverage, one.holdout) == ("7", 0.771, 0.64, 0.788)
    assert (one.window, one.drift, one.share) == ("2013-06", "drifted", 0.67)
    assert one.since is not None and one.since.isoformat() == SINCE
    assert one.last == "kept" and one.needs == []


def test_what_is_not_known_stays_unknown() -> None:
    untrained = described(ready=False, version=None, metrics=None, alias={"version": None})
    one = row(untrained | {"last_error": "nothing to serve yet"}, [], [], [])
    assert (one.champion, one.since, one.live, one.holdout, one.drift) == (None,) * 5
    assert one.needs == [], "a use case that was never trained needs nobody"


def test_a_waiting_challenger_comes_first_with_its_gain() -> None:
    approval = {"challenger": "9", "champion": "7", "contest": {"main": {"gain": 0.0214}}}
    needs = row(described(), [KEPT | {"tampered": True}], [], [approval]).needs
    assert needs[0] == Need("flights", "approve v9 over v7 (gain +0.021)", "laurel approve flights")
    assert needs[1].command == "laurel audit flights"


def test_each_trouble_has_its_command() -> None:
    failed = entry("retrain", "crashed")
    troubled = described(
        alias={"version": "9"}, last_error="SHA-256 differs", log={"last_error": "away"}
    )
    broken = CHECK | {"outcome": "broken"}
    needs = row(troubled, [failed], [broken], []).needs
    assert [need.command for need in needs] == [
        "laurel doctor",
        "laurel logs service",
        "laurel logs flights",
        "laurel explain flights",
    ]
    assert "v9 is not served: SHA-256 differs" in needs[0].sentence
