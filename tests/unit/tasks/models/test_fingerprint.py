"""A change of the definition is noticed and named, and a change of its layout is none."""

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any, cast

import pytest
from usecases.toy import USE_CASE as TOY
from usecases.toy import logistic

from serving.package.manifest import Feature, Manifest
from tasks.models.fingerprint import changes_since, definition_digest, has_new_search, recipes_of
from usecases.definition import Candidate, Column, Layout, Range, Search, UseCase

LOGISTIC, BOOSTING = TOY.candidates


def changes(case: UseCase, recipes: str | None) -> tuple[str, ...]:
    """What has changed since a version with the toy's columns and this tag."""
    features = [Feature(column.name, column.kind, nullable=True) for column in TOY.columns]
    return changes_since(case, cast(Manifest, SimpleNamespace(features=features)), recipes)


def candidates(*changed: Candidate) -> UseCase:
    return TOY.model_copy(update={"candidates": changed})


def again(params: dict[str, Any], layout: Layout, seed: int):
    # A comment, and another layout.
    return logistic(
        params,
        layout,
        seed,
    )


AGAIN = again


class Builder:
    """A builder without a source of its own."""

    def __call__(self, params: Mapping[str, Any], layout: Layout, seed: int) -> Any:
        return logistic(dict(params), layout, seed)


def searched(trials: int = 8, high: float = 0.3) -> Candidate:
    search = Search(
        space={"learning_rate": Range(low=0.02, high=high)},
        resource=("max_iter", (10, 20)),
        trials=trials,
    )
    return BOOSTING.model_copy(update={"search": search})


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        (TOY, ()),
        (candidates(LOGISTIC), ("recipe boosting is gone", "the search of boosting is gone")),
        (
            candidates(LOGISTIC.model_copy(update={"params": {"C": 2.0}}), BOOSTING),
            ("recipe logistic has changed",),
        ),
        (
            candidates(LOGISTIC.model_copy(update={"build": again}), BOOSTING),
            ("recipe logistic has changed",),
        ),
        (candidates(LOGISTIC, searched()), ("the search of boosting has changed",)),
        (
            candidates(*TOY.candidates, Candidate(name="other", build=logistic)),
            ("recipe other is new",),
        ),
        (
            TOY.model_copy(
                update={"columns": (*TOY.columns[1:], Column(name="hour", kind="number"))}
            ),
            ("column hour is new", "column first is gone"),
        ),
        (TOY.model_copy(update={"promotion": TOY.promotion, "title": "Another"}), ()),
    ],
)
def test_what_has_changed_is_named(case: UseCase, expected: tuple[str, ...]) -> None:
    assert changes(case, recipes_of(TOY)) == expected


def test_a_version_from_before_the_tag_is_compared_by_its_columns() -> None:
    assert changes(candidates(LOGISTIC), None) == ()
    assert changes(TOY.model_copy(update={"columns": TOY.columns[1:]}), None) == (
        "column first is gone",
    )


def test_only_code_counts() -> None:
    def again(params: dict[str, Any], layout: Layout, seed: int):
        return logistic(params, layout, seed)

    assert recipes_of(candidates(Candidate(name="one", build=again))) == recipes_of(
        candidates(Candidate(name="one", build=AGAIN))
    )
    first, second = (recipes_of(candidates(Candidate(name="one", build=Builder()))) for _ in "ab")
    assert first == second


def test_how_many_trials_climb_at_once_is_no_new_search() -> None:
    case = candidates(LOGISTIC, searched())
    boosting = searched()
    assert boosting.search is not None
    many = boosting.model_copy(update={"search": boosting.search.model_copy(update={"at_once": 9})})
    assert recipes_of(candidates(LOGISTIC, many)) == recipes_of(case)


def test_hpo_has_something_to_find_in_a_new_search() -> None:
    before = recipes_of(candidates(LOGISTIC, searched()))
    for case in (candidates(LOGISTIC, searched(trials=9)), candidates(LOGISTIC, searched(high=1))):
        assert has_new_search(changes(case, before))
    assert not has_new_search(changes(candidates(LOGISTIC), before))
    assert has_new_search(
        changes(candidates(LOGISTIC, searched()), recipes_of(candidates(LOGISTIC)))
    )


def test_a_definition_has_one_digest_whatever_the_order_of_its_columns() -> None:
    columns = [("a", "number"), ("b", "category")]
    assert definition_digest(columns, "{}") == definition_digest(reversed(columns), "{}")
    assert definition_digest(columns, "{}") != definition_digest(columns[:1], "{}")
    assert definition_digest(columns, "{}") != definition_digest(columns, None)


def test_other_parts_of_a_date_are_noticed() -> None:
    """A champion that saw the hour is another model than one that sees the weekday too."""
    born = Column(name="born", kind="datetime", parts=("weekday", "hour"))
    case = TOY.model_copy(update={"columns": (born,)})
    seen, others = (
        cast(
            Manifest,
            SimpleNamespace(features=[Feature("born", "datetime", nullable=True, parts=parts)]),
        )
        for parts in (["weekday", "hour"], ["hour"])
    )
    assert changes_since(case, seen, None) == ()
    assert changes_since(case, others, None) == ("column born has changed",)
