"""The service's own errors. Only ``Refused`` knows HTTP.

ServingError
├── PackageError      a model package is damaged, of another format, or does not answer its own
│                     smoke rows
├── InputError        rows that cannot be scored: names the row and the field
│   └── MalformedBody a body that is not JSON
├── NotReady          no champion is loaded for a use case
├── UnknownUseCase    a use case that this service does not serve
│   └── UnseenUseCase one that it does not serve yet, since it serves all existing ones
├── Unauthorized      no key, or no valid one
├── Forbidden         a key without the scope, or a foreign web page
├── Overloaded        too many requests to answer in time
├── TooSlow           a request that does not end
├── KeysError         the file of keys is unusable; the service does not start
├── RegistryAway      MLflow is unreachable or gives no sensible answer
├── PrefectAway       Prefect is unreachable or gives no sensible answer
└── LakeAway          the lake cannot store the prediction log now

Refused               a request whose form alone decides its status
"""

from collections.abc import Mapping


class ServingError(Exception):
    """Base of all: its message is fit to be shown to a caller."""


class PackageError(ServingError):
    """A package must not be served."""


class InputError(ServingError):
    """A request's rows do not match the package's schema. ``row`` counts from 0; ``None`` means the
    whole body.
    """

    def __init__(self, message: str, row: int | None = None, field: str | None = None) -> None:
        super().__init__(message)
        self.row = row
        self.field = field


class MalformedBody(InputError):
    """The body is not JSON."""


class NotReady(ServingError):
    """Try again later, or train a champion."""


class UnknownUseCase(ServingError):
    """The caller named a use case that is not served here."""


class UnseenUseCase(UnknownUseCase):
    """The service serves every existing use case, and has not seen this name so far."""


class Unauthorized(ServingError):
    """Send a known key that has not expired. The answer asks for ``Bearer``."""


class Forbidden(ServingError):
    """The request is not allowed, and repeating it does not help: its key lacks the scope, or its
    origin is not allowed.
    """


class KeysError(ServingError):
    """Keys are required and there is no usable one. For the operator: the message names the file,
    and no caller sees it.
    """


class RegistryAway(ServingError):
    """The registry is unreachable now; the loaded package stays."""


class PrefectAway(ServingError):
    """Prefect is unreachable now: nothing was started, and no run was answered as far as known."""


class LakeAway(ServingError):
    """The lake is unreachable or refuses; the prediction log waits on disk."""


class Overloaded(ServingError):
    """There are too many requests: try again later."""


class TooSlow(ServingError):
    """The caller sends its request too slowly."""


class Refused(Exception):
    """A request that is refused for its form, before its content is read."""

    def __init__(
        self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.headers = dict(headers or {})
