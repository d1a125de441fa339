"""What the prediction log may keep of a request, as the use case says: a share of the requests,
without some of the columns.
"""

import random
from collections.abc import Callable
from typing import Any

import msgspec

from serving.package.manifest import Manifest

LogRequest = Callable[[bytes], bytes | None]


def keep_all(request: bytes) -> bytes:
    """The rule of use cases that say nothing."""
    return request


def log_request_of(manifest: Manifest) -> LogRequest:
    """A function that gives what to log of ``{"rows": [{...}]}``: ``None`` where chance leaves the
    request out.

    Columns that are left out are not in what it returns, whose rows are those of the request; a
    value stands as it was sent. ``keep_all`` itself where everything is kept, so that a caller can
    save the call. Each request is chosen on its own. The request must have been checked. An answer
    is logged as it is: it must hold no inputs."""
    write = _without(manifest) if manifest.log_leave_out else keep_all
    if manifest.log_sample_rate >= 1:
        return write
    return lambda request: write(request) if is_chosen(manifest) else None


def is_chosen(manifest: Manifest) -> bool:
    """Whether a request is in the sample that is logged: asked once for each."""
    return manifest.log_sample_rate >= 1 or random.random() < manifest.log_sample_rate  # noqa: S311 - a sample, no secret


def _without(manifest: Manifest) -> Callable[[bytes], bytes]:
    """Reads the kept columns only, as the bytes that they came as, and writes them again."""
    columns = [
        feature.name for feature in manifest.features if feature.name not in manifest.log_leave_out
    ] + [manifest.event_time]
    fields: list[tuple[str, Any, Any]] = [
        (f"f{i}", msgspec.Raw, msgspec.Raw(b"null")) for i in range(len(columns))
    ]
    row: Any = msgspec.defstruct(
        "Row", fields, rename={f"f{i}": name for i, name in enumerate(columns)}, gc=False
    )
    decoder = msgspec.json.Decoder(msgspec.defstruct("Request", [("rows", list[row])]))
    return lambda request: msgspec.json.encode(decoder.decode(request))
