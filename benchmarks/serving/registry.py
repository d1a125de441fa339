"""A real MLflow server on a free port, with its database and artifacts in a folder: the registry
that the service follows.
"""

import base64
import os
import secrets
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Self

READY_SECONDS = 120.0


def free_port() -> int:
    """One that nobody listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


class RegistryProcess:
    """``mlflow server`` for as long as the context is open. Starting it takes seconds: ``wait``
    returns when it answers.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.url = f"http://127.0.0.1:{free_port()}"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        self.wait()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        store = f"sqlite:///{self.folder / 'mlflow.db'}"
        environment = {
            **os.environ,
            "MLFLOW_TRACKING_URI": store,
            "MLFLOW_ARTIFACTS_DESTINATION": str(self.folder / "artifacts"),
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            "MLFLOW_DISABLE_TELEMETRY": "true",
            # As the local stack lets it call the service when an alias moves.
            "MLFLOW_WEBHOOK_ALLOWED_SCHEMES": "http,https",
            "MLFLOW_WEBHOOK_ALLOW_PRIVATE_IPS": "true",
            "MLFLOW_WEBHOOK_CACHE_TTL": "1",
            "MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY": self._webhook_key(),
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
        }
        command = [
            sys.executable,
            "-m",
            "mlflow",
            "server",
            "--host",
            "127.0.0.1",
            "--port",
            self.url.rpartition(":")[2],
        ]
        command += ["--workers", "1", "--backend-store-uri", store, "--serve-artifacts"]
        with (self.folder / "server.log").open("wb") as output:
            self._process = subprocess.Popen(
                command, env=environment, stdout=output, stderr=output, start_new_session=True
            )

    def _webhook_key(self) -> str:
        """One for each database: MLflow must be able to read the secrets that it keeps there."""
        key_file = self.folder / "webhook.key"
        if not key_file.exists():
            key_file.touch(0o600)
            key_file.write_text(base64.urlsafe_b64encode(secrets.token_bytes(32)).decode())
        return key_file.read_text()

    def wait(self) -> None:
        """Raises ``TimeoutError`` or ``ChildProcessError``, naming the server's log."""
        import httpx

        end = time.monotonic() + READY_SECONDS
        while True:
            try:
                if httpx.get(f"{self.url}/health", timeout=5, trust_env=False).status_code == 200:
                    return
            except httpx.TransportError:
                pass
            if self._process is None or self._process.poll() is not None:
                raise ChildProcessError(f"mlflow server ended; see {self.folder / 'server.log'}")
            if time.monotonic() > end:
                raise TimeoutError(
                    f"mlflow server is not ready after {READY_SECONDS:g} s; see "
                    f"{self.folder / 'server.log'}"
                )
            time.sleep(0.1)

    def stop(self) -> None:
        from benchmarks.serving.process import end_group

        if self._process is not None:
            end_group(self._process)

    def crown(self, model: str, version: str) -> float:
        """Give the alias ``champion`` to the version; returns the monotonic time at which the
        registry had answered.
        """
        import httpx

        body = {"name": model, "alias": "champion", "version": version}
        answer = httpx.post(
            f"{self.url}/api/2.0/mlflow/registered-models/alias",
            json=body,
            timeout=30,
            trust_env=False,
        )
        answer.raise_for_status()
        return time.monotonic()

    def forget_webhooks(self) -> None:
        """The database is kept for the next run: MLflow must not go on calling a service that has
        ended.
        """
        import httpx

        with httpx.Client(
            base_url=f"{self.url}/api/2.0/mlflow/", timeout=30, trust_env=False
        ) as mlflow:
            for webhook in mlflow.get("webhooks").raise_for_status().json().get("webhooks", []):
                mlflow.delete(f"webhooks/{webhook['webhook_id']}").raise_for_status()
