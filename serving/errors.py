"""The service's own errors. But for ``Refused`` they know nothing of HTTP.

ServingError
├── PackageError      a model package is damaged, of another format, or does not answer its own
│                     smoke rows
├── InputError        rows that cannot be scored: names the row and the field
│   └── MalformedBody a body that is no JSON at all
├── NotReady          no champion is loaded for a use case
├── UnknownUseCase    a use case that this service does not serve
│   └── UnseenUseCase one that it does not serve yet, since it serves all that there are
├── Unauthorized      no key, or none that is good now
├── Forbidden         a key without the scope, or a web page that has no business here
├── Overloaded        more is being asked than can be answered in time
├── TooSlow           a request that does not come to its end
├── KeysError         the file of keys cannot be used; the service does not start
├── RegistryAway      MLflow cannot be reached or gives no sensible answer
├── PrefectAway       Prefect cannot be reached or gives no sensible answer
└── LakeAway          the lake cannot take the prediction log now

Refused               a request whose form says already which status it gets
"""

from collections.abc import Mapping


class ServingError(Exception):
    """Base of all: its message is fit to be shown to a caller."""


class PackageError(ServingError):
    """A package must not be served."""


class InputError(ServingError):
    """A request's rows do not fit the package's schema. ``row`` counts from 0; ``None`` where it is
    the whole body.
    """

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


class UnseenUseCase(UnknownUseCase):
    """The service serves every use case that there is, and has seen none of this name so far."""


class Unauthorized(ServingError):
    """Send a key that is known here and has not expired. The answer asks for ``Bearer``."""


class Forbidden(ServingError):
    """The request is not allowed, whoever sends it again: its key lacks the scope, or it comes from
    where none may come.
    """


class KeysError(ServingError):
    """There is no usable key where one is asked for. For the operator: the message names the file,
    and no caller sees it.
    """


class RegistryAway(ServingError):
    """The registry cannot be asked now; the loaded package stays."""


class PrefectAway(ServingError):
    """Prefect cannot be asked now: nothing was started, and no run was answered as far as is
    known.
    """


class LakeAway(ServingError):
    """The lake cannot be reached or refuses; the prediction log waits on disk."""


class Overloaded(ServingError):
    """Too much at once: ask again later."""


class TooSlow(ServingError):
    """The caller dawdles over its request."""


class Refused(Exception):
    """A request that is refused for its form, before anybody looks at its content."""

    def __init__(
        self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.headers = dict(headers or {})
