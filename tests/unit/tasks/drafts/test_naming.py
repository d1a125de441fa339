"""What the use case of a table is called, in any alphabet."""

import unicodedata

import pytest

from tasks.drafts.naming import name_of
from tasks.drafts.reading.tables import NoDraft


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("Ventes 2024 (1).csv", "ventes_2024"),
        ("/data/Été.csv.gz", "ete"),
        ("orders/*.csv", "orders"),
        ("CustomerChurn.parquet", "customer_churn"),
        ("2024-01.csv", "table_2024_01"),
        ("주문.csv", "jumun"),
        (unicodedata.normalize("NFD", "주문 데이터.csv"), "jumun_deiteo"),  # as a Mac writes it
        ("고객/2024년 이탈.parquet", "nyeon_ital"),
        ("ちゅうもん.csv", "tiyuumon"),
        ("заказы 2024.csv", "table_2024"),
        ("definition.csv", "definition_table"),
        ("a" * 60 + ".csv", "a" * 40),
    ],
)
def test_the_name_of_a_use_case(path: str, name: str) -> None:
    assert name_of(path) == name


@pytest.mark.parametrize("path", ["заказы.csv", "订单/*.csv", "(1).csv", "_.csv", "/"])
def test_a_file_whose_name_gives_none_asks_for_one(path: str) -> None:
    with pytest.raises(NoDraft, match="write --name, such as --name orders"):
        name_of(path)
