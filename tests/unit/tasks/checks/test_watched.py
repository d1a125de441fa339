"""What a use case's code does to its process is a finding, and reaches nobody else."""

import pytest

from tasks.checks.watched import watch_checks

pytestmark = pytest.mark.slow("starts an interpreter for each check")
PERIODS, READ = "        return PERIODS\n", "        return rows\n"


def outcome(name: str, limit: float = 60.0):
    findings = []
    for finding in watch_checks(name, 2000, limit):
        findings.append(finding)
        if finding.check == "hold-out":
            break
    return findings


@pytest.mark.nightly("waits for real seconds")
def test_a_source_that_hangs_is_ended_and_the_rest_is_not_checked(written) -> None:
    name, _ = written((PERIODS, "        import time; time.sleep(10_000)\n"))
    *_, last, rest = outcome(name, limit=8)
    assert (last.check, last.state) == ("source", "wrong")
    assert last.sentence == "no answer within 8 s" and "--limit" in last.remedy
    assert (rest.state, rest.sentence) == ("not checked", "since source did not end")


@pytest.mark.parametrize(
    ("line", "told"),
    [("        raise SystemExit(3)\n", "code 3"), ("        __import__('os').abort()\n", "-6")],
)
def test_a_source_that_exits_or_crashes_is_told(written, line: str, told: str) -> None:
    name, _ = written((PERIODS, line))
    *_, last, _ = outcome(name)
    assert (last.check, last.state) == ("source", "wrong") and told in last.sentence


@pytest.mark.nightly("a process that imports everything")
def test_what_the_code_prints_is_no_answer(written) -> None:
    name, _ = written((READ, f'        print("[1, 2", flush=True)\n{READ}'))
    assert outcome(name)[-1].check == "hold-out"
