import os
import socket
from pathlib import Path

import pytest

from blocks.settings import Settings
from deployments.local import ports, stack
from deployments.servers.errors import PortError

S3_LAST = 7


def test_each_port_in_use_is_named_with_its_setting_before_anything_starts(
    tmp_path: Path, taken_port: int, local_settings
) -> None:
    settings = local_settings(tmp_path / "state").model_copy(update={"mlflow_port": taken_port})
    with pytest.raises(PortError) as caught:
        stack.up(settings)
    problem, command = str(caught.value).splitlines()
    assert problem == (
        f"Port {taken_port} (LAUREL_MLFLOW_PORT) is in use by another program; set "
        "LAUREL_MLFLOW_PORT to a free port."
    )
    variable, _, number = command.removesuffix(" make up").strip().partition("=")
    assert variable == "LAUREL_MLFLOW_PORT"
    ports.check(settings.model_copy(update={"mlflow_port": int(number)}))
    assert not (tmp_path / "state" / "logs").exists()
    assert [program.state for program in stack.status(settings)] == ["STOPPED"] * 5


def test_port_that_seaweedfs_derives_is_named_with_its_distance(
    taken_port: int, local_settings, tmp_path: Path
) -> None:
    settings = local_settings(tmp_path).model_copy(update={"s3_port": taken_port - S3_LAST})
    with pytest.raises(
        PortError,
        match=(
            rf"Port {taken_port} \(LAUREL_S3_PORT \+ 7\) is in use .*; set LAUREL_S3_PORT to a "
            r"free port"
        ),
    ):
        ports.check(settings)


def test_listener_on_all_addresses_counts_as_in_use(local_settings, tmp_path: Path) -> None:
    with socket.create_server(("", 0)) as server:
        settings = local_settings(tmp_path).model_copy(
            update={"serving_port": server.getsockname()[1]}
        )
        with pytest.raises(PortError, match="LAUREL_SERVING_PORT"):
            ports.check(settings)


def test_two_settings_with_the_same_port_are_told_about_each_other(
    local_settings, tmp_path: Path
) -> None:
    settings = local_settings(tmp_path)
    with pytest.raises(
        PortError, match=r"assigned to both LAUREL_PREFECT_PORT and LAUREL_S3_PORT \+ 2"
    ):
        ports.check(settings.model_copy(update={"prefect_port": settings.s3_port + 2}))


@pytest.mark.parametrize("number", [0, 65_536, -1])
def test_number_that_is_no_port_is_refused(number: int, local_settings, tmp_path: Path) -> None:
    with pytest.raises(PortError, match=rf"Port {number} \(LAUREL_PREFECT_PORT\) does not exist"):
        ports.check(local_settings(tmp_path).model_copy(update={"prefect_port": number}))


def test_only_servers_of_this_stack_need_ports() -> None:
    settings = Settings(lake="file:///lake", mlflow_url="http://elsewhere:5000")
    assert [port.label for port in ports.needed(settings)] == [
        "LAUREL_PREFECT_PORT",
        "LAUREL_SERVING_PORT",
    ]


def test_usual_port_that_is_taken_gives_way_to_a_free_one_and_that_is_told(
    local_settings, tmp_path: Path, taken_port: int
) -> None:
    settings = local_settings(tmp_path).model_copy(update={"mlflow_port": taken_port})
    result, lines = ports.settle(settings, ["mlflow_port"])
    ports.check(result)
    number = result.mlflow_port
    assert result == settings.model_copy(update={"mlflow_port": number})
    assert lines == [
        (
            f"Port {taken_port} (LAUREL_MLFLOW_PORT) is in use by another program: this stack "
            f"uses {number} (LAUREL_MLFLOW_PORT={number})."
        )
    ]
    with pytest.raises(PortError, match="LAUREL_MLFLOW_PORT"):
        ports.settle(settings, ["prefect_port", "s3_port"])


def test_all_ports_of_seaweedfs_move_together(
    local_settings, tmp_path: Path, taken_port: int
) -> None:
    settings = local_settings(tmp_path).model_copy(update={"s3_port": taken_port - S3_LAST})
    result, (line,) = ports.settle(settings, ["s3_port"])
    assert result.s3_port > taken_port
    assert f"LAUREL_S3_PORT={result.s3_port}" in line
    ports.check(result)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can put another user's file there")
def test_sockets_that_another_user_s_seaweedfs_left_make_its_ports_taken(
    local_settings, tmp_path: Path
) -> None:
    settings = local_settings(tmp_path)
    socket_path = Path(f"/tmp/seaweedfs-filer-grpc-{settings.s3_port + S3_LAST}.sock")
    try:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(socket_path))
        os.chown(socket_path, 65_534, 65_534)
        with pytest.raises(
            PortError, match=f"is blocked for SeaweedFS by another user's {socket_path}"
        ):
            ports.check(settings)
    finally:
        socket_path.unlink(missing_ok=True)
