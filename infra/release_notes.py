"""Print what CHANGELOG.md says of a release, given its tag.

    python infra/release_notes.py v1.2.3

It ends with 1 and a sentence if the tag is not the version of pyproject.toml, or if the changelog
has no section of that version. It runs before anything is installed, by the standard library."""

import re
import sys
import tomllib
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent


def notes(tag: str, project: str, changelog: str) -> str:
    """The section of the version, without its heading. Raises ``ValueError``."""
    version = tomllib.loads(project)["project"]["version"]
    if tag != f"v{version}":
        raise ValueError(
            f"the tag is {tag}, and pyproject.toml says version {version}: tag v{version}, or set "
            "the version first"
        )
    section = re.search(
        rf"^## {re.escape(version)}\b[^\n]*\n(.*?)(?=^## |\Z)", changelog, re.MULTILINE | re.DOTALL
    )
    if section is None or not section[1].strip():
        raise ValueError(
            f'CHANGELOG.md says nothing of {version}: rename "## Unreleased" to "## {version}"'
        )
    return section[1].strip() + "\n"


def main(tag: str) -> int:
    project, changelog = (
        (REPOSITORY / name).read_text(encoding="utf-8")
        for name in ("pyproject.toml", "CHANGELOG.md")
    )
    try:
        print(notes(tag, project, changelog), end="")
    except ValueError as error:
        print(f"No release: {error}.", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
