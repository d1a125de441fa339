"""The deployments of prefect.yaml, for each use case and for the type of the pool."""

import copy
from collections.abc import Mapping
from typing import Any

import yaml

from blocks.settings import Settings
from deployments.apply.pools import PoolType
from deployments.apply.schedules import schedules_of
from deployments.servers.environment import flow_run_environment
from usecases.definition import UseCase


def written_deployments(
    settings: Settings, cases: Mapping[str, UseCase], pool_type: PoolType = "process"
) -> list[dict[str, Any]]:
    """The entries of prefect.yaml for the use cases, and copies of them for those that have none
    there, with the schedules that suit their periods.

    A process pool runs the code of this checkout; an ECS task runs the image's code, and the image
    says where to import from."""
    text = (settings.home / "prefect.yaml").read_text()
    home = str(settings.home) if pool_type == "process" else settings.ecs_home
    for name, value in {
        "LAUREL_HOME": home,
        "LAUREL_PYTHONPATH": settings.flow_run_pythonpath,
    }.items():
        text = text.replace("{{ $" + name + " }}", value)
    specs = yaml.safe_load(text)["deployments"]
    if pool_type == "ecs":
        for spec in specs:
            spec["work_pool"] = {
                **spec["work_pool"],
                "job_variables": _without_pythonpath(spec["work_pool"]["job_variables"]),
            }
    for spec in specs:
        # Through the deployment it reaches the run, whatever environment the worker was started
        # with.
        env = {**spec["work_pool"]["job_variables"]["env"], **flow_run_environment(settings)}
        spec["work_pool"] = {
            **spec["work_pool"],
            "job_variables": {**spec["work_pool"]["job_variables"], "env": env},
        }
    named = {spec["name"] for spec in specs}
    model = [spec for spec in specs if spec["name"] == specs[0]["name"]]
    return [spec for spec in specs if spec["name"] in cases] + [
        _for_use_case(spec, name, case)
        for name, case in cases.items()
        if name not in named
        for spec in model
    ]


def _for_use_case(spec: dict[str, Any], name: str, case: UseCase) -> dict[str, Any]:
    copied = copy.deepcopy(spec)
    return {
        **copied,
        "name": name,
        "tags": ["laurel", name],
        "parameters": {**copied["parameters"], "use_case": name},
        "schedules": schedules_of(spec["entrypoint"], copied["schedules"], case),
    }


def _without_pythonpath(variables: dict[str, Any]) -> dict[str, Any]:
    return {
        **variables,
        "env": {name: value for name, value in variables["env"].items() if name != "PYTHONPATH"},
    }
