"""Decide what the prediction log keeps of a request, as the use case states: a share of the
requests, without some of the columns.
"""

import random
from collections.abc import Callable
from typing import Any

import msgspec

from serving.package.kinds import KINDS
from serving.package.manifest import Manifest

LogRequest = Callable[[bytes], bytes | None]


def keep_all(request: bytes) -> bytes:
    """The default rule of use cases."""
    return request


def log_request_of(manifest: Manifest) -> LogRequest:
    """A function that returns the part of ``{"rows": [{...}]}`` to log: ``None`` if the request is
    not in the sample.

    It returns the request's rows without the columns to leave out; a value stays as it was sent,
    unless its kind has a smaller form to log. It is ``keep_all`` itself if everything is kept, so
    that a caller can save the call. Each request is sampled independently, and must have been
    checked. An answer is logged as it is: it must not have inputs."""
    write = _rewritten(manifest) if _is_rewritten(manifest) else keep_all
    if manifest.log_sample_rate >= 1:
        return write
    return lambda request: write(request) if is_chosen(manifest) else None


def is_chosen(manifest: Manifest) -> bool:
    """Whether a request is in the logged sample: called once for each."""
    return manifest.log_sample_rate >= 1 or random.random() < manifest.log_sample_rate  # noqa: S311


def loggable(manifest: Manifest) -> dict[str, Callable[[Any], Any] | None]:
    """The inputs to keep, in order, and what turns a value into the one to log, if anything."""
    made = {feature.name: KINDS[feature.kind].logged for feature in manifest.features}
    return {
        feature.name: make(feature) if (make := made[feature.name]) else None
        for feature in manifest.features
        if feature.name not in manifest.log_leave_out
    }


def _is_rewritten(manifest: Manifest) -> bool:
    return bool(manifest.log_leave_out) or any(loggable(manifest).values())


def _rewritten(manifest: Manifest) -> Callable[[bytes], bytes]:
    """A function that reads only the columns to keep, most as bytes, and writes them again."""
    kept = loggable(manifest)
    columns = [*kept, manifest.event_time]
    fields: list[tuple[str, Any, Any]] = [
        (f"f{i}", Any, None) if kept.get(name) else (f"f{i}", msgspec.Raw, msgspec.Raw(b"null"))
        for i, name in enumerate(columns)
    ]
    made = [(f"f{i}", make) for i, make in enumerate(kept.values()) if make]
    row: Any = msgspec.defstruct(
        "Row", fields, rename={f"f{i}": name for i, name in enumerate(columns)}, gc=False
    )
    decoder = msgspec.json.Decoder(msgspec.defstruct("Request", [("rows", list[row])]))

    def write(request: bytes) -> bytes:
        content: Any = decoder.decode(request)
        for each in content.rows:
            for field, make in made:
                setattr(each, field, make(getattr(each, field)))
        return msgspec.json.encode(content)

    return write
