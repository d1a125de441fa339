"""Every stack and module is valid by itself, and its README's tables are current."""

import pytest

from infra.terraform.tables import TERRAFORM, folders, with_tables
from tests.infra.terraform import Terraform

FOLDERS = [str(folder.relative_to(TERRAFORM)) for folder in folders()]


@pytest.mark.parametrize("name", FOLDERS)
def test_it_is_valid_by_itself(terraform: Terraform, name: str) -> None:
    terraform.stack(name).run("validate")


@pytest.mark.parametrize("name", FOLDERS)
def test_the_tables_of_its_readme_are_current(name: str) -> None:
    readme = TERRAFORM / name / "README.md"
    assert readme.read_text() == with_tables(readme), (
        "write them anew: python -m infra.terraform.tables"
    )
