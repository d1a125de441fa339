"""Where a request begins and ends, and what is refused because two programs could read it in two
ways.

A proxy in front of the service must see the same requests in a connection as the service does: a
body that one of them reads as a request is answered to another caller (request smuggling). The
parser (llhttp) refuses most of what is ambiguous. What it lets pass or treats as special is here:
upgrades, tunnels, codings of transfer, old versions, two names of one server."""

import re

from serving.errors import Refused

Headers = list[tuple[bytes, bytes]]

_UPGRADING = frozenset((b"upgrade", b"http2-settings"))
_VERSIONS = frozenset(("1.0", "1.1"))


def check_head(method: bytes, target: bytes, version: str, headers: Headers) -> bytes:
    """The target without the server's name. Header names come in lower case.

    Raises ``Refused``: the connection must be closed then, whatever follows in it.
    """
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
    """``target`` as the service knows it, where a proxy has the service below ``prefix`` and leaves
    that in place.
    """
    rest = target[len(prefix) :]
    if not prefix or not target.startswith(prefix) or rest[:1] not in (b"", b"/", b"?"):
        return target
    return rest if rest[:1] == b"/" else b"/" + rest


def without_upgrade(method: bytes, target: bytes, version: str, headers: Headers) -> bytes:
    """The same request's head without its wish for another protocol: there is none here to upgrade
    to (RFC 9110, 7.8).
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
    """A target that names its server (RFC 9112, 3.2.2) must name the one that ``Host`` names: rules
    are about ``Host``.
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
