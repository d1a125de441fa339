"""Grafana's board and Prometheus's alerts ask for figures that the service has."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from fastapi.testclient import TestClient

from blocks.settings import REPOSITORY, Settings
from serving.server.app import create_app

BOARD = json.loads((REPOSITORY / "infra/grafana/dashboards/serving.json").read_text())
ALERTS = REPOSITORY / "infra/prometheus/alerts.yml"
PROMTOOL = shutil.which("promtool")


def queries() -> Iterator[str]:
    for panel in BOARD["panels"]:
        for target in panel["targets"]:
            yield target["expr"]
    yield from (annotation["expr"] for annotation in BOARD["annotations"]["list"])
    for group in yaml.safe_load(ALERTS.read_text())["groups"]:
        yield from (rule["expr"] for rule in group["rules"])


def test_every_figure_that_is_asked_for_is_one_of_the_service(tmp_path: Path) -> None:
    app = create_app(Settings(state=tmp_path, lake=f"file://{tmp_path}/lake"))
    app.state.service.keys.load("loopback")
    text = TestClient(app, base_url="http://127.0.0.1").get("/metrics").text
    kinds = dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE))
    ends = {"histogram": ("_bucket", "_sum", "_count")}
    known = {name + end for name, kind in kinds.items() for end in ends.get(kind, ("",))}
    asked = {name for query in queries() for name in re.findall(r"\blaurel_\w+", query)}
    assert len(asked) > 20 and asked <= known


def test_no_two_panels_of_the_board_overlap_or_share_an_id() -> None:
    places = [panel["gridPos"] for panel in BOARD["panels"]]
    cells = [
        (x, y)
        for place in places
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(cells) == len(set(cells)) and all(x < 24 for x, _ in cells)
    assert len({panel["id"] for panel in BOARD["panels"]}) == len(BOARD["panels"])


@pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed: it comes with Prometheus")
def test_alerts_fire_on_what_they_are_for() -> None:
    assert PROMTOOL is not None
    tests = REPOSITORY / "tests/fixtures/alerts.yml"
    for words in (["check", "rules", str(ALERTS)], ["test", "rules", str(tests)]):
        done = subprocess.run([PROMTOOL, *words], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
