import pytest

from blocks.settings import Settings
from serving.keys.proxies import TrustedProxies, is_forwarded
from serving.service.service import Service

PROXIES = TrustedProxies("10.0.0.0/8, 2001:db8::/32,127.0.0.1")


@pytest.mark.parametrize(
    ("forwarded", "caller"),
    [
        ([], "10.0.0.1"),
        ([b"203.0.113.7"], "203.0.113.7"),
        ([b"198.51.100.1, 203.0.113.7"], "203.0.113.7"),  # the first was written by the caller
        ([b"203.0.113.7, 10.9.9.9"], "203.0.113.7"),
        ([b"203.0.113.7", b"10.9.9.9"], "203.0.113.7"),
        ([b"203.0.113.7:4711"], "203.0.113.7"),
        ([b"[2001:db9::1]:4711"], "2001:db9::1"),
        ([b"::ffff:203.0.113.7"], "203.0.113.7"),
        ([b"203.0.113.7, 2001:db8::5"], "203.0.113.7"),
        ([b"10.1.1.1, 10.2.2.2"], "10.1.1.1"),
        ([b"203.0.113.7, unknown"], "10.0.0.1"),
        ([b"203.0.113.7, _hidden, 10.2.2.2"], "10.2.2.2"),
        ([b""], "10.0.0.1"),
        ([b"<script>"], "10.0.0.1"),
        ([b"\xff, 1.2.3.4.5"], "10.0.0.1"),
    ],
)
def test_the_caller_is_the_last_that_is_no_trusted_proxy(
    forwarded: list[bytes], caller: str
) -> None:
    headers = [(b"x-forwarded-for", value) for value in forwarded]
    assert PROXIES.find_caller(headers, "10.0.0.1") == caller


def test_trust_is_given_to_the_named_networks_alone() -> None:
    assert all(
        PROXIES.trust(address)
        for address in ("10.255.0.1", "127.0.0.1", "2001:db8::1", "::ffff:10.0.0.1")
    )
    assert not any(
        PROXIES.trust(address) for address in ("127.0.0.2", "203.0.113.7", "::1", "", "nobody")
    )
    assert not TrustedProxies("").trust("127.0.0.1")


@pytest.mark.parametrize("networks", ["*", "proxy.internal", "10.0.0.1/8", "10.0.0.0/99"])
def test_networks_that_cannot_be_are_refused_before_the_start(networks: str) -> None:
    with pytest.raises(ValueError, match="LAUREL_SERVING_TRUSTED_PROXIES"):
        Service(Settings(serving_trusted_proxies=networks))


@pytest.mark.parametrize(
    "name",
    [b"via", b"forwarded", b"x-forwarded-for", b"x-forwarded-anything", b"x-real-ip", b"cf-ray"],
)
def test_one_mark_of_a_proxy_is_enough(name: bytes) -> None:
    assert is_forwarded([b"host", name], "1.1", b"keep-alive")


def test_old_programs_are_no_proxies_and_nginx_is_told_by_what_no_program_says() -> None:
    assert not is_forwarded([b"host", b"user-agent"], "1.0", b"")
    assert not is_forwarded([b"host", b"connection"], "1.0", b"Keep-Alive")
    assert not is_forwarded([b"host", b"connection"], "1.1", b"close")
    assert is_forwarded([b"host", b"connection"], "1.0", b"Close")
