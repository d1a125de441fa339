"""The service weighs the terms of a text as scikit-learn's vectorisers do."""

import json
from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer

from serving.errors import PackageError
from serving.package.encoders.texts import (
    MOST_TERMS,
    TextEncoder,
    Vocabulary,
    read_vocabularies,
)
from tasks.models.vectorizers import vocabulary_of

LEARNED = [
    "The quick brown fox — it's 100% FAST, isn't it?",
    "한국어 문장도 있습니다. 배송이 빨라요! 좋아요 좋아요 좋아요",
    "Ein Café in Zürich, naïve façade; e\u0301 is two characters",
    "\U0001f600 great \U0001f44d\U0001f3fd phone \U0001f468‍\U0001f469‍\U0001f467,"
    " ﷺ ﬁne İstanbul ΑΣ ß",
    "well-known don't  two   spaces\ttab\nline the the the",
    "",
]
PIECES = [word for text in LEARNED for word in text.split()] + [
    " ",
    "  ",
    "\n",
    "ｆｕｌｌ",
    "\u0301",
]
TEXTS = st.one_of(
    st.text(max_size=60),
    st.lists(st.sampled_from(PIECES), max_size=30).map(" ".join),
    st.lists(st.sampled_from(PIECES), max_size=30).map("".join),
)
RECIPES: Mapping[str, Any] = {
    "usual": TfidfVectorizer(),
    "pairs": TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, strip_accents="unicode"),
    "triples alone": TfidfVectorizer(ngram_range=(2, 3), token_pattern=r"\S+", lowercase=False),
    "stop words": TfidfVectorizer(stop_words="english", norm="l1", ngram_range=(1, 2)),
    "words of one letter": CountVectorizer(token_pattern=r"(?u)\b\w+\b|[^\w\s]", binary=True),
    "letters": TfidfVectorizer(analyzer="char", ngram_range=(1, 4), strip_accents="ascii"),
    "letters within words": TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), norm=None),
    "counts": CountVectorizer(analyzer="char_wb", ngram_range=(1, 1)),
    "no idf": TfidfVectorizer(use_idf=False, smooth_idf=False),
    "few": TfidfVectorizer(max_features=5, ngram_range=(1, 2)),
    "own terms": TfidfVectorizer(vocabulary=["the", "좋아요", "zürich"]),
}
FITTED = {
    name: recipe.set_params(dtype=np.float64).fit(LEARNED) for name, recipe in RECIPES.items()
}


ENCODERS = {
    name: TextEncoder(name, vocabulary)
    for name, vocabulary in read_vocabularies(
        msgspec.json.encode({name: vocabulary_of(fitted) for name, fitted in FITTED.items()})
    ).items()
}


def weighed(name: str, texts: list[str | None]) -> np.ndarray:
    block = np.full((len(texts), ENCODERS[name].width), np.nan)
    ENCODERS[name].encode(texts, block)
    return block


@pytest.mark.parametrize("name", RECIPES)
@settings(max_examples=40)
@given(texts=st.lists(TEXTS, min_size=1, max_size=3))
def test_weights_are_those_of_scikit_learn_to_the_last_bits(name: str, texts: list[str]) -> None:
    expected = FITTED[name].transform(texts).toarray()
    np.testing.assert_allclose(weighed(name, texts), expected, rtol=1e-15, atol=0)


@pytest.mark.parametrize("name", RECIPES)
def test_learned_texts_and_null(name: str) -> None:
    known = weighed(name, LEARNED)
    np.testing.assert_allclose(known, FITTED[name].transform(LEARNED).toarray(), rtol=1e-15, atol=0)
    assert known.any(axis=1).sum() >= 2
    assert not weighed(name, [None, ""]).any()


def test_words_that_were_not_learned_weigh_nothing() -> None:
    assert not weighed("usual", ["ᚠᚢ ᚦᚬ zzz \U0001f9ff"]).any()


def test_every_place_of_the_block_is_written_and_rows_do_not_mix() -> None:
    both = weighed("usual", ["quick fox", "zürich"])
    np.testing.assert_array_equal(both[1:], weighed("usual", ["zürich"]))


def vocabulary(**changes: Any) -> Vocabulary:
    whole = msgspec.to_builtins(vocabulary_of(FITTED["usual"])) | changes
    return read_vocabularies(json.dumps({"text": whole}).encode())["text"]


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"terms": []}, "must have 1 to 50,000 different terms"),
        ({"terms": ["a", "a"], "idf": []}, "different terms"),
        ({"terms": [str(n) for n in range(MOST_TERMS + 1)], "idf": []}, "different terms"),
        ({"idf": [1.0]}, "must have a finite idf for each term"),
        ({"ngram_range": (1, 40)}, r"ngram_range of \(1, 40\)"),
        ({"ngram_range": (0, 1)}, r"ngram_range of \(0, 1\)"),
        ({"token_pattern": "(a+)+b"}, "may take very long"),
        ({"token_pattern": "("}, "is no regular expression"),
    ],
)
def test_a_vocabulary_that_contradicts_itself_is_refused(
    changes: dict[str, Any], problem: str
) -> None:
    with pytest.raises(PackageError, match=problem):
        TextEncoder("text", vocabulary(**changes))


@pytest.mark.parametrize(
    "content", [b"{", b'{"text": 3}', b'{"text": {"analyzer": "os.system"}}', b"[]", b"\x80\x04."]
)
def test_data_that_are_no_vocabularies_are_refused(content: bytes) -> None:
    with pytest.raises(PackageError, match="The vocabularies cannot be read"):
        read_vocabularies(content)
