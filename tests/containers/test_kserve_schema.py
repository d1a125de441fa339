"""KServe's manifest against KServe's own models (generated from its API), which run in a separate
environment, without a cluster.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from blocks.settings import REPOSITORY

MANIFEST = REPOSITORY / "infra" / "kserve" / "inference-service.yaml"
CHECKER = "kserve==0.21.0"
# The model at each place must know every field and its type; the models themselves check required
# fields.
CHECK = r"""
import json, re, sys
import kserve, kubernetes.client, yaml

PLAIN = {"str": str, "int": int, "bool": bool, "float": (int, float), "object": object}
PLAIN |= {"ResourceQuantity": (str, int), "IntOrString": (str, int)}

def read(value, kind, where):
    if match := re.fullmatch(r"[Ll]ist\[(.+)\]", kind):
        assert isinstance(value, list), f"{where}: a list is expected"
        return [read(item, match[1], f"{where}[{place}]") for place, item in enumerate(value)]
    if match := re.fullmatch(r"[Dd]ict[([]str, (.+)[)\]]", kind):
        assert isinstance(value, dict), f"{where}: an object is expected"
        return {name: read(item, match[1], f"{where}.{name}") for name, item in value.items()}
    if kind in PLAIN:
        assert isinstance(value, PLAIN[kind]), f"{where}: {kind} is expected, got {value!r}"
        return value
    model = getattr(kserve, kind, None) or getattr(kubernetes.client, kind, None)
    assert model is not None, f"{where}: no model of {kind}"
    attributes = {field: attribute for attribute, field in model.attribute_map.items()}
    for name in value:
        assert name in attributes, f"{where}: unknown field {name!r}"
    kinds = model.openapi_types
    return model(**{
        attributes[name]: read(content, kinds[attributes[name]], f"{where}.{name}")
        for name, content in value.items()
    })

def verdict(text):
    try:
        read(yaml.safe_load(text), "V1beta1InferenceService", "manifest")
    except (AssertionError, ValueError) as error:
        return str(error)
    return "fits"

json.dump([verdict(text) for text in json.load(sys.stdin)], sys.stdout)
"""
CHANGES = {
    "minReplicas: 2": ("minReplica: 2", "manifest.spec.predictor: unknown field 'minReplica'"),
    "scaleTarget: 60": ("scaleTarget: many", "scaleTarget: int is expected, got 'many'"),
    "sleep: { seconds: 5 }": ("sleep: { minutes: 5 }", "sleep: unknown field 'minutes'"),
    "- name: kserve-container\n        image": ("- image", "V1Container\nname\n  Field required"),
}


@pytest.fixture(scope="module")
def verdicts() -> list[str]:
    """The verdicts on the manifest, and on the manifest with each of ``CHANGES``."""
    text = MANIFEST.read_text()
    assert all(text.count(right) == 1 for right in CHANGES)
    manifests = [text, *(text.replace(right, wrong) for right, (wrong, _) in CHANGES.items())]
    command = [
        str(Path(sys.executable).with_name("uv")),
        "tool",
        "run",
        "--quiet",
        "--from",
        CHECKER,
        "python",
        "-c",
        CHECK,
    ]
    process = subprocess.run(
        command, input=json.dumps(manifests), capture_output=True, text=True, check=False
    )
    assert process.returncode == 0, process.stderr
    return json.loads(process.stdout)


def test_it_fits_kserve_s_schema(verdicts: list[str]) -> None:
    assert verdicts[0] == "fits"


@pytest.mark.parametrize("place", range(len(CHANGES)))
def test_the_check_tells_what_does_not_fit(verdicts: list[str], place: int) -> None:
    verdict = list(CHANGES.values())[place][1]
    assert verdict in verdicts[1 + place]
