"""What is watched of a text: how long it is, how it is written, and which words it has.

Words are put into five groups by a checksum, which is random but always the same, and a text is
described by the share of its words in each of four (feature hashing: Weinberger et al. 2009,
https://arxiv.org/abs/0902.2206). A new topic brings words of its own, and the shares move; no
vocabulary is needed, so that words that no model knows count as well."""

import re
from binascii import crc32
from collections.abc import Callable, Iterator, Mapping

import numpy as np
import polars as pl

_GROUPS = 5
_WORDS = re.compile(r"\w+")
# Of a longer text the beginning is looked at.
_LONGEST = 10_000


def _numbers(values: pl.Series, count: Callable[[str], float | None]) -> pl.Series:
    """``count`` of each text; null of null."""
    return pl.Series(
        values.name,
        [None if text is None else count(text) for text in values],
        dtype=pl.Float64,
    )


def _words(text: str) -> list[str]:
    return _WORDS.findall(text[:_LONGEST].lower())


def _not_ascii(text: str) -> float | None:
    """The share of letters that are not ASCII: another language, or a broken encoding."""
    letters = [letter for letter in text[:_LONGEST] if letter.isalpha()]
    return None if not letters else sum(not letter.isascii() for letter in letters) / len(letters)


def _share_of_group(group: int) -> Callable[[pl.Series], pl.Series]:
    def share(text: str) -> float | None:
        words = _words(text)
        if not words:
            return None
        inside: Iterator[bool] = (crc32(word.encode()) % _GROUPS == group for word in words)
        return float(np.mean(list(inside)))

    return lambda values: _numbers(values, share)


TEXT_TRAITS: Mapping[str, Callable[[pl.Series], pl.Series]] = {
    "characters": lambda values: values.cast(pl.String).str.len_chars().cast(pl.Float64),
    "words": lambda values: _numbers(values, lambda text: len(_words(text))),
    "not_ascii": lambda values: _numbers(values, _not_ascii),
    **{f"group_{group}": _share_of_group(group) for group in range(1, _GROUPS)},
}
