"""What newcomers write wrong, and data that are not as they say: each is found without a server,
with the line and what to do."""

import pytest

from tasks.checks.course import run_checks
from tasks.checks.finding import Finding

pytestmark = pytest.mark.usefixtures("one_thread")

READ = '.with_columns(pl.col("placed").str.to_datetime())'
CITY = 'Column(name="city", kind="category")'
CANDIDATE = 'Candidate(name="logistic", build=build)'


def changed(columns: str) -> tuple[str, str]:
    """The source returns the rows with other columns."""
    return READ, f"{READ}.with_columns({columns})"


BROKEN = {
    "the target is missing": (
        [(READ, f'{READ}.rename({{"returned": "was_returned"}})')],
        ("schema", "wrong"),
        "target=Binary",
        "column 'returned' is missing; was it renamed to 'was_returned'?",
        "",
    ),
    "one class": (
        [changed("returned=pl.lit(0)")],
        ("labels", "wrong"),
        "target=Binary",
        "'returned' is 0 in all of them",
        "check the source and the target",
    ),
    "a constant number": (
        [changed("amount=pl.lit(3.0)")],
        ("columns", "look"),
        'name="amount"',
        "'amount' is 3.0 in all rows",
        "remove it",
    ),
    "a leak": (
        [changed('amount=pl.col("returned") + pl.col("amount") / 100')],
        ("leak", "wrong"),
        'name="amount"',
        "amount: ROC AUC 1.00 alone, next 0.",
        "Write trusted=True",
    ),
    "a candidate that raises in fit": (
        [(CANDIDATE, f'{CANDIDATE[:-1]}, params={{"C": -1.0}})')],
        ("fit", "wrong"),
        CANDIDATE[:-1],
        "The 'C' parameter of LogisticRegression must be",
        "",
    ),
    "a candidate that cannot be served": (
        [
            ("import LogisticRegression", "import LogisticRegression\n    from "
             "sklearn.preprocessing import FunctionTransformer"),
            ("SimpleImputer(), Log", "SimpleImputer(), FunctionTransformer(np.abs), Log"),
        ],
        ("fit", "wrong"),
        CANDIDATE[:-1],
        "FunctionTransformer",
        "",
    ),
    "a gate that is never reached": (
        [("threshold=0.7", "threshold=0.95")],
        ("score", "wrong"),
        "gate=Gate",
        "gate >= 0.95",
        "Otherwise better columns or candidates, or a lower gate.",
    ),
    "a hold-out that is too small": (
        [("ROWS = 700", "ROWS = 150")],
        ("hold-out", "look"),
        "promotion=",
        "150 labelled rows in 28 blocks; the rule requires at least 500",
        "collect more, or lower Promotion(minimum_rows=...)",
    ),
    "a hold-out that should have more periods": (
        [("ROWS = 700", "ROWS = 400")],
        ("hold-out", "look"),
        "promotion=",
        "400 labelled rows in 28 blocks; the rule requires at least 500",
        "Write Promotion(holdout_periods=2).",
    ),
    "a column of nulls": (
        [
            changed("amount=pl.lit(None, dtype=pl.Float64)"),
            ('name="amount", kind="number"', 'name="amount", kind="number", nullable=True, '
             "null_tolerance=1"),
        ],
        ("columns", "wrong"),
        'name="amount"',
        "'amount' is null in all 4,200 rows",
        "repair the source, or remove the column",
    ),
    "nulls beyond tolerance": (
        [changed('amount=pl.when(pl.col("age") > 0).then("amount")'),
         ('name="amount", kind="number"', 'name="amount", kind="number", nullable=True')],
        ("schema", "wrong"),
        'name="amount"',
        "tolerated 5.0%",
        "",
    ),
    "a category for each row": (
        [changed('city=pl.col("order")')],
        ("columns", "look"),
        'name="city"',
        "'city' has 4,200 categories in 4,200 rows",
        "An id? Remove it",
    ),
    "text in a number": (
        [changed('age=pl.col("city")')],
        ("schema", "wrong"),
        'name="age"',
        "column 'age' holds String, expected a number",
        "",
    ),
    "values out of bounds": (
        [("low=-10, high=10", "low=-1.4, high=10")],
        ("schema", "look"),
        'name="age"',
        "4,200 rows of all: ",
        "age: outside -1.4 to 10. Widen",
    ),
    "periods with a gap": (
        [("range(1, 7)]", 'range(1, 7) if month not in (3, 4)]')],
        ("source", "look"),
        "source=Orders()",
        "4 months, 2024-01 to 2024-06, without 2 months: 2024-03, 2024-04",
        "Rows of that time are missing",
    ),
    "one period": (
        [("range(1, 7)]", "range(1, 2)]")],
        ("source", "wrong"),
        "source=Orders()",
        "It has one complete month, 2024-01.",
        'period="week"',
    ),
    "an exception in read": (
        [("        return rows\n", '        return rows["2024"]["x"]\n')],
        ("schema", "wrong"),
        'return rows["2024"]',
        "ColumnNotFoundError",
        "must return a Polars frame",
    ),
    "a missing extra": (
        [("        return rows\n", "        raise ModuleNotFoundError(\"No module named "
          "'deltalake'\")\n")],
        ("schema", "wrong"),
        "raise ModuleNotFoundError",
        "No module named 'deltalake'",
        "pip install deltalake==",
    ),
    "a syntax error": (
        [("    columns=(\n", "    columns=((\n")],
        ("load", "wrong"),
        "USE_CASE = UseCase(",
        "SyntaxError: '(' was never closed",
        "Correct the file",
    ),
    "an unknown field": (
        [("    gate=Gate", "    gates=Gate")],
        ("load", "wrong"),
        "USE_CASE = UseCase(",
        "UseCase has no field 'gates'; did you mean 'gate'?",
        "",
    ),
    "no labels yet": (
        [changed("returned=pl.lit(None, dtype=pl.Int8)")],
        ("labels", "wrong"),
        "target=Binary",
        "0 months have labels",
        "wait for labels",
    ),
    "too few rows to train on": (
        [("ROWS = 700", "ROWS = 35")],
        ("hold-out", "wrong"),
        "promotion=",
        "175 labelled rows are before 2024-06",
        "200 are needed",
    ),
    "a behaviour that fails": (
        [("    promotion=", '    behaviours=(Invariance(name="age is a detail", column="age", '
          "to=(-3, 3), tolerance=0.01),),\n    promotion=")],
        ("behaviour", "wrong"),
        "age is a detail",
        "'age is a detail' fails with age set to -3.0, 3.0",
        "relax the test",
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", BROKEN)
def test_what_is_broken_is_told_with_its_line_and_remedy(written, fault: str) -> None:
    changes, (check, state), line, sentence, remedy = BROKEN[fault]
    name, text = written(*changes)
    findings = run_checks(name, rows=4000)
    told = next(found for found in findings if (found.check, found.state) == (check, state))
    assert sentence in told.sentence
    assert remedy in told.remedy
    place, _, number = told.place.rpartition(":")
    assert place == f"usecases/{name}.py"
    assert line in text.splitlines()[int(number) - 1]


def test_what_is_right_has_no_fault(written) -> None:
    name, _ = written()
    findings = by_check(list(run_checks(name, rows=4000)))
    assert {check: found.state for check, found in findings.items() if found.state != "ok"} in (
        {},
        {"drift": "look"},
        {"contest": "look", "drift": "look"},
    )


def test_a_trusted_column_is_no_leak(written) -> None:
    leak = changed('amount=pl.col("returned") + pl.col("amount") / 100')
    trusted = ('name="amount", kind="number"', 'name="amount", kind="number", trusted=True')
    wide = ("    promotion=Promotion(", "    promotion=Promotion(suspicious_score=1.0, ")
    name, _ = written(leak, trusted, wide)
    assert by_check(list(run_checks(name, rows=4000)))["leak"].state == "ok"


def test_checks_that_need_a_failed_one_are_not_made_and_never_fine(written) -> None:
    name, _ = written(changed("returned=pl.lit(0)"))
    findings = by_check(list(run_checks(name, rows=4000)))
    for check in ("hold-out", "fit", "ONNX", "score", "contest", "behaviour", "leak", "cost"):
        assert findings[check].state == "not checked"
        assert findings[check].sentence.startswith(("since ", "logistic: since "))
    assert findings["source"].state == findings["drift"].state.replace("look", "ok") == "ok"


def test_one_candidate_that_fails_leaves_the_other_to_be_judged(written) -> None:
    both = f'{CANDIDATE},\n        Candidate(name="bad", build=build, params={{"C": -1.0}})'
    name, text = written((CANDIDATE, both))
    findings = list(run_checks(name, rows=4000))
    states = [(found.check, found.state) for found in findings if found.check in ("fit", "score")]
    assert states == [("fit", "ok"), ("fit", "wrong"), ("score", "ok")]
    bad, *others = (found for found in findings if found.state == "wrong")
    assert not others
    assert 'name="bad"' in text.splitlines()[int(bad.place.rpartition(":")[2]) - 1]


def by_check(findings: list[Finding]) -> dict[str, Finding]:
    return {finding.check: finding for finding in findings}
