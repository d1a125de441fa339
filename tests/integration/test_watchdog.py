"""A run that works for longer than it may be silent, at the product's own limits. It begins while
the lane does other modules (``long_run``).
"""

from uuid import UUID

import pytest
from usecases.toy_long import FIT_SECONDS

from deployments.apply.automations import lost_after_seconds
from tests.fixtures.processes import wait_until
from tests.integration.planting import Loop


@pytest.mark.timeout(600)  # alone it waits for the whole run
def test_run_that_works_for_longer_than_it_may_be_silent_is_not_crashed(
    loop: Loop, long_run: UUID
) -> None:
    assert lost_after_seconds(loop.settings.heartbeat_seconds) < FIT_SECONDS

    def ended() -> bool:
        state = loop.prefect.read_flow_run(long_run).state
        return state is not None and state.is_final()

    wait_until(ended, "the long run ends", seconds=2 * FIT_SECONDS)
    names = [state.name for state in loop.prefect.read_flow_run_states(long_run)]
    assert names[-2:] == ["Running", "Below the gate"] and "No heartbeat" not in names
    assert [entry["verdict"] for entry in loop.decisions("toy_long", "retrain")] == [
        "started",
        "below the gate",
    ]
