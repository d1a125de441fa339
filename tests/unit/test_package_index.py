"""uv gets pip's configuration: from pip's own listing, and with a real index behind a private
certificate.
"""

import os
import ssl
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from blocks.settings import REPOSITORY
from infra.package_index import pip_options, uv_variables, with_flags

LISTING = """\
:env:.index-url='https://of-the-shell/simple'
global.cert='/etc/company.pem'
global.extra-index-url='\\nhttps://one/simple\\nhttps://two/simple'
global.index-url='https://of-the-file/simple'
global.trusted-host='one two'
install.proxy='http://proxy:3128'
list.format='columns'
"""


def test_options_of_pip_win_in_the_order_in_which_pip_reads_them() -> None:
    assert pip_options(LISTING) == {
        "cert": "/etc/company.pem",
        "extra-index-url": "https://one/simple\nhttps://two/simple",
        "index-url": "https://of-the-shell/simple",
        "trusted-host": "one two",
        "proxy": "http://proxy:3128",
    }


def test_each_option_becomes_uv_s_variable() -> None:
    assert uv_variables(pip_options(LISTING), {}) == {
        "UV_DEFAULT_INDEX": "https://of-the-shell/simple",
        "UV_INDEX": "https://one/simple https://two/simple",
        "UV_INDEX_STRATEGY": "unsafe-best-match",
        "UV_INSECURE_HOST": "one two",
        "UV_SYSTEM_CERTS": "true",
        "SSL_CERT_FILE": "/etc/company.pem",
        "HTTPS_PROXY": "http://proxy:3128",
        "HTTP_PROXY": "http://proxy:3128",
    }


def test_variables_of_uv_s_own_stay_under_their_older_names_too() -> None:
    own = {"UV_INDEX_URL": "https://mine/simple", "UV_SYSTEM_CERTS": "false"}
    variables = uv_variables({"index-url": "https://of-pip/simple"}, own)
    assert not {"UV_DEFAULT_INDEX", "UV_SYSTEM_CERTS"} & variables.keys()


def test_without_any_configuration_only_the_system_s_certificates_are_added() -> None:
    assert uv_variables({}, {}) == {"UV_SYSTEM_CERTS": "true"}
    assert uv_variables({}, {"REQUESTS_CA_BUNDLE": "/ca.pem"})["SSL_CERT_FILE"] == "/ca.pem"


def test_time_limit_of_pip_becomes_whole_seconds_which_uv_wants() -> None:
    assert uv_variables({"timeout": "7.5"}, {})["UV_HTTP_TIMEOUT"] == "8"


def test_an_index_that_must_not_be_asked_is_not() -> None:
    assert with_flags(["pip", "install", "--quiet"], {"no-index": "true"}) == [
        "pip",
        "install",
        "--no-index",
        "--quiet",
    ]
    assert with_flags(["tool", "run", "x"], {"no-index": "true"}) == ["tool", "run", "x"]


def certificate(folder: Path) -> tuple[Path, Path]:
    """An authority that no machine knows, and a certificate for 127.0.0.1 signed by it, with its
    key.
    """
    now = datetime.now(UTC)
    keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(2)]
    names = [
        x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        for name in ("A company", "index")
    ]

    def signed(subject: int) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(names[subject])
            .issuer_name(names[0])
            .public_key(keys[subject].public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=subject == 0, path_length=None), critical=True)
        )

    authority = signed(0).sign(keys[0], hashes.SHA256())
    names_of_index = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    index = signed(1).add_extension(names_of_index, critical=False).sign(keys[0], hashes.SHA256())
    key = keys[1].private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "company.pem").write_bytes(authority.public_bytes(serialization.Encoding.PEM))
    (folder / "index.pem").write_bytes(index.public_bytes(serialization.Encoding.PEM) + key)
    return folder / "company.pem", folder / "index.pem"


@pytest.fixture
def mirror(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A company's mirror with one package, behind the company's certificate: its address and the
    authority.
    """
    wheel = tmp_path / "files" / "simple" / "companyware" / "companyware-1.0-py3-none-any.whl"
    wheel.parent.mkdir(parents=True)
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("companyware.py", "ORIGIN = 'the mirror'\n")
        info = "companyware-1.0.dist-info"
        archive.writestr(
            f"{info}/METADATA", "Metadata-Version: 2.1\nName: companyware\nVersion: 1.0\n"
        )
        archive.writestr(
            f"{info}/WHEEL",
            "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        )
        archive.writestr(f"{info}/RECORD", "")
    authority, own = certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(own)
    handler = partial(SimpleHTTPRequestHandler, directory=str(tmp_path / "files"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"https://127.0.0.1:{server.server_port}/simple", authority
        server.shutdown()


def test_uv_installs_from_a_mirror_that_pip_s_file_alone_names(
    mirror: tuple[str, Path], tmp_path: Path
) -> None:
    url, authority = mirror
    (tmp_path / "pip.conf").write_text(f"[global]\nindex-url = {url}\ncert = {authority}\n")
    foreign = ("UV_", "PIP_", "SSL_", "REQUESTS_", "CURL_", "HTTP", "ALL_PROXY", "NO_PROXY")
    shell = {
        name: value for name, value in os.environ.items() if not name.upper().startswith(foreign)
    }
    shell |= {
        "PIP_CONFIG_FILE": str(tmp_path / "pip.conf"),
        "UV_NO_CACHE": "1",
        "HOME": str(tmp_path),
    }
    install = [
        "pip",
        "install",
        "--quiet",
        "--python",
        sys.executable,
        "--target",
        str(tmp_path / "installed"),
        "companyware==1.0",
    ]
    alone = subprocess.run(
        [Path(sys.executable).with_name("uv"), *install],
        env=shell,
        capture_output=True,
        text=True,
        check=False,
    )
    assert alone.returncode != 0
    command = [sys.executable, str(REPOSITORY / "infra" / "package_index.py"), *install]
    process = subprocess.run(command, env=shell, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stderr
    assert "the mirror" in (tmp_path / "installed" / "companyware.py").read_text()
