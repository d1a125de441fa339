import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from serving.keys.peers import Peers

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells")


@pytest.fixture
def peers() -> Iterator[Peers]:
    peers = Peers()
    yield peers
    peers.close()


@pytest.mark.parametrize(
    ("family", "host"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")]
)
def test_own_processes_are_known(peers: Peers, family: socket.AddressFamily, host: str) -> None:
    with (
        socket.create_server((host, 0), family=family) as server,
        socket.create_connection(server.getsockname()[:2]) as caller,
    ):
        accepted, address = server.accept()
        with accepted:
            assert peers.is_own(address[:2], accepted.getsockname()[:2])
            caller.close()  # nobody is left to be known
            assert not peers.is_own(address[:2], accepted.getsockname()[:2])


def test_a_caller_over_ipv6_that_means_ipv4_is_known_as_java_s_are(peers: Peers) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket(socket.AF_INET6) as caller:
        caller.connect(("::ffff:127.0.0.1", server.getsockname()[1]))
        accepted, address = server.accept()
        with accepted:
            assert peers.is_own(address, accepted.getsockname())


@pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("setpriv") is None, reason="only root may be another user"
)
def test_a_process_of_another_user_is_not_own(peers: Peers) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        connect = f"import socket; socket.create_connection({server.getsockname()!r}).recv(1)"
        command = ["setpriv", "--reuid=65534", "--clear-groups", "python3", "-c", connect]
        with subprocess.Popen(command, env={"PATH": "/usr/bin:/bin"}) as process:
            accepted, address = server.accept()
            with accepted:
                assert not peers.is_own(address, accepted.getsockname())
            process.wait(20)
