from pathlib import Path

import pytest

from blocks.settings import is_loopback
from serving.errors import Forbidden, Unauthorized
from serving.keys.admission import Admission, keys_needed
from serving.keys.keyring import Keys
from tests.fixtures.api_keys import bearer, put_key

HERE = (b"host", b"127.0.0.1:5001")


def without_keys(allowed_hosts: str = "") -> Admission:
    return Admission(Keys(Path("nowhere"), required=False), allowed_hosts)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "::1", "localhost", "127.1"])
def test_loopback_is_told_by_its_addresses(host: str) -> None:
    assert is_loopback(host)
    assert not keys_needed(host, required=False)
    assert keys_needed(host, required=True)


@pytest.mark.parametrize(
    "host",
    [
        "0.0.0.0",
        "::",
        "",
        "0",
        "10.0.0.1",
        "::ffff:10.0.0.1",
        "192.168.1.7",
        "no.such.name.invalid",
        "a" * 300,
        "*",
    ],
)
def test_everything_else_needs_keys(host: str) -> None:
    assert keys_needed(host, required=False)


@pytest.mark.parametrize(
    "host",
    [
        b"localhost",
        b"LOCALHOST:5001",
        b"127.0.0.1",
        b"127.0.0.1:8080",
        b"127.9.9.9:1",
        b"[::1]",
        b"[::1]:5001",
    ],
)
def test_without_keys_the_service_answers_to_loopback_s_names(host: bytes) -> None:
    assert without_keys().admit("POST", [(b"host", host)], "predict") == ""


@pytest.mark.parametrize(
    "host",
    [
        b"",
        b"evil.example",
        b"evil.example:5001",
        b"localhost.evil.example",
        b"127.0.0.1.evil.example",
        b"evil.example/localhost",
        b"localhost:5001@evil",
        b"localhost:",
        b"[::]",
        b"0.0.0.0:5001",
        b"10.0.0.1",
        b"localhost\n",
        b"\xff",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_without_keys_no_other_name_is_answered_to_so_that_no_page_can_take_loopback_for_its_own(
    host: bytes, method: str
) -> None:
    with pytest.raises(
        Forbidden, match=r"LAUREL_SERVING_ALLOWED_HOSTS.*LAUREL_SERVING_REQUIRE_KEYS=true"
    ):
        without_keys().admit(method, [(b"host", host)], "predict")


def test_without_keys_a_request_without_a_host_is_refused() -> None:
    with pytest.raises(Forbidden):
        without_keys().admit("GET", [], "")


def test_names_that_are_listed_are_answered_to_and_none_that_looks_like_them() -> None:
    admission = without_keys("laurel.internal, box:8080")
    for host in (b"laurel.internal", b"Laurel.Internal:99", b"box:8080", b"localhost:1"):
        assert admission.admit("POST", [(b"host", host)], "predict") == ""
    for host in (b"laurelxinternal", b"box", b"box:80", b"laurel.internal.evil"):
        with pytest.raises(Forbidden):
            admission.admit("POST", [(b"host", host)], "predict")


@pytest.mark.parametrize(
    "header", [b"x-forwarded-for", b"forwarded", b"x-real-ip", b"x-forwarded-host"]
)
def test_without_keys_what_a_proxy_forwards_is_refused_unless_its_name_is_listed(
    header: bytes,
) -> None:
    with pytest.raises(Forbidden, match="A proxy forwarded this"):
        without_keys().admit("POST", [HERE, (header, b"203.0.113.9")], "predict")
    assert (
        without_keys("127.0.0.1").admit("POST", [HERE, (header, b"203.0.113.9")], "predict") == ""
    )


@pytest.mark.parametrize(
    "headers",
    [
        [(b"sec-fetch-site", b"cross-site")],
        [(b"sec-fetch-site", b"same-site")],
        [(b"sec-fetch-site", b"cross-site"), (b"origin", b"http://127.0.0.1:5001")],
        [(b"origin", b"https://evil.example")],
        [(b"origin", b"http://127.0.0.1:5000")],
        [(b"origin", b"null")],
        [(b"origin", b"")],
    ],
)
@pytest.mark.parametrize("method", ["POST", "DELETE"])
def test_a_page_of_another_origin_may_read_what_links_lead_to_and_send_nothing(
    method: str, headers: list[tuple[bytes, bytes]]
) -> None:
    with pytest.raises(Forbidden, match="another origin"):
        without_keys().admit(method, [HERE, *headers], "predict")
    assert without_keys().admit("GET", [HERE, *headers], "") == ""


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [(b"sec-fetch-site", b"same-origin"), (b"origin", b"http://127.0.0.1:5001")],
        [(b"sec-fetch-site", b"none")],
        [(b"origin", b"http://127.0.0.1:5001")],
    ],
)
def test_the_service_s_own_page_and_programs_may_send(headers: list[tuple[bytes, bytes]]) -> None:
    assert without_keys().admit("POST", [HERE, *headers], "predict") == ""


def test_with_keys_the_name_does_not_matter_and_the_key_does(tmp_path: Path) -> None:
    secret = put_key(tmp_path / "keys.json")
    keys = Keys(tmp_path / "keys.json", required=True)
    keys.load()
    admission = Admission(keys)
    abroad = [(b"host", b"ml.example"), (b"x-forwarded-for", b"203.0.113.9")]
    assert admission.admit("POST", [*abroad, *bearer(secret)], "predict") == "web"
    assert admission.admit("GET", abroad, "") == ""
    with pytest.raises(Unauthorized):
        admission.admit("POST", abroad, "predict")
    with pytest.raises(Forbidden, match="lacks the scope 'operate'"):
        admission.admit("GET", bearer(secret), "operate")
    with pytest.raises(Forbidden, match="another origin"):
        admission.admit("POST", [*bearer(secret), (b"sec-fetch-site", b"cross-site")], "predict")
