"""The box's configuration and its programs: cloud-init, the data volume on a real block device,
Compose.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from blocks.settings import REPOSITORY
from tests.infra.terraform import Stack, Terraform
from tests.infra.test_single import IMAGE, IMAGES, REQUIRED

BOX = REPOSITORY / "infra/terraform/single/box"
PROGRAMS = ["laurel-volume", "laurel-install", "laurel-compose"]
LARGEST_USER_DATA_BYTES = 16 * 1024
LOOP = os.name == "posix" and os.geteuid() == 0 and shutil.which("losetup") is not None
on_a_block_device = pytest.mark.skipif(
    not LOOP, reason="needs Linux and root: a file is made a block device"
)


@pytest.fixture(scope="module")
def planned(terraform: Terraform) -> Stack:
    """Planned with a final volume id and bucket name."""
    stack = terraform.stack("single", name="laurel-plan", **REQUIRED)
    stack.override("image", IMAGE)
    values = (
        'locals {\n  known = { BOX_VOLUME = "vol-0a1b2c", BOX_LAKE = "s3://laurel-plan-lake" }\n}\n'
    )
    files = stack.folder / "cloud_init.tf"
    text = (
        files.read_text()
        .replace("aws_ebs_volume.data.id", "local.known.BOX_VOLUME")
        .replace("module.lake.url", "local.known.BOX_LAKE")
    )
    files.write_text(text + values + 'output "cloud_init" {\n  value = local.cloud_init\n}\n')
    return stack


def cloud_init(planned: Stack, **variables: Any) -> str:
    return str(
        planned.plan(**variables).document["planned_values"]["outputs"]["cloud_init"]["value"]
    )


def written(text: str) -> dict[str, str]:
    return {file["path"]: file["content"] for file in yaml.safe_load(text)["write_files"]}


@pytest.mark.skipif(shutil.which("cloud-init") is None, reason="needs cloud-init")
def test_cloud_init_accepts_it(planned: Stack, tmp_path: Path) -> None:
    (tmp_path / "user-data").write_text(cloud_init(planned))
    process = subprocess.run(
        ["cloud-init", "schema", "--config-file", "user-data"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert process.returncode == 0, process.stdout + process.stderr


def test_it_fits_and_holds_the_programs_as_they_are(planned: Stack) -> None:
    text = cloud_init(planned)
    assert text.startswith("#cloud-config\n")
    assert len(text.encode()) <= LARGEST_USER_DATA_BYTES
    files = written(text)
    assert {name: files[f"/usr/local/sbin/{name}"] for name in PROGRAMS} == {
        name: (BOX / name).read_text() for name in PROGRAMS
    }
    assert yaml.safe_load(text)["runcmd"] == [
        ["systemctl", "enable", "--now", "--no-block", "laurel.service"]
    ]


def test_docker_waits_for_the_volume_and_keeps_everything_on_it(planned: Stack) -> None:
    files = written(cloud_init(planned))
    assert yaml.safe_load(files["/etc/docker/daemon.json"])["data-root"] == "/srv/laurel/docker"
    assert (
        "Requires=laurel-volume.service\nAfter=laurel-volume.service"
        in files["/etc/systemd/system/docker.service.d/laurel.conf"]
    )
    assert "BOX_VOLUME=vol-0a1b2c\n" in files["/etc/laurel/box.env"]


def test_pages_are_on_loopback_unless_their_port_is_listed(planned: Stack) -> None:
    alone = written(cloud_init(planned))["/etc/laurel/box.env"]
    assert alone.count("_ADDRESS=127.0.0.1\n") == 4
    compose = written(cloud_init(planned, inbound=[{"port": 5001, "cidrs": ["10.0.0.0/16"]}]))[
        "/etc/laurel/box.env"
    ]
    assert compose.count("_ADDRESS=127.0.0.1\n") == 3
    assert "BOX_SERVING_ADDRESS=0.0.0.0\n" in compose


def test_images_of_ecr_are_pulled_with_the_role(planned: Stack) -> None:
    text = cloud_init(planned, images=IMAGES)
    assert "amazon-ecr-credential-helper" in yaml.safe_load(text)["packages"]
    login = yaml.safe_load(written(text)["/root/.docker/config.json"])
    assert login == {"credHelpers": {"123456789012.dkr.ecr.us-east-1.amazonaws.com": "ecr-login"}}
    assert f"LAUREL_FLOWS_IMAGE={IMAGES['flows']}\n" in written(text)["/etc/laurel/box.env"]


@pytest.mark.parametrize("program", PROGRAMS)
def test_programs_are_bash(program: str) -> None:
    subprocess.run(["bash", "-n", BOX / program], check=True)


@contextmanager
def block_device(file: Path) -> Iterator[str]:
    name = subprocess.run(
        ["losetup", "--find", "--show", str(file)], check=True, capture_output=True, text=True
    ).stdout.strip()
    try:
        yield name
    finally:
        subprocess.run(["losetup", "--detach", name], check=True)


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    """A file of 64 MB, all zeros."""
    file = tmp_path / "disk"
    file.touch()
    os.truncate(file, 64 << 20)
    return file


@contextmanager
def volume(file: Path, folder: Path) -> Iterator[subprocess.CompletedProcess[str]]:
    """Run the program on that disk; afterwards the folder is unmounted, as when the box is lost."""
    with block_device(file) as device:
        process = subprocess.run(
            [BOX / "laurel-volume", device, folder], capture_output=True, text=True
        )
        try:
            yield process
        finally:
            if folder.is_mount():
                subprocess.run(["umount", folder], check=True)


@on_a_block_device
def test_an_empty_volume_is_formatted_once_and_keeps_its_data(disk: Path, tmp_path: Path) -> None:
    folder = tmp_path / "srv"
    with volume(disk, folder) as process:
        assert (process.returncode, "making a file system" in process.stdout) == (0, True), (
            process.stderr
        )
        (folder / "champion").write_text("version 2")
    with volume(disk, folder) as again:
        assert (again.returncode, "making a file system" in again.stdout) == (0, False), (
            again.stderr
        )
        assert (folder / "champion").read_text() == "version 2"


@on_a_block_device
def test_a_mounted_volume_is_left_alone(disk: Path, tmp_path: Path) -> None:
    folder = tmp_path / "srv"
    with volume(disk, folder), block_device(disk) as other:
        (folder / "champion").write_text("version 2")
        again = subprocess.run(
            [BOX / "laurel-volume", other, folder], capture_output=True, text=True
        )
        assert (again.returncode, "mounted already" in again.stdout) == (0, True)
        assert (folder / "champion").read_text() == "version 2"


@on_a_block_device
def test_a_volume_that_grew_is_widened_with_its_data(disk: Path, tmp_path: Path) -> None:
    folder = tmp_path / "srv"
    with volume(disk, folder):
        (folder / "champion").write_text("version 2")
        before = shutil.disk_usage(folder).total
    os.truncate(disk, 192 << 20)
    with volume(disk, folder):
        assert shutil.disk_usage(folder).total > 2 * before
        assert (folder / "champion").read_text() == "version 2"


@on_a_block_device
@pytest.mark.parametrize("content", ["partitions", "unknown"])
def test_a_volume_with_something_else_on_it_is_never_formatted(
    disk: Path, tmp_path: Path, content: str
) -> None:
    if content == "partitions":
        # A master boot record with one partition of Linux, from sector 2048 on.
        entry = (
            bytes([0, 0, 0, 0, 0x83, 0, 0, 0])
            + (2048).to_bytes(4, "little")
            + (65536).to_bytes(4, "little")
        )
        with disk.open("r+b") as file:
            file.seek(446)
            file.write(entry + bytes(48) + b"\x55\xaa")
    else:
        with disk.open("r+b") as file:
            file.seek(300_000)
            file.write(b"somebody's own bytes")
    before = disk.read_bytes()
    with volume(disk, tmp_path / "srv") as process:
        assert process.returncode != 0
    assert disk.read_bytes() == before


def test_a_volume_that_never_comes_is_told(tmp_path: Path) -> None:
    environment = os.environ | {"BOX_VOLUME_WAIT_SECONDS": "1"}
    process = subprocess.run(
        [BOX / "laurel-volume", tmp_path / "nothing", tmp_path / "srv"],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert process.returncode == 1
    assert "Attach it to this instance as /dev/sdf" in process.stderr


COMPOSE = next(
    (
        command
        for command in (["docker", "compose"], ["docker-compose"])
        if shutil.which(command[0])
    ),
    None,
)


@pytest.mark.skipif(COMPOSE is None, reason="needs Docker Compose")
def test_on_the_box_the_lake_is_the_bucket_and_no_key_of_it_is_given(tmp_path: Path) -> None:
    subprocess.run(
        [REPOSITORY / "infra/compose/make-env", tmp_path], check=True, capture_output=True
    )
    variables = {
        "BOX_LAKE": "s3://laurel-lake",
        "BOX_REGION": "eu-west-1",
        "BOX_SERVING_ADDRESS": "0.0.0.0",
    }
    variables |= {f"BOX_{page}_ADDRESS": "127.0.0.1" for page in ("GRAFANA", "PREFECT", "MLFLOW")}
    (tmp_path / "box.env").write_text(
        "".join(f"{name}={value}\n" for name, value in variables.items())
    )
    files = [
        "--env-file",
        tmp_path / ".env",
        "--env-file",
        tmp_path / "box.env",
        "-f",
        REPOSITORY / "compose.yaml",
        "-f",
        BOX / "compose.yaml",
    ]
    command = [
        *(COMPOSE or []),
        "--project-directory",
        str(REPOSITORY),
        *map(str, [*files, "-f", BOX / "compose.yaml"]),
        "--profile",
        "observability",
        "config",
    ]
    process = subprocess.run(command, capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
    services = yaml.safe_load(process.stdout)["services"]
    assert not {"seaweedfs", "bucket"} & set(services)
    for name in ("mlflow", "apply", "worker", "serving"):
        environment = services[name]["environment"]
        assert (environment["LAUREL_LAKE"], environment["LAUREL_S3_ENDPOINT"]) == (
            "s3://laurel-lake",
            "aws",
        )
        assert environment["LAUREL_S3_REGION"] == "eu-west-1"
        assert not {"LAUREL_S3_ACCESS_KEY", "LAUREL_S3_SECRET_KEY"} & set(environment)
    published = {
        name: port["host_ip"]
        for name, service in services.items()
        for port in service.get("ports", [])
    }
    assert published.pop("serving") == "0.0.0.0"
    assert set(published.values()) == {"127.0.0.1"}
