"""The model libraries beside scikit-learn: what is set for their estimators, and what of them
cannot be served. Each is an extra of pyproject.toml, and nothing here imports it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tasks.models.weights import fit_arguments


@dataclass(frozen=True)
class Library:
    """``settings`` are set unless build has set them: by the names that a parameter goes by, of
    which the first is set. ``seeds`` and ``threads`` are such names too. ``rounds`` are the names
    of the number of trees. ``refusals``: a parameter, which of its values are refused, and what to
    do."""

    settings: Mapping[tuple[str, ...], Any]
    seeds: tuple[str, ...]
    threads: tuple[str, ...]
    rounds: tuple[str, ...]
    refusals: tuple[tuple[str, Callable[[Any], bool], str], ...]


def _is_number(value: Any) -> bool:
    return value == value


_OWN_OBJECTIVE = "Name one of the library's own: what a function does cannot be read from a model."
_NO_CODES = "Leave the codes as numbers."

LIBRARIES: Mapping[str, Library] = {
    "lightgbm": Library(
        # deterministic keeps a fit the same for any number of threads, if rows or columns are
        # chosen beforehand.
        settings={
            ("deterministic",): True,
            ("force_row_wise", "force_col_wise"): True,
            ("verbosity", "verbose"): -1,
        },
        seeds=("random_state", "seed", "random_seed"),
        threads=("n_jobs", "num_threads", "num_thread", "nthread", "nthreads"),
        rounds=("n_estimators",),
        refusals=(
            ("objective", callable, _OWN_OBJECTIVE),
            ("boosting_type", lambda value: value not in ("gbdt", "dart"), "Use gbdt or dart."),
            ("boosting", lambda value: value not in ("gbdt", "dart"), "Use gbdt or dart."),
            ("linear_tree", bool, "Leave it out: a leaf of a served tree is a number."),
            ("linear_trees", bool, "Leave it out: a leaf of a served tree is a number."),
        ),
    ),
    "xgboost": Library(
        settings={("verbosity",): 1},
        seeds=("random_state", "seed"),
        threads=("n_jobs", "nthread"),
        rounds=("n_estimators",),
        refusals=(
            ("objective", callable, _OWN_OBJECTIVE),
            ("booster", lambda value: value == "gblinear", "Use gbtree or dart."),
            (
                "multi_strategy",
                lambda value: value == "multi_output_tree",
                "Use one_output_per_tree.",
            ),
            ("missing", _is_number, "Leave it out: null numbers are NaN already."),
            ("enable_categorical", bool, _NO_CODES),
            ("feature_types", bool, _NO_CODES),
        ),
    ),
    "catboost": Library(
        settings={
            ("allow_writing_files",): False,  # no folder catboost_info
            ("logging_level", "verbose", "silent", "verbose_eval"): "Silent",
        },
        seeds=("random_seed", "random_state"),
        threads=("thread_count",),
        rounds=("iterations", "n_estimators", "num_boost_round", "num_trees"),
        refusals=(
            ("loss_function", lambda value: not isinstance(value, str), _OWN_OBJECTIVE),
            ("objective", lambda value: not isinstance(value, str), _OWN_OBJECTIVE),
            ("cat_features", bool, _NO_CODES),
            ("text_features", bool, _NO_CODES),
            ("embedding_features", bool, _NO_CODES),
        ),
    ),
}


def is_of(model: Any, package: str) -> bool:
    """Return whether the class of ``model``, or one that it inherits from, is of ``package``."""
    return any(kind.__module__.partition(".")[0] == package for kind in type(model).__mro__)


def library_of(model: Any) -> Library | None:
    """Return the library of ``model``; none for scikit-learn's own."""
    return next((LIBRARIES[name] for name in LIBRARIES if is_of(model, name)), None)


def configure(model: Any, seed: int) -> Any:
    """Return ``model`` with what build has left open and must not depend on the machine: the seed,
    one thread, no output and no files."""
    library = library_of(model)
    if library is None:
        return model
    defaults = {**library.settings, library.seeds: seed, library.threads: 1}
    given = {name for name, value in model.get_params().items() if value is not None}
    return model.set_params(
        **{names[0]: value for names, value in defaults.items() if names and not given & {*names}}
    )


def counts_trees(model: Any, resource: str) -> bool:
    """Return whether ``resource`` is the number of trees of a library's ``model``."""
    library = library_of(model)
    return library is not None and resource in library.rounds


def refit(
    model: Any,
    resource: str,
    rounds: int,
    matrix: np.ndarray,
    labels: np.ndarray,
    weights: np.ndarray | None,
) -> Any:
    """Return a new fit of ``model`` with so many trees, on one thread.

    Going on with a fit is no way: where rows are sampled, LightGBM's ``init_model`` and XGBoost's
    ``xgb_model`` answer differently from one long fit."""
    from sklearn.base import clone

    library = library_of(model)
    given = model.get_params()
    threads = [name for name in library.threads if given.get(name) is not None] if library else []
    alone = {resource: rounds, **dict.fromkeys(threads, 1)}
    new = clone(model).set_params(**alone)
    return new.fit(matrix, labels, **fit_arguments(new, weights))
