"""The terms of a running rollout, as the registry keeps them: a tag of the version that has the
alias ``rollout``. Every worker, replica and stack reads them there, so that all agree."""

import re
from typing import Literal

import msgspec

from serving.errors import PackageError

_FIELD = re.compile(r"""[^"\\\x00-\x1f]*""")


class Terms(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One step of a rollout. ``id`` names the rollout and salts its routing; the challenger answers
    a ``share`` (0-1) of the callers; a shadow answers none, and scores a copy of all requests.
    The routing key is the value of ``header``, in lower case, else of ``field`` in the request's
    first row, else the request's id, so that each request is routed on its own."""

    id: str
    kind: Literal["shadow", "canary", "ab"]
    share: float = 0.0
    header: str = ""
    field: str = ""

    def __post_init__(self) -> None:
        if not self.id or not 0 <= self.share <= 1 or self.header != self.header.lower():
            raise ValueError("id, share or header is out of bounds")
        if not _FIELD.fullmatch(self.field):
            raise ValueError("field has a character that no column's name has")


# Made at import, by one thread: msgspec crashes if two threads meet a type for the first time
# (docs/decisions/0012-hot-path.md).
_TERMS = msgspec.json.Decoder(Terms)


def terms_of(version: str, tag: str | None) -> Terms:
    """Read a version's tag. Raises ``PackageError``: without terms nobody may be sent to it."""
    if tag is None:
        raise PackageError(f"Version {version} has the alias 'rollout' and no tag of its terms.")
    try:
        return _TERMS.decode(tag.encode())
    except (msgspec.DecodeError, UnicodeEncodeError) as error:
        raise PackageError(f"The rollout's terms of version {version}: {error}.") from error
