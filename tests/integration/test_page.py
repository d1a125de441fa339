"""The page as people meet it: a real Chromium, a real service, a lake with what the flows write."""

import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from serving.records.reasons import because, told
from tests.fakes.prefect import PrefectServer
from tests.fakes.registry import RegistryServer
from tests.fixtures import axe
from tests.fixtures.api_keys import put_key
from tests.fixtures.browser import CHROMIUM, MISSING, Browser, Page
from tests.fixtures.lake_history import (
    NOTHING,
    ask_for_approval,
    at,
    write_comparison,
    write_many,
    write_traffic,
    write_year,
)
from tests.fixtures.lake_records import write_check, write_decision
from tests.fixtures.packages import FEATURES, expected_score, write_package
from tests.fixtures.processes import ServiceProcess, wait_until
from tests.fixtures.rollout_ledger import CANARY, began, judged, write_rollout, write_shadow

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason=MISSING)

PREDICT, ANOTHER, LOG = "form-toy-predict", "form-toy-another", "form-toy-log"
DISTANCE = "document.getElementById('form-toy-distance')"
FIRST = {"carrier": "AA", "distance": 100.0, "wind": 3.0}
WATCH = """(() => {
    self.changes = 0;
    const watcher = new MutationObserver(found => { self.changes += found.length; });
    const deeply = { childList: true, subtree: true, characterData: true };
    const live = document.querySelectorAll('[role=status], [role=alert], [aria-live]');
    for (const element of live) watcher.observe(element, deeply);
    self.asked = performance.getEntriesByType('resource').length;
})()"""
NAMELESS = """[...document.querySelectorAll(
        'input, select, button, a, [role=img], [role=region], nav, section')]
    .filter(element => !element.labels?.length && !element.textContent?.trim()
        && !element.ariaLabel && !element.hasAttribute('aria-labelledby'))
    .map(element => element.outerHTML)"""
REFERENCES = """['aria-describedby', 'aria-labelledby'].flatMap(name =>
    [...document.querySelectorAll(`[${name}]`)]
        .flatMap(element => element.getAttribute(name).split(' ')))"""
RECORDS = "document.querySelectorAll('.drift li').length"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with Browser() as browser:
        yield browser


@pytest.fixture(scope="module")
def korean() -> Iterator[Browser]:
    with Browser("ko-KR") as browser:
        yield browser


@contextmanager
def started(
    folder: Path, use_cases: str = "toy", **settings: object
) -> Iterator[tuple[ServiceProcess, RegistryServer]]:
    with RegistryServer(folder / "artifacts") as registry:
        for name in use_cases.split(","):
            for version in (1, 2):
                registry.register(
                    name,
                    version,
                    lambda package, name=name, bias=version: write_package(
                        package, name, float(bias)
                    ),
                )
            registry.crown(name, 1)
        with ServiceProcess(
            folder, registry.url, serving_use_cases=use_cases, **settings
        ) as service:
            yield service, registry


def fill_lake(lake: Path) -> None:
    write_check(lake, "2013-04")
    write_check(lake, "2013-05", "broken")
    write_check(lake, "2013-06", "drifted")
    (write_check(lake, "2013-03") / "verdict.json").write_text("{")
    # Before and after the champion's package was made.
    write_decision(
        lake,
        "2026-11-20T04:00:00.000+00:00",
        challenger="1",
        champion=None,
        contest=None,
        reasons=["the first of all"],
    )
    write_decision(lake, "2026-11-21T03:59:00.000+00:00")
    write_decision(
        lake,
        "2026-11-21T04:00:00.000+00:00",
        "crowned",
        kind="crown",
        version="1",
        contest=None,
        promoted=False,
    )
    write_decision(lake, "2026-11-21T05:00:00.000+00:00", "keep", challenger="5")


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    """One service for all tests that change nothing in it."""
    folder = tmp_path_factory.mktemp("page")
    fill_lake(folder / "lake")
    with started(folder) as (service, _):
        service.wait_for_version("1")
        yield service


def url(service: ServiceProcess, path: str = "/") -> str:
    return f"http://127.0.0.1:{service.port}{path}"


@contextmanager
def opened(browser: Browser, service: ServiceProcess, **how: Any) -> Iterator[Page]:
    """The page with its form and its history; at its end it must have had no problem and asked
    nobody else.
    """
    with browser.open(url(service), **how) as page:
        page.wait_for(f"document.getElementById('{PREDICT}')", "the form is there")
        page.wait_for(
            "!document.querySelector('.drift > div > .hint') && "
            "!document.querySelector('.decisions > .rows > .hint') && "
            "!document.querySelector('.series > div > .hint')",
            "the history is read",
        )
        yield page
        assert page.problems == []
        assert {
            address.split("/")[2]
            for address in page.requested
            if not address.startswith(("data:", "blob:"))
        } == {f"127.0.0.1:{service.port}"}


def headlines(page: Page) -> list[str]:
    """The rows of the ledger's table, as people read them."""
    return page.evaluate(
        "[...document.querySelectorAll('.decision-table tbody a')].map(one => one.innerText)"
    )


def predict(page: Page) -> None:
    """By keyboard, and wait for the reasons."""
    page.tab_to(PREDICT)
    page.press("Enter")
    page.wait_for("document.querySelector('.reasons')", "the reasons are there")


def percent(score: float) -> str:
    return f"{100 * score:.1f}%"


def test_a_row_is_filled_in_asked_and_explained_by_keyboard_alone(
    browser: Browser, shared: ServiceProcess
) -> None:
    before = shared.describe()["log"]
    with opened(browser, shared) as page:
        assert (page.text(".champion h2"), page.text(".badge")) == ("Late toys", "Version 1 serves")
        page.tab_to("form-toy-distance")
        page.type_text("1800")
        page.tab_to("form-toy-wind")
        page.type_text("")
        predict(page)
        score = expected_score(FIRST | {"distance": 1800.0, "wind": None}, bias=1.0)
        assert page.text(".verdict").split() == ["Yes", percent(score)]
        assert percent(score) in page.text(".sentence") and "50%" in page.text(".sentence")
        assert page.focused() == PREDICT
        told = page.evaluate(
            "[...document.querySelectorAll('.reasons .what')].map(one => one.innerText)"
        )
        assert sorted(told) == ["Carrier = AA", "Distance = 1,800", "Wind = unknown"]
        points = page.evaluate(
            "[...document.querySelectorAll('.reasons .points')].map(one => "
            "Number(one.innerText.replace('−', '-')))"
        )
        base = float(page.text(".details > .hint").split("score ")[1].split("%")[0])
        assert base + sum(points) == pytest.approx(
            100 * score, abs=0.3
        )  # each is rounded to a tenth
        about = page.text(".facts.small")
        assert "ms" in about and "Model version\n1" in about and "Logged\nno" in about
    after = shared.describe()["log"]
    assert (
        before["rows_waiting"] + before["rows_uploaded"]
        == after["rows_waiting"] + after["rows_uploaded"]
    )


def test_a_prediction_is_logged_where_that_is_ticked(browser: Browser, tmp_path: Path) -> None:
    with started(tmp_path) as (service, _), opened(browser, service) as page:
        page.tab_to(LOG)
        page.press("Space")
        page.evaluate("document.getElementById('form-toy-time_hour').value = '2013-06-01T15:00'")
        page.evaluate(f"document.getElementById('{PREDICT}').focus()")
        predict(page)
        service.wait_until_uploaded()
        (row,) = service.in_lake("predictions")
        assert row["id"] == page.text(".facts.small code") and row["distance"] == 100
        assert (service.lake / "predictions" / "toy" / "date=2013-06-01").exists()


def test_examples_follow_each_other(browser: Browser, shared: ServiceProcess) -> None:
    with opened(browser, shared) as page:
        assert page.evaluate(f"{DISTANCE}.value") == "100" and "Example 1 of 2" in page.text(
            ".try .actions"
        )
        page.tab_to(ANOTHER)
        page.press("Enter")
        # The second row has a carrier that the model does not know, and no wind.
        assert page.evaluate("document.getElementById('form-toy-carrier').value") == '"??"'
        assert page.evaluate("document.getElementById('form-toy-wind').value") == ""
        assert "Example 2 of 2" in page.text(".try .actions")
        page.press("Enter")
        assert "Example 1 of 2" in page.text(".try .actions")


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        ("", "This field is required."),
        ("9999", "At most 5,000."),
        ("-1", "At least 0."),
        ("1e", "This is not a number."),
    ],
)
def test_a_wrong_value_is_told_beside_its_field_which_gets_the_focus(
    browser: Browser, shared: ServiceProcess, typed: str, told: str
) -> None:
    with opened(browser, shared) as page:
        page.tab_to("form-toy-distance")
        page.type_text("") if typed == "" else page.type_text(typed)
        page.tab_to(PREDICT)
        page.press("Enter")
        assert page.text("#form-toy-distance-problem") == told
        assert page.focused() == "form-toy-distance"
        assert page.evaluate(f"{DISTANCE}.getAttribute('aria-invalid')") == "true"
        assert "form-toy-distance-problem" in page.evaluate(
            f"{DISTANCE}.getAttribute('aria-describedby')"
        )
        assert "Distance" in page.text("[role=alert] .trouble")
        assert not any("/predict" in address for address in page.requested)
        page.type_text("12")
        assert page.text("#form-toy-distance-problem") == "" and not page.evaluate(
            f"{DISTANCE}.hasAttribute('aria-invalid')"
        )


def test_what_the_service_refuses_is_told_beside_the_field_in_its_words(
    browser: Browser, shared: ServiceProcess
) -> None:
    with browser.open(url(shared)) as page:
        page.wait_for(f"document.getElementById('{PREDICT}')", "the form is there")
        page.tab_to("form-toy-wind")
        page.type_text(
            "1e300"
        )  # more than the model's own numbers hold, which only the service knows
        page.tab_to(PREDICT)
        page.press("Enter")
        page.wait_for(
            "document.getElementById('form-toy-wind-problem').innerText", "the refusal is shown"
        )
        assert "1e+300" in page.text("#form-toy-wind-problem") and page.focused() == "form-toy-wind"
        assert page.text(".said") == ""


def test_checks_and_decisions_are_shown_the_latest_first(
    browser: Browser, shared: ServiceProcess
) -> None:
    with opened(browser, shared) as page:
        windows = page.evaluate(
            "[...document.querySelectorAll('.drift li')].map(one => "
            "one.querySelector('.head').innerText.split(/\\s+/))"
        )
        assert windows == [
            ["2013-06", "▲", "drifted"],
            ["2013-05", "✕", "broken"],
            ["2013-04", "✓", "stable"],
            ["2013-03", "!", "unreadable"],
        ]
        first = page.text(".drift li")
        assert (
            "67% of 3 columns" in first
            and "limit is 50%" in first
            and "distance 6.1× (weight" in first
            and "28,243 predictions of version 1" in first
        )
        assert "broken for the test" in page.text(
            ".drift li:nth-child(2)"
        ) and "verdict.json" in page.text(".drift li:nth-child(4)")
        links = page.evaluate(
            "[...document.querySelectorAll('.drift li:first-child a')].map(one => "
            "one.getAttribute('href'))"
        )
        assert links[0] == "/v1/toy/drift/2013-06/report" and links[1].startswith(
            "http://127.0.0.1:5000/"
        )
        assert headlines(page) == [
            "Champion 2 stays; challenger 5 did not win",
            "Version 1 entered service",
            "Challenger 3 took the crown from champion 2",
            "Challenger 1 became the first champion",
        ]
        page.evaluate("document.querySelectorAll('.decision-table tbody a')[2].click()")
        page.wait_for("document.querySelector('.detail .records')", "the decision is there")
        won = page.text(".detail")
        assert "champion 0.7633, challenger 0.7896" in won
        assert "Gain +0.0263, interval +0.0208 – +0.0326" in won
        assert page.evaluate("document.querySelectorAll('.detail .interval').length") == 1
        # Of the contest that led to this champion.
        page.wait_for(
            "document.querySelectorAll('.champion .figure')[1].innerText.includes('+0.0263')",
            "the champion's gain is there",
        )


def test_a_report_runs_its_scripts_in_an_origin_of_its_own_and_reaches_nothing(
    browser: Browser, shared: ServiceProcess
) -> None:
    with browser.open(url(shared, "/v1/toy/drift/2013-06/report")) as page:
        page.wait_for(
            "document.body.innerText.includes('drawn by a script')", "the report is drawn"
        )
        assert page.evaluate("self.origin") == "null"
        assert page.evaluate("fetch('/v1').then(() => 'read', () => 'refused')") == "refused"
        assert (
            page.evaluate(
                "(() => { try { return localStorage.length; } catch { return 'refused'; } })()"
            )
            == "refused"
        )


def test_many_records_are_shown_when_asked_for(browser: Browser, tmp_path: Path) -> None:
    for month in range(1, 13):
        write_check(tmp_path / "lake", f"2013-{month:02}")
    with started(tmp_path) as (service, _), opened(browser, service) as page:
        assert page.evaluate(RECORDS) == 4
        page.tab_to("Show all 12")
        page.press("Enter")
        assert page.evaluate(RECORDS) == 12


def test_korean_is_spoken_to_those_who_prefer_it_and_a_choice_is_kept(
    korean: Browser, shared: ServiceProcess
) -> None:
    with opened(korean, shared) as page:
        assert page.evaluate("document.documentElement.lang") == "ko"
        assert page.text(".badge") == "버전 1 서비스 중" and page.text(f"#{PREDICT}") == "예측"
        page.evaluate(f"{DISTANCE}.focus()")
        page.type_text("4321")
        page.evaluate("document.querySelector('[data-language=en]').focus()")
        page.press("Enter")
        assert page.text(f"#{PREDICT}") == "Predict" and page.focused() == "English"
        assert page.evaluate(f"{DISTANCE}.value") == "4321"
        page.go(url(shared))
        page.wait_for(
            f"document.getElementById('{PREDICT}')?.innerText === 'Predict'", "the choice is kept"
        )
        assert page.evaluate("document.documentElement.lang") == "en"


def test_reasons_are_told_and_found_in_the_language_of_the_page(
    korean: Browser, tmp_path: Path
) -> None:
    lake, fields = tmp_path / "lake", NOTHING | {"kind": "refusal"}
    write_decision(lake, at(0), "cooldown", **fields, reasons=["Kim: not at full moon"])
    until = "2026-11-30T18:39:00+00:00"
    budget = because("budget", retrains=4, allowed=4, until=until)
    write_decision(lake, at(1), "budget", **fields, reasons=[budget])
    write_decision(lake, at(2), "silent", **NOTHING | {"kind": "drift"}, reasons=[])
    reasons = "[...document.querySelectorAll('.detail .reason')].map(r => [r.lang, r.innerText])"
    shown = "document.querySelectorAll('.detail .reason').length === 1"
    found = "document.querySelectorAll('.decision-table tbody tr').length"
    with started(tmp_path) as (service, _):
        service.wait_for_version("1")
        with korean.open(url(service, "/#toy&decision=2")) as page:
            page.wait_for(shown, "the refusal is shown")
            assert page.evaluate(reasons) == [["ko", told(budget, "ko")]]
            page.wait_for(
                "document.querySelector('.needs .what')?.innerText.startsWith('새 예측이')",
                "what needs a person is Korean",
            )
            page.evaluate("document.getElementById('decisions-toy-search').focus()")
            page.type_text("하루 한도는")
            page.wait_for(f"{found} === 1", "one decision is found by its Korean reason")
            page.evaluate("location.hash = '#toy&decision=1'")
            page.wait_for(f"{shown} && {reasons}[0][0] === 'en'", "a person's words stay")
            assert page.evaluate(reasons) == [["en", "Kim: not at full moon"]]
            page.evaluate("document.querySelector('[data-language=en]').click()")
            page.evaluate("location.hash = '#toy&decision=2'")
            page.wait_for(f"{shown} && {reasons}[0][1].startsWith('4 retrains')", "it is English")
            page.wait_for(
                "document.querySelector('.needs .what').innerText.startsWith('no predictions')",
                "so is what needs a person",
            )


@pytest.mark.nightly("waits for real seconds")
def test_a_swap_is_shown_and_disturbs_nobody_who_types(browser: Browser, tmp_path: Path) -> None:
    with started(tmp_path) as (service, registry):
        service.wait_for_version("1")
        with opened(browser, service) as page:
            page.evaluate(f"{DISTANCE}.focus()")
            page.type_text("777")
            page.evaluate("self.mark = document.getElementById('form-toy-distance')")
            registry.crown("toy", 2)
            page.wait_for(
                "document.querySelector('.badge').innerText === 'Version 2 serves'",
                "the swap is shown",
            )
            assert page.evaluate(
                f"{DISTANCE} === self.mark && document.activeElement === self.mark && "
                "self.mark.value === '777'"
            )
            assert page.text("#fresh") == "Serving toy version 2."
            predict(page)
            assert percent(expected_score(FIRST | {"distance": 777.0}, bias=2.0)) in page.text(
                ".verdict"
            )
            registry.package_folder("toy", 1).joinpath("model.onnx").write_bytes(b"rubbish")
            (service.folder / "state" / "serving" / "toy" / "1").rename(tmp_path / "gone")
            registry.crown("toy", 1)
            page.wait_for("document.querySelector('.champion .trouble')", "the refusal is shown")
            assert "Version 1 has the crown but could not be loaded" in page.text(
                ".champion .trouble"
            )


def test_the_status_line_is_silent_while_nothing_changes(
    browser: Browser, shared: ServiceProcess
) -> None:
    with opened(browser, shared) as page:
        page.evaluate(WATCH)
        page.wait_for(
            "performance.getEntriesByType('resource').length >= self.asked + 2",
            "the page asked twice",
        )
        assert page.evaluate("self.changes") == 0


def ask_in_ledger(lake: Path, run: str) -> None:
    """What ``promote`` leaves where a person must agree."""
    write_decision(lake, "2026-11-21T05:00:00.000+00:00", "keep")
    question = {
        "kind": "approval",
        "run": run,
        "facts": {"until": "2026-11-22T05:00:00+00:00", "seed": 7.0},
        "promoted": False,
    }
    write_decision(lake, "2026-11-21T05:00:01.000+00:00", "asked", **question)


@pytest.fixture
def prefect() -> Iterator[PrefectServer]:
    with PrefectServer() as server:
        for name in ("approve/toy", "rollback/toy", "rollout/toy"):
            server.deploy(name)
        yield server


def test_decisions_of_every_kind_are_told_in_words_and_a_tampered_one_is_marked(
    browser: Browser, tmp_path: Path
) -> None:
    lake = tmp_path / "lake"
    plain: dict[str, Any] = {"contest": None, "promoted": False, "challenger": None}
    write_decision(
        lake,
        "2026-11-20T01:00:00+00:00",
        "drifted",
        kind="drift",
        window="2013-06",
        facts={"rows": 12.0},
        **plain,
    )
    write_decision(lake, "2026-11-20T02:00:00+00:00", "cooldown", kind="refusal", **plain)
    write_decision(
        lake,
        "2026-11-20T03:00:00+00:00",
        "rejected",
        kind="approval",
        **plain | {"challenger": "4"},
        facts={"by": "minsu", "why": "no"},
    )
    edited = write_decision(
        lake, "2026-11-20T04:00:00+00:00", "crowned", kind="crown", version="2", **plain
    )
    write_decision(lake, "2026-11-20T05:00:00+00:00", "rollback", version="1", **plain)
    edited.write_text(edited.read_text().replace("crowned for the test", "never mind"))
    with started(tmp_path) as (service, _), opened(browser, service) as page:
        assert headlines(page) == [
            "Rolled back from version 2 to 1",
            "Version 2 entered service",
            "Challenger 4 was rejected",
            "No retrain: cooldown",
            "Drift check of 2013-06",
        ]
        marked = (
            "document.querySelectorAll('.decision-table tbody tr:nth-child(1) .chip.broken').length"
        )
        assert "tampered with" in page.text(".decision-table tbody tr:nth-child(1)")
        assert page.evaluate(marked) == 1
        for place, told in ((5, "00000004.json was changed"), (3, "minsu: no"), (1, "Rows 12")):
            page.evaluate(f"location.hash = '#toy&decision={place}'")
            page.wait_for(
                f"document.querySelector('.detail')?.innerText.includes({json.dumps(told)})", told
            )


def test_a_question_is_answered_by_keyboard_in_the_name_of_the_key(
    browser: Browser, tmp_path: Path, prefect: PrefectServer
) -> None:
    run = prefect.suspended("approve/toy", use_case="toy", version="3")
    ask_in_ledger(tmp_path / "lake", run)
    secret = put_key(
        tmp_path / "state" / "serving" / "keys.json",
        name="ops",
        scopes=["predict", "operate", "decide"],
    )
    with (
        started(tmp_path, serving_require_keys=True, prefect_url=prefect.url) as (service, _),
        browser.open(url(service)) as page,
    ):
        page.wait_for("!document.getElementById('key-form').hidden", "the key is asked for")
        page.evaluate("document.getElementById('key').focus()")
        page.type_text(secret)
        page.press("Enter")
        page.wait_for("document.querySelector('.approvals button')", "the question is there")
        assert page.text(".approvals h3") == "May challenger 3 take the crown from champion 2?"
        assert "+0.0263" in page.text(".approvals li") and "Seed" not in page.text(".approvals li")
        assert page.evaluate(f"document.getElementById('answer-toy-{run}-by') === null")
        page.tab_to(f"answer-toy-{run}-why")
        page.type_text("its recall is worse")
        page.press("Tab", 2)
        assert page.focused().startswith("Reject")
        page.press("Enter")
        page.wait_for("document.querySelector('.approvals [role=status]')", "the answer is taken")
        assert "Rejected by ops." in page.text(".approvals [role=status]")
        assert prefect.answers == {
            run: {"approved": False, "by": "ops", "why": "its recall is worse"}
        }


def test_an_answer_that_comes_too_late_is_told_and_the_question_goes(
    browser: Browser, tmp_path: Path, prefect: PrefectServer
) -> None:
    run = prefect.suspended("approve/toy", use_case="toy", version="3")
    ask_in_ledger(tmp_path / "lake", run)
    with (
        started(tmp_path, prefect_url=prefect.url) as (service, _),
        browser.open(url(service)) as page,
    ):
        page.wait_for("document.querySelector('.approvals button')", "the question is there")
        prefect.end(run)
        page.evaluate("document.querySelector('.approvals button.primary').click()")
        page.wait_for("document.querySelector('.approvals [role=alert]')", "the refusal is told")
        assert "The approve run is over" in page.text(".approvals [role=alert]")
        page.wait_for("document.querySelector('.approvals').hidden", "the question goes")
        assert prefect.answers == {}


def test_a_rollback_is_asked_about_before_it_starts(
    browser: Browser, tmp_path: Path, prefect: PrefectServer
) -> None:
    with (
        started(tmp_path, prefect_url=prefect.url) as (service, _),
        opened(browser, service) as page,
    ):
        page.wait_for("!document.querySelector('.rollback').hidden", "the control is there")
        page.tab_to("rollback-toy")
        page.press("Enter")
        page.tab_to("rollback-toy-version")
        for wrong in ("1", "x", "0"):
            page.type_text(wrong)
            page.press("Enter")
            assert "other than 1" in page.text("#rollback-toy-version-problem") + page.text(
                "#rollback-toy-problem"
            )
        page.type_text("7")
        page.press("Enter")
        assert (
            page.text("dialog p") == "Version 1 serves. Give the crown to version 7?"
            and page.focused() == "Cancel"
        )
        page.press("Enter")
        assert not page.evaluate("document.querySelector('dialog').open") and prefect.started == []
        page.evaluate("document.querySelector('.rollback form').requestSubmit()")
        page.press("Tab", shift=True)
        assert page.focused() == "Yes, roll back"
        page.press("Enter")
        page.wait_for("document.querySelector('.rollback [role=status]')", "it has started")
        assert [(one["use_case"], one["version"]) for one in prefect.started] == [("toy", "7")]


def roll_out(service: ServiceProcess, registry: RegistryServer, kind: str, share: float) -> None:
    """Let the service follow the rollout that the ledger has, and wait until it does."""
    terms = {"id": "3-abc", "kind": kind, "share": share}
    registry.versions["toy", 2]["laurel.rollout"] = json.dumps(terms)
    registry.aliases["toy", "rollout"] = 2
    wait_until(
        lambda: "laurel_rollout_info{" in service.client.get("/metrics").text, "it is followed"
    )


def test_a_rollout_is_shown_live_and_held_by_keyboard(
    browser: Browser, korean: Browser, tmp_path: Path, prefect: PrefectServer
) -> None:
    write_shadow(tmp_path / "lake")
    with started(tmp_path, "toy,other", prefect_url=prefect.url) as (service, registry):
        roll_out(service, registry, "shadow", 0.0)
        with browser.open(url(service)) as page:
            page.wait_for("document.querySelector('.mark-rollout')", "the fleet names it")
            assert page.text(".mark-rollout") == "v2 shadow"
            page.evaluate("document.querySelector('.mark-rollout').click()")
            page.wait_for("document.querySelector('.rollout .plot')", "the panel is there")
            assert page.text(".track [aria-current]") == "shadow"
            told = page.text(".rollout")
            assert "6 of 14" in told and "planned in 23 days" in told
            label = page.evaluate("document.querySelector('.rollout .plot').ariaLabel")
            assert label.endswith("The estimate is +0.0195, interval +0.0073 – +0.0317.")
            write_shadow_look(tmp_path / "lake")
            page.wait_for(
                "document.querySelector('.rollout .plot').ariaLabel.includes('7')", "live"
            )
            page.tab_to("steer-toy-why")
            page.press("Tab", times=3)
            page.press("Enter")
            assert page.text("#steer-toy-problem") == "Say why: it goes into the ledger."
            assert page.focused() == "steer-toy-why" and prefect.started == []
            page.type_text("release freeze")
            page.press("Tab", times=3)
            page.press("Enter")
            page.wait_for("document.querySelector('.rollout [role=status]')", "it has started")
        assert [(run["do"], run["why"]) for run in prefect.started] == [("hold", "release freeze")]
        for reader, width, dark in ((korean, 390, True), (browser, 2560, False)):
            with reader.open(url(service, "/#toy"), width=width, dark=dark) as page:
                page.wait_for("document.querySelector('.rollout .plot')", "the panel is there")
                page.wait_for("document.getAnimations().length === 0", "colours have changed")
                assert axe.find_violations(page) == []
                assert page.evaluate("document.documentElement.scrollWidth") <= width


def write_shadow_look(lake: Path) -> None:
    write_rollout(lake, 250, "judged", judged(began(), 7), "one more block")


def test_a_canary_shows_both_sides_and_its_revert_is_asked_about(
    browser: Browser, korean: Browser, tmp_path: Path, prefect: PrefectServer
) -> None:
    held = replace(began(CANARY), step=2, held=True)
    write_rollout(tmp_path / "lake", 50, "held", held, "Kim holds it: release freeze")
    with started(tmp_path, prefect_url=prefect.url) as (service, registry):
        roll_out(service, registry, "canary", 0.25)
        for _ in range(40):
            assert service.client.post("/v1/toy/predict", json={"rows": [FIRST]}).is_success
        for reader, dark in ((korean, True), (browser, False)):
            with reader.open(url(service), width=390, dark=dark) as page:
                page.wait_for("document.querySelector('.sides')", "both sides are there")
                page.wait_for("document.getAnimations().length === 0", "colours have changed")
                assert axe.find_violations(page) == []
        with browser.open(url(service)) as page:
            page.wait_for("document.querySelector('.sides')", "both sides are there")
            assert page.text(".rollout .chip").endswith("held by a person")
            sides = page.evaluate(
                "[...document.querySelectorAll('.sides tbody tr')]"
                ".map(row => [...row.cells].slice(0, 2).map(cell => cell.innerText))"
            )
            assert [side for side, _ in sides] == ["Champion v1", "Challenger v2"]
            assert sum(int(requests) for _, requests in sides) == 40
            page.evaluate("document.getElementById('steer-toy-why').value = 'calls'")
            buttons = page.evaluate(
                "[...document.querySelectorAll('.rollout .actions > button')]"
                ".map(button => button.textContent)"
            )
            assert any(button.startswith("Resume") for button in buttons)
            page.evaluate(
                "[...document.querySelectorAll('.rollout .actions > button')]"
                ".find(button => button.textContent.startsWith('Revert')).click()"
            )
            assert page.focused() == "Cancel" and prefect.started == []
            page.evaluate("document.querySelector('.rollout dialog .primary').click()")
            page.wait_for("document.querySelector('.rollout [role=status]')", "it has started")
            assert [(run["do"], run["why"]) for run in prefect.started] == [("revert", "calls")]
            write_rollout(tmp_path / "lake", 52, "reverted", held, "Kim reverted it: calls")
            page.wait_for("document.querySelector('.rollout.ended')", "its end is shown", 40)
            assert "Kim reverted it: calls" in page.text(".rollout")
            assert page.evaluate("!document.querySelector('.rollout .decide')")


def test_who_may_not_operate_sees_neither_questions_nor_rollback(
    browser: Browser, tmp_path: Path, prefect: PrefectServer
) -> None:
    ask_in_ledger(tmp_path / "lake", prefect.suspended("approve/toy", use_case="toy", version="3"))
    secret = put_key(tmp_path / "state" / "serving" / "keys.json", scopes=["predict"])
    with (
        started(tmp_path, serving_require_keys=True, prefect_url=prefect.url) as (service, _),
        browser.open(url(service)) as page,
    ):
        page.wait_for("!document.getElementById('key-form').hidden", "the key is asked for")
        page.evaluate("document.getElementById('key').focus()")
        page.type_text(secret)
        page.press("Enter")
        page.wait_for(
            "document.querySelector('.decisions > .rows .hint')?.innerText.includes('operate')",
            "the missing scope is told",
        )
        assert page.evaluate(
            "document.querySelector('.approvals').hidden && "
            "document.querySelector('.rollback').hidden"
        )


def test_without_a_champion_the_page_says_how_to_get_one(browser: Browser, tmp_path: Path) -> None:
    with (
        ServiceProcess(tmp_path, "http://127.0.0.1:1") as service,
        browser.open(url(service)) as page,
    ):
        page.wait_for("document.querySelector('.badge.without')", "the missing champion is told")
        assert "laurel run retrain toy" in page.text(".champion .command")
        page.wait_for(
            "document.querySelector('.drift .command') && document.querySelector('.decisions "
            ".command')",
            "empty histories say what to do",
        )
        assert "laurel run drift-check toy" in page.text(".drift .command")
        page.wait_for("document.querySelector('.champion .trouble')", "the reason is told")
        assert page.evaluate("document.querySelector('.try').hidden") is True
        assert page.problems == []


def test_while_the_lake_is_away_the_rest_works(browser: Browser, tmp_path: Path) -> None:
    with started(tmp_path) as (service, _):
        service.lake.write_text("a file where the lake should be")
        with browser.open(url(service)) as page:
            page.wait_for(
                "document.querySelector('.drift .trouble') && "
                "document.querySelector('.decisions .trouble')",
                "the lake's absence is told",
            )
            assert "The lake cannot be read now" in page.text(".drift .trouble")
            page.wait_for(f"document.getElementById('{PREDICT}')", "the form is there")
            predict(page)
            assert percent(expected_score(FIRST, bias=1.0)) in page.text(".verdict")
            assert str(tmp_path) not in page.text(".drift")


def test_several_use_cases_are_a_fleet_and_have_an_address_each(
    browser: Browser, tmp_path: Path
) -> None:
    write_year(tmp_path / "lake")
    with (
        started(tmp_path, "toy,train_set") as (service, _),
        browser.open(url(service)) as page,
    ):
        wait_until(lambda: service.client.get("/ready").status_code == 200, "both serve")
        page.wait_for("document.querySelectorAll('.fleet-table tbody tr').length === 2", "rows")
        assert page.text("#use-cases").split() == ["Fleet", "toy", "train_set"]
        page.wait_for(
            "document.querySelector('.fleet-table').innerText.includes('no check yet')", "records"
        )
        toy, other = (
            page.text(".fleet-table tbody tr:nth-child(1)"),
            page.text("tbody tr:nth-child(2)"),
        )
        assert "0.776 (64%) of v7" in toy.replace("\n", " ") and "stable 33%" in toy
        assert "none yet" in other and "no requests" in other
        page.tab_to("row-train_set")
        page.evaluate("self.mark = document.activeElement")
        page.evaluate("self.asked = performance.getEntriesByType('resource').length")
        page.wait_for(
            "performance.getEntriesByType('resource').length >= self.asked + 3", "it is refreshed"
        )
        assert page.evaluate("document.activeElement === self.mark && self.mark.isConnected")
        page.press("Enter")
        page.wait_for("document.getElementById('form-train_set-predict')", "the form is there")
        assert page.evaluate("location.hash") == "#train_set"
        assert page.text("#use-cases [aria-current=page]") == "train_set"
        assert page.problems == []


@pytest.mark.nightly("a service of its own")
def test_a_service_that_asks_for_keys_is_used_with_one(browser: Browser, tmp_path: Path) -> None:
    fill_lake(tmp_path / "lake")
    keys = tmp_path / "state" / "serving" / "keys.json"
    keys.parent.mkdir(parents=True)
    everything, only_predict = (
        put_key(keys, name="all", scopes=["predict", "operate"]),
        put_key(keys, name="web"),
    )
    with (
        started(tmp_path, serving_require_keys=True) as (service, _),
        browser.open(url(service)) as page,
    ):

        def give(key: str) -> None:
            page.wait_for("!document.getElementById('key-form').hidden", "the key is asked for")
            page.evaluate("document.getElementById('key').focus()")
            page.type_text(key)
            page.press("Enter")

        give("laurel_wrong")
        page.wait_for("document.getElementById('key-problem').innerText", "the wrong key is told")
        assert "unknown" in page.text("#key-problem") and page.focused() == "key"
        give("schlüssel mit leerzeichen")
        assert "no spaces" in page.text("#key-problem")
        give(only_predict)
        page.wait_for(f"document.getElementById('{PREDICT}')", "the form is there")
        page.wait_for(
            "document.querySelector('.drift > div > p').innerText.includes('operate')",
            "the missing scope is told",
        )
        page.evaluate(f"document.getElementById('{PREDICT}').focus()")
        predict(page)
        page.go(url(service))
        page.wait_for(f"document.getElementById('{PREDICT}')", "the key is kept in the tab")
        page.tab_to("forget-key")
        page.press("Enter")
        give(everything)
        page.wait_for("document.querySelector('.drift button')", "the report can be fetched")
        assert page.evaluate("localStorage.length") == 0
        page.download_into(tmp_path / "downloads")
        page.tab_to("Download the report of 2013-06")
        page.press("Enter")
        fetched = tmp_path / "downloads" / "drift-2013-06.html"
        wait_until(fetched.exists, "the report is downloaded")
        assert "report of 2013-06" in fetched.read_text()


def test_nothing_is_cut_off_in_a_narrow_or_enlarged_window(
    browser: Browser, shared: ServiceProcess
) -> None:
    with opened(browser, shared, width=320, height=700) as page:
        predict(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= 320
        page.resize(640, 450, scale=2)
        assert page.evaluate("document.documentElement.scrollWidth") <= 640
        page.evaluate("document.documentElement.style.fontSize = '200%'")
        page.resize(1280, 900)
        assert page.evaluate("document.documentElement.scrollWidth") <= 1280


def test_every_control_has_a_name_and_every_id_is_there_once(
    browser: Browser, shared: ServiceProcess
) -> None:
    with opened(browser, shared) as page:
        predict(page)
        assert page.evaluate(NAMELESS) == []
        ids = page.evaluate("[...document.querySelectorAll('[id]')].map(one => one.id)")
        assert len(ids) == len(set(ids))
        assert set(page.evaluate(REFERENCES)) <= set(ids)
        levels = page.evaluate(
            "[...document.querySelectorAll('h1, h2, h3')].map(one => Number(one.tagName[1]))"
        )
        assert (
            levels[0] == 1
            and levels.count(1) == 1
            and all(after - before <= 1 for before, after in zip(levels, levels[1:], strict=False))
        )


def test_dark_is_dark_and_who_wants_no_motion_gets_none(
    browser: Browser, shared: ServiceProcess
) -> None:
    with opened(browser, shared, dark=True, reduced_motion=True) as page:
        predict(page)
        red, green, blue = json.loads(
            page.evaluate("getComputedStyle(document.body).backgroundColor")
            .replace("rgb(", "[")
            .replace(")", "]")
        )
        assert max(red, green, blue) < 40
        assert (
            page.evaluate(
                "getComputedStyle(document.querySelector('.bar .fill')).transitionDuration"
            )
            == "0s"
        )


def test_a_field_of_a_kind_that_the_page_does_not_know_is_told(
    browser: Browser, shared: ServiceProcess
) -> None:
    known = msgspec.to_builtins(FEATURES[1])
    feature = json.dumps(known | {"name": "voice", "kind": "sound"})
    with opened(browser, shared) as page:
        assert "kind “sound”" in page.evaluate(f"fieldOf({feature}, 'f').element.innerText")


def test_booleans_and_dates_have_fields_of_their_own(
    browser: Browser, shared: ServiceProcess
) -> None:
    earliest = "2000-01-01T00:00:00"
    date = {"kind": "datetime", "nullable": True, "description": "", "earliest": earliest}
    boolean = {"kind": "boolean", "nullable": True, "description": ""}
    with opened(browser, shared) as page:
        page.evaluate(
            f"""(() => {{
                self.born = fieldOf({json.dumps({"name": "born", **date})}, "f");
                self.member = fieldOf({json.dumps({"name": "member", **boolean})}, "f");
                document.querySelector("form").append(born.element, member.element);
                self.answer = field => {{
                    try {{ return field.read(); }} catch (problem) {{ return problem.message; }}
                }};
            }})()"""
        )
        for value, read in (
            ("2024-01-31", "2024-01-31T00:00:00"),
            ("2024-01-31T15:30", "2024-01-31T15:30:00"),
            ("2024-01-31T15:30:10.123456", "2024-01-31T15:30:10"),
            ("1999-12-31T00:00:00", f"At least {earliest}."),
            (None, None),
        ):
            assert page.evaluate(f"(born.write({json.dumps(value)}), answer(born))") == read
        for value in (True, False, None):
            assert page.evaluate(f"(member.write({json.dumps(value)}), answer(member))") is value
        assert "at least 2000-01-01T00:00:00" in page.evaluate("born.element.innerText")
        assert page.evaluate("[...member.control.options].map(option => option.text)") == [
            "yes",
            "no",
            "unknown",
        ]
        assert page.evaluate("born.control.type") == "datetime-local"


def test_a_text_has_a_field_of_several_lines(browser: Browser, shared: ServiceProcess) -> None:
    feature = {"name": "review", "kind": "text", "nullable": True, "description": "", "longest": 5}
    written = '\U0001f642좋\n"<'
    with opened(browser, shared) as page:
        page.evaluate(
            f"""(() => {{
                self.review = fieldOf({json.dumps(feature)}, "f");
                document.querySelector("form .grid").append(review.element);
                self.answer = field => {{
                    try {{ return field.read(); }} catch (problem) {{ return problem.message; }}
                }};
            }})()"""
        )
        for value, read in ((written, written), ("123456", "At most 5 characters."), (None, None)):
            assert page.evaluate(f"(review.write({json.dumps(value)}), answer(review))") == read
        assert page.evaluate("review.control.tagName") == "TEXTAREA"
        assert page.evaluate(f"allowed({json.dumps(feature)})") == "text of up to 5 characters"
        whole = "document.querySelector('form .grid').clientWidth"
        assert page.evaluate(f"review.element.clientWidth > 0.9 * {whole}")


def test_the_traffic_of_others_is_shown_live(browser: Browser, shared: ServiceProcess) -> None:
    with opened(browser, shared) as page:
        before = shared.describe()["traffic"]["rows"]
        for _ in range(20):
            shared.predict(FIRST, FIRST, log="false")
        page.wait_for(
            "document.querySelector('[aria-labelledby=traffic-toy]').innerText.includes('rows "
            f"{before + 40},')",
            "the rows are counted",
        )
        page.wait_for(
            "document.querySelectorAll('.spark .line').length >= 2", "both lines are drawn"
        )


def test_the_routes_page_has_no_problem_and_fits(browser: Browser, shared: ServiceProcess) -> None:
    with browser.open(url(shared, "/docs"), width=320) as page:
        page.wait_for("document.querySelectorAll('section').length > 10", "the routes are there")
        assert page.evaluate("document.documentElement.scrollWidth") <= 320
        assert '{"rows": [{"carrier": "AA", "distance": 100.0, "wind": 3.0}]}' in page.text("body")
        assert page.problems == [] and len(page.requested) == 1


def test_predict_is_five_tabs_away(browser: Browser, tmp_path: Path) -> None:
    """However long the ledger is: a link skips to the form."""
    write_many(tmp_path / "lake", 40)
    with started(tmp_path) as (service, _), opened(browser, service) as page:
        for _ in range(5):
            page.press("Tab")
            if page.focused() == "skip-to-try":
                page.press("Enter")
            if page.focused() == PREDICT:
                break
        assert page.focused() == PREDICT
        page.press("Enter")
        page.wait_for("document.querySelector('.reasons')", "it answers")


def test_the_skip_link_leads_past_the_head(browser: Browser, shared: ServiceProcess) -> None:
    with opened(browser, shared) as page:
        page.press("Tab")
        assert page.focused() == "skip"
        page.press("Enter")
        assert page.focused() == "main"


def test_a_silent_service_turns_the_head_red_with_the_time_of_its_last_answer(
    browser: Browser, tmp_path: Path
) -> None:
    with started(tmp_path) as (service, _), browser.open(url(service)) as page:
        page.wait_for("document.querySelector('.badge')", "the champion is there")
        assert page.text("#silence") == "" and "●" in page.text("#as-of")
        before = page.evaluate("getComputedStyle(document.querySelector('.badge')).backgroundColor")
        service.end(signal.SIGKILL)
        page.wait_for("document.body.classList.contains('silent')", "the silence is told")
        told = page.text("#as-of").removesuffix(" ✕")
        assert told.startswith("as of ") and told.removeprefix("as of ") in page.text("#silence")
        assert page.evaluate("document.title").startswith("✕ Laurel")
        badge = page.evaluate("getComputedStyle(document.querySelector('.badge')).backgroundColor")
        assert badge != before
        service.start()
        page.wait_for("!document.body.classList.contains('silent')", "it answers again")
        assert page.text("#silence") == "" and not page.evaluate("document.title").startswith("✕")


@pytest.fixture(scope="module")
def year(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    """A year of windows, and more decisions than a page of the table holds."""
    folder = tmp_path_factory.mktemp("year")
    write_year(folder / "lake")
    write_many(folder / "lake", 50)
    ask_for_approval(folder / "lake")
    write_comparison(folder / "lake")
    write_traffic(folder / "lake", {"2013-10-05T09": 1000, "2013-11-05T09": 3000})
    with started(folder) as (service, _):
        service.wait_for_version("1")
        yield service


def test_the_ledger_is_paged_filtered_and_searched(browser: Browser, year: ServiceProcess) -> None:
    rows = "document.querySelectorAll('.decision-table tbody tr').length"
    with opened(browser, year) as page:
        assert page.text(".found") == "1–25 of 65" and page.evaluate(rows) == 25
        for words in ("26–50 of 65", "51–65 of 65"):
            page.evaluate("[...document.querySelectorAll('.pager button')].at(-1).click()")
            page.wait_for(f"document.querySelector('.found').innerText === '{words}'", words)
        assert page.evaluate("[...document.querySelectorAll('.pager button')].at(-1).disabled")
        assert headlines(page)[-1] == "Retrain: version 2 is champion"
        assert "Retrain on drift of 2013-08: version 7 is champion" in headlines(page)
        page.evaluate("document.getElementById('decisions-toy-search').focus()")
        page.type_text("dep_delay")
        page.wait_for("document.querySelector('.found').innerText === '1–2 of 2'", "found")
        assert page.focused() == "decisions-toy-search"
        page.type_text("nothing like it")
        page.wait_for("document.querySelector('.decisions .lead')", "nothing is found")
        assert page.text(".decisions .lead") == "No decision matches."
        page.type_text("")
        page.evaluate(
            "(() => { const kind = document.getElementById('decisions-toy-kind'); "
            "kind.value = 'crown'; kind.dispatchEvent(new Event('change')); })()"
        )
        page.wait_for("document.querySelector('.found').innerText === '1–3 of 3'", "crowns")


def test_a_decision_has_an_address_that_a_colleague_can_open(
    browser: Browser, year: ServiceProcess
) -> None:
    found = year.client.get("/v1/toy/decisions?kind=crown").json()["items"][0]
    with browser.open(url(year, f"/#toy&decision={found['id']}")) as page:
        page.wait_for("document.querySelector('.detail .records')", "the decision is there")
        assert page.text(".detail h3") == "Retrain on drift of 2013-08: version 7 is champion"
        kinds = "[...document.querySelectorAll('.detail li')].map(one => one.dataset.kind)"
        kinds_of_retrain = ["drift", "retrain", "contest", "crown", "retrain"]
        assert [kind for kind in page.evaluate(kinds) if kind] == kinds_of_retrain
        assert page.focused() == page.text(".detail h3")
        assert "Started by the automation, on drift." in page.text(".detail")
        changes = "[...document.querySelectorAll('.changes li')].map(one => one.innerText)"
        assert page.text(".changes h5") == "Changed in the definition since champion 5"
        assert page.evaluate(changes) == [
            "columns.wind_speed new kind='number', nullable=True, low=0",
            "columns.carrier gone kind='category'",
            "gate.threshold 0.75 → 0.77",
            "candidates.boosting.code changed",
        ]
        page.evaluate("location.hash = '#toy&decision=4711'")
        page.wait_for("document.querySelector('.detail .trouble')", "it is told")
        assert page.text(".detail .trouble") == "The ledger has no decision 4711."


def test_charts_have_words_for_readers_and_their_numbers_as_a_table(
    browser: Browser, year: ServiceProcess
) -> None:
    with opened(browser, year) as page:
        labels = page.evaluate(
            "[...document.querySelectorAll('.plot')].map(one => one.getAttribute('aria-label'))"
        )
        assert labels[0] == (
            "ROC AUC by window. Last: 2013-11 with 0.7760, interval 0.7640 – 0.7880. "
            "New champions: ♛ v2, ♛ v5, ♛ v7."
        )
        assert labels[1] == "Drift share by window. Drifted: 2013-04, 2013-08. Last: 33%."
        assert labels[2] == "Predictions by window: now 28,243, at most 28,243"
        assert labels[3] == "Latency by window: now 4.7 ms, at most 4.7 ms"
        crowns = "[...document.querySelectorAll('.crown')].map(one => one.innerText)"
        assert page.evaluate(crowns) == 4 * ["♛ v2", "♛ v5", "♛ v7"]
        page.evaluate("document.querySelector('#numbers-toy').open = true")
        cells = page.evaluate(
            "[...document.querySelectorAll('.numbers tbody tr')].map(row => "
            "[...row.cells].map(cell => cell.innerText))"
        )
        assert cells[0][:5] == ["2013-12", "7", "no labels yet", "–", "0%"]
        assert cells[1][:5] == ["2013-11", "7", "0.7760", "0.7640 – 0.7880", "64%"]
        assert cells[1][-4:] == ["28,243", "3,000", "0.37 ms", "4.7 ms"]
        assert cells[0][-4:] == ["28,243", "0", "–", "–"]
        assert cells[3][-4:] == ["28,243", "–", "–", "–"]  # from before anything was counted
        assert cells[3][1] == "7" and cells[3][0] == "2013-09" or "♛" in cells[3][1]
        assert page.evaluate("document.querySelectorAll('.band').length") == 1
        assert page.evaluate("document.querySelectorAll('.plot .dot').length") == 13


def test_what_the_last_promotion_brought_is_told_or_why_it_is_unknown(
    browser: Browser, year: ServiceProcess, tmp_path: Path
) -> None:
    figure = "[...document.querySelectorAll('.champion .figure')].at(-1).innerText.split('\\n')"
    with opened(browser, year) as page:
        assert page.evaluate(figure) == [
            "+0.0123",
            "v7 over v5 since its promotion",
            "ROC AUC, +0.0063 – +0.0183, 27,075 rows of 2013-10",
        ]
    write_year(tmp_path / "lake")
    with started(tmp_path) as (service, _), opened(browser, service) as page:
        assert page.evaluate(figure) == [
            "–",
            "v7 over v5 since its promotion",
            "unknown: not compared yet",
        ]
        assert page.evaluate("document.querySelector('.champion .command').textContent") == (
            "laurel run compare toy --param window=WINDOW --param champion=5 --param challenger=7"
        )
        assert "No request has been counted yet." in page.text(".series")
    write_comparison(tmp_path / "lake", verdict="inconclusive")
    with (
        started(tmp_path / "again", lake=f"file://{tmp_path}/lake") as (service, _),
        opened(browser, service) as page,
    ):
        assert page.evaluate(figure)[2].endswith("27,075 rows of 2013-10, too few labels")


def test_a_rollback_lists_past_champions_and_names_its_target(
    browser: Browser, tmp_path: Path, prefect: PrefectServer
) -> None:
    write_year(tmp_path / "lake")
    with (
        started(tmp_path, prefect_url=prefect.url) as (service, _),
        opened(browser, service) as page,
    ):
        page.wait_for("document.getElementById('rollback-toy-target')", "champions are listed")
        assert page.text("#rollback-toy") == "Roll back v7 0.771 · v5 0.771 · v2 0.771"
        options = "[...document.getElementById('rollback-toy-target').options].map(o => o.text)"
        listed = page.evaluate(options)
        assert listed[1].startswith("v5 · ROC AUC 0.771 · since Oct 5, 2026")
        assert listed[-1] == "another version…" and len(listed) == 4
        page.evaluate("document.querySelector('.rollback details').open = true")
        page.evaluate("document.getElementById('rollback-toy-target').focus()")
        page.press("ArrowDown")
        page.wait_for(
            "document.querySelector('.rollback [type=submit]').innerText === "
            "'Roll back to version 5…'",
            "the button names its target",
        )
        page.evaluate("document.querySelector('.rollback form').requestSubmit()")
        assert page.text("dialog p") == "Version 1 serves. Give the crown to version 5?"
        page.evaluate("document.querySelector('dialog .primary').click()")
        page.wait_for("document.querySelector('.rollback [role=status]')", "it has started")
        assert [one["version"] for one in prefect.started] == ["5"]


@pytest.mark.parametrize("address", ["#%E0%A4%A", "#nobody&decision=5", "#decision=1", "#&&=&"])
def test_an_address_that_names_nothing_leads_to_what_there_is(
    browser: Browser, shared: ServiceProcess, address: str
) -> None:
    with browser.open(url(shared, f"/{address}")) as page:
        page.wait_for(f"document.getElementById('{PREDICT}')", "the page is there")
        assert page.problems == []


def test_what_the_records_say_cannot_break_out_of_the_page(
    browser: Browser, tmp_path: Path
) -> None:
    evil = '<img src=x onerror="self.hurt = 1"><script>self.hurt = 1</script>'
    lake = tmp_path / "lake"
    write_check(lake, "2013-06", "broken", reasons=[evil])
    write_decision(lake, "2026-11-20T02:00:00+00:00", "keep", reasons=[evil], by=evil)
    with started(tmp_path) as (service, _), opened(browser, service) as page:
        page.evaluate("location.hash = '#toy&decision=1'")
        page.wait_for("document.querySelector('.detail .records')", "the decision is there")
        assert evil in page.text(".detail") and evil in page.text(".drift")
        assert page.evaluate("self.hurt === undefined && !document.querySelector('img')")


OPEN_ALL = "document.querySelectorAll('details').forEach(one => { one.open = true; })"
STATES = {
    "everything open": ("/", OPEN_ALL, "document.querySelector('.numbers')"),
    "a decision": ("/#toy&decision=8", "0", "document.querySelector('.detail .records')"),
    "no such decision": ("/#toy&decision=4711", "0", "document.querySelector('.detail .trouble')"),
    "an answer": (
        "/",
        f"document.getElementById('{PREDICT}').click()",
        "document.querySelector('.reasons')",
    ),
    "wrong values": (
        "/",
        f"{DISTANCE}.value = '-1', document.getElementById('{PREDICT}').click()",
        "document.querySelector('[aria-invalid]')",
    ),
    "nothing found": (
        "/",
        "(() => { const search = document.getElementById('decisions-toy-search'); "
        "search.value = 'nothing like it'; search.dispatchEvent(new Event('input')); })()",
        "document.querySelector('.decisions .lead')",
    ),
    "silence": (
        "/",
        "self.fetch = () => Promise.reject(new Error('gone'))",
        "document.body.classList.contains('silent')",
    ),
    "no use case": (
        "/",
        "clearTimeout(timer), show({ rows: [], state: null })",
        "document.getElementById('nobody')",
    ),
    "many use cases": (
        "/",
        "clearTimeout(timer), show({ state: null, rows: Array.from({ length: 12 }, (_, place) => "
        "({ ...latest.rows[0], use_case: `case_${place}` })) })",
        "document.querySelectorAll('.fleet-table tbody tr').length === 12",
    ),
}


@pytest.mark.parametrize("state", STATES)
@pytest.mark.nightly(
    "further variants",
    only=tuple(state for state in STATES if state != "everything open"),
)
def test_axe_finds_nothing(
    browser: Browser, korean: Browser, year: ServiceProcess, state: str
) -> None:
    path, action, ready = STATES[state]
    looks = (
        (korean, ((390, False), (390, True), (2560, False))),
        (browser, ((1440, False), (1440, True))),
    )
    for reader, windows in looks:
        with reader.open(url(year, path), width=windows[0][0]) as page:
            page.wait_for(
                f"document.getElementById('{PREDICT}') && document.querySelector('.plot') && "
                "document.querySelector('.decision-table')",
                "the page is there",
            )
            page.evaluate(f"({action}, 0)")
            page.wait_for(ready, state)
            for width, dark in windows:
                page.resize(width, 900)
                page.prefer(dark=dark)
                page.wait_for("document.getAnimations().length === 0", "colours have changed")
                assert axe.find_violations(page) == []
                assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.nightly("a further variant")
def test_axe_finds_nothing_without_a_champion(
    browser: Browser, korean: Browser, tmp_path: Path
) -> None:
    write_decision(tmp_path / "lake", "2026-11-20T02:00:00+00:00", "keep").write_text("{")
    with ServiceProcess(tmp_path, "http://127.0.0.1:1") as service:
        for reader, dark in ((korean, False), (browser, True)):
            with reader.open(url(service), width=390, dark=dark) as page:
                page.wait_for(
                    "document.querySelector('.badge.without') && "
                    "document.querySelector('.decision-table')",
                    "an unreadable entry is listed",
                )
                assert axe.find_violations(page) == []


@pytest.mark.nightly("a further variant")
def test_axe_finds_nothing_where_a_key_is_asked_for(
    browser: Browser, korean: Browser, tmp_path: Path
) -> None:
    keys = tmp_path / "state" / "serving" / "keys.json"
    keys.parent.mkdir(parents=True)
    put_key(keys)
    with started(tmp_path, serving_require_keys=True) as (service, _):
        for reader, dark in ((korean, False), (browser, True)):
            with reader.open(url(service), width=390, dark=dark) as page:
                page.wait_for("!document.getElementById('key-form').hidden", "a key is asked for")
                assert axe.find_violations(page) == []
