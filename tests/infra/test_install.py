"""The program that installs a revision on the data volume, in its own mount namespace: it does not
touch this machine's /srv. A fake docker records its arguments; the tests of Compose build the real
images.
"""

import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from blocks.settings import REPOSITORY
from tests.infra.test_box import BOX

pytestmark = pytest.mark.skipif(
    os.name != "posix" or os.geteuid() != 0 or shutil.which("unshare") is None,
    reason="needs Linux and root: it mounts /srv/laurel",
)
COMMIT = {
    "GIT_AUTHOR_NAME": "a",
    "GIT_AUTHOR_EMAIL": "a@example.org",
    "GIT_COMMITTER_NAME": "a",
    "GIT_COMMITTER_EMAIL": "a@example.org",
}


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Two tagged revisions, both with the real script that makes passwords."""
    folder = tmp_path / "repository"
    (folder / "infra/compose").mkdir(parents=True)
    shutil.copy(REPOSITORY / "infra/compose/make-env", folder / "infra/compose/make-env")
    subprocess.run(["git", "init", "--quiet", folder], check=True)
    for tag in ("v1", "v2"):
        (folder / "revision").write_text(tag)
        subprocess.run(["git", "-C", folder, "add", "."], check=True)
        subprocess.run(
            ["git", "-C", folder, "commit", "--quiet", "--message", tag],
            check=True,
            env=os.environ | COMMIT,
        )
        subprocess.run(["git", "-C", folder, "tag", tag], check=True)
    return folder


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """A folder with the fake, which writes to ``asked`` beside it."""
    folder = tmp_path / "programs"
    folder.mkdir()
    for name in ("docker", "laurel-compose"):
        (folder / name).write_text(
            f'#!/bin/sh\necho "{name} $* COMMIT=${{COMMIT:+set}}" >>"{folder}/asked"\n'
        )
        (folder / name).chmod(0o755)
    return folder


def revision(repository: Path, tag: str) -> dict[str, str]:
    return {"BOX_REPOSITORY": str(repository), "BOX_REVISION": tag}


def install(
    data: Path, programs: Path, variables: dict[str, str], mounted: bool = True
) -> subprocess.CompletedProcess[str]:
    data.mkdir(exist_ok=True)
    mounts = (
        "mount -t tmpfs none /srv && mkdir /srv/laurel && "
        f'{"mount --bind" if mounted else "true"} "{data}" /srv/laurel && '
    )
    environment = os.environ | variables | {"PATH": f"{programs}:{os.environ['PATH']}"}
    command = ["unshare", "--mount", "sh", "-c", f'{mounts} exec "{BOX}/laurel-install"']
    return subprocess.run(command, env=environment, capture_output=True, text=True)


def test_a_revision_is_installed_once(tmp_path: Path, repository: Path, programs: Path) -> None:
    data = tmp_path / "data"
    for _ in range(2):
        process = install(data, programs, revision(repository, "v1"))
        assert process.returncode == 0, process.stderr
    assert (data / "app/revision").read_text() == "v1"
    assert (programs / "asked").read_text() == "laurel-compose build --quiet COMMIT=set\n"


def test_another_revision_keeps_the_passwords_and_only_root_reads_them(
    tmp_path: Path, repository: Path, programs: Path
) -> None:
    data, secrets = tmp_path / "data", tmp_path / "data/app/.env"
    install(data, programs, revision(repository, "v1"))
    before = secrets.read_text()
    assert "POSTGRES_PASSWORD=" in before
    assert stat.S_IMODE(secrets.stat().st_mode) == 0o600
    process = install(data, programs, revision(repository, "v2"))
    assert process.returncode == 0, process.stderr
    assert (data / "app/revision").read_text() == "v2"
    assert secrets.read_text() == before


def test_images_that_are_named_are_pulled_and_nothing_is_built(
    tmp_path: Path, repository: Path, programs: Path
) -> None:
    images = {"LAUREL_FLOWS_IMAGE": "flows:1", "LAUREL_SERVING_IMAGE": "serving:1"}
    process = install(tmp_path / "data", programs, revision(repository, "v1") | images)
    assert process.returncode == 0, process.stderr
    assert (
        programs / "asked"
    ).read_text() == "docker pull --quiet flows:1 COMMIT=\ndocker pull --quiet serving:1 COMMIT=\n"


def test_nothing_is_installed_on_the_small_disk(
    tmp_path: Path, repository: Path, programs: Path
) -> None:
    process = install(tmp_path / "data", programs, revision(repository, "v1"), mounted=False)
    assert process.returncode == 1
    assert "not mounted" in process.stderr
    assert not (programs / "asked").exists()


def test_a_revision_that_is_not_there_fails_and_is_tried_again_next_time(
    tmp_path: Path, repository: Path, programs: Path
) -> None:
    process = install(tmp_path / "data", programs, revision(repository, "v9"))
    assert process.returncode != 0
    assert "v9" in process.stderr
    assert not (tmp_path / "data/installed").exists()
