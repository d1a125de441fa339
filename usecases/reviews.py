"""Would the author of this review recommend the product? From its text, in English or Korean.

The reviews are invented (``_reviews_source.py``): a shop that sells robot vacuums from September
2024 on, of which its models have read nothing before."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from usecases._reviews_source import ReviewsSource
from usecases.definition import (
    LOG_LOSS,
    ROC_AUC,
    Binary,
    Candidate,
    Column,
    DriftPolicy,
    EventTimePolicy,
    Gate,
    Guard,
    LabelPolicy,
    Layout,
    Promotion,
    Range,
    RetrainPolicy,
    Search,
    UseCase,
)

if TYPE_CHECKING:
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression


def logistic(params: Mapping[str, Any], layout: Layout, seed: int) -> "LogisticRegression":
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(**{"max_iter": 200, **params}, random_state=seed)


def words(params: Mapping[str, Any]) -> "TfidfVectorizer":
    from sklearn.feature_extraction.text import TfidfVectorizer

    longest = params.get("longest", 2)
    rest = {name: value for name, value in params.items() if name != "longest"}
    return TfidfVectorizer(ngram_range=(1, longest), sublinear_tf=True, max_features=5_000, **rest)


def letters(params: Mapping[str, Any]) -> "TfidfVectorizer":
    """Korean words change their endings: their letters do not."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    return TfidfVectorizer(
        analyzer="char_wb", ngram_range=(1, 3), min_df=3, sublinear_tf=True, max_features=5_000
    )


USE_CASE = UseCase(
    name="reviews",
    title="Reviews that recommend",
    question="Would the author of this review recommend the product?",
    source=ReviewsSource(),
    columns=(
        Column(
            name="review", kind="text", longest=5_000, description="as written, English or Korean"
        ),
        Column(name="country", kind="category", categories=("GB", "KR"), description="of the shop"),
    ),
    target=Binary(label="recommended"),
    event_time="written",
    key=("id",),
    candidates=(
        Candidate(
            name="words",
            build=logistic,
            vectorizers={"review": words},
            params={"C": 3.0, "review__min_df": 2},
            search=Search(
                space={
                    "C": Range(low=0.1, high=30, log=True),
                    "review__min_df": Range(low=1, high=5, integer=True),
                    "review__longest": Range(low=1, high=3, integer=True),
                },
                resource=("max_iter", (25, 50, 200)),
                trials=8,
            ),
        ),
        Candidate(name="letters", build=logistic, vectorizers={"review": letters}),
    ),
    gate=Gate(metric=ROC_AUC, threshold=0.80),
    # A month has 420 reviews. And who has read of the new products gains more than a usual world
    # allows.
    promotion=Promotion(
        minimum_rows=300,
        suspicious_share=0.9,
        guards=(Guard(metric=LOG_LOSS, tolerance=0.02),),
        slices=("country",),
        slice_minimum_rows=100,
    ),
    event_times=EventTimePolicy(past_days=None),
    drift=DriftPolicy(minimum_rows=300, minimum_days=20),
    labels=LabelPolicy(rows=300),
    # Its year is replayed in minutes.
    retrain=RetrainPolicy(cooldown_hours=0, runs_per_day=24),
)
