import os
from pathlib import Path

import pytest

from deployments.demo import folder as module
from deployments.demo.folder import demo_folder, demo_settings
from deployments.demo.runs import DemoFailed
from deployments.local.state_folder import forget, is_demos, take_over


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that ``LAUREL_STATE`` names; it does not exist yet."""
    for name in [name for name in os.environ if name.startswith("LAUREL_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("LAUREL_STATE", str(tmp_path / "own"))
    return tmp_path / "own"


def put(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("mine")
    return path


def test_stack_and_files_of_the_user_stay_however_often_the_demo_is_played(own: Path) -> None:
    files = [
        put(own / name)
        for name in (
            "mlflow/mlflow.db",
            "env",
            "serving/keys.json",
            "lake/decisions/1.json",
            "letter.txt",
        )
    ]
    for _ in range(3):
        with demo_folder() as folder:
            assert folder == own.with_name("own-demo")
            put(folder / "mlflow" / "mlflow.db")
    assert [path.read_text() for path in files] == ["mine"] * len(files)
    assert not is_demos(own)


def test_mark_of_the_former_demo_in_a_folder_of_the_user_s_is_no_leave_to_remove_it(
    own: Path,
) -> None:
    put(own / "made-by-demo")
    file = put(own / "mlflow" / "mlflow.db")
    with demo_folder():
        pass
    assert file.exists()


def test_demo_begins_with_an_empty_folder_each_time_and_keeps_what_is_not_a_stack_s(
    own: Path,
) -> None:
    with demo_folder() as folder:
        assert folder == own
        put(folder / "mlflow" / "mlflow.db")
    with demo_folder() as folder:
        assert [path.name for path in folder.iterdir()] == ["demo-folder"]
    notes = put(own / "notes.txt")
    with pytest.raises(DemoFailed, match="still has files that no stack made"), demo_folder():
        pass
    assert notes.exists()


def test_folder_of_a_demo_in_which_the_user_has_started_a_stack_is_the_user_s(own: Path) -> None:
    with demo_folder() as folder:
        file = put(folder / "mlflow" / "mlflow.db")
    assert take_over(own)
    with demo_folder() as folder:
        assert folder != own
    assert file.exists()


def test_demo_refuses_where_both_folders_hold_what_no_demo_made(own: Path) -> None:
    files = [put(own / "a"), put(own.with_name("own-demo") / "b")]
    with (
        pytest.raises(
            DemoFailed,
            match=r"own-demo holds files that no demo made.*LAUREL_STATE=\.\.\. make demo",
        ),
        demo_folder(),
    ):
        pass
    assert all(path.exists() for path in files)


def test_second_demo_at_the_same_time_leaves_the_first_one_alone(own: Path) -> None:
    with demo_folder() as folder:
        file = put(folder / "mlflow" / "mlflow.db")
        with pytest.raises(DemoFailed, match="Another demo is running"), demo_folder():
            pass
        assert file.exists()


def test_no_variable_leads_the_demo_to_servers_and_files_of_others(
    own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {
        "LAKE": "s3://production",
        "MLFLOW_URL": "http://mlflow",
        "PREFECT_URL": "http://p/api",
        "S3_ENDPOINT": "aws",
    }.items():
        monkeypatch.setenv(f"LAUREL_{name}", value)
    lines: list[str] = []
    with demo_folder() as folder:
        settings = demo_settings(folder, lines.append)
    assert (settings.lake, settings.mlflow_url, settings.prefect_url, settings.s3_endpoint) == (
        "s3://laurel",
        None,
        None,
        None,
    )
    assert (
        "it ignores LAUREL_PREFECT_URL, LAUREL_MLFLOW_URL, LAUREL_LAKE, LAUREL_S3_ENDPOINT"
        in lines[0]
    )
    assert "production" not in (folder / "env").read_text()


def test_taken_port_makes_the_demo_move_even_where_it_was_named(
    own: Path, taken_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAUREL_MLFLOW_PORT", str(taken_port))
    lines: list[str] = []
    with demo_folder() as folder:
        settings = demo_settings(folder, lines.append)
    assert settings.mlflow_port > taken_port
    assert any(f"LAUREL_MLFLOW_PORT={settings.mlflow_port}" in line for line in lines)


def test_forgetting_a_stack_leaves_other_files_and_folders(tmp_path: Path) -> None:
    other_files = [
        put(tmp_path / "state" / name) for name in ("thesis.tex", "photos/1.jpg", "benchmarks/x")
    ]
    stack_files = [
        put(tmp_path / "state" / name) for name in ("mlflow/mlflow.db", "env", "logs/a.log", "lock")
    ]
    forget(tmp_path / "state")
    assert all(path.exists() for path in other_files)
    assert not any(path.exists() for path in stack_files)


def test_repository_s_own_folder_is_never_the_demo_s(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LAUREL_STATE", raising=False)
    monkeypatch.setattr("blocks.settings.REPOSITORY", tmp_path)
    monkeypatch.setattr(module, "REPOSITORY", tmp_path)
    with demo_folder() as folder:
        assert folder == tmp_path / ".laurel-demo"
    assert not (tmp_path / ".laurel").exists()
