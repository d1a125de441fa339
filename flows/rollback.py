"""Give the crown back."""

from prefect import flow

from blocks.registry import ModelVersion
from flows.runs import TOLD, named
from tasks.promotion import crown, find_predecessor, prove_package, record_rollback


@flow(name="rollback", flow_run_name=named("version", before="to version ", otherwise="to the previous"), **TOLD)
async def rollback(use_case: str, version: str | None = None, reason: str = "asked for") -> ModelVersion:
    """Make the champion before this one (or ``version``) champion again, once its package is proven to load and answer."""
    champion, target = find_predecessor(use_case, version)
    prove_package(target)
    crown(target)
    record_rollback(champion, target, reason)
    return target
