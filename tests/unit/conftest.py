from collections.abc import Iterator

import pytest

from tests.fixtures.s3 import s3_server


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    """The address of an S3 server."""
    with s3_server() as url:
        yield url
