import base64
import hashlib

import pytest

from serving.edge.security_headers import API_HEADERS, REPORT_HEADERS, page_headers
from serving.routes.pages.page import home_page


def policy(headers: list[tuple[str, str]]) -> dict[str, list[str]]:
    text = dict(headers)["Content-Security-Policy"]
    return {name: values for name, *values in (directive.split() for directive in text.split("; "))}


def sha256(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def test_scripts_and_styles_are_named_by_what_stands_between_their_tags_to_the_letter() -> None:
    script, style = (
        '\n"use strict";\nif (1 < 2 && "</b>é&amp;") {}\n',
        "\n  p > a { color: #123; }\n",
    )
    directives = policy(
        page_headers(
            f"<html><style>{style}</style><p>so &amp; "
            f"so</p><script>{script}</script><script>2</script></html>"
        )
    )
    assert directives["script-src"] == [sha256(script), sha256("2")]
    assert directives["style-src"] == [sha256(style)]


def test_a_page_without_scripts_may_run_none() -> None:
    assert policy(page_headers("<p>hello</p>"))["script-src"] == ["'none'"]


def test_a_page_asks_only_the_service_and_stands_in_no_frame() -> None:
    directives = policy(page_headers("<p>hello</p>"))
    expected = {
        "default-src": "'none'",
        "connect-src": "'self'",
        "frame-ancestors": "'none'",
        "base-uri": "'none'",
        "form-action": "'self'",
    }
    assert {name: " ".join(directives[name]) for name in expected} == expected


@pytest.mark.parametrize(
    "html",
    [
        '<p onclick="x()">',
        '<p style="color: red">',
        "<script src=x.js></script>",
        "<SCRIPT SRC=x.js></SCRIPT>",
    ],
)
def test_a_page_that_its_own_policy_would_break_is_refused(html: str) -> None:
    with pytest.raises(ValueError, match="would block <"):
        page_headers(html)


def test_the_page_can_live_with_its_policy() -> None:
    directives = policy(page_headers(home_page("http://127.0.0.1:4200", "http://127.0.0.1:5000")))
    assert len(directives["style-src"]) == len(directives["script-src"]) == 1
    assert not any(
        "unsafe" in value or value == "'none'"
        for name in ("script-src", "style-src")
        for value in directives[name]
    )


def test_a_report_has_an_origin_of_its_own_and_reaches_nothing() -> None:
    directives = policy(REPORT_HEADERS)
    assert directives["sandbox"] == ["allow-scripts"] and directives["default-src"] == ["'none'"]
    assert "connect-src" not in directives and not any(
        value in ("'self'", "*", "https:") for values in directives.values() for value in values
    )


def test_no_answer_is_guessed_to_be_of_another_kind_or_kept_by_a_proxy() -> None:
    for headers in (API_HEADERS, REPORT_HEADERS, page_headers("")):
        assert dict(headers)["X-Content-Type-Options"] == "nosniff"
        assert dict(headers)["Cache-Control"].endswith(("no-store", "no-cache"))
        assert len(dict(headers)) == len(headers)
