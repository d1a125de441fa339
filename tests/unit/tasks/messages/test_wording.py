import re
from string import Formatter

import pytest

from blocks.message import Message
from blocks.slack import _RUN_LINKS
from tasks.messages.wording import CATALOGUES, Say, metric_name, number, spoken
from tasks.messages.words_en import WORDS as ENGLISH
from tasks.messages.words_ko import WORDS as KOREAN

# Names that Koreans write in Latin letters too: metrics, programs, and what stands on a button or a
# page of Prefect's.
LATIN = {"ROC", "AUC", "HPO", "Prefect", "approve", "rollback", "rollout", "Resume", "v"}


def placeholders(sentence: str) -> list[tuple[str, str]]:
    return sorted(
        (name, form or "") for _, name, form, _ in Formatter().parse(sentence) if name is not None
    )


def without_placeholders(sentence: str) -> str:
    return "".join(literal for literal, *_ in Formatter().parse(sentence))


@pytest.mark.parametrize("key", sorted({*ENGLISH, *KOREAN}))
def test_every_sentence_is_in_both_languages_with_the_same_values(key: str) -> None:
    assert placeholders(KOREAN[key]) == placeholders(ENGLISH[key])
    assert not re.search("[가-힣]", ENGLISH[key])
    assert set(re.findall("[A-Za-z]+", without_placeholders(KOREAN[key]))) <= LATIN


@pytest.mark.parametrize("key", sorted(KOREAN))
def test_no_particle_hangs_on_a_value(key: str) -> None:
    """Whether it is 이 or 가 depends on how the value is read aloud, which is unknown here."""
    assert not re.search(r"\}(이|가|을|를|은|는|과|와|으로|로)(?![가-힣])", KOREAN[key])


def test_a_sentence_that_does_not_exist_or_lacks_a_value_is_no_message() -> None:
    with pytest.raises(KeyError):
        Say("ko")("no such sentence")
    with pytest.raises(KeyError):
        Say("ko")("rolled back", use_case="flights")


@pytest.mark.parametrize("language", sorted(CATALOGUES))
def test_the_link_to_the_run_has_one_name(language: str) -> None:
    assert _RUN_LINKS[language] == CATALOGUES[language]["flow run"]  # type: ignore[index]


def test_numbers_are_written_alike_and_what_is_not_known_is_said_in_words() -> None:
    assert [Say(language).number(0.5, signed=True) for language in ("en", "ko")] == [
        "+0.5000",
        "+0.5000",
    ]
    assert (number(None), Say("ko").number(float("nan"))) == ("not known", "알 수 없음")
    assert (Say("en").percent(0.3704), Say("ko").percent(0.3704)) == ("37 %", "37 %")
    assert (metric_name("roc_auc"), metric_name("of_my_own"), Say("ko").metric("log_loss")) == (
        "ROC AUC",
        "of my own",
        "로그 손실",
    )


def test_callers_get_english_that_holds_the_other_language() -> None:
    @spoken
    def count_message(say: Say, count: int) -> Message | None:
        return Message(say("rows", rows=count)) if count else None

    message = count_message(1000)
    assert message is not None
    assert (message.headline, message.in_language("ko").headline) == ("1,000 rows", "1,000행")
    assert message.in_language("en").translations == {}
    assert count_message(0) is None
