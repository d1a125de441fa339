"""List an image's contents as CycloneDX 1.5: Python, its packages and Debian's, read from the
image's files.

    python infra/sbom.py laurel-serving laurel-flows

It writes ``dist/laurel-serving.sbom.json`` and ``dist/laurel-flows.sbom.json``. The same image
gives the same document: its serial number and time come from the image.
"""

import json
import subprocess
import sys
import tarfile
import uuid
from collections.abc import Iterable, Iterator
from email.parser import BytesParser, HeaderParser
from pathlib import Path
from typing import Any
from urllib.parse import quote

FOLDER = Path(__file__).resolve().parent.parent / "dist"
_DPKG = "var/lib/dpkg/status"
_METADATA = ".dist-info/METADATA"
_INTERPRETER = "opt/venv/pyvenv.cfg"  # the interpreter, which is in no package list


def main(images: list[str]) -> int:
    """The exit code."""
    FOLDER.mkdir(exist_ok=True)
    for image in images:
        try:
            document = describe(image)
        except (subprocess.CalledProcessError, OSError) as error:
            stderr = getattr(error, "stderr", None)
            print(
                f"{image} cannot be read: {stderr.decode().strip() if stderr else error}. Build "
                "it first: make images",
                file=sys.stderr,
            )
            return 1
        target = FOLDER / f"{image}.sbom.json"
        target.write_text(json.dumps(document, indent=2) + "\n")
        print(f"{target.relative_to(FOLDER.parent)}: {len(document['components'])} packages")
    return 0


def describe(image: str) -> dict[str, Any]:
    """The document. Raises ``subprocess.CalledProcessError`` if the engine lacks the image."""
    facts = json.loads(_docker("image", "inspect", image))[0]
    packages = {package["purl"]: package for package in _packages(image)}
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_OID, facts['Id'])}",
        "version": 1,
        "metadata": {
            "timestamp": facts["Created"],
            "component": {
                "type": "container",
                "bom-ref": facts["Id"],
                "name": image,
                "version": facts["Id"],
            },
        },
        "components": [packages[purl] for purl in sorted(packages)],
    }


def _packages(image: str) -> Iterator[dict[str, Any]]:
    """A component for each package, from one pass over the files that the engine exports."""
    container = _docker("create", image).decode().strip()
    try:
        export = subprocess.Popen(["docker", "export", container], stdout=subprocess.PIPE)
        assert export.stdout is not None
        with export, tarfile.open(fileobj=export.stdout, mode="r|") as files:
            for entry in files:
                if not entry.isfile() or not entry.name.endswith((_METADATA, _DPKG, _INTERPRETER)):
                    continue
                data = files.extractfile(entry)
                assert data is not None
                if entry.name == _DPKG:
                    yield from _debian(data.read())
                elif entry.name == _INTERPRETER:
                    yield _interpreter(data.read().decode())
                else:
                    yield python_component(data.read())
        if export.returncode:
            raise subprocess.CalledProcessError(export.returncode, "docker export")
    finally:
        _docker("rm", "--volumes", container)


def python_component(metadata: bytes) -> dict[str, Any]:
    """A Python package, from its file METADATA (UTF-8, by its specification)."""
    headers = HeaderParser().parsestr(metadata.decode(errors="replace"))
    name, version = headers["Name"], headers["Version"]
    normal = name.lower().replace("_", "-").replace(".", "-")
    licence = headers["License-Expression"] or (
        headers["License"] if headers["License"] and len(headers["License"]) < 100 else None
    )
    return _component(name, version, f"pkg:pypi/{normal}@{quote(version)}", licence)


def _interpreter(configuration: str) -> dict[str, Any]:
    version = dict(line.split(" = ", 1) for line in configuration.splitlines())["version"]
    return _component("python", version, f"pkg:generic/python@{version}", "PSF-2.0")


def _debian(status: bytes) -> Iterable[dict[str, Any]]:
    for paragraph in status.strip().split(b"\n\n"):
        fields = BytesParser().parsebytes(paragraph, headersonly=True)
        if fields["Status"].endswith(" installed"):
            name, version = quote(fields["Package"]), quote(fields["Version"], safe="")
            purl = f"pkg:deb/debian/{name}@{version}?arch={fields['Architecture']}"
            yield _component(fields["Package"], fields["Version"], purl, None)


def _component(name: str, version: str, purl: str, licence: str | None) -> dict[str, Any]:
    component = {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl}
    return component | (
        {"licenses": [{"license": {"name": " ".join(licence.split())}}]} if licence else {}
    )


def _docker(*arguments: str) -> bytes:
    return subprocess.run(["docker", *arguments], capture_output=True, check=True).stdout


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
