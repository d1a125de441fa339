"""Plans without unknown values: ARNs and addresses that AWS generates are written as AWS would name
them.

A plan omits unknown values, and with one unknown ARN a whole task definition or policy. So the copy
of the stack that is planned here has ``"arn:aws:iam::123456789012:role/${aws_iam_role.task.name}"``
instead of ``aws_iam_role.task.arn``."""

import re
from pathlib import Path
from typing import Any

from tests.infra.aws import REGION
from tests.infra.terraform import Stack, Terraform

ACCOUNT = "123456789012"
VOLUME = "vol-0a1b2c3d4e5f60718"
_HERE = f"{REGION}:{ACCOUNT}"
_ECR = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com"
# A reference of Terraform -> an expression in which {0} is the resource. The short names are those
# of the stacks' own loops.
_NAMES = {
    r"\b(aws_iam_role\.\w+(?:\[[^\]]+\])?)\.arn\b": (
        f'"arn:aws:iam::{ACCOUNT}:role/${{{{{{0}}.name}}}}"'
    ),
    r"\b(aws_cloudwatch_log_group\.\w+(?:\[[^\]]+\])?)\.arn\b": (
        f'"arn:aws:logs:{_HERE}:log-group:${{{{{{0}}.name}}}}"'
    ),
    r"\b(aws_s3_bucket\.\w+)\.arn\b": '"arn:aws:s3:::${{{0}.bucket}}"',
    r"\b(aws_s3_bucket\.\w+)\.id\b": "{0}.bucket",
    r"\b(aws_sqs_queue\.\w+)\.arn\b": f'"arn:aws:sqs:{_HERE}:${{{{{{0}}.name}}}}"',
    r"\b(aws_ecs_cluster\.\w+)\.arn\b": f'"arn:aws:ecs:{_HERE}:cluster/${{{{{{0}}.name}}}}"',
    r"\b(aws_kms_key\.\w+)\.arn\b": (
        f'"arn:aws:kms:{_HERE}:key/0a1b2c3d-0000-4000-8000-000000000000"'
    ),
    r"(?<=[ {])(parameter)\.arn\b": f'"arn:aws:ssm:{_HERE}:parameter${{{{{{0}}.name}}}}"',
    r"(?<=[ {])(secret)\.arn\b": (
        f'"arn:aws:secretsmanager:{_HERE}:secret:${{{{{{0}}.name}}}}-AbCdEf"'
    ),
    r"(?<=[ {])(repository)\.arn\b": f'"arn:aws:ecr:{_HERE}:repository/${{{{{{0}}.name}}}}"',
    r"(?<=[ {])(repository)\.repository_url\b": f'"{_ECR}/${{{{{{0}}.name}}}}"',
    r"\b(aws_lb\.\w+)\.arn_suffix\b": '"app/${{{0}.name}}/0a1b"',
    r"\b(aws_lb_target_group\.\w+)\.arn_suffix\b": '"targetgroup/serve-0a1b/0a1b"',
    r"\b(aws_sagemaker_endpoint_configuration\.\w+)\.name\b": '"laurel-0a1b"',
    r"\b(aws_ebs_volume\.data)\.id\b": f'"{VOLUME}"',
}  # fmt: skip


def known(terraform: Terraform, name: str, /, **variables: Any) -> Stack:
    """The stack ``name`` without unknown values in its policies, task definitions and user data; to
    be planned, never applied.
    """
    stack = terraform.stack(name, **variables)
    for folder in {path.parent for path in (stack.copy / "terraform").rglob("*.tf")}:
        _name_all(folder)
    return stack


def _name_all(folder: Path) -> None:
    """Through locals: a data source that names a resource waits until the resource exists, whatever
    it reads from it.
    """
    local: dict[str, str] = {}

    def name(match: re.Match[str], expression: str) -> str:
        expanded = expression.format(match.group(1))
        if not re.fullmatch(r'[\w.]+\.[\w.]+(\["[\w-]+"\])?', match.group(1)):  # of a loop
            return expanded
        local.setdefault(expanded, expanded)
        return f"local.known_{list(local).index(expanded)}"

    for path in sorted(folder.glob("*.tf")):
        text = path.read_text()
        for reference, expression in _NAMES.items():
            text = re.sub(reference, lambda match, to=expression: name(match, to), text)  # type: ignore[misc]
        path.write_text(text)
    lines = [f"  known_{index} = {expanded}" for index, expanded in enumerate(local)]
    (folder / "known.tf").write_text("\n".join(["locals {", *lines, "}", ""]))
