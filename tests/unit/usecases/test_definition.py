"""A use case that contradicts itself fails when it is imported, and an unknown name is answered
with the known ones.
"""

from pathlib import Path

import pytest
from pydantic import ValidationError

import usecases
from usecases.definition import (
    LOG_LOSS,
    ROC_AUC,
    Candidate,
    Column,
    Gate,
    Promotion,
    UseCase,
    UseCaseError,
    known,
    load,
)


class NoRows:
    def periods(self):
        return []

    def read(self, period):
        raise AssertionError("not read here")


def build(params, layout, seed):
    raise AssertionError("not built here")


def use_case(**changes):
    parts = {
        "name": "parcels",
        "title": "Late parcels",
        "question": "Late?",
        "source": NoRows(),
        "columns": (
            Column(name="weight", kind="number"),
            Column(name="shop", kind="category"),
            Column(name="hour", kind="number"),
        ),
        "label": "late",
        "event_time": "sent",
        "key": ("id",),
        "candidates": (
            Candidate(name="simple", build=build),
            Candidate(name="strong", build=build, baseline=False),
        ),
        "gate": Gate(metric=ROC_AUC, threshold=0.7),
    }
    return UseCase(**{**parts, **changes})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {
                "columns": (
                    Column(name="weight", kind="number"),
                    Column(name="weight", kind="number"),
                )
            },
            "columns named twice",
        ),
        ({"label": "weight"}, "'weight' is not known when predicting"),
        ({"event_time": "hour"}, "'hour' is not known when predicting"),
        ({"promotion": Promotion(slices=("country",))}, "slices are not columns"),
        (
            {"candidates": (Candidate(name="strong", build=build, baseline=False),)},
            "no baseline candidate",
        ),
        (
            {
                "candidates": (
                    Candidate(name="simple", build=build),
                    Candidate(name="simple", build=build),
                )
            },
            "candidates named twice",
        ),
        ({"source": "flights.csv"}, "source"),
        ({"treshold": 0.5}, "treshold"),
    ],
)
def test_a_contradiction_is_refused_by_name(changes, message):
    with pytest.raises(ValidationError, match=message):
        use_case(**changes)


def test_a_use_case_cannot_be_changed_afterwards():
    with pytest.raises(ValidationError, match="frozen"):
        use_case().label = "early"


def test_the_matrix_has_the_categories_first():
    case = use_case()
    assert [column.name for column in case.matrix_columns] == ["shop", "weight", "hour"]
    assert case.layout.categories == (0,)
    assert case.layout.numbers == (1, 2)
    assert case.column_names == ["weight", "shop", "hour"]


def test_an_unknown_candidate_is_answered_with_the_known_ones():
    with pytest.raises(
        UseCaseError, match=r"'parcels' has no candidate 'strnog'; it has \['simple', 'strong'\]"
    ):
        use_case().candidate("strnog")


def test_a_metric_knows_its_direction():
    assert ROC_AUC.gain(0.8, 0.7) == pytest.approx(0.1)
    assert LOG_LOSS.gain(0.4, 0.5) == pytest.approx(0.1)
    assert Gate(metric=ROC_AUC, threshold=0.75).passes(0.75)
    assert not Gate(metric=ROC_AUC, threshold=0.75).passes(0.7499)
    assert not Gate(metric=LOG_LOSS, threshold=0.5).passes(0.51)


@pytest.mark.parametrize("metric", [ROC_AUC, LOG_LOSS])
def test_no_gate_lets_an_undefined_score_through(metric):
    assert not Gate(metric=metric, threshold=0.5).passes(float("nan"))


def test_known_names_leave_out_the_definition_and_private_modules():
    assert "flights" in known()
    assert "definition" not in known()
    assert not [name for name in known() if name.startswith("_")]


def test_an_unknown_name_is_answered_with_the_known_ones_and_the_nearest():
    with pytest.raises(UseCaseError) as error:
        load("flihgts")
    assert "Unknown use case 'flihgts'" in str(error.value)
    assert ", ".join(known()) in str(error.value)
    assert "Did you mean 'flights'?" in str(error.value)


def test_nothing_is_guessed_for_a_name_that_is_near_to_none():
    with pytest.raises(UseCaseError) as error:
        load("zzzzzz")
    assert "Did you mean" not in str(error.value)


@pytest.fixture
def own_folder(tmp_path, monkeypatch) -> Path:
    """A folder whose modules are use cases too, as in a user's own repository."""
    monkeypatch.setattr(usecases, "__path__", [*usecases.__path__, str(tmp_path)])
    return tmp_path


def test_a_file_without_the_constant_is_named(own_folder):
    (own_folder / "without_constant.py").write_text("USECASE = 1\n")
    with pytest.raises(
        UseCaseError, match=r"usecases/without_constant.py has no constant USE_CASE"
    ):
        load("without_constant")


def test_name_and_file_must_agree(own_folder):
    (own_folder / "other_name.py").write_text("from usecases.flights import USE_CASE as USE_CASE\n")
    with pytest.raises(
        UseCaseError, match=r"usecases/other_name.py defines a use case named 'flights'"
    ):
        load("other_name")
