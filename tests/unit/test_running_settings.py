"""The settings of a running stack, read in a shell that lacks them or has other ones."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import SecretStr

from blocks import settings as module
from blocks.settings import STARTED, Settings, demo_state, own_state, state_in_use


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The state folder of a stack that was started with its own ports and lake."""
    for name in [name for name in os.environ if name.startswith("LAUREL_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("LAUREL_STATE", str(tmp_path))
    started = Settings(
        state=tmp_path,
        mlflow_port=5050,
        lake="file:///lake",
        serving_keys_file=tmp_path / "my-keys.json",
        slack_token=SecretStr("xoxb-1"),
    )
    (tmp_path / STARTED).write_text(json.dumps(started.plain_values()))
    return tmp_path


def test_a_fresh_shell_speaks_to_the_ports_and_files_that_the_stack_was_started_with(
    state: Path,
) -> None:
    settings = Settings.of_stack()
    assert (settings.mlflow_tracking_uri, settings.lake) == (
        "http://127.0.0.1:5050",
        "file:///lake",
    )
    assert settings.serving_keys_path == state / "my-keys.json"
    assert Settings.differences() == []


def test_a_port_of_this_shell_does_not_lead_to_another_program_and_both_values_are_told(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAUREL_MLFLOW_PORT", "6060")
    assert Settings.of_stack().mlflow_port == 5050
    assert Settings.differences() == [
        f"LAUREL_MLFLOW_PORT: 6060 here, 5050 in the running stack of {state}. 5050 is used."
    ]


def test_an_address_given_for_one_errand_counts_and_is_told(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAUREL_MLFLOW_URL", "http://elsewhere:5000")
    assert Settings.of_stack().mlflow_tracking_uri == "http://elsewhere:5000"
    (line,) = Settings.differences()
    assert line.startswith(
        "LAUREL_MLFLOW_URL: http://elsewhere:5000 here, not set in the running stack"
    )


def test_folders_that_laurel_itself_imports_from_are_no_difference(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = Settings(state=tmp_path, pythonpath="/packages")
    monkeypatch.setenv("LAUREL_STATE", str(tmp_path))
    (tmp_path / STARTED).write_text(json.dumps(started.plain_values()))
    monkeypatch.setenv("PYTHONPATH", started.flow_run_pythonpath)
    assert Settings.differences() == []
    monkeypatch.setenv("PYTHONPATH", "/elsewhere")
    assert Settings.differences()[0].startswith(
        "PYTHONPATH: /elsewhere here, /packages in the running stack"
    )


def test_no_secret_is_written_down_and_none_is_told(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAUREL_SLACK_TOKEN", "xoxb-2")
    assert "xoxb" not in (state / STARTED).read_text() + " ".join(Settings.differences())


def test_user_without_the_password_that_no_file_holds_does_not_stop_a_verb(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAUREL_STATE", str(tmp_path))
    started = Settings(
        state=tmp_path, mlflow_username="owner", mlflow_password=SecretStr("long enough a one")
    )
    (tmp_path / STARTED).write_text(json.dumps(started.plain_values()))
    assert Settings.of_stack().mlflow_username is None
    private = {"LAUREL_MLFLOW_USERNAME": "owner", "LAUREL_MLFLOW_PASSWORD": "long enough a one"}
    assert Settings.of_stack(private=private).mlflow_password == SecretStr("long enough a one")


def test_a_setting_that_this_version_does_not_know_any_more_is_passed_over(state: Path) -> None:
    (state / STARTED).write_text(json.dumps({"LAUREL_OF_LONG_AGO": "1", "LAUREL_S3_PORT": "9000"}))
    assert Settings.of_stack().s3_port == 9000


def test_programs_of_their_own_take_nothing_from_a_running_stack(state: Path) -> None:
    assert Settings.read().mlflow_port == 5000


def test_an_empty_state_variable_is_not_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "REPOSITORY", tmp_path)
    monkeypatch.setenv("LAUREL_STATE", "")
    assert own_state() == Settings.read().state == tmp_path / ".laurel"


def test_verbs_speak_to_the_demo_while_it_alone_is_up_and_to_the_user_s_stack_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "REPOSITORY", tmp_path)
    monkeypatch.delenv("LAUREL_STATE", raising=False)
    own, demo = tmp_path / ".laurel", tmp_path / ".laurel-demo"
    assert (state_in_use(), demo_state(own)) == (own, demo)
    for folder in (demo, own):
        folder.mkdir()
        (folder / STARTED).write_text("{}")
        assert state_in_use() == folder
    (own / STARTED).unlink()
    monkeypatch.setenv("LAUREL_STATE", str(own))
    assert state_in_use() == own


def test_stack_that_a_power_cut_ended_does_not_hide_the_demo_that_is_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "REPOSITORY", tmp_path)
    monkeypatch.delenv("LAUREL_STATE", raising=False)
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    own, demo = tmp_path / ".laurel", tmp_path / ".laurel-demo"
    for folder, pid in ((own, process.pid), (demo, os.getpid())):
        folder.mkdir()
        (folder / STARTED).write_text("{}")
        (folder / "supervisord.pid").write_text(f"{pid}\n")
    assert state_in_use() == demo
    (own / "supervisord.pid").write_text(f"{os.getpid()}\n")
    assert state_in_use() == own
