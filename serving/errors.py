"""The service's own errors, which know nothing of HTTP.

ServingError
├── PackageError      a model package is damaged, of another format, or does not answer its own smoke rows
├── InputError        rows that cannot be scored: names the row and the field
├── NotReady          no champion is loaded for a use case
├── UnknownUseCase    a use case that this service does not serve
└── RegistryAway      MLflow cannot be reached or gives no sensible answer
"""


class ServingError(Exception):
    """Base of all: its message is fit to be shown to a caller."""


class PackageError(ServingError):
    """A package must not be served."""


class InputError(ServingError):
    """A request's rows do not fit the package's schema."""


class NotReady(ServingError):
    """Ask again later, or train a champion."""


class UnknownUseCase(ServingError):
    """The caller named a use case that is not served here."""


class RegistryAway(ServingError):
    """The registry cannot be asked now; the loaded package stays."""
