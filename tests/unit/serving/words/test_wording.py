"""Each code that the code base can write has its words in each language, with the same numbers."""

import ast
import re
import string
from collections.abc import Iterator
from typing import Any

import pytest

from blocks.settings import REPOSITORY
from serving.words.template import LANGUAGES
from serving.words.wording import TEMPLATES, in_words

WRITERS = ("serving", "tasks", "flows", "deployments", "laurel")
MOMENT = "2026-11-30T18:39:02.123+00:00"
SAMPLES: dict[str, Any] = {"time": MOMENT, "and": ["one", "two"], "sentences": ["one.", "two"]}


def calls() -> Iterator[tuple[str, ast.Call]]:
    """Each call of ``because``, with its place."""
    for root in WRITERS:
        for path in sorted((REPOSITORY / root).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "because":
                    yield f"{path.relative_to(REPOSITORY)}:{node.lineno}:{node.col_offset}", node


CALLS = dict(calls())


def placeholders(template: str) -> dict[str, str]:
    """The kind of each value by its name."""
    fields = string.Formatter().parse(template)
    return {name: kind or "" for _, name, kind, _ in fields if name is not None}


@pytest.mark.parametrize("place", CALLS)
def test_a_reason_has_the_numbers_of_its_words(place: str) -> None:
    call = CALLS[place]
    assert len(call.args) == 1 and isinstance(call.args[0], ast.Constant), "a code is a constant"
    written = {keyword.arg for keyword in call.keywords}
    assert None not in written, "numbers are named one by one"
    template = TEMPLATES[call.args[0].value]
    for language in LANGUAGES:
        assert {*placeholders(getattr(template, language))} == written, language


def test_each_code_with_words_is_written_somewhere() -> None:
    written = {
        call.args[0].value for call in CALLS.values() if isinstance(call.args[0], ast.Constant)
    }
    assert set(TEMPLATES) == written and len(CALLS) > 150


def sample(kind: str) -> Any:
    return SAMPLES.get(kind, 2 if re.search(r"[.a-z%]", kind) or kind == "," else "x")


@pytest.mark.parametrize("code", TEMPLATES)
@pytest.mark.parametrize("language", LANGUAGES)
def test_each_code_is_a_sentence_in_each_language(code: str, language: str) -> None:
    template = getattr(TEMPLATES[code], language)
    fields = placeholders(template)
    assert re.fullmatch("[a-z]+(_[a-z]+)*", code)
    told = in_words(language, code, {name: sample(kind) for name, kind in fields.items()})
    unknown = in_words(language, code, dict.fromkeys(fields))
    assert told and unknown and not re.search("[{}]", told + unknown)
    has_korean, words = bool(re.search("[가-힣]", template)), _words(template)
    assert not has_korean if language == "en" else has_korean or not re.search("[a-z]{2}", words)


def _words(template: str) -> str:
    """What a template says beside its values."""
    return "".join(text for text, _, _, _ in string.Formatter().parse(template))


def test_a_code_stands_in_one_table() -> None:
    tables = [path.read_text() for path in (REPOSITORY / "serving/words").glob("*.py")]
    defined = re.findall(r'^    "(\w+)": Template\(', "\n".join(tables), re.M)
    assert sorted(defined) == sorted(TEMPLATES)


@pytest.mark.parametrize(
    ("numbers", "english", "korean"),
    [
        (1, "on 1 row of May", "홀드아웃 May의 1행"),
        (1200, "on 1,200 rows of May", "홀드아웃 May의 1,200행"),
    ],
)
def test_rows_are_counted_in_each_language(numbers: int, english: str, korean: str) -> None:
    values = {"rows": numbers, "holdout": "May"}
    assert in_words("en", "on_rows", values) == english
    assert in_words("ko", "on_rows", values) == korean


def test_values_may_be_codes_lists_and_names_in_each_language() -> None:
    metric = {"en": "log loss", "ko": "로그 손실"}
    two = {"code": "no_bound_for_days", "numbers": {"metric": metric}}
    why = {"code": "thin_evidence", "numbers": {"why": two}}
    assert in_words("en", "thin_evidence", why["numbers"]) == (
        "the evidence is thin, so a crown is provisional: log loss has no bound: it rests on one "
        "day alone."
    )
    assert "로그 손실의 신뢰구간" in (in_words("ko", "thin_evidence", why["numbers"]) or "")
    row = {"code": "runs_crashed", "numbers": {"number": 1}}
    open_ = {"rejections": [row, row], "until": MOMENT, "use_case": "toy"}
    assert "1 run crashed and 1 run crashed. It closes at 2026-11-30 18:39 UTC" in (
        in_words("en", "breaker_open", open_) or ""
    )


DEEP: dict[str, Any] = {}
DEEP |= {"code": "thin_evidence", "numbers": {"why": DEEP}}


@pytest.mark.parametrize(
    ("code", "numbers"),
    [
        ("of_next_year", {}),
        ("budget", {}),
        ("budget", {"retrains": 1, "allowed": 2, "until": "soon"}),
        ("gain_shown", {"metric": {"fr": "aire"}, "gain": 1, "percent": 1, "low": 1}),
        ("gain_shown", {"metric": "x", "gain": "much", "percent": 1, "low": 1}),
        ("gain_shown", {"metric": "x", "gain": 10**400, "percent": 1, "low": 1}),
        ("thin_evidence", {"why": {"code": "of_next_year", "numbers": {}}}),
        ("thin_evidence", DEEP["numbers"]),
        ("thin_evidence", {"why": {"code": ["thin_evidence"], "numbers": 3}}),
        ("breaker_open", {"rejections": [], "until": MOMENT, "use_case": "toy"}),
    ],
)
@pytest.mark.parametrize("language", LANGUAGES)
def test_what_has_no_words_is_told_as_such_and_never_half(
    language: str, code: str, numbers: dict[str, Any]
) -> None:
    assert in_words(language, code, numbers) is None
