"""What a fitted pipeline is made of, as skops saves it: only types of the libraries that fitted it
are trusted.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

_TRUSTED = ("sklearn", "numpy", "scipy")


def saved_types(model: "Pipeline") -> tuple[list[str], list[str]]:
    """Names of the types that the saved model brings beside skops' own, and of those that are
    nobody's to trust.
    """
    import skops.io

    types = skops.io.get_untrusted_types(data=skops.io.dumps(model))
    return types, [name for name in types if name.split(".")[0] not in _TRUSTED]
