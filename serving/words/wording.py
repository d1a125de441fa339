"""From a code and its numbers to a sentence of a language."""

import string
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from serving.words.contest import CONTEST
from serving.words.drift import DRIFT
from serving.words.ledger import LEDGER
from serving.words.needs import NEEDS
from serving.words.outcomes import OUTCOMES
from serving.words.rollouts import ROLLOUTS
from serving.words.template import LANGUAGES, Template

TEMPLATES: Mapping[str, Template] = {
    **CONTEST,
    **DRIFT,
    **LEDGER,
    **OUTCOMES,
    **ROLLOUTS,
    **NEEDS,
}

_UNKNOWN = Template("not known", "알 수 없음")
_NUMBERS = {"number": ".4f", "signed": "+.4f"}


def in_words(language: str, code: str, numbers: Mapping[str, Any]) -> str | None:
    """Return the sentence; ``None`` if this version has no words for the code and such numbers."""
    try:
        return _sentence(_FORMATTERS[language], code, numbers)
    except (
        ArithmeticError,
        AttributeError,
        LookupError,
        RecursionError,
        TypeError,
        ValueError,
    ):
        return None


def _sentence(formatter: "_Formatter", code: str, numbers: Mapping[str, Any]) -> str:
    template: str = getattr(TEMPLATES[code], formatter.language)
    return formatter.vformat(template, (), numbers)


class _Formatter(string.Formatter):
    """``{rows:row|rows}`` counts in English, ``{at:time}`` is a moment in UTC, ``{names:and}`` and
    ``{reasons:sentences}`` are lists; any other kind is one of Python's."""

    def __init__(self, language: str) -> None:
        self.language = language
        self._lists: dict[str, Callable[[Sequence[str]], str]] = {
            "": ", ".join,
            "and": lambda words: self._and(words),
            "sentences": lambda words: " ".join(map(_as_sentence, words)),
        }

    def format_field(self, value: Any, format_spec: str) -> str:
        if value is None:
            return str(getattr(_UNKNOWN, self.language))
        if isinstance(value, Mapping):
            if "code" in value:
                return _sentence(self, value["code"], value["numbers"])
            return str(value[self.language])
        if isinstance(value, Sequence) and not isinstance(value, str):
            return self._lists[format_spec]([self.format_field(part, "") for part in value])
        if format_spec == "time":
            return _minute(value)
        one, plural, many = format_spec.partition("|")
        if plural:
            return f"{value:,} {one if value == 1 else many}"
        return format(value, _NUMBERS.get(format_spec, format_spec))

    def _and(self, words: Sequence[str]) -> str:
        word = {"en": " and ", "ko": ", "}[self.language]
        return word.join(filter(None, (", ".join(words[:-1]), words[-1])))


def _as_sentence(words: str) -> str:
    """Return the words with a capital in front and a full stop behind."""
    return f"{words[:1].upper()}{words[1:].removesuffix('.')}."


def _minute(time: str) -> str:
    return f"{datetime.fromisoformat(time).astimezone(UTC):%Y-%m-%d %H:%M} UTC"


_FORMATTERS = {language: _Formatter(language) for language in LANGUAGES}
