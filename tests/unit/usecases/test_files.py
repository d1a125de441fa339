"""A file of a use case that cannot be used is told in a line, with file, line and remedy; the
others are used.
"""

from pathlib import Path

import pytest

import usecases
from usecases.definition import UseCaseError, known, load, load_all

# What a newcomer writes, whole and right: each test below spoils a part of it.
WRITTEN = """
from usecases.definition import ROC_AUC, LOG_LOSS, Candidate, Column, Direction, Gate, Guard, Metric
from usecases.definition import Promotion, Range, Search, SqlSource, UseCase

class Orders:
    def periods(self):
        return []

    def read(self, period):
        return None

def build(params, layout, seed):
    return None

USE_CASE = UseCase(
    name="{name}",
    title="Orders that are sent back",
    question="Will it be sent back?",
    source=Orders(),
    columns=(
        Column(name="price", kind="number", low=0, high=5000, typical=(10, 200)),
        Column(name="shop", kind="category"),
    ),
    label="returned",
    event_time="shipped_at",
    key=("order",),
    candidates=(Candidate(name="simple", build=build, params={{"C": 1.0}}),),
    gate=Gate(metric=ROC_AUC, threshold=0.7),
)
"""


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """A folder of a user's own, merged into ``usecases``."""
    monkeypatch.setattr(usecases, "__path__", [*usecases.__path__, str(tmp_path)])
    return tmp_path


def refusal(folder: Path, name: str, text: str) -> str:
    (folder / f"{name}.py").write_text(text)
    with pytest.raises(UseCaseError) as raised:
        load(name)
    assert "\n" not in str(raised.value)
    return str(raised.value)


def spoilt(name: str, part: str, other: str) -> str:
    text = WRITTEN.format(name=name)
    assert part in text
    return text.replace(part, other)


def test_file_that_is_right_is_loaded(folder):
    (folder / "written_right.py").write_text(WRITTEN.format(name="written_right"))
    assert load("written_right").column_names == ["price", "shop"]


RANGE = (
    'search=Search(space={"C": Range(low=0.1, high=1)}, resource=("max_iter", (10, 20)), trials=8)'
)
PARAMS = 'params={"C": 1.0}'


@pytest.mark.parametrize(
    ("part", "other", "message"),
    [
        ('key=("order",)', "key=()", "UseCase.key is ()"),
        (
            'key=("order",)',
            'key=("order")',
            "UseCase.key is the text 'order': write ('order',) with a comma",
        ),
        ('key=("order",)', 'key=("order", "order")', "key names columns twice: ['order']"),
        ('key=("order",)', 'key=("order", "returned")', "key contains the label 'returned'"),
        (
            'event_time="shipped_at"',
            'event_time="returned"',
            "label and event_time are both 'returned'",
        ),
        (
            "threshold=0.7",
            "threshold=70",
            "Gate: the threshold is 70, but roc_auc lies between 0 and 1; for 70 percent write 0.7",
        ),
        (
            "threshold=0.7",
            "threshold=0.99",
            "promotion.suspicious_score treats one above 0.97 as a leak",
        ),
        ("threshold=0.7", "threshold=float('nan')", "the threshold is nan"),
        (
            "metric=ROC_AUC",
            "metric=Metric(name='roc_auc', higher_is_better=False)",
            "a higher roc_auc is better: import ROC_AUC",
        ),
        (
            "low=0, high=5000",
            "low=5000, high=0",
            "column 'price': low to high is 5000 to 0, an empty range",
        ),
        ("typical=(10, 200)", "typical=(200, 10)", "column 'price': typical is 200 to 10"),
        (
            "typical=(10, 200)",
            "typical=(10, 9000)",
            "typical is impossible: 'price' must be 0.0 to 5000.0, not 9000",
        ),
        (
            "typical=(10, 200)",
            "null_tolerance=5",
            "Column.null_tolerance is 5: input should be less than or equal to 1",
        ),
        (
            'kind="category"',
            'kind="category", low=0',
            "column 'shop' is a category, but low are for numbers",
        ),
        (
            'kind="category"',
            'kind="string"',
            "Column.kind is 'string': input should be 'category' or 'number'",
        ),
        (
            'kind="category"',
            'kind="category", categories="EWR"',
            "Column.categories is the text 'EWR': write ('EWR',) with a comma",
        ),
        (
            'kind="category"',
            'kind="category", categories=("a", "a")',
            "has categories named twice: ['a']",
        ),
        (
            'name="shop"',
            'name="quarantine_reason"',
            "Laurel itself uses the column names ['quarantine_reason']",
        ),
        ("source=Orders()", "source=Orders", "source is the class Orders: write Orders()"),
        ("source=Orders()", "source='orders.csv'", "source is a str without periods and read()"),
        ("source=Orders()", "source=SqlSource(query=' ')", "SqlSource.query is ' '"),
        ("gate=Gate", "gates=Gate", "UseCase has no field 'gates'; did you mean 'gate'?"),
        ('title="Orders that are sent back",', "", "UseCase needs the field 'title'"),
        (
            '(Candidate(name="simple", build=build, params={"C": 1.0}),)',
            "()",
            "UseCase.candidates is ()",
        ),
        (
            "build=build, ",
            "build=lambda params, layout: None, ",
            "build of candidate 'simple' does not take (params, layout, seed)",
        ),
        (
            "build=build, ",
            "build='logistic', ",
            "Candidate.build is 'logistic': input should be callable",
        ),
        (PARAMS, 'params={"C": object()}', "params of candidate 'simple' are recorded as JSON"),
        (PARAMS, "baseline=False", "no baseline candidate"),
        (
            PARAMS,
            RANGE.replace("trials=8", "trials=0"),
            "Search.trials is 0: input should be greater than or equal to 1",
        ),
        (PARAMS, RANGE.replace("(10, 20)", "()"), "the rungs of 'max_iter' are ()"),
        (
            PARAMS,
            RANGE.replace("(10, 20)", "(20, 10)"),
            "the rungs of 'max_iter' are (20, 10): they must be one or more whole numbers above 0",
        ),
        (PARAMS, RANGE.replace("(10, 20)", "(0, 10)"), "the rungs of 'max_iter' are (0, 10)"),
        (
            PARAMS,
            RANGE.replace("low=0.1, high=1", "low=2, high=1"),
            "Range: low is 2 and high is 1: low comes first",
        ),
        (
            PARAMS,
            RANGE.replace("low=0.1", "log=True, low=0"),
            "Range: low is 0, but a logarithmic range begins above 0",
        ),
        (
            PARAMS,
            RANGE.replace("low=0.1", "integer=True, low=0.1"),
            "both ends must be integers",
        ),
        (
            PARAMS,
            RANGE.replace('"C"', '"max_iter"'),
            "'max_iter' is the resource that grows: remove it from space",
        ),
        (PARAMS, RANGE.replace('{"C": Range(low=0.1, high=1)}', "{}"), "Search.space is"),
        (
            "gate=Gate",
            "promotion=Promotion(guards=(Guard(metric=LOG_LOSS, tolerance=-1),)), gate=Gate",
            "Guard.tolerance is -1",
        ),
        (
            "gate=Gate",
            "promotion=Promotion(slices=('shop', 'shop')), gate=Gate",
            "slices named twice: ['shop']",
        ),
        (
            "gate=Gate",
            "behaviours=(Direction(name='x', column='price', add=0, moves='up'),), gate=Gate",
            "direction 'x' adds 0",
        ),
        ("gate=Gate", "decision_threshold=50, gate=Gate", "UseCase.decision_threshold is 50"),
        ("return None\n\nUSE_CASE", "return None\n\nuse_case", "has no constant USE_CASE"),
        (
            "threshold=0.7),\n)",
            "threshold=0.7),\n),",
            "USE_CASE is a tuple, not a UseCase. Is there a comma after the last parenthesis?",
        ),
    ],
)
def test_mistake_is_told_in_a_line_with_its_file_when_it_is_loaded(
    folder, request, part, other, message
):
    # a module of its own: what was imported once stays
    name = f"spoilt_{abs(hash(request.node.name)) % 10**9}"
    text = refusal(folder, name, spoilt(name, part, other))
    assert f"usecases/{name}.py" in text and message in text


@pytest.mark.parametrize(
    ("text", "place", "message"),
    [
        ("x = 1\ndef (:\n", " line 2: ", "SyntaxError: invalid syntax. Correct the file."),
        (
            "\nimport no_such_library\n",
            " line 2: ",
            "No module named 'no_such_library'. Install it beside Laurel",
        ),
        (
            "from usecases.definition import Colum\n",
            " line 1: ",
            "ImportError: cannot import name 'Colum'",
        ),
        ("\n\n1 / 0\n", " line 3: ", "ZeroDivisionError: division by zero"),
        ("import sys\nsys.exit('done')\n", " line 2: ", "SystemExit: done"),
        (
            "def clean(rows):\n    return rows\n",
            " has no constant USE_CASE",
            "rename a helper to _",
        ),
        (
            "USE_CASE = {}\n",
            ": USE_CASE is a dict, not a UseCase",
            "Write USE_CASE = UseCase(...).",
        ),
    ],
)
def test_file_that_cannot_be_imported_is_told_with_its_line(folder, request, text, place, message):
    name = f"broken_{abs(hash(request.node.name)) % 10**9}"
    refused = refusal(folder, name, text)
    assert refused.startswith(f"usecases/{name}.py{place}") and message in refused


def test_line_is_that_of_the_helper_where_the_fault_is(folder):
    (folder / "_shared_by_broken.py").write_text("\n\nimport no_such_library\n")
    assert refusal(folder, "needs_helper", "import usecases._shared_by_broken\n").startswith(
        "usecases/_shared_by_broken.py line 3: "
    )


def test_part_that_was_changed_without_a_check_is_checked(folder):
    text = """
from usecases.flights import USE_CASE as FLIGHTS
GATE = FLIGHTS.gate.model_copy(update={"threshold": 75})
USE_CASE = FLIGHTS.model_copy(update={"name": "unchecked_copy", "gate": GATE})
"""
    assert "the threshold is 75" in refusal(folder, "unchecked_copy", text)


def test_names_that_cannot_be_are_told_and_the_others_are_loaded(
    folder, tmp_path_factory, monkeypatch
):
    other = tmp_path_factory.mktemp("other")
    monkeypatch.setattr(usecases, "__path__", [*usecases.__path__, str(other)])
    for path in (
        folder / "my-case.py",
        folder / "2churn.py",
        folder / "Churn.py",
        folder / "log.py",
        folder / "old.v2.py",
    ):
        path.write_text("")
    for place in (folder, other):
        (place / "twice.py").write_text("")
    cases, faults = load_all(known())
    assert "flights" in cases
    assert set(faults) == {"my-case", "2churn", "Churn", "log", "old.v2", "twice"}
    assert (
        "'my-case' is no valid use case name: use a-z, digits and _, with a letter first, "
        "such as 'my_case'"
    ) in str(faults["my-case"])
    assert "'log' is reserved by Laurel" in str(faults["log"])
    assert str(faults["twice"]) == (
        f"{folder / 'twice.py'} and {other / 'twice.py'} are both named 'twice': rename one "
        "of them."
    )


SIMPLE = 'Candidate(name="simple", build=build, params={"C": 1.0})'


@pytest.mark.parametrize(
    ("part", "other", "remedy"),
    [
        (
            f"({SIMPLE},)",
            f"({SIMPLE})",
            "candidates is a Candidate without a comma after it: write (Candidate(...),)",
        ),
        (
            "gate=Gate(metric=ROC_AUC, threshold=0.7)",
            "gate=Gate(metric=ROC_AUC, threshold=0.7), "
            "promotion=Promotion(guards=Guard(metric=LOG_LOSS, tolerance=0.1))",
            "guards is a Guard without a comma after it: write (Guard(...),)",
        ),
        (
            "metric=ROC_AUC",
            'metric="roc_auc"',
            "Gate.metric is 'roc_auc': write ROC_AUC, LOG_LOSS, BRIER, CALIBRATION_ERROR, ACCURACY",
        ),
        (
            "gate=Gate(metric=ROC_AUC, threshold=0.7)",
            "gate=0.7",
            "UseCase.gate is 0.7: write Gate(...)",
        ),
        (
            "build=build",
            "build=build({}, None, 0)",
            "name the function, without quotes and parentheses",
        ),
    ],
)
def test_slip_of_a_newcomer_has_one_remedy(
    folder: Path, part: str, other: str, remedy: str
) -> None:
    message = refusal(folder, "slip", spoilt("slip", part, other))
    assert remedy in message
    assert ";" not in message


def test_file_that_an_editor_or_macos_left_is_no_use_case(folder: Path) -> None:
    before = known()
    (folder / "._returns.py").write_bytes(b"\0\5")
    (folder / ".#returns.py").symlink_to("somebody@machine.1234")
    assert known() == before
