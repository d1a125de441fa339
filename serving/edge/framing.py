"""Where a request begins and ends. A request that two programs could read in two ways is refused.

A proxy in front of the service must see the same requests in a connection as the service does: if
only one of them reads a body as a request, its answer goes to another caller (request smuggling).
The parser (llhttp) refuses most ambiguous requests. This module checks the rest: upgrades, tunnels,
transfer codings, old versions, two names for one server."""

import re

from serving.errors import Refused

Headers = list[tuple[bytes, bytes]]

_UPGRADING = frozenset((b"upgrade", b"http2-settings"))
_VERSIONS = frozenset(("1.0", "1.1"))


def check_head(method: bytes, target: bytes, version: str, headers: Headers) -> bytes:
    """Return the target without the server's name. Header names come in lower case.

    Raises ``Refused``: then close the connection, whatever follows in it."""
    if method == b"CONNECT":
        raise Refused(405, "method_not_allowed", "This server is not a proxy: it opens no tunnels.")
    if version not in _VERSIONS:
        raise Refused(
            400, "malformed_request", "The request's version is neither HTTP/1.1 nor HTTP/1.0."
        )
    codings = [value for name, value in headers if name == b"transfer-encoding"]
    if codings and (version == "1.0" or [coding.lower() for coding in codings] != [b"chunked"]):
        raise Refused(
            400,
            "malformed_request",
            "Transfer-Encoding must be 'chunked', once, in HTTP/1.1; otherwise the end of the "
            "body is unknown.",
        )
    hosts = [value for name, value in headers if name == b"host"]
    if len(hosts) > 1:
        raise Refused(400, "malformed_request", "The request has more than one Host header.")
    return target if target.startswith(b"/") else _path_of(method, target, hosts)


def strip_prefix(target: bytes, prefix: bytes) -> bytes:
    """Return ``target`` without ``prefix``, for a proxy that serves the service below a path and
    keeps the path.
    """
    rest = target[len(prefix) :]
    if not prefix or not target.startswith(prefix) or rest[:1] not in (b"", b"/", b"?"):
        return target
    return rest if rest[:1] == b"/" else b"/" + rest


def without_upgrade(method: bytes, target: bytes, version: str, headers: Headers) -> bytes:
    """Return the request's head without its wish for another protocol: there is none to upgrade to
    (RFC 9110, 7.8).
    """
    lines = [b"%b %b HTTP/%b" % (method, target, version.encode())]
    for name, value in headers:
        if name == b"connection":
            options = [option.strip() for option in value.split(b",")]
            value = b", ".join(option for option in options if option.lower() not in _UPGRADING)
        if name not in _UPGRADING and (value or name != b"connection"):
            lines.append(b"%b: %b" % (name, value))
    return b"\r\n".join([*lines, b"", b""])


def _path_of(method: bytes, target: bytes, hosts: list[bytes]) -> bytes:
    """Return the path of a target that names its server (RFC 9112, 3.2.2); it must be the server
    that ``Host`` names, because the rules check ``Host``.
    """
    if target == b"*" and method == b"OPTIONS":
        return target
    scheme, separator, rest = target.partition(b"://")
    authority = re.split(rb"[/?]", rest, maxsplit=1)[0]
    if (
        separator
        and scheme.lower() in (b"http", b"https")
        and [authority.lower()] == [host.lower() for host in hosts]
    ):
        path = rest[len(authority) :]
        return path if path.startswith(b"/") else b"/" + path
    raise Refused(
        400,
        "malformed_request",
        "The request's target is neither a path nor an address of the server that Host names.",
    )
