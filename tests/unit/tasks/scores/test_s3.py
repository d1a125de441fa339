"""Rows and scores in a bucket of S3."""

import io
from pathlib import Path

import polars as pl
import pytest

from tests.fixtures.packages import write_package
from tests.fixtures.s3 import empty_bucket
from tests.unit.tasks.scores.conftest import World
from tests.unit.tasks.scores.test_batch import ROWS, parcel_rows


def test_a_bucket_s_rows_are_scored_into_a_bucket(
    world: World, s3: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name, value in (
        ("AWS_ENDPOINT_URL", s3),
        ("AWS_ENDPOINT_URL_S3", s3),
        ("AWS_ACCESS_KEY_ID", "key"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
        ("AWS_DEFAULT_REGION", "us-east-1"),
    ):
        monkeypatch.setenv(name, value)
    client = empty_bucket(s3, "parcels")
    content = io.BytesIO()
    rows = parcel_rows().with_columns(
        distance=pl.when(pl.int_range(pl.len()) == 7).then(-1.0).otherwise("distance")
    )
    rows.write_parquet(content)
    client.put_object(Bucket="parcels", Key="in/june.parquet", Body=content.getvalue())
    write_package(world.registry.package)
    outcome = world.score("s3://parcels/in/", to="s3://parcels/out/")
    names = [stored["Key"] for stored in client.list_objects_v2(Bucket="parcels")["Contents"]]
    run = outcome.record.run
    assert names == [
        "in/june.parquet",
        f"out/in-v3-{run}.parquet",
        f"out/refused/in-v3-{run}.parquet",
    ]
    body = client.get_object(Bucket="parcels", Key=names[1])["Body"].read()
    assert len(pl.read_parquet(io.BytesIO(body))) == ROWS - 1
    assert outcome.record.output == f"s3://parcels/{names[1]}"
    assert world.score("s3://parcels/in/june.parquet", to=f"s3://parcels/{names[1]}").again
