import socket
import stat
from pathlib import Path

import pytest
from pydantic import SecretStr

from blocks.settings import Settings
from deployments.servers import seaweedfs
from deployments.servers.errors import StorageError

WEED = Path("/somewhere/weed")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def read(state: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("LAUREL_STATE", str(state))
    return Settings.read()


def test_s3_keys_are_made_once_and_read_back_by_the_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = seaweedfs.prepare(read(tmp_path, monkeypatch), WEED, print)
    assert settings.s3_access_key and settings.s3_secret_key
    again = seaweedfs.prepare(read(tmp_path, monkeypatch), WEED, print)
    assert (again.s3_access_key, again.s3_secret_key) == (
        settings.s3_access_key,
        settings.s3_secret_key,
    )


def test_s3_keys_of_two_stacks_differ_and_only_their_owner_can_read_them(tmp_path: Path) -> None:
    stacks = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        stacks.append(seaweedfs.prepare(Settings(state=tmp_path / name), WEED, print))
        assert mode(tmp_path / name / "env") == 0o600
    assert stacks[0].s3_access_key != stacks[1].s3_access_key
    assert stacks[0].s3_secret_key != stacks[1].s3_secret_key


def test_other_lines_of_the_env_file_stay_and_a_lax_mode_is_tightened(tmp_path: Path) -> None:
    (tmp_path / "env").write_text("LAUREL_SLACK_CHANNEL=#models\nLAUREL_S3_ACCESS_KEY=old\n")
    (tmp_path / "env").chmod(0o644)
    seaweedfs.remember(tmp_path, {"LAUREL_S3_ACCESS_KEY": "new"})
    assert (tmp_path / "env").read_text().splitlines() == [
        "LAUREL_SLACK_CHANNEL=#models",
        "LAUREL_S3_ACCESS_KEY=new",
    ]
    assert mode(tmp_path / "env") == 0o600


def test_keys_that_somebody_set_are_taken_and_not_written_down(tmp_path: Path) -> None:
    settings = Settings(
        state=tmp_path, s3_access_key=SecretStr("mine"), s3_secret_key=SecretStr("too")
    )
    assert seaweedfs.prepare(settings, WEED, print) == settings
    assert not (tmp_path / "env").exists()


def test_one_key_without_the_other_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        StorageError, match="Only one of LAUREL_S3_ACCESS_KEY and LAUREL_S3_SECRET_KEY"
    ):
        seaweedfs.prepare(Settings(state=tmp_path, s3_access_key=SecretStr("mine")), WEED, print)


def test_platform_without_seaweedfs_gets_a_folder_and_is_told_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines: list[str] = []
    settings = seaweedfs.prepare(Settings(state=tmp_path), None, lines.append)
    assert settings.lake == f"file://{tmp_path}/lake"
    assert lines == [
        f"SeaweedFS has no binary for this platform: the lake is the folder {tmp_path}/lake."
    ]
    assert read(tmp_path, monkeypatch).lake == settings.lake


def test_platform_without_seaweedfs_refuses_an_s3_lake_that_was_asked_for(tmp_path: Path) -> None:
    with pytest.raises(
        StorageError, match="set LAUREL_LAKE=file:///some/folder, or LAUREL_S3_ENDPOINT"
    ):
        seaweedfs.prepare(Settings(state=tmp_path, lake="s3://mine"), None, print)


def test_lake_elsewhere_needs_neither_seaweedfs_nor_keys(tmp_path: Path) -> None:
    for settings in (
        Settings(state=tmp_path, lake="file:///lake"),
        Settings(state=tmp_path, s3_endpoint="aws"),
    ):
        assert seaweedfs.prepare(settings, None, print) == settings


def test_sockets_of_a_seaweedfs_that_lives_are_not_swept_away_with_dead_ones(
    local_settings, tmp_path: Path
) -> None:
    settings = local_settings(tmp_path)
    dead, living = (
        Path(f"/tmp/seaweedfs-{name}-{settings.s3_port}.sock") for name in ("s3", "s3-grpc")
    )
    try:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(dead))
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(living))
            listener.listen()
            seaweedfs.remove_sockets(settings)
            assert (dead.exists(), living.exists()) == (False, True)
    finally:
        for path in (dead, living):
            path.unlink(missing_ok=True)
