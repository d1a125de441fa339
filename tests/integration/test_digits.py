"""Images from their source to a served champion."""

from blocks.registry import ModelVersion
from flows.retrain import retrain
from tasks.packages.registered import read_manifest
from tests.fixtures.processes import wait_until
from tests.integration.planting import Loop
from usecases.digits import Scanner


def test_digits_get_a_champion_that_reads_a_file(loop: Loop) -> None:
    outcome = loop.run(retrain, "digits", through="2024-05")
    assert outcome.name == "Completed", outcome.message
    version: ModelVersion = outcome.result
    wait_until(lambda: loop.served("digits") == version.number, "the service serves the champion")
    manifest = read_manifest(loop.registry, version)
    assert set(manifest.drift_thresholds) >= {"picture.brightness", "picture.noise", "score"}
    picture, digit = Scanner().read("2024-05").select("picture", "digit").row(0)
    answer = loop.service.post("/v1/digits/predict", files={"picture": ("a.png", picture)})
    assert answer.status_code == 200, answer.text
    assert answer.json()["predictions"][0]["class"] == digit
