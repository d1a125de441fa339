"""Files as people have them: encodings, separators, decimal marks, dates, zones, compressions, bad
lines; each is read right, or refused with what to write.
"""

import bz2
import gzip
import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tasks.data.sources import source_of
from tasks.data.validation import REASON, BatchRefused, validate
from usecases.definition import (
    ROC_AUC,
    Binary,
    Candidate,
    Classes,
    Column,
    FileSource,
    Gate,
    Number,
    SourceError,
    UseCase,
)
from usecases.definition.metrics import MACRO_F1, RMSE

CSV = """order,shipped_at,price,department,returned
a1,2024-01-02 10:00,12.5,shoes,0
a2,2024-01-03 11:30,7,books,1
a3,2024-02-01 00:00,1e2,shoes,
"""
GATES = {"binary": Gate(metric=ROC_AUC, threshold=0.6), "number": Gate(metric=RMSE, threshold=9.0)}


def case(path: Path | str, target: Any = None, **source: Any) -> UseCase:
    target = target or Binary(label="returned")
    gates = {**GATES, "classes": Gate(metric=MACRO_F1, threshold=0.5)}
    return UseCase(
        name="orders",
        title="Orders",
        question="Is it sent back?",
        source=FileSource(path=path, **source),
        columns=(
            Column(name="price", kind="number", nullable=True, null_tolerance=1),
            Column(name="department", kind="category", nullable=True, null_tolerance=1),
        ),
        target=target,
        event_time="shipped_at",
        key=("order",),
        candidates=(Candidate(name="none", build=lambda params, layout, seed: None),),
        gate=gates[target.kind],
    )


def write(folder: Path, text: str | bytes, name: str = "orders.csv") -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def rows(of: UseCase, *periods: str) -> pl.DataFrame:
    source = source_of(of)
    return pl.concat([source.read(period) for period in periods or source.periods()])


def prices(of: UseCase) -> list[float | None]:
    return rows(of)["price"].to_list()


def test_plain_file_has_its_periods_and_rows(tmp_path: Path) -> None:
    of = case(write(tmp_path, CSV))
    assert source_of(of).periods() == ["2024-01", "2024-02"]
    january = source_of(of).read("2024-01")
    assert january.drop(REASON).to_dicts() == [
        {
            "order": "a1",
            "shipped_at": datetime(2024, 1, 2, 10),
            "price": 12.5,
            "department": "shoes",
            "returned": 0.0,
        },
        {
            "order": "a2",
            "shipped_at": datetime(2024, 1, 3, 11, 30),
            "price": 7.0,
            "department": "books",
            "returned": 1.0,
        },
    ]
    assert rows(of, "2024-02")["returned"].to_list() == [None]
    assert len(validate(of, "2024-01", january).good) == 2


def test_period_that_has_no_room_in_the_stated_memory_is_refused_before_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = source_of(case(write(tmp_path, CSV)))
    monkeypatch.setenv("LAUREL_MEMORY_GIB", "0.5")
    with pytest.raises(SourceError, match="2024-01 of .* has 2 rows, .* LAUREL_MEMORY_GIB says"):
        source.read("2024-01")
    monkeypatch.setenv("LAUREL_MEMORY_GIB", "2")
    assert len(source.read("2024-01")) == 2


def test_period_that_is_not_over_is_left_out(tmp_path: Path) -> None:
    today = datetime.now(UTC).date().isoformat()
    of = case(write(tmp_path, f"{CSV}a4,{today} 00:00,1,shoes,0\n"))
    assert source_of(of).periods() == ["2024-01", "2024-02"]


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_separator_is_found(tmp_path: Path, separator: str) -> None:
    assert prices(case(write(tmp_path, CSV.replace(",", separator)))) == [12.5, 7, 100]


@pytest.mark.parametrize(
    ("encoding", "word", "stated"),
    [
        ("utf-8", "bücher", None),
        ("utf-8-sig", "bücher", None),
        ("utf-16", "bücher", None),
        ("cp1252", "bücher", None),
        ("cp949", "신발", None),
        ("utf-8", "신발 😀", None),
        ("iso8859_5", "книги", "iso8859_5"),
    ],
)
def test_encoding_is_found_or_stated(
    tmp_path: Path, encoding: str, word: str, stated: str | None
) -> None:
    text = CSV.replace("books", word)
    of = case(write(tmp_path, text.encode(encoding)), encoding=stated)
    assert rows(of)["department"].to_list() == ["shoes", word, "shoes"]


def test_first_strange_letter_may_come_late(tmp_path: Path) -> None:
    many = "".join(f"b{n},2024-01-05 10:00,1,shoes,0\n" for n in range(300_000))
    of = case(write(tmp_path, (CSV + many + "z,2024-01-06 10:00,1,bücher,0\n").encode("cp1252")))
    found = rows(of, "2024-01")
    assert len(found) == 300_003 and found["department"][-1] == "bücher"


def test_wrong_encoding_is_refused_with_the_field_to_write(tmp_path: Path) -> None:
    path = write(tmp_path, CSV.replace("books", "bücher").encode("cp1252"))
    with pytest.raises(SourceError, match="is not in utf-8.*encoding='cp1252'"):
        rows(case(path, encoding="utf-8"))


def test_decimal_comma_with_thousands_and_currency(tmp_path: Path) -> None:
    text = (
        "order;shipped_at;price;department;returned\n"
        "a1;02.01.2024;1.234,50 €;shoes;0\n"
        "a2;13.01.2024;7,5;books;1\n"
        "a3;14.01.2024;1.000;books;1\n"
    )
    of = case(write(tmp_path, text.encode("cp1252")))
    assert prices(of) == [1234.5, 7.5, 1000]
    assert rows(of)["shipped_at"].dt.day().to_list() == [2, 13, 14]
    notes = " ".join(source_of(of).notes)
    assert "cp1252 (assumed), separator ';'" in notes
    assert "decimal mark ',', times with day first" in notes


def test_ambiguous_dates_are_refused_and_a_stated_format_is_taken(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        CSV.replace("2024-01-02 10:00", "01/02/2024")
        .replace("2024-01-03 11:30", "03/04/2024")
        .replace("2024-02-01 00:00", "05/06/2024"),
    )
    with pytest.raises(SourceError, match="day or with the month first: state which"):
        rows(case(path))
    of = case(path, date_format="%d/%m/%Y")
    assert source_of(of).periods() == ["2024-02", "2024-04", "2024-06"]


@pytest.mark.parametrize(
    "moments",
    [
        ("2024-01-31T23:30:00Z", "2024-01-31T23:30:00+00:00"),
        ("1706743800", "1706743800"),
        ("1706743800000", "1706743800000"),
    ],
)
def test_times_with_a_zone_need_the_zone_of_a_day(tmp_path: Path, moments: tuple[str, str]) -> None:
    text = "order,shipped_at,price,department,returned\n" + "".join(
        f"a{at},{moment},1,shoes,0\n" for at, moment in enumerate(moments)
    )
    path = write(tmp_path, text)
    with pytest.raises(SourceError, match="state the zone in which a day begins"):
        rows(case(path))
    assert source_of(case(path, time_zone="UTC")).periods() == ["2024-01"]
    assert source_of(case(path, time_zone="Europe/Berlin")).periods() == ["2024-02"]


@pytest.mark.parametrize("written", ["csv", "parquet", "jsonl"])
def test_year_month_and_day_in_three_columns_make_the_event_time(
    tmp_path: Path, written: str
) -> None:
    frame = pl.DataFrame(
        {
            "order": ["a1", "a2", "a3", "a4"],
            "jahr": [2024, 2024, 2024, 2024],
            "month": [1, 1, 2, 2],
            "day": [2, 31, 29, 30],
            "price": [1.0, 2.0, 3.0, 4.0],
            "department": ["shoes"] * 4,
            "returned": [0, 1, 0, 1],
        }
    )
    path = tmp_path / f"orders.{written}"
    {"csv": frame.write_csv, "parquet": frame.write_parquet, "jsonl": frame.write_ndjson}[written](
        path
    )
    of = case(path, date_parts=("jahr", "month", "day"))
    found = rows(of)
    assert source_of(of).periods() == ["2024-01", "2024-02"]
    assert found["shipped_at"].to_list() == [
        datetime(2024, 1, 2),
        datetime(2024, 1, 31),
        datetime(2024, 2, 29),
        None,  # there is no 30 February
    ]
    assert found["price"].to_list() == [1.0, 2.0, 3.0, 4.0]


def test_a_part_may_be_an_input_as_well_and_a_missing_one_is_named(tmp_path: Path) -> None:
    text = "order,year,price,day,department,returned\na1,2024,7,2,shoes,0\n"
    path = write(tmp_path, text)
    of = case(path, date_parts=("year", "price", "day"))
    assert rows(of).select("shipped_at", "price").row(0) == (datetime(2024, 7, 2), 7.0)
    with pytest.raises(SourceError, match=r"lacks \['month'\] of date_parts. It has .*'year'"):
        rows(case(path, date_parts=("year", "month", "day")))


def test_text_that_is_no_number_goes_to_quarantine_with_the_text(tmp_path: Path) -> None:
    lines = "".join(f"b{n},2024-01-05 10:00,{n},shoes,0\n" for n in range(20))
    of = case(write(tmp_path, CSV + lines + "c,2024-01-09 10:00,cheap,shoes,0\n"))
    checked = validate(of, "2024-01", source_of(of).read("2024-01"))
    assert checked.reasons == {"price: no number, such as 'cheap'": 1}
    assert len(checked.good) == 22


def test_row_without_a_readable_time_goes_to_quarantine_of_its_neighbours_period(
    tmp_path: Path,
) -> None:
    text = CSV.replace("a3,", "total,,19.5,,\nx,32.13.2024,1,shoes,0\na3,")
    lines = "".join(f"b{n},2024-01-05 10:00,{n},shoes,0\n" for n in range(20))
    of = case(write(tmp_path, text.replace("a3,", f"{lines}a3,")))
    january = source_of(of).read("2024-01")
    assert len(january) == 24
    reasons = validate(of, "2024-01", january).reasons
    assert sum(reasons.values()) == 2
    assert any("shipped_at: no time, such as '32.13.2024'" in reason for reason in reasons)


def test_known_marks_of_a_missing_number_are_null_and_no_category_is(tmp_path: Path) -> None:
    text = CSV.replace("12.5,shoes", "n/a,NA").replace("7,books", "?,-").replace("1e2", "NaN")
    of = case(write(tmp_path, text))
    assert prices(of) == [None] * 3
    assert rows(of)["department"].to_list() == ["NA", "-", "shoes"]
    of = case(write(tmp_path, text), nulls=("NA", "-"))
    assert rows(of)["department"].to_list() == [None, None, "shoes"]


def test_lines_of_another_width_are_refused_with_their_text(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"1 lines do not have the 5 fields.*6 fields in 'a4,"):
        rows(case(write(tmp_path, CSV + "a4,2024-01-04 10:00,1,5,shoes,0\n")))


def test_quotes_hold_separators_and_lines(tmp_path: Path) -> None:
    of = case(write(tmp_path, CSV.replace("books", '"books, ""old""\nand new"')))
    assert rows(of)["department"][1] == 'books, "old"\nand new'


def test_header_is_found_below_a_banner_and_dropped_where_it_is_repeated(tmp_path: Path) -> None:
    head, *lines = CSV.splitlines()
    text = "\n".join(["Export of 1 March", "", head, lines[0], head, *lines[1:], ""])
    of = case(write(tmp_path, text))
    assert prices(of) == [12.5, 7, 100]
    assert "2 lines before the header" in " ".join(source_of(of).notes)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (
            "order,shipped,price,department,returned",
            r"lacks \['shipped_at'\]; was 'shipped_at' renamed to 'shipped'",
        ),
        (
            "order,shipped_at,price,price,returned",
            r"names columns twice in its header: \['price'\]",
        ),
    ],
)
def test_header_that_cannot_be_used(tmp_path: Path, header: str, message: str) -> None:
    with pytest.raises(SourceError, match=message):
        rows(
            case(write(tmp_path, CSV.replace("order,shipped_at,price,department,returned", header)))
        )


@pytest.mark.parametrize("text", ["", "\n\n", "order,shipped_at,price,department,returned\n"])
def test_file_without_rows(tmp_path: Path, text: str) -> None:
    with pytest.raises(SourceError, match="no rows"):
        rows(case(write(tmp_path, text)))


@pytest.mark.parametrize(("ending", "compress"), [("gz", gzip.compress), ("bz2", bz2.compress)])
def test_compressed_files(tmp_path: Path, ending: str, compress: Any) -> None:
    path = write(tmp_path, compress(CSV.encode()), f"orders.csv.{ending}")
    assert prices(case(path)) == [12.5, 7, 100]


def test_zstd(tmp_path: Path) -> None:
    import pyarrow as pa

    path = tmp_path / "orders.csv.zst"
    with pa.OSFile(str(path), "wb") as file, pa.CompressedOutputStream(file, "zstd") as stream:
        stream.write(CSV.encode())
    assert prices(case(path)) == [12.5, 7, 100]


def test_broken_compression_names_the_file(tmp_path: Path) -> None:
    path = write(tmp_path, gzip.compress(CSV.encode() * 100)[:60], "orders.csv.gz")
    with pytest.raises(SourceError, match=r"orders\.csv\.gz cannot be read"):
        rows(case(path))


def test_json_lines_with_missing_keys_and_large_numbers(tmp_path: Path) -> None:
    objects: list[dict[str, Any]] = [
        {"order": 9007199254740993, "shipped_at": "2024-01-02T10:00:00", "price": 12.5},
        {
            "order": 2,
            "shipped_at": "2024-01-03",
            "price": None,
            "department": "신발",
            "returned": True,
        },
    ]
    of = case(write(tmp_path, "\n\n".join(map(json.dumps, objects)), "orders.jsonl"))
    found = rows(of)
    assert found["order"].to_list() == ["9007199254740993", "2"]
    assert found["price"].to_list() == [12.5, None]
    assert found["department"].to_list() == [None, "신발"]
    assert found["returned"].to_list() == [None, 1]


@pytest.mark.parametrize(
    ("line", "message"),
    [("[1]", "line 2: "), ('{"price": [1]}', r"line 2: a value is \[1\]"), ("{", "line 2: ")],
)
def test_line_that_is_no_object(tmp_path: Path, line: str, message: str) -> None:
    first = json.dumps({"order": "a", "shipped_at": "2024-01-02", "price": 1})
    with pytest.raises(SourceError, match=message):
        rows(case(write(tmp_path, f"{first}\n{line}\n", "orders.jsonl")))


def test_parquet_with_texts_dates_and_zones(tmp_path: Path) -> None:
    frame = pl.DataFrame(
        {
            "order": [1, 2],
            "shipped_at": [datetime(2024, 1, 31, 23, 30), datetime(2024, 1, 5)],
            "price": ["1,5", "2"],
            "department": [7, 8],
            "returned": [True, False],
        }
    )
    path = tmp_path / "orders.parquet"
    frame.write_parquet(path)
    found = rows(case(path))
    assert found["price"].to_list() == [1.5, 2] and found["department"].to_list() == ["7", "8"]
    frame.with_columns(pl.col("shipped_at").dt.replace_time_zone("UTC")).write_parquet(path)
    with pytest.raises(SourceError, match="have the zone UTC"):
        rows(case(path))
    assert source_of(case(path, time_zone="Asia/Seoul")).periods() == ["2024-01", "2024-02"]
    frame.with_columns(pl.col("shipped_at").dt.date()).write_parquet(path)
    assert source_of(case(path)).periods() == ["2024-01"]


def test_folder_of_files_and_pattern(tmp_path: Path) -> None:
    write(tmp_path, CSV, "in/2024.csv")
    write(tmp_path, CSV.replace("2024", "2023"), "in/old/2023.csv")
    write(tmp_path, "not rows", "in/README.md")
    write(tmp_path, "", "in/_SUCCESS.csv")
    both = ["2023-01", "2023-02", "2024-01", "2024-02"]
    assert source_of(case(tmp_path / "in")).periods() == both
    assert source_of(case(tmp_path / "in/*.csv")).periods() == both[2:]
    assert source_of(case(tmp_path / "in/**/2*.csv")).periods() == both
    with pytest.raises(SourceError, match="no file, and no folder or pattern with files"):
        rows(case(tmp_path / "in/*.parquet"))
    with pytest.raises(SourceError, match="format='csv'"):
        rows(case(tmp_path / "in/README.md"))


def test_files_with_different_columns_are_named(tmp_path: Path) -> None:
    write(tmp_path, CSV, "in/a.csv")
    write(tmp_path, "order,shipped_at,department,returned\nb,2023-01-01,shoes,0\n", "in/b.csv")
    with pytest.raises(SourceError, match=r"b\.csv lacks \['price'\], which .*a\.csv has"):
        rows(case(tmp_path / "in"))


def test_changed_file_is_read_again_and_an_unchanged_one_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tasks.data.files import delimited

    reads: list[Path] = []
    inspect = delimited.inspect

    def counted(path: Path, *rest: Any) -> Any:
        reads.append(path)
        return inspect(path, *rest)

    monkeypatch.setattr(delimited, "inspect", counted)
    of = case(write(tmp_path, CSV))
    assert len(rows(of)) == 3 and len(rows(of)) == 3 and len(reads) == 1
    write(tmp_path, f"{CSV}a4,2024-03-01 10:00,1,shoes,0\n")
    assert len(rows(of)) == 4 and len(reads) == 2


def test_labels_of_each_target(tmp_path: Path) -> None:
    path = write(tmp_path, CSV.replace("shoes,0", "shoes,no").replace("books,1", "books,yes"))
    with pytest.raises(BatchRefused, match="positive="):
        of = case(path)
        validate(of, "2024-01", source_of(of).read("2024-01"))
    of = case(path, Binary(label="returned", positive="yes"))
    good = validate(of, "2024-01", source_of(of).read("2024-01")).good
    assert good["returned"].to_list() == [0, 1]
    of = case(write(tmp_path, CSV), Classes(label="returned", classes=("0", "1", "2")))
    assert rows(of)["returned"].to_list() == ["0", "1", None]
    of = case(
        write(tmp_path, CSV.replace(",0\n", ',"1,5"\n').replace("12.5", '"12,5"')),
        Number(label="returned"),
    )
    assert rows(of)["returned"].to_list() == [1.5, 1, None]


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("encoding", "klingon", "no encoding 'klingon'"),
        ("time_zone", "Berlin", "no time zone 'Berlin'"),
        ("date_format", "DD.MM.YYYY", "no directive such as %Y"),
        ("separator", "::", "at most 1 character"),
        ("path", " ", "path"),
    ],
)
def test_impossible_statement_is_refused_when_the_use_case_is_loaded(
    field: str, value: str, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        FileSource(**{"path": "orders.csv", field: value})


@pytest.mark.slow("a million rows in a process of its own")
@pytest.mark.nightly("large data")
def test_a_million_rows_need_little_memory(tmp_path: Path) -> None:
    path = tmp_path / "orders.csv"
    with path.open("w") as file:
        file.write("order,shipped_at,price,department,returned\n")
        for start in range(0, 1_000_000, 1000):
            file.write(
                "".join(
                    f"order-{n:07d},2024-{1 + n * 12 // 1_000_000:02d}-01 10:00:00,{n}.25,"
                    f"department {n % 40},{n % 2}\n"
                    for n in range(start, start + 1000)
                )
            )
    code = (
        "import resource, sys; from pathlib import Path\n"
        "from tests.unit.tasks.data.files.test_file_source import case, source_of\n"
        "of = case(Path(sys.argv[1])); source = source_of(of)\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "assert len(source.periods()) == 12\n"
        "assert len(source.read('2024-05')) in (83333, 83334)\n"
        "print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True
    )
    assert int(done.stdout) < 600, "MB beyond the imports"


def with_kinds(path: Path, **source: Any) -> UseCase:
    """Orders with a boolean and a date."""
    orders = case(path, **source)
    columns = (
        Column(name="member", kind="boolean", nullable=True, null_tolerance=1),
        Column(name="born", kind="datetime", parts=("year",), nullable=True, null_tolerance=1),
    )
    return orders.model_copy(update={"columns": (*orders.columns, *columns)})


def read_kinds(
    folder: Path, shipped: list[str], member: list[str], born: list[str], **source: Any
) -> pl.DataFrame:
    lines = [
        f"a{number};{cells[0]};12,5;shoes;0;{cells[1]};{cells[2]}"
        for number, cells in enumerate(zip(shipped, member, born, strict=True))
    ]
    header = "order;shipped_at;price;department;returned;member;born"
    (folder / "orders.csv").write_text("\n".join([header, *lines]))
    return source_of(with_kinds(folder / "orders.csv", **source)).read("2024-01")


@pytest.mark.parametrize("words", [("true", "false"), ("TRUE", "FALSE"), ("T", "F"), ("1", "0")])
def test_booleans_as_python_r_and_databases_write_them(
    tmp_path: Path, words: tuple[str, str]
) -> None:
    shipped = ["13.01.2024", "14.01.2024", "15.01.2024", "16.01.2024"]
    rows = read_kinds(tmp_path, shipped, [*words, "", "yes"], [""] * 4)
    assert rows["member"].to_list() == [True, False, None, None]
    assert rows[REASON].to_list() == [None, None, None, "member: no boolean, such as 'yes'"]


def test_dates_are_read_by_their_own_order(tmp_path: Path) -> None:
    """A German file whose births are American, one of which can be read both ways."""
    born = ["12/31/1899", "04/05/1980", "12/31/9999", "soon"]
    shipped = ["13.01.2024", "14.01.2024", "15.01.2024", "16.01.2024"]
    rows = read_kinds(tmp_path, shipped, ["1"] * 4, born)
    expected = [datetime(1899, 12, 31), datetime(1980, 4, 5), datetime(9999, 12, 31), None]
    assert rows["born"].to_list() == expected
    assert rows[REASON].to_list()[3] == "born: no date, such as 'soon'"


def test_dates_that_can_be_read_both_ways_are_read_as_the_times_are(tmp_path: Path) -> None:
    rows = read_kinds(
        tmp_path, ["13.01.2024", "14.01.2024"], ["1"] * 2, ["04.05.1980", "01.02.1990"]
    )
    assert rows["born"].to_list() == [datetime(1980, 5, 4), datetime(1990, 2, 1)]
    with pytest.raises(
        SourceError, match="'born', such as .* can be read with the day or with the"
    ):
        read_kinds(tmp_path, ["2024-01-13"], ["1"], ["04/05/1980"])


def test_dates_of_several_zones_become_those_of_the_stated_one(tmp_path: Path) -> None:
    born = ["1980-05-04T23:30:00Z", "1980-05-04T23:30:00-05:00", "1980-05-04T23:30:00"]
    shipped = ["2024-01-13", "2024-01-14", "2024-01-15"]
    with pytest.raises(SourceError, match="'born', such as '1980.*have a zone.*state the zone"):
        read_kinds(tmp_path, shipped, ["1"] * 3, born)
    rows = read_kinds(tmp_path, shipped, ["1"] * 3, born, time_zone="Europe/Berlin")
    assert rows["born"].to_list() == [
        datetime(1980, 5, 5, 1, 30),
        datetime(1980, 5, 5, 6, 30),
        datetime(1980, 5, 4, 23, 30),
    ]
