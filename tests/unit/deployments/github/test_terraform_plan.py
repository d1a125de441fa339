"""The comment of a plan, with real plans if Terraform is installed."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from blocks.settings import REPOSITORY
from deployments.github.terraform_plan import plan_comment

needs_terraform = pytest.mark.skipif(
    shutil.which("terraform") is None, reason="Terraform is not installed"
)
TWO = (
    'resource "terraform_data" "one" {\n  triggers_replace = ["a"]\n}\nresource '
    '"terraform_data" '
    '"two" {\n  input = "```fence"\n}\n'
)


def terraform(folder: Path, *arguments: str) -> str:
    process = subprocess.run(
        ["terraform", *arguments], cwd=folder, capture_output=True, text=True, check=False
    )
    assert process.returncode == 0, process.stderr
    return process.stdout


def planned(folder: Path, text: str) -> str:
    """The output of ``terraform show`` for the plan of ``text``."""
    (folder / "main.tf").write_text(text)
    terraform(folder, "init", "-input=false")
    terraform(folder, "plan", "-input=false", "-out=plan")
    return terraform(folder, "show", "-no-color", "plan")


@needs_terraform
def test_new_things_are_summed_up_in_the_heading_and_folded(tmp_path: Path) -> None:
    comment = plan_comment(planned(tmp_path, TWO), "laurel")
    assert comment.startswith(
        "## Terraform, laurel: 2 to add, 0 to change, 0 to destroy\n\n<details>"
    )
    assert '+ resource "terraform_data" "one"' in comment
    assert comment.count("```") == 2, "text of the plan has ended the fence"


@needs_terraform
def test_what_is_destroyed_or_replaced_stands_before_the_fold(tmp_path: Path) -> None:
    planned(tmp_path, TWO)
    terraform(tmp_path, "apply", "plan")
    comment = plan_comment(
        planned(tmp_path, 'resource "terraform_data" "one" {\n  triggers_replace = ["b"]\n}\n'),
        "laurel",
    )
    before = comment.partition("<details>")[0]
    assert "1 to add, 0 to change, 2 to destroy" in before
    assert (
        "- `terraform_data.one` must be replaced" in before
        and "- `terraform_data.two` will be destroyed" in before
    )


@needs_terraform
def test_plan_without_changes_says_so(tmp_path: Path) -> None:
    planned(tmp_path, TWO)
    terraform(tmp_path, "apply", "plan")
    assert plan_comment(planned(tmp_path, TWO), "laurel").startswith(
        "## Terraform, laurel: No changes"
    )


@pytest.mark.parametrize("text", ["", "Error: No valid credential sources found"])
def test_text_that_is_no_plan_is_refused_and_writes_nothing(text: str, tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "deployments.github.terraform_plan",
        "--title",
        "laurel",
        str(tmp_path / "plan.md"),
    ]
    process = subprocess.run(
        command, input=text, cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert (process.returncode, (tmp_path / "plan.md").exists()) == (1, False)
    assert "not the text of a Terraform plan" in process.stderr
