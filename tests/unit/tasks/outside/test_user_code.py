"""What a stranger's first use case does wrong is told by its name, function and remedy, before
minutes of work.
"""

import socket
import urllib.request
from datetime import date
from typing import Any

import httpx
import numpy as np
import pandas as pd
import polars as pl
import pytest
from usecases.toy import toy_rows

from tasks.data.sources import source_of
from tasks.models import modelling
from tasks.models.tuning import check_search
from tasks.outside.user_code import UseCaseFailed
from tasks.packages.exporters.exporter import NotConvertible
from tasks.packages.rehearsal import draw_sample, rehearse
from usecases.definition import Candidate, Range, Search, SourceAway, SourceError, UseCase

ROWS = toy_rows("2024-01", rows_a_day=20)


class Given:
    """A source that gives what a test says, or raises it."""

    def __init__(self, periods: Any = (), read: Any = None) -> None:
        self.answers = {"periods": periods, "read": read}

    def _answer(self, name: str) -> Any:
        answer = self.answers[name]
        if isinstance(answer, Exception):
            raise answer
        return answer() if callable(answer) else answer

    def periods(self) -> Any:
        return self._answer("periods")

    def read(self, period: str) -> Any:
        return self._answer("read")


def source(case: UseCase, **answers: Any) -> Any:
    return source_of(case.model_copy(update={"source": Given(**answers)}))


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (
            None,
            "toy: periods() returned None (is a return missing?). periods() must return the "
            "complete months",
        ),
        ("2024-01", "periods() returned '2024-01' (str)"),
        ({"2024-01": 1}, "periods() returned a dict"),
        (["2024-1"], "periods() returned '2024-1' (str): write '2024-01'"),
        (["202401"], "periods() returned '202401' (str): write '2024-01'"),
        (["2024-01-31"], "periods() returned '2024-01-31' (str): write '2024-01'"),
        (["2024-13"], "periods() returned '2024-13' (str). "),
        ([date(2024, 1, 1)], "write period.strftime('%Y-%m')"),
        ([2024], "periods() returned 2024 (int)"),
        (["2024-01", "2024-01"], "periods() names ['2024-01'] twice"),
        (
            KeyError("month"),
            "toy: periods() failed: KeyError: 'month'. periods() must return the complete months",
        ),
    ],
)
def test_periods_that_are_no_months_are_told_with_what_to_write(
    case: UseCase, answer: Any, message: str
) -> None:
    with pytest.raises(UseCaseFailed) as raised:
        source(case, periods=answer).periods()
    assert message in str(raised.value)


@pytest.mark.parametrize(
    "answer",
    [
        ["2024-02", "2024-01"],
        ("2024-01", "2024-02"),
        pl.Series(["2024-01", "2024-02"]),
        {"2024-01", "2024-02"},
    ],
)
def test_periods_come_oldest_first_from_whatever_holds_them(case: UseCase, answer: Any) -> None:
    assert source(case, periods=answer).periods() == ["2024-01", "2024-02"]


async def read_later() -> pl.DataFrame:
    return ROWS


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (None, "toy: read('2024-01') returned None (is a return missing?)"),
        (
            pd.DataFrame({"a": [1]}),
            "returned a pandas.DataFrame: write return polars.from_pandas(frame). read(period) "
            "must return a Polars frame",
        ),
        (ROWS.lazy(), "returned a polars.LazyFrame: write return frame.collect()"),
        (ROWS.to_arrow(), "returned a pyarrow.Table: write return polars.from_arrow(table)"),
        ([{"a": 1}], "returned a list: write return polars.DataFrame(rows)"),
        (
            np.zeros((2, 2)),
            "returned a numpy.ndarray: write return polars.DataFrame(matrix, schema=names)",
        ),
        (read_later, "returned a coroutine: write def instead of async def"),
        (
            ZeroDivisionError("division by zero"),
            "toy: read('2024-01') failed: ZeroDivisionError: division by zero. read(period) must",
        ),
        (
            FileNotFoundError(2, "No such file", "orders.csv"),
            "FileNotFoundError: [Errno 2] No such file: 'orders.csv'",
        ),
    ],
)
def test_rows_that_are_no_polars_frame_are_told_with_the_conversion(
    case: UseCase, answer: Any, message: str
) -> None:
    with pytest.raises(UseCaseFailed) as raised:
        source(case, read=answer).read("2024-01")
    assert message in str(raised.value)


def refused_connection() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    socket.create_connection(("127.0.0.1", port))


def refused_request() -> None:
    httpx.get("http://127.0.0.1:1", trust_env=False)


def refused_url() -> None:
    urllib.request.build_opener(urllib.request.ProxyHandler({})).open("http://127.0.0.1:1")


def wrapped() -> None:
    try:
        refused_connection()
    except OSError as error:
        raise RuntimeError("the shop's database") from error


@pytest.mark.parametrize(
    "answer",
    [
        refused_connection,
        refused_request,
        refused_url,
        wrapped,
        TimeoutError("timed out"),
        OSError(113, "No route to host"),
    ],
)
def test_outage_of_a_source_is_one_that_is_waited_for(case: UseCase, answer: Any) -> None:
    with pytest.raises(
        SourceAway,
        match=r"toy: read\('2024-01'\) cannot reach its source now.*start the run again",
    ):
        source(case, read=answer).read("2024-01")


def test_own_words_of_a_source_are_not_changed(case: UseCase) -> None:
    with pytest.raises(SourceError, match="^the export of January is missing$"):
        source(case, read=SourceError("the export of January is missing")).read("2024-01")


def test_original_error_is_kept(case: UseCase) -> None:
    with pytest.raises(UseCaseFailed) as raised:
        source(case, read=KeyError("price")).read("2024-01")
    assert isinstance(raised.value.__cause__, KeyError)


def candidate(make: Any, **changes: Any) -> Candidate:
    return Candidate(name="own", build=lambda params, layout, seed: make(**params), **changes)


def refusal(
    case: UseCase, own: Candidate, kind: type[Exception] = UseCaseFailed, rows: pl.DataFrame = ROWS
) -> str:
    with pytest.raises(kind) as raised:
        rehearse(case, own, own.params, rows, seed=0)
    return str(raised.value)


def test_model_of_another_kind_is_refused_when_it_is_built(case: UseCase) -> None:
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.svm import SVC, LinearSVC

    assert (
        "returned a HistGradientBoostingRegressor, which is no classifier. build(params, layout, "
        "seed) must return an unfitted scikit-learn classifier with predict_proba for a Binary"
    ) in refusal(case, candidate(HistGradientBoostingRegressor))
    assert (
        "returned a LinearSVC without predict_proba: wrap it in CalibratedClassifierCV"
        in refusal(case, candidate(LinearSVC))
    )
    undecided = candidate(lambda: make_pipeline(SimpleImputer(), SVC()))
    assert "candidate 'own' is fitted to a Pipeline without predict_proba" in refusal(
        case, undecided
    )
    assert (
        "returned the class HistGradientBoostingClassifier: write "
        "HistGradientBoostingClassifier(**params)"
    ) in refusal(case, candidate(lambda: HistGradientBoostingClassifier))
    assert "build of candidate 'own' with {} returned None (is a return missing?)" in refusal(
        case, candidate(lambda: None)
    )
    assert "returned a dict" in refusal(case, candidate(dict))


def test_parameter_that_the_estimator_does_not_have_is_named(case: UseCase) -> None:
    from sklearn.ensemble import HistGradientBoostingClassifier

    message = refusal(case, candidate(HistGradientBoostingClassifier, params={"lerning_rate": 0.1}))
    assert "toy: build of candidate 'own' with {'lerning_rate': 0.1} failed: TypeError" in message
    assert "'lerning_rate'" in message and "not a parameter of build's estimator" in message


@pytest.mark.parametrize(
    ("space", "resource", "message"),
    [
        (
            {"lerning_rate": Range(low=0.1, high=0.2)},
            ("max_iter", (10, 20)),
            "unexpected keyword argument 'lerning_rate'",
        ),
        (
            {"learning_rate": Range(low=0.1, high=0.2)},
            ("n_estimators", (10, 20)),
            "has no parameter 'n_estimators'. Name one that grows",
        ),
    ],
)
def test_search_that_the_estimator_cannot_follow_is_told_without_a_fit(
    case: UseCase, space: Any, resource: Any, message: str
) -> None:
    from sklearn.ensemble import HistGradientBoostingClassifier

    own = candidate(
        HistGradientBoostingClassifier, search=Search(space=space, resource=resource, trials=2)
    )
    with pytest.raises(UseCaseFailed, match=message):
        check_search(case, own, seed=0)
    assert message in refusal(case, own)


def test_search_of_a_model_that_cannot_grow_is_told(case: UseCase) -> None:
    from sklearn.svm import SVC

    own = candidate(
        lambda **params: SVC(probability=True, **params),
        search=Search(space={"C": Range(low=1, high=2)}, resource=("max_iter", (5, 9))),
    )
    assert "the SVC that build returns has no parameter 'warm_start'" in refusal(case, own)


@pytest.mark.slow("searches for seconds")
def test_search_of_the_use_cases_that_are_there_passes(case: UseCase) -> None:
    for own in case.candidates:
        check_search(case, own, seed=0)
        assert rehearse(case, own, own.params, ROWS, seed=0)


def without_nulls(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.with_columns(pl.col("second").fill_null(0))


def test_model_that_is_not_converted_is_told_before_anything_is_fitted(case: UseCase) -> None:
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline

    own = candidate(lambda: make_pipeline(SimpleImputer(), LinearDiscriminantAnalysis()))
    assert (
        "build of candidate 'own' with {} returned a Pipeline with a LinearDiscriminantAnalysis "
        "inside, which has other probabilities in ONNX. Use LogisticRegression"
    ) in refusal(case, own)


def test_trees_that_learned_nulls_are_told_before_they_are_trained(case: UseCase) -> None:
    from sklearn.compose import ColumnTransformer
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.pipeline import make_pipeline

    own = candidate(
        lambda: make_pipeline(
            ColumnTransformer([("all", "passthrough", [0, 1, 2, 3])]), RandomForestClassifier(5)
        )
    )
    assert "toy: candidate 'own' cannot be served: RandomForestClassifier trained on" in refusal(
        case, own, NotConvertible
    )


def test_model_that_cannot_be_saved_is_told_before_anything_is_fitted(case: UseCase) -> None:
    from sklearn.ensemble import HistGradientBoostingClassifier

    class Own(HistGradientBoostingClassifier):
        """Of the use case's own file."""

    message = refusal(case, candidate(Own))
    assert "returned a Own that comes from 'tests'" in message
    assert "bring its ONNX yourself: Candidate(export=...)" in message


def test_model_that_refuses_nulls_is_told_though_the_training_rows_have_none(case: UseCase) -> None:
    from sklearn.linear_model import LogisticRegression

    message = refusal(case, candidate(LogisticRegression), rows=without_nulls(ROWS))
    assert (
        "candidate 'own' on rows with nulls and unknown categories failed: ValueError: Input "
        "X contains NaN"
    ) in message
    assert "put a SimpleImputer before the classifier" in message


def test_fit_that_fails_names_use_case_candidate_and_remedy(case: UseCase) -> None:
    from sklearn.linear_model import LogisticRegression

    own = candidate(LogisticRegression)
    assert not rehearse(case, own, {}, ROWS, seed=0)
    with pytest.raises(
        UseCaseFailed,
        match=r"toy: fit of candidate 'own' on 560 rows failed: ValueError.*put a SimpleImputer",
    ) as raised:
        modelling.fit(case, own, {}, ROWS, seed=0)
    assert isinstance(raised.value.__cause__, ValueError)


def test_column_without_any_value_is_named(case: UseCase) -> None:
    rows = ROWS.with_columns(pl.lit(None, dtype=pl.Float64).alias("second"))
    message = refusal(case, case.candidates[0], ValueError, rows)
    assert (
        "columns that are null in all 560 rows to train on: ['second']" in message
        and "remove them from columns" in message
    )


def test_column_with_few_values_is_in_the_sample(case: UseCase) -> None:
    rare = toy_rows("2024-01", rows_a_day=200).with_columns(
        pl.when(pl.int_range(pl.len()) < 3).then(1.0).alias("second")
    )
    sample = draw_sample(case, rare, seed=0)
    assert sample["second"].drop_nulls().len() == 3
    assert len(sample) < 700 and sample["won"].n_unique() == 2 and sample.columns == rare.columns


def strict_encoding() -> Any:
    """A model that refuses a code which it has not seen when it was fitted, that of a null as
    well.
    """
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder

    encode = ColumnTransformer(
        [("codes", OneHotEncoder(), [0]), ("numbers", SimpleImputer(), [1, 2, 3])]
    )
    return make_pipeline(encode, LogisticRegression())


def test_model_that_has_learned_nulls_of_the_few_rows_that_have_them_is_not_refused(
    case: UseCase,
) -> None:
    many = toy_rows("2024-01", rows_a_day=300)
    rows = many.with_columns(
        pl.when(pl.int_range(pl.len()) < 3).then(None).otherwise(pl.col("group")).alias("group")
    )
    own = candidate(strict_encoding)
    assert draw_sample(case, rows, seed=0)["group"].null_count() == 3
    assert rehearse(case, own, {}, rows, seed=0)
    assert "unknown categories" in refusal(case, own, rows=many)


def test_model_that_needs_more_rows_than_the_sample_has_is_left_to_its_fit(case: UseCase) -> None:
    from sklearn.impute import SimpleImputer
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.pipeline import make_pipeline

    own = candidate(lambda: make_pipeline(SimpleImputer(), KNeighborsClassifier(n_neighbors=2000)))
    assert not rehearse(case, own, {}, toy_rows("2024-01", rows_a_day=100), seed=0)
