"""Give the crown back."""

from prefect import flow

from blocks.registry import ModelVersion
from flows.runs import TOLD, named
from tasks.crowning import Crowning, crown
from tasks.rollback import find_predecessor


@flow(name="rollback", flow_run_name=named("version", before="to version ", otherwise="to the previous"), **TOLD)
async def rollback(use_case: str, version: str | None = None, reason: str = "asked for") -> ModelVersion:
    """Make the champion before this one (or ``version``) champion again, once its package is proven to load and answer."""
    champion, target = find_predecessor(use_case, version)
    crown(target, Crowning(champion.number, [reason], "rollback"))
    return target
