"""The doctor's checks: each must be able to find a fault, and says *unknown* if it cannot look."""

import json
import socket
import time
from collections import namedtuple
from collections.abc import Iterable
from pathlib import Path

import httpx
import pytest

from blocks.settings import REPOSITORY, Settings
from laurel import checkup
from laurel.checkup import Check, check_clock, check_disk, check_part, check_ports, check_versions
from laurel.commands.doctor import in_words
from laurel.main import main
from laurel.parts import StackPart

Usage = namedtuple("Usage", "total used free")


@pytest.mark.parametrize(("free", "finding"), [(0.4e9, "wrong"), (3e9, "look"), (50e9, "fine")])
def test_a_full_disk_is_found_before_the_stack_exists(
    free: float, finding: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkup.shutil, "disk_usage", lambda path: Usage(1e12, 0, free))
    assert check_disk(tmp_path / "not" / "made").finding == finding


def test_packages_that_differ_from_the_lock_are_named(tmp_path: Path) -> None:
    lock, project = tmp_path / "requirements.lock", tmp_path / "pyproject.toml"
    lock.write_text("# made by uv\nhttpx==0.0.1\n    # via laurel\nno-such-tool==1\n")
    project.write_text('[project]\ndependencies = ["no-such-package>=1", "httpx"]\n')
    (check,) = check_versions(tmp_path)
    assert (check.finding, check.remedy) == ("wrong", "make venv")
    assert "httpx" in check.sentence and "no-such-package is missing" in check.sentence
    assert "no-such-tool" not in check.sentence, "the tests' tools are a person's choice"
    lock.write_text("not-on-this-system==1 ; sys_platform == 'amiga'\n")
    assert [one.finding for one in check_versions(tmp_path)] == ["unknown"]


def test_this_environment_is_as_locked() -> None:
    (check,) = check_versions(REPOSITORY)
    assert check.finding == "fine" and "packages as locked" in check.sentence


def test_a_taken_port_is_named_with_a_free_one(taken_port: int, tmp_path: Path) -> None:
    checks = list(check_ports(Settings(state=tmp_path, mlflow_port=taken_port)))
    wrong = [check for check in checks if check.finding == "wrong"]
    assert any(str(taken_port) in check.sentence for check in wrong)
    assert all("laurel up" in check.remedy for check in wrong)


@pytest.mark.parametrize(
    ("answers", "finding"), [(True, "fine"), (False, "wrong"), (None, "unknown")]
)
def test_a_part_that_nobody_can_ask_is_unknown(answers: bool | None, finding: str) -> None:
    assert check_part(StackPart("worker", answers, "http://x", "no worker")).finding == finding


@pytest.mark.parametrize(("skew", "finding"), [(0, "fine"), (3600, "wrong"), (-3600, "wrong")])
def test_a_clock_that_differs_from_the_service_s_is_wrong(
    skew: float, finding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    date = httpx.Response(
        200,
        headers={
            "date": time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + skew))
        },
    )
    monkeypatch.setattr(httpx, "get", lambda *arguments, **options: date)
    check = check_clock("http://service")
    assert check.finding == finding
    assert ("behind" if skew > 0 else "ahead") in check.sentence or skew == 0


def test_a_check_that_breaks_is_unknown_and_hides_no_other() -> None:
    def breaks() -> Iterable[Check]:
        yield Check("blocks", "fine", "one")
        raise KeyError("surprise")

    assert [one.finding for one in checkup.guarded("blocks", breaks)] == ["fine", "unknown"]


def test_an_untrusted_certificate_is_wrong_and_a_silent_server_unknown() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    settings = Settings(serving_url=f"https://127.0.0.1:{port}")
    (check,) = checkup.check_certificates(settings)
    assert (check.subject, check.finding) == ("service TLS", "unknown")
    assert list(checkup.check_certificates(Settings())) == [], "no server here has TLS"


def test_a_stack_that_is_down_is_wrong_and_the_rest_unknown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LAUREL_STATE", str(tmp_path))
    for place, name in enumerate(("PREFECT", "MLFLOW", "SERVING", "S3")):
        monkeypatch.setenv(f"LAUREL_{name}_PORT", str(1 + place))
    monkeypatch.setattr(checkup, "check_use_cases", lambda: [])
    assert main(["doctor", "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    found = {check["subject"]: check["finding"] for check in document["checks"]}
    assert document["fine"] is False
    assert (found["stack"], found["ledgers"], found["blocks"]) == ("wrong", "unknown", "unknown")


def test_a_fault_has_glyph_word_and_remedy() -> None:
    assert in_words(Check("worker", "wrong", "no worker is online", "laurel up")) == [
        "✗ worker       wrong: no worker is online",
        "  → laurel up",
    ]
    assert in_words(Check("disk", "fine", "51 GB")) == ["✓ disk         51 GB"]


def test_a_use_case_that_the_service_does_not_know_hides_no_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from blocks.clients.service import ServiceRefuses
    from tasks.ledger.audits import Audit

    class Service:
        def ask(self, method: str, path: str) -> dict[str, str]:
            if path.endswith("/gone"):
                raise ServiceRefuses("no", 404, "The service does not serve 'gone'.")
            return {"version": "4"}

    audits = [Audit(name, 3, "5", ()) for name in ("gone", "toy")]
    monkeypatch.setattr("deployments.checks.audit.audit", lambda names: audits)
    monkeypatch.setattr(checkup, "service_api", lambda settings: Service())
    found = {check.subject: check for check in checkup.check_crowns(Settings())}
    assert (found["gone"].finding, found["toy"].finding) == ("unknown", "wrong")
    assert "does not serve 'gone'" in found["gone"].sentence
