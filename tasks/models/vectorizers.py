"""The vectorisers of a candidate, which make terms of the columns of kind "text".

Only scikit-learn's ``TfidfVectorizer`` and ``CountVectorizer``, and of these only what can be
written as plain data: the service has its own encoder of them
(``serving/package/encoders/texts.py``)."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from serving.package.encoders.texts import MOST_TERMS, Vocabulary, refuses_sizes
from serving.package.encoders.token_patterns import refuses_pattern
from tasks.outside.user_code import UseCaseFailed, calling, describe_value
from usecases.definition import Candidate, UseCase

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

USUAL_TERMS = 20_000
# Of a dense matrix to fit on, 400 MB; models of scikit-learn and LightGBM that take a sparse one
# have no such bound.
MOST_CELLS = 50_000_000
_EXPECTATION = (
    "It must return an unfitted TfidfVectorizer or CountVectorizer of scikit-learn, such as "
    "TfidfVectorizer(ngram_range=(1, 2), min_df=2)."
)


def vectorizers_of(
    case: UseCase, candidate: Candidate, params: Mapping[str, Any]
) -> dict[str, Any]:
    """An unfitted vectoriser for each text of the use case. Raises ``UseCaseFailed`` for one that
    cannot be served.
    """
    return {name: _vectorizer(case, candidate, name, params) for name in case.texts}


def params_of_model(case: UseCase, params: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters without those of vectorisers."""
    prefixes = tuple(map(_prefix, case.texts))
    return {name: value for name, value in params.items() if not name.startswith(prefixes)}


def params_of_texts(case: UseCase, params: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters of vectorisers, with their prefixes."""
    prefixes = tuple(map(_prefix, case.texts))
    return {name: value for name, value in params.items() if name.startswith(prefixes)}


def _prefix(text: str) -> str:
    return f"{text}__"


def _vectorizer(case: UseCase, candidate: Candidate, name: str, params: Mapping[str, Any]) -> Any:
    own = {
        key.removeprefix(_prefix(name)): value
        for key, value in params.items()
        if key.startswith(_prefix(name))
    }
    call = f"the vectoriser of {name!r} of candidate {candidate.name!r} with {own}"
    with calling(case.name, call, _EXPECTATION):
        make = candidate.vectorizers.get(name, _usual)
        vectorizer = make(own)
        problem = _problem(vectorizer)
    if problem:
        raise UseCaseFailed(f"{case.name}: {call} {problem}. {_EXPECTATION}")
    return _configured(vectorizer)


def _usual(params: Mapping[str, Any]) -> Any:
    from sklearn.feature_extraction.text import TfidfVectorizer

    return TfidfVectorizer(**params)


def _problem(vectorizer: Any) -> str:
    """Why a vectoriser cannot be served, and the way out; empty if it can."""
    from sklearn.feature_extraction.text import CountVectorizer, HashingVectorizer, TfidfVectorizer

    if isinstance(vectorizer, type):
        return f"is the class {vectorizer.__name__}: write {vectorizer.__name__}()"
    if isinstance(vectorizer, HashingVectorizer):
        return "is a HashingVectorizer, whose terms have no names: use TfidfVectorizer"
    if type(vectorizer) not in (CountVectorizer, TfidfVectorizer):
        return f"is {describe_value(vectorizer)}"
    given = vectorizer.get_params()
    functions = [
        name
        for name in ("analyzer", "preprocessor", "tokenizer", "strip_accents")
        if callable(given[name])
    ]
    if functions:
        return (
            f"has a function as {' and '.join(functions)}, which cannot be served: prepare the "
            "text in read, and name a token_pattern"
        )
    if given["input"] != "content":
        return f"has input={given['input']!r}: a column has the texts themselves"
    if (given["max_features"] or 0) > MOST_TERMS:
        return (
            f"has max_features={given['max_features']:,}, and {MOST_TERMS:,} is the most: write "
            f"max_features={USUAL_TERMS:_}"
        )
    if given["analyzer"] == "word" and (fault := refuses_pattern(given["token_pattern"] or "")):
        return f"has a token_pattern that {fault}"
    return refuses_sizes(*given["ngram_range"])


def _configured(vectorizer: Any) -> Any:
    """The vectoriser with what must not be left open: how many terms, and double precision."""
    given = vectorizer.get_params()
    bounded = given["max_features"] or given["vocabulary"] is not None
    return vectorizer.set_params(
        dtype=np.float64, **({} if bounded else {"max_features": USUAL_TERMS})
    )


def vocabularies_of(case: UseCase, fitted: "Pipeline") -> dict[str, Vocabulary]:
    """What the vectorisers of a fitted pipeline have learned, by the name of the text."""
    encoders = fitted.named_steps["encode"].named_transformers_
    return {name: vocabulary_of(encoders[name]) for name in case.texts}


def vocabulary_of(vectorizer: Any) -> Vocabulary:
    """What a fitted vectoriser has learned."""
    given = vectorizer.get_params()
    return Vocabulary(
        analyzer=given["analyzer"],
        lowercase=given["lowercase"],
        strip_accents=given["strip_accents"],
        token_pattern=given["token_pattern"] or "",
        ngram_range=tuple(given["ngram_range"]),
        stop_words=sorted(vectorizer.get_stop_words() or ()),
        terms=vectorizer.get_feature_names_out().tolist(),
        binary=given["binary"],
        idf=vectorizer.idf_.tolist() if given.get("use_idf") else [],
        sublinear_tf=given.get("sublinear_tf", False),
        norm=given.get("norm"),
    )


def takes_sparse(model: Any) -> bool:
    """Whether an unfitted ``model`` is fitted on a sparse matrix and answers as on a dense one: to
    XGBoost a value that a sparse matrix leaves out is missing, and no 0."""
    from sklearn.decomposition import TruncatedSVD
    from sklearn.pipeline import Pipeline
    from sklearn.utils import get_tags

    if isinstance(model, Pipeline):
        steps = [step for _, step in model.steps]
        dense = next((at for at, step in enumerate(steps) if isinstance(step, TruncatedSVD)), None)
        return all(map(takes_sparse, steps[:dense]))
    library = type(model).__module__.partition(".")[0]
    return library in ("sklearn", "lightgbm") and bool(get_tags(model).input_tags.sparse)


def check_size(
    case: UseCase, candidate: Candidate, params: Mapping[str, Any], model: Any, rows: pl.DataFrame
) -> None:
    """Raises ``UseCaseFailed`` if ``model`` needs a dense matrix, and that of ``rows`` would be too
    large."""
    from sklearn.base import clone

    vectorizers = {} if takes_sparse(model) else vectorizers_of(case, candidate, params)
    counts = {name: v.max_features or MOST_TERMS for name, v in vectorizers.items()}
    for name, vectorizer in vectorizers.items():  # no fit is needed where the bounds suffice
        if len(rows) * sum(counts.values()) <= MOST_CELLS:
            return
        texts = rows[name].fill_null("").to_list()
        with calling(case.name, f"the terms of {name!r}", _EXPECTATION):
            counts[name] = len(clone(vectorizer).fit(texts).vocabulary_)
    if (cells := len(rows) * sum(counts.values())) > MOST_CELLS:
        most = MOST_CELLS // len(rows) // len(counts)
        raise UseCaseFailed(
            f"{case.name}: candidate {candidate.name!r} needs a dense matrix, and {len(rows):,} "
            f"rows of {counts} terms are {cells:,} numbers ({MOST_CELLS:,} at most). Write "
            f"max_features={most:_} in its vectorizers, put TruncatedSVD first, or use a model "
            "that takes a sparse matrix, such as LogisticRegression, alone or behind MaxAbsScaler."
        )
