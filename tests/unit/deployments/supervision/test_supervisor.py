from pathlib import Path
from typing import Any

import pytest

from deployments.supervision.supervisor import PID_FILE, Supervisor


def test_a_stop_survives_a_supervisord_that_removes_its_pid_file_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file is there when it is looked for, and gone when it is read."""
    pid_file, exists = tmp_path / PID_FILE, Path.exists

    def vanish(path: Path, **options: Any) -> bool:
        there = exists(path, **options)
        if path == pid_file:
            path.unlink(missing_ok=True)
        return there

    pid_file.write_text("1\n")
    monkeypatch.setattr(Path, "exists", vanish)
    Supervisor(tmp_path).shut_down()
