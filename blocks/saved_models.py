"""The types in a fitted pipeline, as skops saves it: only types of the libraries that fit it are
trusted.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

_TRUSTED = ("sklearn", "numpy", "scipy")


def saved_types(model: "Pipeline") -> tuple[list[str], list[str]]:
    """Return the names of the types in the saved model that skops does not trust by itself, and
    those among them that must not be trusted.
    """
    import skops.io

    types = skops.io.get_untrusted_types(data=skops.io.dumps(model))
    return types, [name for name in types if name.split(".")[0] not in _TRUSTED]
