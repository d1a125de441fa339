"""The regular expressions that may cut a text into tokens: those that take time in proportion to
the text, whatever it says.

Others can take hours over a text of some thousand letters: ``(a+)+b`` tries every way to divide a
row of a's. A pattern is therefore one or several alternatives of this form:

    \\b? atom{0,8} atom with + * {m} {m,} or {m,n}  then  \\b  or  (?: atom atom+ )*  or nothing

An atom is a letter or sign, ``.``, a class such as ``\\w``, or a set such as ``[a-z'-]``; all but
the last may have a fixed count ``{m}``. ``\\b`` may stand at the end only if it also stands at the
start: the repeated atom then gives its letters back once for each word, not once for each letter.
"""

import re

_ATOM = r"(?:\\[wWdDsS]|\\[^\w\s]|\.|\[(?!\^?\])(?:\\[^\n]|[^\]\\\[])+\]|[^\s\\\[\](){}|^$.*+?]| )"
_COUNT = r"(?:\{[0-9]{1,2}\})?"
_REPEAT = r"(?:[+*]|\{[0-9]{1,2}(?:,(?:[0-9]{1,2})?)?\})?"
_BODY = rf"(?:{_ATOM}{_COUNT}){{0,8}}{_ATOM}{_REPEAT}"
_JOINED = rf"(?:\(\?:{_ATOM}{_ATOM}\+\)[*?])?"
_BRANCH = rf"(?:\\b{_BODY}\\b|(?:\\b)?{_BODY}{_JOINED})"
_ALLOWED = re.compile(rf"(?:\(\?[aiu]{{1,3}}\))?{_BRANCH}(?:\|{_BRANCH}){{0,7}}")
_LONGEST = 200

FORM = (
    r"one or several of \b, letters and sets such as \w or [a-z'-], of which the last may be "
    r"repeated, and \b if it begins with \b: (?u)\b\w\w+\b, \S+, [a-z]{2,} or \w+(?:[-']\w+)*"
)


def refuses_pattern(pattern: str) -> str:
    """Why a text must not be cut by ``pattern``; empty if it may be."""
    if len(pattern) > _LONGEST:
        return f"has {len(pattern)} characters; {_LONGEST} are the most"
    try:
        re.compile(pattern)
    except re.error as error:
        return f"is no regular expression: {error}"
    # Matching is itself a search: a text of 200 characters bounds it.
    return "" if _ALLOWED.fullmatch(pattern) else f"may take very long; it may be {FORM}"
