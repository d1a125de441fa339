"""Sources of every kind are reached without Prefect: a database, files, rows without a time."""

import sqlite3

import pytest

from tasks.checks.course import run_checks

pytestmark = pytest.mark.usefixtures("one_thread")

SOURCE, IMPORT = "    source=Orders(),", "import MinimumFunction, Promotion, UseCase"


def first(findings, check: str):
    return next(finding for finding in findings if finding.check == check)


def sql(written, query: str = "SELECT * FROM orders"):
    return written(
        (IMPORT, f"{IMPORT}, SqlSource"), (SOURCE, f"    source=SqlSource(query={query!r}),")
    )


def test_without_an_address_of_the_database_its_setting_is_named(written, monkeypatch) -> None:
    monkeypatch.delenv("LAUREL_WAREHOUSE_URL", raising=False)
    name, text = sql(written)
    finding = first(run_checks(name), "source")
    assert finding.state == "wrong"
    assert "LAUREL_WAREHOUSE_URL" in f"{finding.sentence} {finding.remedy}"
    assert "source=SqlSource" in text.splitlines()[int(finding.place.rpartition(":")[2]) - 1]


def test_a_query_is_read_from_the_database_that_the_settings_name(
    written, monkeypatch, tmp_path
) -> None:
    path = tmp_path / "shop.db"
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE orders (placed, 'order', age, amount, city, returned)")
        database.executemany(
            "INSERT INTO orders VALUES (?, ?, ?, ?, ?, ?)",
            [
                (f"2024-0{1 + row % 3}-{1 + row % 28:02d} 10:00:00", row, row % 9, 1.5, "Bonn",
                 row % 2)
                for row in range(900)
            ],
        )  # fmt: skip
    monkeypatch.setenv("LAUREL_WAREHOUSE_URL", f"sqlite:///{path}")
    name, _ = sql(written)
    findings = run_checks(name)
    assert first(findings, "source").sentence == "3 months, 2024-01 to 2024-03"
    assert first(findings, "schema").sentence == "900 rows of all: no bad row"


def test_a_table_that_is_not_there_is_told(written, monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("LAUREL_WAREHOUSE_URL", f"sqlite:///{tmp_path / 'empty.db'}")
    name, _ = sql(written, "SELECT * FROM carts")
    assert "no such table: carts" in first(run_checks(name), "source").sentence


def test_rows_without_a_time_arrive_in_no_lake_but_one_of_their_own(written, tmp_path) -> None:
    lines = [
        "age,amount,city,returned",
        *(f"{row % 90},{row},Bonn,{row % 2}" for row in range(900)),
    ]
    (tmp_path / "orders.csv").write_text("\n".join(lines))
    file = f"FileSource(path={str(tmp_path / 'orders.csv')!r}), arrival=True"
    name, _ = written(
        (IMPORT, f"{IMPORT}, FileSource"),
        (SOURCE, f"    source={file},"),
        ('    event_time="placed",\n    key=("order",),\n', ""),
        ("low=-10, high=10", "low=0, high=90"),
        ("    promotion=", "    promotion=Promotion(holdout_periods=2),\n    #"),
    )
    findings = run_checks(name)
    assert first(findings, "source").sentence.startswith("10 weeks, ")
    assert first(findings, "schema").sentence == "900 rows of all: no bad row"
    assert first(findings, "hold-out").state == "look"


def test_a_file_that_lacks_a_column_is_told_at_the_line_of_that_column(written, tmp_path) -> None:
    (tmp_path / "orders.csv").write_text(
        "order,placed,age,amount,town,returned\n1,2024-01-01 10:00:00,1,1,Bonn,1\n"
    )
    name, text = written(
        (IMPORT, f"{IMPORT}, FileSource"),
        (SOURCE, f"    source=FileSource(path={str(tmp_path / 'orders.csv')!r}),"),
    )
    finding = first(run_checks(name), "source")
    assert finding.state == "wrong" and "lacks ['city']" in finding.sentence
    assert 'name="city"' in text.splitlines()[int(finding.place.rpartition(":")[2]) - 1]
