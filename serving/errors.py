"""The service's own errors, which know nothing of HTTP.

ServingError
├── PackageError      a model package is damaged, of another format, or does not answer its own smoke rows
├── InputError        rows that cannot be scored: names the row and the field
│   └── MalformedBody a body that is no JSON at all
├── NotReady          no champion is loaded for a use case
├── UnknownUseCase    a use case that this service does not serve
├── RegistryAway      MLflow cannot be reached or gives no sensible answer
└── LakeAway          the lake cannot take the prediction log now
"""


class ServingError(Exception):
    """Base of all: its message is fit to be shown to a caller."""


class PackageError(ServingError):
    """A package must not be served."""


class InputError(ServingError):
    """A request's rows do not fit the package's schema. ``row`` counts from 0; ``None`` where it is the whole body."""

    def __init__(self, message: str, row: int | None = None, field: str | None = None) -> None:
        super().__init__(message)
        self.row = row
        self.field = field


class MalformedBody(InputError):
    """The body is no JSON."""


class NotReady(ServingError):
    """Ask again later, or train a champion."""


class UnknownUseCase(ServingError):
    """The caller named a use case that is not served here."""


class RegistryAway(ServingError):
    """The registry cannot be asked now; the loaded package stays."""


class LakeAway(ServingError):
    """The lake cannot be reached or refuses; the prediction log waits on disk."""
