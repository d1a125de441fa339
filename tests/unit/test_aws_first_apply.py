"""The page on the first apply: its commands exist in AWS's CLI, Terraform and this repository."""

import json
import re
import shlex
from pathlib import Path
from typing import Any

import botocore.session
import jmespath
import pytest
from botocore import xform_name

from blocks.settings import REPOSITORY

PAGE = (REPOSITORY / "docs/aws-first-apply.md").read_text()
TERRAFORM = REPOSITORY / "infra/terraform"
# Options of the command line itself, not of a service.
GLOBAL = {"query", "output", "max-items", "region"}
CUSTOM = {("s3", "cp"), ("logs", "tail"), ("sso", "login")}


def blocks() -> list[str]:
    return re.findall(r"^```sh\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def commands() -> list[list[str]]:
    """Return the words of each ``aws`` command: those in blocks, those within others, and those in
    the text that have options.
    """
    lines = [line.partition("    #")[0] for block in blocks() for line in block.splitlines()]
    lines += re.findall(r"`(aws [^`]+)`", PAGE)
    commands = []
    for line in lines:
        inner = re.findall(r"\$\((aws [^()]*)\)", line)
        outer = re.sub(r"\$\([^()]*\)", "value", re.sub(r"\$\([^()]*\)", "value", line))
        commands += [shlex.split(text) for text in (*inner, outer) if text.startswith("aws ")]
    return commands


def options(words: list[str]) -> dict[str, list[str]]:
    values: dict[str, list[str]] = {}
    for word in words:
        if word.startswith("--"):
            values[word.removeprefix("--")] = []
        elif values:
            list(values.values())[-1].append(word)
    return values


@pytest.mark.parametrize("words", commands(), ids=lambda words: " ".join(words[1:3]))
def test_a_command_of_aws_names_what_aws_knows(words: list[str]) -> None:
    _, service, operation, *rest = words
    if (service, operation) in CUSTOM:
        return
    model = botocore.session.get_session().get_service_model({"s3api": "s3"}.get(service, service))
    names = {xform_name(name, "-"): name for name in model.operation_names}
    assert operation in names, f"{service} has no {operation}"
    operation_model = model.operation_model(names[operation])
    input_shape = operation_model.input_shape
    members = input_shape.members if input_shape else {}
    parameters = {xform_name(name, "-"): shape for name, shape in members.items()}
    arguments = options(rest)
    assert set(arguments) <= set(parameters) | GLOBAL, set(arguments) - set(parameters)
    # A command in the text is named, not written in full.
    required = {
        xform_name(name, "-") for name in (input_shape.required_members if input_shape else [])
    }
    assert not arguments or required <= set(arguments), required - set(arguments)
    for name, values in arguments.items():
        shape = parameters.get(name)
        choices = getattr(shape, "enum", [])
        assert not choices or set(values) <= set(choices), values
        if shape is not None and shape.type_name == "structure" and values[0].startswith("{"):
            assert set(json.loads(values[0])) <= set(shape.members)
    if query := arguments.get("query"):
        assert_members(jmespath.compile(query[0]).parsed, operation_model.output_shape)


def assert_members(node: dict[str, Any], shape: Any) -> Any:
    """Check that the query uses only members of the answer. Return the shape of its result, or
    ``None`` for a result that it composes.
    """
    kind, children = node["type"], node["children"]
    if kind == "field":
        assert shape is None or shape.type_name == "map" or node["value"] in shape.members, (
            f"{shape.name} has no {node['value']}"
        )
        return None if shape is None or shape.type_name == "map" else shape.members[node["value"]]
    if kind in ("subexpression", "index_expression"):
        for child in children:
            shape = assert_members(child, shape)
        return shape
    if kind in ("projection", "filter_projection"):
        return assert_members(children[1], assert_members(children[0], shape))
    if kind in ("index", "slice", "flatten"):
        inner = assert_members(children[0], shape) if kind == "flatten" else shape
        return inner.member if inner is not None and inner.type_name == "list" else inner
    for child in children:
        if isinstance(child, dict):
            assert_members(child, shape)
    return shape if kind in ("identity", "current") else None


def test_every_output_that_is_asked_for_is_one_of_the_stack() -> None:
    outputs = set(re.findall(r"tf output (?:-raw |-json )?(\w+)", PAGE))
    assert outputs and outputs <= set(
        re.findall(r'^output "(\w+)"', (TERRAFORM / "cluster/outputs.tf").read_text(), re.MULTILINE)
    )
    of_the_box = set(re.findall(r"single output -raw (\w+)", PAGE))
    assert of_the_box <= set(
        re.findall(r'^output "(\w+)"', (TERRAFORM / "single/outputs.tf").read_text(), re.MULTILINE)
    )


def test_every_variable_that_is_named_is_one_of_a_stack() -> None:
    variables = {
        name
        for stack in ("cluster", "single")
        for name in re.findall(
            r'^variable "(\w+)"', (TERRAFORM / stack / "variables.tf").read_text(), re.MULTILINE
        )
    }
    names = set(re.findall(r"-var (\w+)=", PAGE)) | {
        name.partition(".")[0]
        for name in re.findall(r"`([a-z_]+(?:\.[a-z_]+)?)(?: = \S+)?`", PAGE)
        if "_" in name
    }
    assert names - variables - {"skip_destroy"} == set()


def test_names_are_those_that_the_stack_gives() -> None:
    """Of services, groups, queues, alarms and roles, all of which begin with the stack's name."""
    texts = "".join(path.read_text() for path in TERRAFORM.rglob("*.tf"))
    endings = set(re.findall(r"\blaurel-([a-z-]+)\b", PAGE)) - {"compose"}
    services = {"services", "flows", "serving", "mlflow", "worker", "prefect"}
    strangers = {
        ending
        for ending in endings
        if ending not in services
        and f"-{ending}" not in texts
        and ending.split("-")[-1] not in texts
    }
    assert strangers == set()
    groups = set(re.findall(r"(?<![\w/])/laurel/([a-z-]+)", PAGE))
    assert groups <= {"serving", "prefect", "mlflow", "worker", "flow-runs", "command"}


def test_python_of_this_repository_takes_the_options_that_it_is_given() -> None:
    for line in [line for block in blocks() for line in block.splitlines() if "python -m" in line]:
        for module, rest in re.findall(r"python -m (deployments[.\w]+)([^|]*?)(?= -- |$)", line):
            path = REPOSITORY / module.replace(".", "/")
            text = (path / "command.py" if path.is_dir() else path.with_suffix(".py")).read_text()
            assert [
                option for option in re.findall(r"--[a-z-]{2,}", rest) if f'"{option}"' not in text
            ] == [], line


def test_the_page_is_linked_where_one_looks_for_it() -> None:
    assert "aws-first-apply.md" in (REPOSITORY / "docs/aws.md").read_text()
    assert "aws-first-apply.md" in Path(TERRAFORM / "cluster/README.md").read_text()
