"""The use cases that come with Laurel have nothing wrong."""

import pytest

from tasks.checks.course import run_checks

pytestmark = pytest.mark.slow("fits and packages the candidates of four use cases")


@pytest.mark.parametrize("name", ["flights", "diabetes", "digits", "reviews"])
@pytest.mark.nightly("a further variant", only=("digits", "reviews"))
def test_a_use_case_that_ships_passes(name: str) -> None:
    findings = list(run_checks(name, rows=10_000))
    assert [found for found in findings if found.state in ("wrong", "not checked")] == []
    checks = [finding.check for finding in findings]
    for check in ("load", "source", "schema", "labels", "hold-out", "score", "package", "cost"):
        assert check in checks
    (cost,) = (finding for finding in findings if finding.check == "cost")
    assert cost.numbers["seconds"] > 0 and cost.numbers["peak_bytes"] > 1e8
