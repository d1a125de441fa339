"""Deployments and automations that Laurel made for a use case that no longer has a file.

They are reported and stay: a file may be missing only because ``PYTHONPATH`` has changed. A person
removes them by name; even then the use case's data in the lake and in MLflow stay.
"""

from collections import defaultdict
from collections.abc import AsyncIterator, Collection

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterTags
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.sorting import DeploymentSort
from prefect.events.filters import AutomationFilter, AutomationFilterTags

_PAGE = 200  # an answer of Prefect's API holds no more


async def find_removed(client: PrefectClient, known: Collection[str]) -> dict[str, int]:
    """The number of Laurel's deployments for each use case that is not ``known``."""
    counts: dict[str, int] = defaultdict(int)
    async for deployment in _ours(client):
        if deployment.name not in known:
            counts[deployment.name] += 1
    return dict(sorted(counts.items()))


async def remove(client: PrefectClient, use_case: str) -> list[str]:
    """Delete Laurel's deployments and automations of the use case. Returns the kind and name of
    each.
    """
    removed = []
    for deployment in [
        candidate async for candidate in _ours(client) if candidate.name == use_case
    ]:
        flow = await client.read_flow(deployment.flow_id)
        await client.delete_deployment(deployment.id)
        removed.append(f"deployment {flow.name}/{use_case}")
    tagged = AutomationFilter(tags=AutomationFilterTags(all_=["laurel", use_case]))
    for automation in await client.read_automations(automations=tagged):
        await client.delete_automation(automation.id)
        removed.append(f"automation {automation.name}")
    return removed


async def _ours(client: PrefectClient) -> AsyncIterator[DeploymentResponse]:
    """The deployments that ``deployments.apply`` made, recognized by their tags and their
    parameter.
    """
    tagged = DeploymentFilter(tags=DeploymentFilterTags(all_=["laurel"]))
    deployments: list[DeploymentResponse] = []
    while len(deployments) % _PAGE == 0:
        offset, order = len(deployments), DeploymentSort.CREATED_DESC
        page = await client.read_deployments(
            deployment_filter=tagged, limit=_PAGE, offset=offset, sort=order
        )
        deployments += page
        if not page:
            break
    for deployment in deployments:
        if (
            deployment.name in deployment.tags
            and deployment.parameters.get("use_case") == deployment.name
        ):
            yield deployment
