"""Tags of the images by what is in them: a change of the documentation gives the tags of before, and nothing is deployed anew.

    python -m deployments.image_tags

A line for each of Terraform's variables: ``TF_VAR_image_tag`` (laurel-flows), ``TF_VAR_servers_image_tag`` (laurel-flows as Prefect,
MLflow and the worker know it: without flows and use cases) and ``TF_VAR_serving_image_tag``. The month is part of each, so that what
an image is built on, whose patches no commit names, is at most a month old. Needs git, and no package.
"""

import argparse
import hashlib
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# What the servers run of the image laurel-flows; a test holds it against what they import.
SERVERS = ("blocks", "deployments", "pyproject.toml", "requirements.lock")


def copied(dockerfile: Path) -> list[str]:
    """Paths of the repository that the image is made of, its Dockerfile among them."""
    lines = dockerfile.read_text().replace("\\\n", " ").splitlines()
    copies = [line.split()[1:-1] for line in lines if line.startswith("COPY ") and "--from=" not in line]
    return [str(dockerfile.relative_to(ROOT)), ".dockerignore", *(path for paths in copies for path in paths)]


def digest(paths: Sequence[str]) -> str:
    """Of the committed content of files and folders, their names and modes. Raises ``ValueError`` for a path that git does not know."""
    listing = subprocess.run(["git", "ls-files", "--stage", "--", *paths], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    names = [line.partition("\t")[2] for line in listing.splitlines()]
    unknown = [path for path in paths if not any(name == path or name.startswith(f"{path}/") for name in names)]
    if unknown:
        raise ValueError(f"git knows no file {', '.join(unknown)} in {ROOT}: a tag would not change with it.")
    return hashlib.sha256(listing.encode()).hexdigest()[:12]


def tags(month: str) -> dict[str, str]:
    """Terraform's variable -> tag."""
    flows, serving = (ROOT / "infra" / "images" / name / "Dockerfile" for name in ("flows", "serving"))
    content = {
        "image_tag": ("flows", copied(flows)),
        "servers_image_tag": ("servers", [*SERVERS, str(flows.relative_to(ROOT))]),
        "serving_image_tag": ("serving", copied(serving)),
    }
    return {variable: f"{name}-{month}-{digest(paths)}" for variable, (name, paths) in content.items()}


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m deployments.image_tags", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--month", default=f"{datetime.now(UTC):%Y%m}", help="default: this one, as 202611")
    for variable, tag in tags(parser.parse_args(arguments).month).items():
        print(f"TF_VAR_{variable}={tag}")


if __name__ == "__main__":
    main()
