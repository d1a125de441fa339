"""KServe's manifest and the service: its settings exist, its paths answer, its rights are few."""

import re
from typing import Any

import pytest
import yaml

from blocks.settings import REPOSITORY, Settings
from serving.keys.scopes import scope_of
from serving.server.app import create_app


@pytest.fixture(scope="module")
def predictor() -> dict[str, Any]:
    return yaml.safe_load((REPOSITORY / "infra" / "kserve" / "inference-service.yaml").read_text())[
        "spec"
    ]["predictor"]


@pytest.fixture(scope="module")
def container(predictor: dict[str, Any]) -> dict[str, Any]:
    (only,) = predictor["containers"]
    return only


def test_its_variables_are_settings_and_secrets_come_from_a_secret(
    container: dict[str, Any],
) -> None:
    environment = {variable["name"]: variable for variable in container["env"]}
    assert environment.pop("PROTOCOL")["value"] == "v2"
    fields = {
        f"LAUREL_{name.upper()}": str(field.annotation)
        for name, field in Settings.model_fields.items()
    }
    assert set(environment) <= set(fields)
    secrets = {name for name in environment if "SecretStr" in fields[name]}
    assert secrets == {
        name
        for name, variable in environment.items()
        if "secretKeyRef" in variable.get("valueFrom", {})
    }
    assert "LAUREL_SERVING_KEY" in secrets


@pytest.mark.parametrize("probe", ["startupProbe", "livenessProbe", "readinessProbe"])
def test_its_probes_ask_what_the_service_answers_without_a_key(
    container: dict[str, Any], probe: str
) -> None:
    request = container[probe]["httpGet"]
    routes = {getattr(route, "path", None) for route in create_app(Settings()).routes}
    assert request["path"] in routes and scope_of("GET", request["path"]) == ""
    assert request["port"] == container["ports"][0]["containerPort"] == 8080


def test_it_runs_without_rights_and_writes_only_where_it_may(
    predictor: dict[str, Any], container: dict[str, Any]
) -> None:
    image = (REPOSITORY / "infra" / "images" / "serving" / "Dockerfile").read_text()
    assert predictor["securityContext"]["runAsNonRoot"] is True
    assert (
        f"USER {predictor['securityContext']['runAsUser']}:"
        f"{predictor['securityContext']['runAsGroup']}\n"
    ) in image
    rights = container["securityContext"]
    assert rights == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    mounted = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
    assert set(mounted) == {"/tmp", *re.findall(r"^VOLUME (\S+)$", image, re.MULTILINE)}
    assert set(mounted.values()) == {volume["name"] for volume in predictor["volumes"]}
    assert predictor["automountServiceAccountToken"] is False
