"""The reviews, from their invented months to a served champion that reads Korean."""

import pytest

from blocks.registry import ModelVersion
from flows.retrain import retrain
from tasks.packages.registered import read_manifest
from tests.fixtures.processes import wait_until
from tests.integration.planting import Loop


@pytest.mark.nightly("a search over texts; backtest/test_reviews.py proves the loop")
def test_reviews_get_a_champion_that_reads_korean(loop: Loop) -> None:
    outcome = loop.run(retrain, "reviews", through="2024-06")
    assert outcome.name == "Completed", outcome.message
    version: ModelVersion = outcome.result
    wait_until(lambda: loop.served("reviews") == version.number, "the service serves the champion")
    manifest = read_manifest(loop.registry, version)
    assert manifest.files.keys() >= {"vocabularies.json"}
    assert "review.group_1" in manifest.drift_thresholds
    rows = [
        {"review": review, "country": country}
        for review, country in (
            ("정말 마음에 들어요. 또 살게요 👍", "KR"),
            ("결국 반품했어요. 별로예요, 실망했습니다 😡.", "KR"),
            ("great quality for the price. would buy again.", "GB"),
            ("feels cheap. had to return it.", "GB"),
        )
    ]
    answer = loop.service.post("/v1/reviews/predict", json={"rows": rows})
    assert answer.status_code == 200, answer.text
    likely = [prediction["score"] > 0.5 for prediction in answer.json()["predictions"]]
    assert likely == [True, False, True, False]
    refused = loop.service.post(
        "/v1/reviews/predict", json={"rows": [{"review": "x" * 5_001, "country": "GB"}]}
    )
    assert refused.status_code == 422
    assert "field 'review': expected `str` of length <= 5000" in refused.text
