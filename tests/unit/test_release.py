"""What a tag becomes: notes from the changelog, and images pushed by name and digest."""

import os
import stat
import subprocess
from pathlib import Path

import pytest

from blocks.settings import REPOSITORY
from infra.release_notes import notes

PROJECT = '[project]\nname = "laurel"\nversion = "1.2.0"\n'
CHANGELOG = """# Changelog

## Unreleased
- later

## 1.2.0 (2026-12-01)
### A
- now

## 1.2
- old
"""
DIGEST = "sha256:" + "5" * 64


def test_notes_are_the_section_of_the_version() -> None:
    assert notes("v1.2.0", PROJECT, CHANGELOG) == "### A\n- now\n"


@pytest.mark.parametrize("tag", ["v1.2.1", "1.2.0", "v1.2", "v1.2.0-rc1"])
def test_a_tag_that_is_not_the_version_is_refused(tag: str) -> None:
    with pytest.raises(ValueError, match="pyproject.toml says version 1.2.0"):
        notes(tag, PROJECT, CHANGELOG)


@pytest.mark.parametrize(
    "changelog", ["# Changelog\n", "## 1.2.01\n- other\n", "## 1.2.0\n\n## 1.1.0\n- old\n"]
)
def test_a_version_of_which_the_changelog_says_nothing_is_refused(changelog: str) -> None:
    with pytest.raises(ValueError, match="says nothing of 1.2.0"):
        notes("v1.2.0", PROJECT, changelog)


def push(tmp_path: Path, digests: str) -> subprocess.CompletedProcess[str]:
    """Push with a ``docker`` that writes down its calls, and the token that it is given."""
    docker = tmp_path / "docker"
    docker.write_text(
        "#!/bin/bash\n"
        f'echo "$*" >> "{tmp_path}/calls"\n'
        f'case "$1" in login) cat > "{tmp_path}/token" ;; '
        f"image) printf '%b' '{digests}' ;; *) echo noise ;; esac\n"
    )
    docker.chmod(docker.stat().st_mode | stat.S_IXUSR)
    return subprocess.run(
        [REPOSITORY / "infra" / "push-images", "Some/Laurel", "kim", "1.2.0"],
        env={"PATH": f"{tmp_path}:{os.environ['PATH']}", "TOKEN": "secret"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_images_are_pushed_and_their_digests_printed(tmp_path: Path) -> None:
    names = [f"ghcr.io/some/laurel/laurel-{name}" for name in ("serving", "flows")]
    pushed = push(
        tmp_path, "".join(f"{name}@{DIGEST}\\n" for name in ["other.example/laurel", *names])
    )
    assert pushed.stdout.splitlines() == [
        f"serving={names[0]}",
        f"serving_digest={DIGEST}",
        f"flows={names[1]}",
        f"flows_digest={DIGEST}",
    ]
    assert (tmp_path / "token").read_text() == "secret\n"
    calls = (tmp_path / "calls").read_text()
    assert (
        "secret" not in calls
        and "tag laurel-serving ghcr.io/some/laurel/laurel-serving:1.2.0" in calls
    )


def test_an_image_without_a_digest_is_no_release(tmp_path: Path) -> None:
    pushed = push(tmp_path, "")
    assert pushed.returncode == 1 and "has no digest after its push" in pushed.stderr
    assert pushed.stdout == ""
