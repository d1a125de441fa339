import gzip
import os
import tracemalloc

import pytest

from serving.errors import Refused
from serving.formats.encodings import STEP_BYTES, Gunzip, accepts_gzip, is_compressed


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_a_body_in_pieces_of_any_size_is_unpacked(size: int) -> None:
    body = os.urandom(3000) + b"a" * 3000
    packed, gunzip = gzip.compress(body), Gunzip()
    pieces = [
        data
        for start in range(0, len(packed), size)
        for data in gunzip.unpack(packed[start : start + size])
    ]
    gunzip.finish()
    assert b"".join(pieces) == body


def test_a_bomb_is_unpacked_a_step_at_a_time() -> None:
    bomb = gzip.compress(b" " * 50_000_000)
    tracemalloc.start()
    steps = Gunzip().unpack(bomb)
    for _ in range(10):
        assert len(next(steps)) <= STEP_BYTES
    assert tracemalloc.get_traced_memory()[1] < 4 * STEP_BYTES
    tracemalloc.stop()


@pytest.mark.parametrize("coding", ["", "identity", "Identity", "identity, identity", " , "])
def test_what_is_sent_as_it_is_may_say_so(coding: str) -> None:
    assert not is_compressed(coding)


def test_a_refusal_says_which_codings_are_taken() -> None:
    with pytest.raises(Refused, match="Content-Encoding is 'zstd'") as refused:
        is_compressed("zstd")
    assert refused.value.headers == {"Accept-Encoding": "gzip, identity"}


def test_wishes_in_several_lines_are_one_list() -> None:
    assert accepts_gzip([(b"accept-encoding", b"br"), (b"accept-encoding", b"gzip;q=0.2")])
    assert not accepts_gzip(
        [(b"accept-encoding", b"gzip;q=0.2"), (b"accept-encoding", b"identity")]
    )
    assert not accepts_gzip([])
