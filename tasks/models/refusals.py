"""What is known to be impossible to serve of an unfitted estimator: no conversion to ONNX, or one
that scores differently (docs/decisions/0006-onnx.md). It is refused when it is built, before
anything is fitted."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from tasks.models.libraries import LIBRARIES

_ALONE = "Let build return it alone: it takes codes and missing values as they are."
_OWN_ONNX = "Or bring its ONNX yourself: Candidate(export=...)."
_IN_READ = "Compute it in the use case's source, where the service's callers can compute it too."

Refusal = tuple[str, Callable[[Any], bool], str]
"""A parameter, which of its values are refused, and what to do."""

_KNN: tuple[Refusal, ...] = (
    ("weights", lambda value: value != "uniform", "Use weights='uniform'."),
    (
        "metric",
        lambda value: value not in ("minkowski", "euclidean", "manhattan", "cosine"),
        "Use minkowski, euclidean, manhattan or cosine.",
    ),
)
_LOSS: tuple[Refusal, ...] = (
    ("loss", lambda value: not isinstance(value, str), "Name one of scikit-learn's own losses."),
)

# By the name of scikit-learn's class.
_REFUSALS: Mapping[str, tuple[Refusal, ...]] = {
    "CalibratedClassifierCV": (
        ("method", lambda value: value != "sigmoid", "Use method='sigmoid'."),
    ),
    "FunctionTransformer": (("func", lambda value: value is not None, _IN_READ),),
    "HistGradientBoostingClassifier": _LOSS,
    "HistGradientBoostingRegressor": _LOSS,
    "KBinsDiscretizer": (
        ("encode", lambda value: value == "onehot", "Use encode='onehot-dense' or 'ordinal'."),
    ),
    "KNeighborsClassifier": _KNN,
    "KNeighborsRegressor": _KNN,
    "OneHotEncoder": (
        ("min_frequency", lambda value: value is not None, "Leave it out."),
        ("max_categories", lambda value: value is not None, "Leave it out."),
    ),
    "QuantileTransformer": (
        ("output_distribution", lambda value: value != "uniform", "Use PowerTransformer."),
    ),
    "SimpleImputer": (
        ("add_indicator", bool, "Add a column that says whether the value is there, in read."),
    ),
    "VotingClassifier": (
        ("voting", lambda value: value != "soft", "Use voting='soft', flatten_transform=False."),
        ("flatten_transform", bool, "Use voting='soft', flatten_transform=False."),
    ),
}

# Classes that skl2onnx says it converts, and why they are refused all the same.
_WRONG: Mapping[str, str] = {
    "GaussianProcessClassifier": "needs an operator outside ONNX. Use another classifier",
    "KNNImputer": "has no conversion for the ONNX that is served. Use SimpleImputer",
    "LinearDiscriminantAnalysis": "has other probabilities in ONNX. Use LogisticRegression",
    "RadiusNeighborsClassifier": (
        "fails in ONNX on rows without a neighbour. Use KNeighborsClassifier"
    ),
    "RadiusNeighborsRegressor": (
        "fails in ONNX on rows without a neighbour. Use KNeighborsRegressor"
    ),
}


def why_not_served(model: Any) -> str:
    """Return why an unfitted ``model`` cannot be served, with the step's name and the way out;
    empty if nothing speaks against it yet."""
    for part in _parts(model):
        if reason := _why_not(part, alone=part is model):
            return f"{reason.rstrip('.')}. {_OWN_ONNX}"
    return ""


def _parts(model: Any) -> Iterator[Any]:
    """``model`` and every estimator inside it: steps, transformers of columns, members."""
    yield model
    seen = {id(model)}
    for value in model.get_params(deep=True).values():
        if hasattr(value, "fit") and not isinstance(value, type) and id(value) not in seen:
            seen.add(id(value))
            yield value


def _why_not(part: Any, alone: bool) -> str:
    name, package = type(part).__name__, type(part).__module__.partition(".")[0]
    inside = "" if alone else f"with a {name} inside, "
    exact = package in LIBRARIES or (
        package == "sklearn" and name.startswith("HistGradientBoosting")
    )
    if exact and not alone:
        return f"{inside}which is served alone only. {_ALONE}"
    if reason := _refused_parameter(part, name, package):
        return f"{inside}with {reason}"
    if exact:
        return ""
    subject = f"{inside}which" if inside else "that"
    if package == "sklearn" and name in _WRONG:
        return f"{subject} {_WRONG[name]}"
    if _has_converter(part):
        return ""
    if package == "sklearn":
        return f"{subject} cannot become ONNX. Replace it: docs/use-cases.md lists what can"
    return f"{subject} comes from {package!r}, and Laurel makes no ONNX of that library's models"


def _refused_parameter(part: Any, name: str, package: str) -> str:
    if package in LIBRARIES:
        refusals: tuple[Refusal, ...] = LIBRARIES[package].refusals
    else:
        refusals = _REFUSALS.get(name, ()) if package == "sklearn" else ()
    parameters = part.get_params(deep=False)
    for parameter, is_refused, remedy in refusals:
        value = parameters.get(parameter)
        if value is not None and is_refused(value):
            text = "a function" if callable(value) else repr(value)
            return f"{parameter}={text}, which cannot be served. {remedy}"
    return ""


def _has_converter(part: Any) -> bool:
    import skl2onnx

    try:
        skl2onnx.get_model_alias(type(part))
    except RuntimeError:
        return False
    return True
