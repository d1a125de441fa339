"""A reason is a sentence for people, with the code and the numbers that it was made of.

Records keep both: the English sentence as it was written, and beside it the code that gives the
same sentence in another language (``serving/words/``). A sentence that a person wrote, or an older
version, has no code."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import field
from datetime import UTC, date, datetime
from typing import Annotated, Any

from pydantic import Field, GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from serving.records.record import record
from serving.words.wording import in_words


@record
class Code:
    """What a sentence says. ``numbers`` are the values in it by name: numbers, texts, times in
    ISO 8601, ``None`` for an unknown one, a text in each language, other codes, or lists of
    these."""

    code: str
    numbers: dict[str, Any] = field(default_factory=dict)


class Reason(str):
    """The English sentence, and its code."""

    __slots__ = ("code",)
    code: Code

    def __new__(cls, sentence: str, code: Code) -> "Reason":
        reason = super().__new__(cls, sentence)
        reason.code = code
        return reason

    def __getnewargs__(self) -> tuple[str, Code]:  # type: ignore[override]
        return str(self), self.code


def because(code: str, **numbers: object) -> Reason:
    """Return the reason with that code. Raises ``ValueError`` for a code without words, or for
    numbers that are not those of its words."""
    values = {name: _plain(value) for name, value in numbers.items()}
    sentence = in_words("en", code, values)
    if sentence is None:
        raise ValueError(f"There are no words for {code!r} with {', '.join(values) or 'nothing'}.")
    return Reason(sentence, Code(code=code, numbers=values))


def told(reason: str, language: str) -> str:
    """Return the reason in that language; the English sentence as it was written if it has no
    code, or a code of a newer version."""
    if language == "en" or not isinstance(reason, Reason):
        return str(reason)
    return in_words(language, reason.code.code, reason.code.numbers) or str(reason)


def _plain(value: Any) -> Any:
    """Return the value as JSON has it; ``None`` for a number that is not finite."""
    if isinstance(value, Reason):
        return {"code": value.code.code, "numbers": value.code.numbers}
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="seconds")
    if isinstance(value, date):
        return value.isoformat()
    if value is None or isinstance(value, str | int):
        return value
    if isinstance(value, Mapping):
        return {name: _plain(part) for name, part in value.items()}
    if isinstance(value, Sequence):
        return [_plain(part) for part in value]
    return float(value) if math.isfinite(value) else None


class _Kept:
    """pydantic makes a plain text of a ``str`` of another class: here a reason stays one."""

    def __get_pydantic_core_schema__(self, _: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.union_schema(
            [core_schema.is_instance_schema(Reason), handler.generate_schema(str)],
            mode="left_to_right",
            serialization=core_schema.to_string_ser_schema(),
        )


Sentence = Annotated[str, _Kept()]
# Left out where no sentence has a code: records from before codes are spelled as they were.
_IF_ANY = Field(exclude_if=lambda codes: not codes)
OneCode = Annotated[Code | None, _IF_ANY]
Codes = Annotated[list[Code | None], _IF_ANY]
CodesByName = Annotated[dict[str, Code], _IF_ANY]


class Coded:
    """A record with sentences, and with their codes beside them.

    A new record has reasons and gets their codes; one that was read has codes and gets reasons.
    Codes of other sentences than the record has are dropped."""

    __slots__ = ()

    def _join(self, sentences: str, codes: str) -> None:
        """``sentences`` and ``codes`` are fields: a list of each."""
        texts, known = getattr(self, sentences), getattr(self, codes)
        if len(known) == len(texts) and not any(isinstance(text, Reason) for text in texts):
            texts = [_restored(text, code) for text, code in zip(texts, known, strict=True)]
        found = [_code_of(text) for text in texts]
        self._set(sentences, texts)
        self._set(codes, found if any(found) else [])

    def _join_one(self, sentence: str, code: str) -> None:
        text = _restored(getattr(self, sentence), getattr(self, code))
        self._set(sentence, text)
        self._set(code, _code_of(text))

    def _join_named(self, values: str, codes: str) -> None:
        """``values`` maps names to sentences and other values, ``codes`` some of them to codes."""
        known = getattr(self, codes)
        texts = {
            name: _restored(value, known.get(name)) for name, value in getattr(self, values).items()
        }
        found = {name: code for name, text in texts.items() if (code := _code_of(text))}
        self._set(values, texts)
        self._set(codes, found)

    def _set(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)


def _restored(text: Any, code: Code | None) -> Any:
    is_plain = isinstance(text, str) and not isinstance(text, Reason)
    return Reason(text, code) if code is not None and is_plain else text


def _code_of(text: object) -> Code | None:
    return text.code if isinstance(text, Reason) else None
