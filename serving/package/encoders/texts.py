"""A text becomes the weights of the terms in it, as scikit-learn's ``CountVectorizer`` and
``TfidfVectorizer`` weigh them
(https://scikit-learn.org/stable/modules/feature_extraction.html#text-feature-extraction).

The vectoriser is the candidate's, fitted by scikit-learn (``tasks/models/vectorizers.py``); a
``Vocabulary`` is what it has learned, as plain data. ONNX's own string operators do not serve: they
fail on Korean, on accents and on pairs of words."""

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import chain
from typing import Any, Literal

import msgspec
import numpy as np

from serving.errors import PackageError
from serving.package.encoders.token_patterns import refuses_pattern

MOST_TERMS = 50_000
LONGEST_GRAM = 10
MOST_GRAM_SIZES = 8  # each size is another pass over the text
_KNOWN_WORDS, _LONGEST_KNOWN = 4096, 20
_SPACES = re.compile(r"\s\s+")

Analyze = Callable[[str], Iterable[str]]


class Vocabulary(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How a text is cut into terms, and what each of ``terms`` weighs, in the order of their
    places. The names are scikit-learn's; ``idf`` has a weight for each term, or is empty.
    """

    analyzer: Literal["word", "char", "char_wb"]
    lowercase: bool
    strip_accents: Literal["ascii", "unicode"] | None
    token_pattern: str
    ngram_range: tuple[int, int]
    stop_words: list[str]
    terms: list[str]
    binary: bool
    idf: list[float] = []
    sublinear_tf: bool = False
    norm: Literal["l1", "l2"] | None = None


# Made at import, by one thread: msgspec crashes if two threads meet a type for the first time
# (docs/decisions/0012-hot-path.md).
_VOCABULARIES = msgspec.json.Decoder(dict[str, Vocabulary])


def read_vocabularies(data: bytes) -> Mapping[str, Vocabulary]:
    """The vocabulary of each text by the name of its feature. Raises ``PackageError`` for data that
    are not vocabularies.
    """
    try:
        return _VOCABULARIES.decode(data)
    except msgspec.DecodeError as error:
        raise PackageError(f"The vocabularies cannot be read: {error}.") from error


class TextEncoder:
    """Encodes the texts of one input; null and a text without known terms are zeros.

    Raises ``PackageError`` for a vocabulary that contradicts itself, or could take too long."""

    def __init__(self, name: str, vocabulary: Vocabulary) -> None:
        if fault := _fault(vocabulary):
            raise PackageError(f"The vocabulary of {name!r} {fault}.")
        self._vocabulary = vocabulary
        self._place_of = {term: place for place, term in enumerate(vocabulary.terms)}.get
        self._idf = np.array(vocabulary.idf) if vocabulary.idf else None
        self._analyze = _analyzer(vocabulary)

    @property
    def width(self) -> int:
        return len(self._vocabulary.terms)

    def encode(self, values: Sequence[str | None], block: np.ndarray) -> None:
        block[:] = 0
        for row, text in zip(block, values, strict=True):
            if text:
                counts = Counter(map(self._place_of, self._analyze(text)))
                del counts[None]  # terms without a place; a counter lacks no key
                if counts:
                    self._weigh(counts, row)

    def _weigh(self, counts: "Counter[Any]", row: np.ndarray) -> None:
        """Write the weights in the order of scikit-learn's steps, so that they are the same to the
        last bit."""
        vocabulary, places = self._vocabulary, np.array(sorted(counts))
        weights = np.array([counts[place] for place in places.tolist()], dtype=np.float64)
        if vocabulary.binary:
            weights[:] = 1
        if vocabulary.sublinear_tf:
            weights = np.log(weights) + 1
        if self._idf is not None:
            weights *= self._idf[places]
        if vocabulary.norm:
            weights /= _length(weights, vocabulary.norm) or 1
        row[places] = weights


def text_encoder(feature: Any, vocabularies: Mapping[str, Vocabulary]) -> TextEncoder:
    """The encoder of ``feature``. Raises ``PackageError`` if it has no vocabulary."""
    if feature.name not in vocabularies:
        raise PackageError(f"The package has no vocabulary of the text {feature.name!r}.")
    return TextEncoder(feature.name, vocabularies[feature.name])


def _length(weights: np.ndarray, norm: str) -> float:
    """The norm, summed from the first weight to the last: NumPy's own sum goes another way and
    rounds otherwise."""
    if norm == "l1":
        return float(np.abs(weights).cumsum()[-1])
    return math.sqrt((weights * weights).cumsum()[-1])


def _fault(vocabulary: Vocabulary) -> str:
    """What is wrong with a vocabulary; empty if nothing is."""
    shortest, longest = vocabulary.ngram_range
    count = len(vocabulary.terms)
    if not 0 < count <= MOST_TERMS or len(set(vocabulary.terms)) < count:
        return f"must have 1 to {MOST_TERMS:,} different terms"
    if vocabulary.idf and (len(vocabulary.idf) != count or not np.isfinite(vocabulary.idf).all()):
        return "must have a finite idf for each term"
    if fault := refuses_sizes(shortest, longest):
        return fault
    if vocabulary.analyzer == "word" and (fault := refuses_pattern(vocabulary.token_pattern)):
        return f"has a token pattern that {fault}"
    return ""


def refuses_sizes(shortest: int, longest: int) -> str:
    """Why a text must not be cut into n-grams of these sizes; empty if it may be."""
    if 1 <= shortest <= longest <= LONGEST_GRAM and longest - shortest < MOST_GRAM_SIZES:
        return ""
    return (
        f"has an ngram_range of ({shortest}, {longest}): from 1 to {LONGEST_GRAM}, and "
        f"{MOST_GRAM_SIZES} sizes at most"
    )


def _analyzer(vocabulary: Vocabulary) -> Analyze:
    """The function that cuts a text into its terms, with repetitions."""
    sizes = range(vocabulary.ngram_range[0], vocabulary.ngram_range[1] + 1)
    if vocabulary.analyzer == "word":
        tokens = re.compile(vocabulary.token_pattern).findall
        stops = frozenset(vocabulary.stop_words)

        def cut(text: str) -> Iterable[str]:
            words = tokens(text)
            if stops:
                words = [word for word in words if word not in stops]
            return words if sizes == range(1, 2) else _joined(words, sizes)

    elif vocabulary.analyzer == "char":

        def cut(text: str) -> Iterable[str]:
            return _parts(_SPACES.sub(" ", text), sizes)

    else:
        # Most words come again and again; a long one would fill the memory.
        known = lru_cache(_KNOWN_WORDS)(lambda word: tuple(_parts_of_word(word, sizes)))

        def cut(text: str) -> Iterable[str]:
            return chain.from_iterable(
                known(word) if len(word) <= _LONGEST_KNOWN else _parts_of_word(word, sizes)
                for word in text.split()
            )

    prepare = _preparation(vocabulary)
    return lambda text: cut(prepare(text))


def _preparation(vocabulary: Vocabulary) -> Callable[[str], str]:
    strip: dict[str | None, Callable[[str], str]] = {
        None: str,
        "ascii": _strip_to_ascii,
        "unicode": _strip_accents,
    }
    stripped = strip[vocabulary.strip_accents]
    return (lambda text: stripped(text.lower())) if vocabulary.lowercase else stripped


def _strip_to_ascii(text: str) -> str:
    return unicodedata.normalize("NFKD", text).encode("ASCII", "ignore").decode("ASCII")


def _strip_accents(text: str) -> str:
    if text.isascii():
        return text
    return "".join(
        letter
        for letter in unicodedata.normalize("NFKD", text)
        if not unicodedata.combining(letter)
    )


def _joined(words: list[str], sizes: range) -> Iterator[str]:
    """The n-grams of words, with a space between them."""
    for size in sizes:
        yield from map(" ".join, zip(*(words[start:] for start in range(size)), strict=False))


def _parts(text: str, sizes: range) -> Iterator[str]:
    """The n-grams of letters."""
    for size in sizes:
        yield from (text[at : at + size] for at in range(len(text) - size + 1))


def _parts_of_word(word: str, sizes: range) -> Iterator[str]:
    """The n-grams of the letters of one word between spaces; if it is shorter, it counts once."""
    word = f" {word} "
    for size in sizes:
        if size >= len(word):
            yield word
            return
        yield from (word[at : at + size] for at in range(len(word) - size + 1))
