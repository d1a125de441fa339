"""What tests of models share: the toy use case, and fits that keep to one thread."""

from collections.abc import Iterator

import pytest
from threadpoolctl import threadpool_limits

from usecases.definition import UseCase, load


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Small fits: on a busy machine, threads that wait for each other cost more than they bring."""
    import sklearn.ensemble  # noqa: F401 - a library that is loaded later would not be limited

    with threadpool_limits(1):
        yield


@pytest.fixture(scope="module")
def case() -> UseCase:
    return load("toy")
