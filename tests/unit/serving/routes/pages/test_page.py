import json
import re
from html import unescape
from pathlib import Path
from typing import get_args

import pytest

import serving
from blocks.settings import REPOSITORY, Settings
from serving.edge.security_headers import page_headers
from serving.keys.scopes import scope_of
from serving.records.ledger import Kind
from serving.routes.pages import page
from serving.routes.pages.page import home_page, routes_page
from serving.server.app import create_app
from tasks.rollouts.rewards import REWARDS
from usecases.definition import METRICS

WEB = Path(page.__file__).parent / "web"
SCRIPTS = {path.name: path.read_text() for path in sorted(WEB.glob("*.js"))}
HOME = home_page("http://127.0.0.1:4200", "http://127.0.0.1:5000")
TEXTS, METRIC_TEXTS = SCRIPTS["words.js"].split("const METRICS = {", 1)
TEXT = re.compile(r"^  (\w+): (\[.*?\]),$", re.DOTALL | re.MULTILINE)
WORDS = dict(TEXT.findall(TEXTS))


def spoken(name: str) -> list[str]:
    """A text in each language."""
    return json.loads(re.sub(r",\s*\]$", "]", WORDS[name]))


def test_the_page_has_one_script_and_one_style_and_its_policy_allows_them() -> None:
    policy = dict(page_headers(HOME))["Content-Security-Policy"]
    assert HOME.count("<script>") == HOME.count("<style>") == 1
    assert policy.count("'sha256-") == 2 and "unsafe" not in policy


def test_every_script_of_the_folder_is_in_the_page_and_nothing_is_left_to_fill_in() -> None:
    assert all(script in HOME for script in SCRIPTS.values())
    assert (WEB / "style.css").read_text() in HOME
    assert not re.findall(r"\{\{\w+\}\}", HOME)


def test_no_script_declares_a_name_that_another_one_has() -> None:
    """They are one script: a second function of a name would silently replace the first."""
    names = re.findall(
        r"^(?:async )?(?:function|const|let|class) (\w+)", "\n".join(SCRIPTS.values()), re.MULTILINE
    )
    assert len(names) > 100 and [name for name in names if names.count(name) > 1] == []


def test_the_page_names_no_address_but_those_it_was_given() -> None:
    matches = set(
        re.findall(
            r"(?:https?:)?//\w[\w-]*\.[\w.:-]+", re.sub(r"^\s*//.*", "", HOME, flags=re.MULTILINE)
        )
    )
    assert matches == {
        "http://127.0.0.1:4200",
        "http://127.0.0.1:5000",
        "http://www.w3.org",
    }  # the last is in a name that nobody asks for


def test_addresses_cannot_break_out_of_the_page() -> None:
    page = home_page('http://x/"><script>', "http://127.0.0.1:5000")
    assert page.count("<script>") == 1 and 'href="http://x/&quot;&gt;&lt;script&gt;"' in page


def test_every_text_is_there_in_both_languages_with_the_same_places_to_fill() -> None:
    assert len(WORDS) > 100
    for name in WORDS:
        english, korean = spoken(name)
        assert english and korean, name
        assert set(re.findall(r"\{\d\}", english)) == set(re.findall(r"\{\d\}", korean)), name


def test_korean_texts_are_korean() -> None:
    international = {"routes", "between", "fieldRange", "milliseconds", "reportFor", "version"}
    international |= {"p50Word", "p99Word", "crownMark", "wordPercentiles", "wordAuc"}
    assert [
        name
        for name in WORDS
        if name not in international and not re.search("[가-힣]", spoken(name)[1])
    ] == []


def test_a_metric_is_called_as_everywhere_else() -> None:
    named = TEXT.findall(METRIC_TEXTS.partition("};")[0])
    assert {name: json.loads(words) for name, words in named} == {
        name: [metric.in_words("en"), metric.in_words("ko")]
        for name, metric in {**METRICS, **REWARDS}.items()
    }


def test_every_text_that_is_asked_for_exists_and_none_is_left_over() -> None:
    code = "\n".join(SCRIPTS.values()) + HOME.partition("<script>")[0]
    names = set(re.findall(r'\bsay\("(\w+)"', code)) | set(
        re.findall(r'data-(?:say|label)="(\w+)"', code)
    )
    assert names - set(WORDS) == set()
    quoted = set(re.findall(r'"(\w+)"', code)) | {
        "stable",
        "drifted",
        "broken",
        "inconclusive",
        "unreadable",
    }
    assert set(WORDS) - names - quoted == set()


def test_the_runs_that_the_page_tells_to_start_are_of_flows_that_there_are() -> None:
    flows = re.findall(r"historyPanel\(name, .*\"([\w-]+)\"\);", SCRIPTS["history.js"])
    flows += re.findall(r"laurel run ([\w-]+) \$", "\n".join(SCRIPTS.values()))
    assert sorted(set(flows)) == ["compare", "drift-check", "retrain"]
    for flow in [name.replace("-", "_") for name in flows]:
        assert (
            f'name="{flow}"'
            in (Path(serving.__file__).parent.parent / "flows" / f"{flow}.py").read_text()
        )


def test_every_verdict_of_the_ledger_has_its_words() -> None:
    rows = re.findall(
        r"^\| (?:`([a-z]+)` )?\| ([a-z ,]+) \| .*\|$",
        (REPOSITORY / "docs" / "ledger.md")
        .read_text()
        .partition("| kind |")[2]
        .partition("\n\n")[0],
        re.MULTILINE,
    )
    assert {kind for kind, _ in rows if kind} == set(get_args(Kind))
    verdicts = {
        word.strip().removeprefix("and then ")
        for kind, words in rows
        if kind != "kind"
        for word in words.split(",")
    }
    assert {"adopted", "vacated", "restored", "crashed", "cancelled"} < verdicts
    named = {
        name.strip() for name in re.findall(r'([\w ]+)"?: "verdict\w+"', SCRIPTS["decisions.js"])
    }
    words = named | set(
        re.findall(r"(\w+): \"", re.findall("const SIGNS = (.*)", SCRIPTS["history.js"])[0])
    )
    assert verdicts - words == set()
    assert set(re.findall(r'(\w+): "kind\w+"', SCRIPTS["decisions.js"])) == set(get_args(Kind))


def test_every_need_of_the_fleet_has_its_urgency_and_every_unknown_its_words() -> None:
    sources = "\n".join(
        (Path(serving.__file__).parent / name).read_text()
        for name in ("history/fleet.py", "routes/fleet.py", "routes/lake_reader.py")
    )
    needs = set(re.findall(r'(?:Need\(|need\(because\()\s*"(\w+)"', sources))
    (urgency,) = re.findall(r"const URGENCY = \[(.*)\];", SCRIPTS["fleet.js"])
    assert len(needs) > 8 and needs == set(re.findall(r'"(\w+)"', urgency))
    series = (Path(serving.__file__).parent / "history/series.py").read_text()
    reasons = set(re.findall(r'unknown\[[^]]+\] = "(\w+)"', sources))
    reasons |= set(re.findall(r'"([a-z]+_[a-z_]+)" if ', sources + series))
    reasons |= set(re.findall(r'reason = "(\w+)"|reason="(\w+)"', series)[0])
    reasons |= {"no_labels", "scope", "lake_away", "not_read_yet", "no_check"}
    named = re.findall("const REASONS = {(.*?)};", SCRIPTS["charts.js"], re.DOTALL)[0]
    assert reasons - {""} - set(re.findall(r"(\w+): \"", named)) == set()


def relative_luminance(colour: str) -> float:
    """https://www.w3.org/TR/WCAG22/#dfn-relative-luminance"""
    channels = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (
        c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(colour: str, other: str) -> float:
    low, high = sorted((relative_luminance(colour), relative_luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
def test_text_and_controls_stand_out_from_what_is_behind_them(theme: int) -> None:
    block = re.findall(r":root \{(.*?)\}", (WEB / "style.css").read_text(), re.DOTALL)[theme]
    colour = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})\b", block))
    texts = [
        (text, behind) for text in ("ink", "soft", "leaf", "alarm") for behind in ("card", "paper")
    ]
    texts += [
        ("on-leaf", "leaf"),
        ("leaf", "tint"),
        ("alarm", "alarm-tint"),
        ("amber", "amber-tint"),
        ("ink", "grey-tint"),
        ("ink", "tint"),
    ]
    texts += [("up", "card"), ("down", "card")]
    assert [
        (pair, round(contrast(*map(colour.get, pair)), 2))
        for pair in texts
        if contrast(*map(colour.get, pair)) < 4.5
    ] == []
    parts = [
        ("field", "card"),
        ("gold", "card"),
        ("gold", "paper"),
        ("leaf", "grey-tint"),
        ("up", "grey-tint"),
        ("down", "grey-tint"),
    ]
    assert [
        (pair, round(contrast(*map(colour.get, pair)), 2))
        for pair in parts
        if contrast(*map(colour.get, pair)) < 3
    ] == []


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> dict:
    folder = tmp_path_factory.mktemp("document")
    return create_app(
        Settings(state=folder, lake=f"file://{folder}/lake", serving_use_cases="toy")
    ).openapi()


def test_every_route_is_described_with_its_scope_parameters_and_content_types(
    document: dict,
) -> None:
    page = routes_page(document)
    sections = {
        unescape(re.sub("<.*?>", "", part.partition("</h2>")[0].rpartition("<h2>")[2])): part
        for part in page.split("<section")[1:]
    }
    for path, methods in document["paths"].items():
        for method, route in methods.items():
            section = sections[f"{method.upper()} {path}"]
            scope = scope_of(method.upper(), path)
            assert f"scope <code>{scope}</code>" in section if scope else "Needs no key" in section
            for parameter in route.get("parameters", ()):
                assert f"{parameter['name']} ({parameter['in']})" in section
            for kind in route.get("requestBody", {}).get("content", {}):
                assert f"<code>{kind}</code>" in section
    assert page.count('<a href="#') == len(sections)
    assert set(re.findall('<a href="#(.*?)"', page)) == set(
        re.findall('<section class="card route" id="(.*?)"', page)
    )


def test_the_routes_page_shows_an_example_of_each_json_body(document: dict) -> None:
    page = unescape(routes_page(document))
    assert (
        '{"feedback": [{"id": "text", "label": 0' in page
        and '"event_time": "2013-06-01T15:00:00"' in page
    )
    assert '"contributions": [{"field": "text"' in page


def test_what_the_document_says_cannot_break_out_of_the_routes_page(document: dict) -> None:
    evil = '<img src=x onerror="alert(1)">'
    html = routes_page(
        {
            **document,
            "paths": {
                f"/{evil}": {
                    "get": {
                        "description": evil,
                        "tags": [evil],
                        "responses": {"200": {"description": evil}},
                    }
                }
            },
        }
    )
    assert "<img" not in html
    page_headers(html)


def test_the_routes_page_lives_with_its_policy(document: dict) -> None:
    assert (
        "script-src 'none'" in dict(page_headers(routes_page(document)))["Content-Security-Policy"]
    )
