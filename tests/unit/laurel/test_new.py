"""``laurel new`` at a terminal: what it prints, writes and refuses."""

import json
from pathlib import Path

import pytest

import usecases
from laurel.main import main
from tasks.drafts.writing.source_code import width_of
from tests.fixtures import drafted
from usecases.definition import load


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A person's folder with use cases, where she is."""
    folder = tmp_path / "usecases"
    folder.mkdir()
    own = Path(usecases.definition.__file__).parent.parent
    monkeypatch.setattr(usecases, "__path__", [str(own), str(folder)])
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_it_says_what_it_assumed_in_eighty_columns(
    shop: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    drafted.write_semicolons(drafted.orders(), shop / "Orders 2023 (1).csv")
    assert main(["new", "Orders 2023 (1).csv"]) == 0
    out = capsys.readouterr().out
    assert max(map(width_of, out.splitlines())) <= 80
    for part in (
        "4,000 rows, 10 columns",
        "cp1252, assumed: Köln",
        'yes or no, "ja" is yes',
        "period: month",
        "order_id",
        "after placed_at in 100% of rows",
        "! look   support_calls",
        "gate     ROC AUC ≥",
        "Wrote usecases/orders_2023.py",
    ):
        assert part in out
    assert out.splitlines()[-1] == "Next: laurel check orders_2023"
    line = int(out.split("line ")[1].split()[0])
    text = (shop / "usecases" / "orders_2023.py").read_text()
    assert '"support_calls"' in text.splitlines()[line - 1]
    assert 'path="../Orders 2023 (1).csv"' in text
    assert load("orders_2023").label == "returned"


def test_a_file_is_never_overwritten_and_force_keeps_a_copy(
    shop: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    drafted.flowers().write_parquet(shop / "flowers.parquet")
    assert main(["new", "flowers.parquet"]) == 0
    file = shop / "usecases" / "flowers.py"
    file.write_text("# mine\n" + file.read_text())
    before = file.read_text()
    assert main(["new", "flowers.parquet"]) == 1
    assert "exists, and is not overwritten" in capsys.readouterr().err
    assert file.read_text() == before
    assert main(["new", "flowers.parquet", "--force"]) == 0
    assert (shop / "usecases" / "flowers.py.1").read_text() == before
    assert "flowers.py.1" in capsys.readouterr().out
    assert main(["new", "flowers.parquet", "--name", "Blumen"]) == 1
    assert "such as 'blumen'" in capsys.readouterr().err


def test_without_a_terminal_the_question_is_an_error_that_names_the_option(
    shop: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    drafted.houses(600).write_csv(shop / "houses.csv")
    assert main(["new", "houses.csv"]) == 1
    error = capsys.readouterr().err
    assert "Write --target COLUMN, such as" in error
    assert "price" in error
    assert not list((shop / "usecases").iterdir())


def test_programs_get_one_document(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    drafted.visits(600).write_csv(shop / "doctor.csv")
    assert main(["new", "doctor.csv", "--target", "visits", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["target"]["kind"] == "count"
    assert document["event_time"] is None
    assert document["left_out"] == {"rownames": "numbers the rows"}
    assert document["gate"]["metric"] == "poisson_deviance"
    assert document["next"] == "laurel check doctor"


def test_few_rows_are_told(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    drafted.flowers(150).write_csv(shop / "few.csv")
    assert main(["new", "few.csv"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "! small a hold-out of 30 rows" in out
    assert "inconclusive until there are about 2,500 rows" in out


def test_what_is_asked_wrongly_is_refused_at_once(
    shop: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["new", "sqlite:///shop.db"]) == 1
    assert "needs --query" in capsys.readouterr().err
    assert main(["new", "a.csv", "--query", "SELECT 1"]) == 1
    assert "--query is for a SQL URL" in capsys.readouterr().err
    assert main(["new", "nowhere.csv"]) == 1
    assert "is no file" in capsys.readouterr().err
