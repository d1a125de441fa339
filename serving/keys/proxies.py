"""Headers of a proxy in front of the service, and signs that there is one.

No header is trusted by itself, because any caller can write any header.
``LAUREL_SERVING_TRUSTED_PROXIES`` names the networks of the proxies whose ``X-Forwarded-For`` is
trusted."""

import ipaddress
from collections.abc import Iterable

Headers = Iterable[tuple[bytes, bytes]]
IP = ipaddress.IPv4Address | ipaddress.IPv6Address

# Headers that proxies, tunnels and content networks add: one of them is enough.
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


# Headers that callers send themselves: a look-up here costs less than a comparison with all marks.
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
    """Whether a request shows that it came through a proxy.

    ``names`` are its headers' in lower case. nginx with ``proxy_pass`` alone (before 1.29.7) adds
    none, and shows by its version: HTTP/1.0 with ``Connection: close``, which HTTP/1.0 does anyway.
    """
    for name in names:
        if name not in _ORDINARY and name.startswith(_MARKS):
            return True
    return version == "1.0" and b"close" in connection.lower()


class TrustedProxies:
    """The proxies of ``networks``: addresses or networks separated by commas. Raises ``ValueError``
    if invalid.
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
        """Whether ``address`` is a trusted proxy."""
        ip = _read_ip(address)
        return ip is not None and self._include(ip)

    def find_caller(self, headers: Headers, address: str) -> str:
        """Return the caller of the trusted proxy at ``address``: the last in ``X-Forwarded-For``
        that is not a trusted proxy itself.

        A caller wrote the entries before that one. If the entry is not an address, the proxy that
        wrote it is the caller."""
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
    """Parse an address as proxies write it: also with a port, in brackets, or IPv4 within IPv6.
    ``None`` if invalid.
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
