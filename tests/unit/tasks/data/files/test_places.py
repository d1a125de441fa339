"""Files in a bucket and in Laurel's lake."""

from collections.abc import Iterator

import pytest

from blocks.lake import Lake
from tasks.data.sources import source_of
from tasks.outside.blocks_of_run import given
from tests.fixtures.s3 import empty_bucket, lake_settings
from tests.unit.tasks.data.files.test_file_source import CSV, case
from usecases.definition import SourceError


@pytest.fixture
def aws(s3: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A machine whose role may read the bucket ``laurel-orders``."""
    client = empty_bucket(s3, "laurel-orders")
    client.put_object(Bucket="laurel-orders", Key="in/2024.csv", Body=CSV.encode())
    later = CSV.replace("2024-", "2025-")
    client.put_object(Bucket="laurel-orders", Key="in/sub/2025.csv", Body=later.encode())
    client.put_object(Bucket="laurel-orders", Key="in-other/2026.csv", Body=b"no")
    settings = lake_settings(s3, "s3://laurel-orders")
    assert settings.s3_access_key and settings.s3_secret_key
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3)
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", s3)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", settings.s3_access_key.get_secret_value())
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", settings.s3_secret_key.get_secret_value())
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    with given(Lake.of(settings)):
        yield "laurel-orders"


@pytest.mark.parametrize(
    ("path", "periods"),
    [
        ("s3://laurel-orders/in/2024.csv", ["2024-01", "2024-02"]),
        ("s3://laurel-orders/in/*.csv", ["2024-01", "2024-02"]),
        ("s3://laurel-orders/in/", ["2024-01", "2024-02", "2025-01", "2025-02"]),
        ("s3://laurel-orders/in", ["2024-01", "2024-02", "2025-01", "2025-02"]),
        ("lake://in/sub/2025.csv", ["2025-01", "2025-02"]),
    ],
)
def test_files_of_a_bucket(aws: str, path: str, periods: list[str]) -> None:
    assert source_of(case(path)).periods() == periods
    assert len(source_of(case(path)).read(periods[0])) == 2


@pytest.mark.parametrize("path", ["s3://laurel-orders/none.csv", "lake://none/*.csv"])
def test_missing_file_of_a_bucket(aws: str, path: str) -> None:
    with pytest.raises(SourceError, match="no file, and no folder or pattern with files"):
        source_of(case(path)).periods()


def test_other_addresses_are_refused(aws: str) -> None:
    with pytest.raises(SourceError, match="a path begins with s3://, lake:// or a folder"):
        source_of(case("https://example.com/orders.csv")).periods()
