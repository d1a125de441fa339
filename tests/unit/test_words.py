"""docs/words.md: the words are those of the messages, of the page, of the replies to buttons and of
the reasons."""

import re

import pytest

from blocks.settings import REPOSITORY
from serving.callbacks.slack_replies import WORDS as REPLIES
from serving.words.wording import TEMPLATES
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


PAGE = (REPOSITORY / "serving/routes/pages/web/words.js").read_text()
KOREANS = {
    "page": "\n".join(re.findall(r'"[^"]*[가-힣][^"]*"', PAGE)),
    "messages": "\n".join(KOREAN.values()),
    "replies": "\n".join(korean for _, korean in REPLIES.values()),
    "reasons": "\n".join(template.ko for template in TEMPLATES.values()),
}
# What one thing must not be called beside its word in docs/words.md.
SECOND_WORDS = {
    "challenger": "도전자",
    "contest": "대결",
    "gain": "향상",
    "drift check, verdict": "검사",
    "label, coverage": "레이블",
    "column": r"피처|항목|(?<![가-힣])열(?![가-힣])|(?<![가-힣])열[은는이을의] ",
    "*keep*": "탈락",
    "approve, reject": "기각",
    "interval": " ~ ",
    "window": r"\{window\} 기간",
    "decision, ledger": r"(?<!결정 )원장",
}


@pytest.mark.parametrize("where", KOREANS)
@pytest.mark.parametrize("word", SECOND_WORDS)
def test_no_second_word_is_used(word: str, where: str) -> None:
    assert re.findall(f".*(?:{SECOND_WORDS[word]}).*", KOREANS[where]) == []


@pytest.mark.parametrize(
    "word", ["champion", "challenger", "hold-out", "gate", "contest", "window", "column", "gain"]
)
def test_page_and_messages_use_the_glossary_s_word(word: str) -> None:
    assert all(TABLE[word] in KOREANS[where] for where in ("page", "messages", "reasons"))


def test_an_interval_is_written_in_one_way() -> None:
    assert ENGLISH["interval"] == KOREAN["interval"] == "{low} – {high}"
    assert 'between: ["{0} – {1}", "{0} – {1}"]' in PAGE
