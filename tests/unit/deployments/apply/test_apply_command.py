"""``python -m deployments.apply`` if Prefect is unreachable."""

import pytest

from blocks.settings import Settings
from deployments.apply import command
from tests.fixtures.processes import free_port


def test_prefect_that_is_away_is_told_in_a_line_with_its_address_and_the_way_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = Settings.model_validate({"prefect_port": free_port()})
    monkeypatch.setattr(command, "read_stack_settings", lambda: settings)
    monkeypatch.setattr("sys.argv", ["apply"])
    with pytest.raises(SystemExit) as caught:
        command.main()
    message = str(caught.value)
    assert (
        message.startswith(f"Prefect at {settings.prefect_api_url} does not answer (ConnectError")
        and "make up" in message
    )
