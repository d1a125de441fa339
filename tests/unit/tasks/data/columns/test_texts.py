"""What is watched of texts: length, language, and which words there are."""

import polars as pl
import pytest

from tasks.data.columns.texts import TEXT_TRAITS
from tasks.data.kinds import KINDS
from usecases.definition import Column, trait_columns


def traits(text: str | None) -> dict[str, float | None]:
    return {
        name: trait(pl.Series([text], dtype=pl.String))[0] for name, trait in TEXT_TRAITS.items()
    }


def test_the_definition_names_the_traits_in_their_order() -> None:
    columns = trait_columns(Column(name="review", kind="text"))
    assert [column.name for column in columns] == [f"review.{name}" for name in TEXT_TRAITS]


def test_a_text_is_described() -> None:
    described = traits("Don't stop, 멈추지 마!")
    assert described["characters"] == 18 and described["words"] == 5
    assert described["not_ascii"] == pytest.approx(4 / 12)
    groups = [described[f"group_{group}"] or 0 for group in range(1, 5)]
    assert 0 < sum(groups) <= 1 and all(5 * share == round(5 * share) for share in groups)


@pytest.mark.parametrize("text", ["", " \n", "\U0001f642", "...", None])
def test_texts_without_words_have_no_shares(text: str | None) -> None:
    described = traits(text)
    assert described["characters"] == (None if text is None else len(text))
    assert described["words"] == (None if text is None else 0)
    assert {described[f"group_{group}"] for group in range(1, 5)} == {None}


def test_words_keep_their_group_whatever_their_case_and_place() -> None:
    assert traits("Robot vacuum") == traits("vacuum ROBOT")
    assert len({tuple(traits(f"word{n}").values()) for n in range(20)}) > 2


def test_only_the_beginning_of_a_long_text_is_cut_into_words() -> None:
    assert traits("ab " * 30_000)["words"] == 3334


def test_rows_are_grouped_for_leaks_by_length_and_not_by_value() -> None:
    groups = KINDS["text"].groups(pl.Series(["a", "b", None, "long text"]))
    assert groups[0] == groups[1] != groups[3] and groups[2] == 0
