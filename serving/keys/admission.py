"""Admission, checked once for each request before anything else: keys, foreign web pages, foreign
host names.

On loopback no key is required, and every web page that a developer has open can send requests to
loopback. Two rules keep them out. A page of another origin changes nothing: browsers report where a
request comes from in ``Sec-Fetch-Site`` and ``Origin`` (the algorithm is that of Go's
``http.CrossOriginProtection``, https://words.filippo.io/csrf/). And a page whose own name was made
to point to 127.0.0.1 (DNS rebinding) still sends that name as ``Host``, to which the service does
not answer.

Two more rules keep out callers that come through a proxy on this machine: the process that
connected must belong to the service's own user (``serving/keys/peers.py``), and no header of the
request may show that it was forwarded (``serving/keys/proxies.py``)."""

import re
from collections.abc import Iterable, Mapping

from blocks.settings import Settings, is_loopback
from serving.errors import Forbidden
from serving.keys.keyring import Keys
from serving.keys.proxies import is_forwarded

_READING = frozenset(("GET", "HEAD", "OPTIONS"))
_OWN_SITE = frozenset((b"same-origin", b"none"))  # "none": typed or bookmarked by the user
_LOOPBACK_NAMES = rb"localhost|127(?:\.\d{1,3}){3}|\[::1\]"
_SETTINGS = (
    "list it in LAUREL_SERVING_ALLOWED_HOSTS, or require keys with LAUREL_SERVING_REQUIRE_KEYS=true"
)


def keys_needed(host: str, required: bool) -> bool:
    """Whether callers need keys: if ``required``, or if other machines can reach ``host``."""
    return required or not is_loopback(host)


def keys_of(settings: Settings, *, may_lack: bool = False) -> Keys:
    """The keys for these settings, not read yet. ``may_lack``: the service starts without any."""
    own = settings.serving_key.get_secret_value() if settings.serving_key else None
    needed = keys_needed(settings.host, settings.serving_require_keys)
    return Keys(settings.serving_keys_path, needed, own or None, may_lack=may_lack)


class Admission:
    """The rules of one service. ``allowed_hosts`` are names, with or without a port, separated by
    commas.
    """

    def __init__(self, keys: Keys, allowed_hosts: str = "") -> None:
        self._keys = keys
        listed = b"|".join(
            re.escape(name.strip().encode()) for name in allowed_hosts.split(",") if name.strip()
        )
        self._allowed_names = (
            re.compile(rb"(?:" + listed + rb")(?::\d{1,5})?", re.IGNORECASE)
            if listed
            else re.compile(rb"(?!)")
        )
        names = _LOOPBACK_NAMES + (b"|" + listed if listed else b"")
        self._own_names = re.compile(rb"(?:" + names + rb")(?::\d{1,5})?", re.IGNORECASE)

    def admit(
        self,
        method: str,
        headers: Iterable[tuple[bytes, bytes]],
        scope: str,
        *,
        version: str = "1.1",
        foreign: bool = False,
    ) -> str:
        """Return the name of the request's key; empty if none is required. ``scope`` is empty if
        anybody may call.

        Header names come in lower case. ``foreign``: another user of this machine connected. Raises
        ``Unauthorized``, ``Forbidden``."""
        named = dict(headers)
        if method not in _READING:
            _refuse_other_sites(named)
        if self._keys.required:
            return self._keys.identify(named, scope)
        self._refuse_other_names(named)
        if foreign or is_forwarded(named, version, named.get(b"connection", b"")):
            self._refuse_other_machines(named[b"host"], foreign=foreign)
        return ""

    def _refuse_other_names(self, headers: Mapping[bytes, bytes]) -> None:
        host = headers.get(b"host", b"")
        if not self._own_names.fullmatch(host):
            raise Forbidden(
                f"Without keys this service does not answer to the name {_quote(host)}: "
                f"{_SETTINGS}."
            )

    def _refuse_other_machines(self, host: bytes, *, foreign: bool) -> None:
        if self._allowed_names.fullmatch(host):
            return
        way = (
            "A process of another user of this machine sent this"
            if foreign
            else "A proxy forwarded this"
        )
        raise Forbidden(
            f"{way}, so callers from elsewhere may reach a service that requires no keys. "
            f"If this is intended for the name {_quote(host)}, {_SETTINGS}."
        )


def _refuse_other_sites(headers: Mapping[bytes, bytes]) -> None:
    site = headers.get(b"sec-fetch-site")
    if site is None:
        origin = headers.get(b"origin")  # browsers older than 2023; programs send neither
        if origin is None or origin.partition(b"://")[2] == headers.get(b"host"):
            return
    elif site in _OWN_SITE:
        return
    raise Forbidden("A web page of another origin may not send this request.")


def _quote(host: bytes) -> str:
    return repr(host[:80].decode("ascii", "replace"))
