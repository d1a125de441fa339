"""What a proxy in front of the service may say, and what tells that there is one.

Nothing that a request says of its way here is believed of itself: any caller can write any header.
``LAUREL_SERVING_TRUSTED_PROXIES`` names the networks of the proxies whose ``X-Forwarded-For`` is
believed."""

import ipaddress
from collections.abc import Iterable

Headers = Iterable[tuple[bytes, bytes]]
IP = ipaddress.IPv4Address | ipaddress.IPv6Address

# What proxies, tunnels and content networks add: one of them is enough.
_MARKS = (
    *(
        b"x-forwarded",
        b"forwarded",
        b"via",
        b"x-real-ip",
        b"x-client-ip",
        b"x-cluster-client-ip",
        b"true-client-ip",
        b"x-original-",
    ),
    *(
        b"x-envoy-",
        b"x-proxyuser-ip",
        b"cf-connecting-ip",
        b"cf-ray",
        b"cdn-loop",
        b"fastly-client-ip",
        b"fly-client-ip",
    ),
    *(b"x-azure-clientip", b"x-appengine-user-ip", b"x-arr-", b"tailscale-", b"proxy-connection"),
)


# What callers send themselves: to look a name up here costs less than to compare it with all marks.
_ORDINARY = frozenset(
    (
        b"host",
        b"user-agent",
        b"accept",
        b"accept-encoding",
        b"authorization",
        b"connection",
        b"content-type",
        b"content-length",
    )
)


def is_forwarded(names: Iterable[bytes], version: str, connection: bytes) -> bool:
    """Whether a request came through a proxy, as far as it tells.

    ``names`` are its headers' in lower case. A proxy that adds none is told by its version where it
    is nginx with ``proxy_pass`` alone (before 1.29.7): HTTP/1.0 that asks to close a connection,
    which HTTP/1.0 does unasked."""
    for name in names:
        if name not in _ORDINARY and name.startswith(_MARKS):
            return True
    return version == "1.0" and b"close" in connection.lower()


class TrustedProxies:
    """The proxies of ``networks``: addresses or networks separated by commas. Raises ``ValueError``
    for others.
    """

    def __init__(self, networks: str) -> None:
        try:
            self._networks = [
                ipaddress.ip_network(part.strip()) for part in networks.split(",") if part.strip()
            ]
        except ValueError as error:
            raise ValueError(
                f"LAUREL_SERVING_TRUSTED_PROXIES is {networks!r}; it must list addresses or "
                "networks, "
                f"such as '10.0.0.0/16,127.0.0.1': {error}."
            ) from error

    def trust(self, address: str) -> bool:
        """Whether what ``address`` says of its callers is believed."""
        ip = _read_ip(address)
        return ip is not None and self._include(ip)

    def find_caller(self, headers: Headers, address: str) -> str:
        """Who called the trusted proxy at ``address``: the last in ``X-Forwarded-For`` that is no
        trusted proxy itself.

        What stands before that one was written by a caller. Where it is no address, the proxy that
        wrote it down stays."""
        named = b",".join(value for name, value in headers if name == b"x-forwarded-for").decode(
            "latin-1"
        )
        for text in reversed(named.split(",") if named else []):
            ip = _read_ip(text.strip())
            if ip is None:
                break
            address = str(ip)
            if not self._include(ip):
                break
        return address

    def _include(self, ip: IP) -> bool:
        return any(ip in network for network in self._networks)


def _read_ip(text: str) -> IP | None:
    """An address as proxies write it: also with a port, in brackets, or IPv4 within IPv6. ``None``
    for anything else.
    """
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        ip = ipaddress.ip_address(text)
    except ValueError:
        return None
    return getattr(ip, "ipv4_mapped", None) or ip
