"""Only regular expressions that take time in proportion to the text may cut it."""

import re

import pytest

from serving.package.encoders.token_patterns import refuses_pattern


@pytest.mark.parametrize(
    "pattern",
    [
        r"(?u)\b\w\w+\b",
        r"(?u)\b\w+\b",
        r"\S+",
        r"[^\s]+",
        r"[a-z]{2,}",
        r"(?i)[a-z]+",
        r"\b[^\W\d_]+\b",
        r"[가-힣]+|[a-zA-Z]+",
        r"\w+(?:[-']\w+)*",
        r"(?u)\b\w+\b|[^\w\s]",
        r"\d{4}-\d{2}",
        r".",
        r"#\w+|@\w+",
        r"\b\w{3,20}\b",
    ],
)
def test_usual_patterns_may(pattern: str) -> None:
    assert refuses_pattern(pattern) == ""
    re.compile(pattern).findall("a" * 100_000 + "-9 " + "b-" * 20_000)  # ends


@pytest.mark.parametrize(
    ("pattern", "problem"),
    [
        (r"(a+)+b", "may take very long"),
        (r"(?:\w+)*\b", "may take very long"),
        (r"(\w|\w\w)+x", "may take very long"),
        (r"\w+-\w+", "may take very long"),
        (r"[a-z]+\b", "may take very long"),
        (r"\w*\w*\w*x", "may take very long"),
        (r"\b\w+\b\w+\b", "may take very long"),
        (r"(\w+) \1", "may take very long"),
        (r"(?<=a)\w+", "may take very long"),
        (r"\w+?x", "may take very long"),
        (r"^\w+$", "may take very long"),
        (r"(?x) \w+", "may take very long"),
        (r"\w{1,1000}", "may take very long"),
        (r"\w+(?:[-']\w+)*\b", "may take very long"),
        ("", "may take very long"),
        ("[a-z", "is no regular expression"),
        ("a" * 201, "has 201 characters"),
    ],
)
def test_others_may_not(pattern: str, problem: str) -> None:
    assert problem in refuses_pattern(pattern)
