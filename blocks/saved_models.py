"""The types in a fitted pipeline, as skops saves it: only types of the libraries that fit it are
trusted.
"""

import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

_TRUSTED = ("sklearn", "numpy", "scipy")
_OWN = (
    "tasks.data.columns.transformers.DateParts",
    "tasks.data.columns.image_block.ImageBlock",
)
# By the package that pip installs: of these libraries no other types are needed.
_TRUSTED_TYPES = {
    "lightgbm": (
        "lightgbm.basic.Booster",
        "lightgbm.sklearn.LGBMClassifier",
        "lightgbm.sklearn.LGBMRegressor",
        "collections.OrderedDict",
    ),
    "xgboost" if sys.platform == "darwin" else "xgboost-cpu": (
        "xgboost.core.Booster",
        "xgboost.sklearn.XGBClassifier",
        "xgboost.sklearn.XGBRegressor",
        "xgboost.sklearn.XGBRFClassifier",
        "xgboost.sklearn.XGBRFRegressor",
    ),
    # Laurel's own: ONNX that a use case brings (docs/decisions/0027-own-onnx.md)
    "onnxruntime": ("tasks.models.own_models.KeptModel",),
    "catboost": ("catboost.core.CatBoostClassifier", "catboost.core.CatBoostRegressor"),
}


def saved_types(model: "Pipeline") -> tuple[list[str], list[str]]:
    """Return the names of the types in the saved model that skops does not trust by itself, and
    those among them that must not be trusted.
    """
    import skops.io

    types = skops.io.get_untrusted_types(data=skops.io.dumps(model))
    known = {name for names in _TRUSTED_TYPES.values() for name in names} | {*_OWN}
    return types, [
        name for name in types if name.split(".")[0] not in _TRUSTED and name not in known
    ]


def requirements_of(types: Iterable[str]) -> list[str]:
    """Return the packages that loading the saved model needs, by the names of its types."""
    extras = [name for name, known in _TRUSTED_TYPES.items() if known[0] in types]
    return ["scikit-learn", "skops", "pandas", *extras]
