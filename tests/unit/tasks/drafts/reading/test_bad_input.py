"""Tables that nothing can be drafted from are refused in a sentence, and odd ones are read."""

from collections.abc import Sequence
from pathlib import Path

import polars as pl
import pytest

from tasks.drafts.drafting import Wishes, draft_of
from tasks.drafts.inference.draft import Draft
from tasks.drafts.naming import name_of
from tasks.drafts.reading.tables import NoDraft, read_files, read_query
from tests.fixtures import drafted
from usecases.definition import SourceError


class Asked(Exception):
    """The question about the target was put."""


def ask(candidates: Sequence[str]) -> str:
    raise Asked(candidates)


def draft(path: Path, **wishes: str) -> tuple[Draft, str]:
    table = read_files(str(path), path.parent)
    return draft_of(table, name_of(str(path)), str(path), Wishes(**wishes), ask)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "is empty"),
        ("a,b,churn\n", "no rows"),
        ("churn\n" + "1\n0\n" * 30, "the one column"),
        ("a,churn\n" + "1,yes\n2,yes\n" * 30, "'yes' in all rows|is yes in all rows"),
        ("a,churn\n" + "1,\n2,\n" * 30, "empty in all rows"),
        ("a,churn\n" + "1,\n2,\n3,yes\n4,no\n5,\n" * 30, "empty in 60% of the rows"),
        ("a,a,churn\n" + "1,2,yes\n" * 30, "names columns twice"),
        ("a,churn\n" + "1,yes\n2,no\n" * 5, "10 rows with a label are too few"),
        ("a,churn\n" + "7,yes\n7,no\n" * 30, "No column is left"),
    ],
    ids=[
        "empty",
        "header",
        "one column",
        "constant",
        "no label",
        "few labels",
        "twice",
        "ten rows",
        "constant input",
    ],
)
def test_what_cannot_be_learned_from_is_refused(content: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(content)
    with pytest.raises((NoDraft, SourceError), match=words):
        draft(tmp_path / "t.csv")


def test_images_bytes_and_strangers_are_told(tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    (folder / "cat.png").write_bytes(b"\x89PNG")
    with pytest.raises(NoDraft, match="holds images, such as cat.png"):
        draft(folder)
    (tmp_path / "blob.csv").write_bytes(bytes(range(256)) * 50)
    with pytest.raises((NoDraft, SourceError), match=r"bytes of zero|is not in cp1252"):
        draft(tmp_path / "blob.csv")
    with pytest.raises(SourceError, match="is no file"):
        draft(tmp_path / "gone.csv")
    with pytest.raises(SourceError, match=r"blob.csv/ cannot be read: the folder is a file"):
        draft(tmp_path / "blob.csv" / "*.csv")
    (tmp_path / "sheet.xlsx").write_bytes(b"PK")
    with pytest.raises(SourceError, match="no ending that says its format"):
        draft(tmp_path / "sheet.xlsx")


def test_a_target_that_no_name_tells_is_asked_for(tmp_path: Path) -> None:
    drafted.houses().write_csv(tmp_path / "houses.csv")
    with pytest.raises(Asked) as asked:
        draft(tmp_path / "houses.csv")
    assert "price" in asked.value.args[0]
    with pytest.raises(NoDraft, match="There is no column 'prize'. The table has sold on"):
        draft(tmp_path / "houses.csv", target="prize")


@pytest.mark.parametrize(
    ("encoding", "city", "shown"),
    [
        ("utf-8", "Köln", None),
        ("utf-16", "Köln", None),
        ("cp1252", "Köln", "cp1252, assumed: Köln"),
        ("cp949", "서울특별시", "cp949, assumed: 서울특별시"),
        # No rule tells Shift-JIS: the values that are shown tell a person.
        ("shift_jis", "東京", "assumed: "),
    ],
)
def test_an_encoding_that_is_assumed_is_shown_with_values(
    encoding: str, city: str, shown: str | None, tmp_path: Path
) -> None:
    rows = "".join(f"{at},{city if at % 2 else 'Rom'},{at % 3 and 1}\n" for at in range(100))
    (tmp_path / "t.csv").write_bytes(f"id,city,churn\n{rows}".encode(encoding))
    made, text = draft(tmp_path / "t.csv")
    if shown is None:
        assert made.table.assumed is None
        assert "encoding=" not in text
    else:
        assert shown in (made.table.assumed or "")
        assert "# Choose: the bytes do not prove it." in text


def test_an_export_of_a_spreadsheet_is_read(tmp_path: Path) -> None:
    drafted.write_semicolons(drafted.orders(), tmp_path / "o.csv")
    made, text = draft(tmp_path / "o.csv")
    assert made.table.rows == 4000
    assert made.table.notes[0].endswith("no rows, left out: 1")
    assert 'decimal=","' in text
    assert made.facts["amount"].values.max() == drafted.orders()["amount"].max()


def test_money_percents_and_signs_for_nothing_are_numbers(tmp_path: Path) -> None:
    rows = "".join(
        f'"$1,{at:03d}.50",{at % 50} %,{"-" if at % 9 == 0 else at},{at % 2}\n' for at in range(300)
    )
    (tmp_path / "t.csv").write_text(f"price,rate,size,churn\n{rows}")
    made, _ = draft(tmp_path / "t.csv")
    kinds = {column.name: column.kind for column in made.inputs}
    assert kinds == {"price": "number", "rate": "number", "size": "number"}
    assert made.facts["price"].values.max() == 1299.5
    assert made.facts["size"].nulls == pytest.approx(34 / 300)


def test_marks_and_words_for_null_are_stated_in_the_source(tmp_path: Path) -> None:
    rows = "".join(
        f"{-999 if at % 20 == 0 else at % 40},{'NA' if at % 7 == 0 else at / 2},x,{at % 2}\n"
        for at in range(400)
    )
    (tmp_path / "t.csv").write_text(f"age,income,odd,churn\n{rows}")
    _, text = draft(tmp_path / "t.csv")
    assert 'nulls=("NA", "-999")' in text
    assert 'name="age", kind="number", low=0, high=77, nullable=True' in " ".join(text.split())
    assert "Left out: odd: always the same." in text


def test_a_query_needs_a_database_that_answers() -> None:
    with pytest.raises(NoDraft, match="the URL"):
        read_query("nosuch://host/shop", "SELECT 1")


def test_rows_of_a_query_become_a_draft(tmp_path: Path) -> None:
    import sqlite3

    with sqlite3.connect(tmp_path / "shop.db") as connection:
        connection.execute("CREATE TABLE churn (customer_id, age, plan, churned)")
        connection.executemany(
            "INSERT INTO churn VALUES (?, ?, ?, ?)",
            [(1000 + at, at % 60, "ab"[at % 2], int(at % 3 == 0)) for at in range(400)],
        )
    query = "SELECT * FROM churn"
    table = read_query(f"sqlite:///{tmp_path}/shop.db", query)
    made, text = draft_of(table, "churn", "", Wishes(), ask)
    assert made.key.columns == ("customer_id",)
    assert f'source=SqlSource(query="{query}")' in text
    assert isinstance(table.sample, pl.DataFrame)
