import socket
from pathlib import Path

import pytest

from blocks.settings import Settings
from deployments import local, local_ports
from deployments.local_errors import PortError

S3_LAST = 7


def test_each_port_in_use_is_named_with_its_setting_before_anything_starts(tmp_path: Path, taken_port: int, local_settings) -> None:
    settings = local_settings(tmp_path / "state").model_copy(update={"mlflow_port": taken_port})
    with pytest.raises(PortError) as caught:
        local.up(settings)
    assert str(caught.value) == (
        f"Port {taken_port} (LAUREL_MLFLOW_PORT) is in use by another program; set LAUREL_MLFLOW_PORT to a free one."
    )
    assert not (tmp_path / "state" / "logs").exists()
    assert [one.state for one in local.status(settings)] == ["STOPPED"] * 5


def test_port_that_seaweedfs_derives_is_named_with_its_distance(taken_port: int, local_settings, tmp_path: Path) -> None:
    settings = local_settings(tmp_path).model_copy(update={"s3_port": taken_port - S3_LAST})
    with pytest.raises(PortError, match=rf"Port {taken_port} \(LAUREL_S3_PORT \+ 7\) is in use .*; set LAUREL_S3_PORT to a free one"):
        local_ports.check(settings)


def test_listener_on_all_addresses_counts_as_in_use(local_settings, tmp_path: Path) -> None:
    with socket.create_server(("", 0)) as server:
        settings = local_settings(tmp_path).model_copy(update={"serving_port": server.getsockname()[1]})
        with pytest.raises(PortError, match="LAUREL_SERVING_PORT"):
            local_ports.check(settings)


def test_two_settings_with_the_same_port_are_told_about_each_other(local_settings, tmp_path: Path) -> None:
    settings = local_settings(tmp_path)
    with pytest.raises(PortError, match=r"wanted by LAUREL_PREFECT_PORT and by LAUREL_S3_PORT \+ 2"):
        local_ports.check(settings.model_copy(update={"prefect_port": settings.s3_port + 2}))


@pytest.mark.parametrize("number", [0, 65_536, -1])
def test_number_that_is_no_port_is_refused(number: int, local_settings, tmp_path: Path) -> None:
    with pytest.raises(PortError, match=rf"Port {number} \(LAUREL_PREFECT_PORT\) does not exist"):
        local_ports.check(local_settings(tmp_path).model_copy(update={"prefect_port": number}))


def test_only_servers_of_this_stack_need_ports() -> None:
    settings = Settings(lake="file:///lake", mlflow_url="http://elsewhere:5000")
    assert [port.label for port in local_ports.needed(settings)] == ["LAUREL_PREFECT_PORT", "LAUREL_SERVING_PORT"]
