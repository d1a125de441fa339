"""The benchmark of batch scoring asks for what it says, and its table says what was measured."""

from pathlib import Path

import polars as pl

from benchmarks.scores.flights import report, write_rows


def test_rows_of_a_month_come_again_until_there_are_enough(tmp_path: Path) -> None:
    write_rows(tmp_path / "rows.parquet", 60_001)
    rows = pl.read_parquet(tmp_path / "rows.parquet")
    assert len(rows) == 60_001
    assert "late" not in rows.columns
    month = len(rows.filter(pl.struct(pl.all()).is_first_distinct()))
    assert 20_000 < month < 30_000
    assert rows.slice(month, 5).equals(rows.head(5))


def test_a_row_s_cost_is_a_multiple_of_the_session_s_own() -> None:
    figures = {
        "floor": {"rows": 100.0, "refused": 0.0, "cpu_seconds": 1.0, "largest_mb": 300.0},
        "score": {"rows": 190.0, "refused": 10.0, "cpu_seconds": 5.0, "largest_mb": 500.0},
    }
    floor, score = report(figures).splitlines()[2:]
    assert floor == "| floor | 100 | 0.01 | 1.00 | 300 |"
    assert score == "| score | 200 | 0.00 | 2.50 | 500 |"
