import pytest

from serving.edge.framing import check_head, strip_prefix, without_upgrade
from serving.errors import Refused

HOST = (b"host", b"localhost:5001")


def test_a_head_without_its_wish_is_otherwise_the_same() -> None:
    headers = [
        HOST,
        (b"connection", b"keep-alive, Upgrade , HTTP2-Settings"),
        (b"upgrade", b"h2c"),
        (b"http2-settings", b"AAMAAABkAAQ"),
        (b"content-length", b"3"),
        (b"connection", b"upgrade"),
        (b"x-a", b"b"),
        (b"x-a", b"c"),
    ]
    head = without_upgrade(b"POST", b"/x?y=%20", "1.1", headers)
    assert head == (
        b"POST /x?y=%20 HTTP/1.1\r\nhost: localhost:5001\r\nconnection: keep-alive\r\n"
        b"content-length: 3\r\nx-a: b\r\nx-a: c\r\n\r\n"
    )


@pytest.mark.parametrize(
    ("target", "path"),
    [
        (b"/v1", b"/v1"),
        (b"//v1", b"//v1"),
        (b"http://localhost:5001/v1?x", b"/v1?x"),
        (b"http://LOCALHOST:5001", b"/"),
        (b"https://localhost:5001?x=/", b"/?x=/"),
    ],
)
def test_a_target_loses_its_server_s_name(target: bytes, path: bytes) -> None:
    assert check_head(b"GET", target, "1.1", [HOST]) == path


@pytest.mark.parametrize(
    "target",
    [
        b"http://localhost/v1",
        b"http://u@localhost:5001/v1",
        b"ftp://localhost:5001/",
        b"v1",
        b"localhost:5001",
        b"*",
    ],
)
def test_a_target_that_names_another_server_is_refused(target: bytes) -> None:
    with pytest.raises(Refused, match="target"):
        check_head(b"GET", target, "1.1", [HOST])


def test_a_target_is_compared_with_the_one_host_there_is() -> None:
    with pytest.raises(Refused):
        check_head(b"GET", b"http://localhost/", "1.1", [])
    assert check_head(b"OPTIONS", b"*", "1.1", [HOST]) == b"*"


@pytest.mark.parametrize(
    ("target", "path"),
    [
        (b"/models", b"/"),
        (b"/models/", b"/"),
        (b"/models?x=1", b"/?x=1"),
        (b"/models/v1", b"/v1"),
        (b"/modelsx/v1", b"/modelsx/v1"),
        (b"/v1/models", b"/v1/models"),
        (b"/models/models/v1", b"/models/v1"),
    ],
)
def test_a_prefix_is_cut_off_where_it_is_a_whole_path(target: bytes, path: bytes) -> None:
    assert strip_prefix(target, b"/models") == path
    assert strip_prefix(target, b"") == target
