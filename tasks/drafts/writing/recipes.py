"""The candidates of a draft: a linear model, and boosted trees that tuning can search."""

from tasks.drafts.inference.targets import TargetKind
from tasks.drafts.writing.source_code import Call, Name

_LINEAR = '''\
def linear(params, layout, seed):
    """Numbers scaled, their gaps at the mean, and a column for each category."""
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import {estimator}
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    numbers = make_pipeline(SimpleImputer(keep_empty_features=True), StandardScaler())
    prepare = ColumnTransformer(
        [
            ("codes", OneHotEncoder(handle_unknown="ignore"), list(layout.categories)),
            ("numbers", numbers, list(layout.numbers)),
        ]{texts}
    )
    return make_pipeline(prepare, {estimator}({own}**params))
'''
_TEXTS = """,
        # The terms of the texts.
        remainder="passthrough","""
_BOOSTING = """\
def boosting(params, layout, seed):
    from sklearn.ensemble import {estimator}

{call}"""
_ESTIMATORS = {
    "binary": ("LogisticRegression", "max_iter=300, random_state=seed, "),
    "classes": ("LogisticRegression", "max_iter=300, random_state=seed, "),
    "number": ("Ridge", "random_state=seed, "),
    "count": ("PoissonRegressor", "max_iter=300, "),
}
_TREES = {
    "binary": ("HistGradientBoostingClassifier", ""),
    "classes": ("HistGradientBoostingClassifier", ""),
    "number": ("HistGradientBoostingRegressor", ""),
    "count": ("HistGradientBoostingRegressor", 'loss="poisson", '),
}
_CALL = """\
    return {estimator}({own}early_stopping=False, random_state=seed, **params)
"""
_LONG_CALL = """\
    return {estimator}(
        {own}early_stopping=False, random_state=seed, **params
    )
"""
_MANY_ROWS = 1000


def functions(kind: TargetKind, with_texts: bool) -> str:
    """The source of the functions that build the candidates. Trees take no terms of texts."""
    estimator, own = _ESTIMATORS[kind]
    texts = _TEXTS if with_texts else ""
    linear = _LINEAR.format(estimator=estimator, own=own, texts=texts)
    if with_texts:
        return linear
    estimator, own = _TREES[kind]
    call = (_LONG_CALL if own else _CALL).format(estimator=estimator, own=own)
    return f"{linear}\n\n{_BOOSTING.format(estimator=estimator, call=call)}"


def candidates(with_texts: bool, rows: int) -> tuple[Call, ...]:
    """The candidates that are fitted by each train; trees are tuned as well."""
    linear = Call("Candidate", {"name": "linear", "build": Name("linear")})
    if with_texts:
        return (linear,)
    leaf = 20 if rows >= _MANY_ROWS else 5
    params = {"learning_rate": 0.1, "max_iter": 60, "min_samples_leaf": leaf}
    search = Call(
        "Search",
        {
            "space": {
                "learning_rate": Call("Range", {"low": 0.02, "high": 0.2, "log": True}),
                "min_samples_leaf": Call(
                    "Range", {"low": leaf, "high": 10 * leaf, "log": True, "integer": True}
                ),
            },
            "resource": ("max_iter", (25, 50, 100)),
            "trials": 10,
        },
    )
    boosting = {"name": "boosting", "build": Name("boosting"), "params": params, "search": search}
    return (linear, Call("Candidate", boosting))
