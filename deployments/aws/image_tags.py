"""Compute the images' tags from their content: a change of the documentation gives the same tags,
and nothing is deployed.

    python -m deployments.aws.image_tags

It prints one line for each of Terraform's variables: ``TF_VAR_image_tag`` (laurel-flows),
``TF_VAR_servers_image_tag`` (laurel-flows as Prefect, MLflow and the worker use it: without flows
and use cases) and ``TF_VAR_serving_image_tag``. Each contains the month, so that the base image,
whose patches are in no commit, is at most a month old. It needs git, but no Python package."""

import argparse
import hashlib
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# The part of laurel-flows that the servers use; a test compares it with their imports.
SERVERS = ("blocks", "deployments", "pyproject.toml", "requirements.lock")


def copied(dockerfile: Path) -> list[str]:
    """Paths in the repository that go into the image, its Dockerfile included."""
    lines = dockerfile.read_text().replace("\\\n", " ").splitlines()
    copies = [
        line.split()[1:-1] for line in lines if line.startswith("COPY ") and "--from=" not in line
    ]
    return [
        str(dockerfile.relative_to(ROOT)),
        ".dockerignore",
        *(path for paths in copies for path in paths),
    ]


def digest(paths: Sequence[str]) -> str:
    """A digest of files and folders as committed: content, names and modes. Raises ``ValueError``
    for a path that git does not track.
    """
    listing = subprocess.run(
        ["git", "ls-files", "--stage", "--", *paths],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    names = [line.partition("\t")[2] for line in listing.splitlines()]
    unknown = [
        path
        for path in paths
        if not any(name == path or name.startswith(f"{path}/") for name in names)
    ]
    if unknown:
        raise ValueError(
            f"git does not track {', '.join(unknown)} in {ROOT}: the tag would not follow it."
        )
    return hashlib.sha256(listing.encode()).hexdigest()[:12]


def tags(month: str) -> dict[str, str]:
    """Terraform's variable -> tag."""
    flows, serving = (
        ROOT / "infra" / "images" / name / "Dockerfile" for name in ("flows", "serving")
    )
    content = {
        "image_tag": ("flows", copied(flows)),
        "servers_image_tag": ("servers", [*SERVERS, str(flows.relative_to(ROOT))]),
        "serving_image_tag": ("serving", copied(serving)),
    }
    return {
        variable: f"{name}-{month}-{digest(paths)}" for variable, (name, paths) in content.items()
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m deployments.aws.image_tags", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument(
        "--month", default=f"{datetime.now(UTC):%Y%m}", help="default: this month, as 202611"
    )
    for variable, tag in tags(parser.parse_args(arguments).month).items():
        print(f"TF_VAR_{variable}={tag}")


if __name__ == "__main__":
    main()
