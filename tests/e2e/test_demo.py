"""All of ``make demo``, as a newcomer starts it, but on separate ports and in its own folder."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from blocks.settings import REPOSITORY, Settings


@pytest.mark.timeout(1200)  # beside the other lane
def test_the_demo_closes_the_loop_by_itself_and_loses_no_request(
    tmp_path: Path, local_settings: Callable[..., Settings]
) -> None:
    settings = local_settings(tmp_path / "state")
    ports = {
        f"LAUREL_{name.upper()}": str(getattr(settings, name))
        for name in ("prefect_port", "mlflow_port", "s3_port", "serving_port")
    }
    environment = {
        **os.environ,
        **ports,
        "LAUREL_STATE": str(settings.state),
        "HOME": str(tmp_path / "empty-home"),
    }
    demo = [sys.executable, "-m", "deployments.demo", "--down"]
    played = subprocess.run(
        demo, cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=1150
    )
    assert played.returncode == 0, played.stdout + played.stderr

    story = json.loads((tmp_path / "state" / "demo.json").read_text())
    assert [story["drift"][month]["verdict"] for month in ("2013-04", "2013-05", "2013-06")] == [
        "stable",
        "stable",
        "drifted",
    ]
    first, second = story["champions"]
    assert (first["trained_through"], second["trained_through"]) == ("2013-03", "2013-06")
    assert int(second["version"]) > int(first["version"])
    assert first["roc_auc"] >= 0.75
    assert story["contest"]["verdict"] == "promote"
    assert 0 < story["contest"]["low"] <= story["contest"]["difference"] <= story["contest"]["high"]
    assert story["later_rows"]["champion_2"] > story["later_rows"]["champion_1"]
    assert (story["rejection"]["verdict"], story["rejection"]["holdout"]) == ("keep", "2013-04")
    assert [one["to"] for one in story["rollbacks"]] == [first["version"], second["version"]]
    assert story["requests"] > 1000
    assert story["failed_requests"] == 0
    assert story["swap_gap_ms"] > 0
    assert {
        "servers up, deployments applied",
        "champion 1: evaluate",
        "champion 2: promote",
    } <= set(story["stages"])
    assert "Not as expected" not in played.stdout
