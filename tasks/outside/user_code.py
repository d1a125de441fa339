"""Errors in a use case's code, described for its author: use case, function, the value that
came, and the expected one.
"""

import errno
import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from typing import Any

from usecases.definition import SourceAway, SourceError, place_of

# Class names, since the libraries that a source uses are its own: httpx, requests, urllib,
# botocore, sockets.
_OUTAGES = {
    "ConnectionError",
    "TimeoutError",
    "TransportError",
    "Timeout",
    "URLError",
    "gaierror",
    "HTTPClientError",
}
_UNREACHABLE = {errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EHOSTDOWN}
_HINTS = {
    # As pyproject.toml pins them: a test holds the two together.
    "No module named 'lightgbm'": "Install it: pip install lightgbm==4.7.0",
    "No module named 'xgboost'": (
        "Install it: pip install xgboost-cpu==3.2.0 (on macOS xgboost==3.2.0)"
    ),
    "No module named 'catboost'": "Install it: pip install catboost==1.2.10",
    "No module named 'deltalake'": "Install it: pip install deltalake==1.6.6",
    "No module named 'pyiceberg'": "Install it: pip install 'pyiceberg[pyarrow]==0.12.0'",
    "libgomp": ("LightGBM needs OpenMP, which its wheel does not have: apt-get install libgomp1"),
    "libomp": "Two of these libraries need OpenMP: brew install libomp",
    "contains NaN": (
        "Null numbers are NaN: put a SimpleImputer before the classifier, or "
        "use one that accepts NaN."
    ),
    "unexpected keyword argument": (
        "A name in params or in search.space is not a parameter of build's estimator."
    ),
    "could not convert string": (
        "Categories arrive as whole numbers, at layout.categories, and texts as the weights of "
        "their terms: no place of the matrix is text."
    ),
}


class UseCaseFailed(RuntimeError):
    """The code of a use case raised, or returned an invalid value. The message says what is
    expected.
    """


class WrongAnswers(UseCaseFailed):
    """A fitted model does not give the answers that its target needs, such as probabilities."""


@contextmanager
def calling(use_case: str, call: str, expectation: str) -> Iterator[None]:
    """Wraps a call of the use case's code. Raises ``UseCaseFailed``, or ``SourceAway`` for an
    outage; its own errors pass.
    """
    try:
        yield
    except (SourceError, UseCaseFailed):
        raise
    except Exception as error:
        if _is_of_warehouse(error):
            raise
        place = place_of(error)
        where = f" at {place}" if place else ""
        text = (
            f"{type(error).__name__}: "
            f"{(str(error).strip().splitlines() or ['no message'])[0].rstrip('.')}"
        )
        if is_outage(error):
            raise SourceAway(
                f"{use_case}: {call} cannot reach its source now{where}: {text}. It is "
                "retried a few times; if the source stays unreachable, "
                "start the run again when it is back."
            ) from error
        hint = next((f" {hint}" for part, hint in _HINTS.items() if part in str(error)), "")
        raise UseCaseFailed(
            f"{use_case}: {call} failed{where}: {text}. {expectation}{hint}"
        ) from error


def _is_of_warehouse(error: Exception) -> bool:
    from blocks.warehouse import WarehouseAway  # imports Prefect, which takes seconds

    return isinstance(error, WarehouseAway)


def is_outage(error: BaseException) -> bool:
    """Whether a network or a server was unreachable, rather than the request wrong."""
    chain: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and link not in chain:
        chain.append(link)
        link = link.__cause__ or link.__context__
    return any(_is_away(link) and not _answered(link) for link in chain)


def _is_away(error: BaseException) -> bool:
    return (
        bool(_OUTAGES & {kind.__name__ for kind in type(error).__mro__})
        or getattr(error, "errno", None) in _UNREACHABLE
    )


def _answered(error: BaseException) -> bool:
    """Whether a server blamed the caller, such as with 404."""
    status = getattr(error, "code", None)
    return isinstance(status, int) and 400 <= status < 500


def describe_value(value: Any) -> str:
    """The value in a few words, never the rows themselves."""
    if value is None:
        return "None (is a return missing?)"
    if inspect.iscoroutine(value):
        value.close()
        return "a coroutine: write def instead of async def"
    text = repr(value)
    kind = type(value)
    name = (
        kind.__name__
        if kind.__module__ == "builtins"
        else f"{kind.__module__.split('.')[0]}.{kind.__name__}"
    )
    return (
        f"{text} ({name})"
        if isinstance(value, str | int | float | date) and len(text) < 60
        else f"a {name}"
    )
