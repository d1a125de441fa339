"""docs/words.md: the words are those of the messages."""

import re

import pytest

from blocks.settings import REPOSITORY
from tasks.messages.words_en import WORDS as ENGLISH
from tasks.messages.words_ko import WORDS as KOREAN

ROWS = re.findall(r"^\| (.+?) \| (.+?) \| .+ \|$", (REPOSITORY / "docs/words.md").read_text(), re.M)
TABLE = {word.strip("*"): korean for word, korean in ROWS[1:]}


@pytest.mark.parametrize("word", ["said", "unjudged", "uncalibrated"])
def test_a_finding_s_word_is_the_glossary_s(word: str) -> None:
    assert ENGLISH[f"drift.word.{word}"] == word
    assert KOREAN[f"drift.word.{word}"] == TABLE[word]


def test_each_word_has_a_korean_one() -> None:
    assert len(TABLE) > 15
    assert [word for word, korean in TABLE.items() if not re.search("[가-힣]", korean)] == []
