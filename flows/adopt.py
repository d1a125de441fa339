"""Give the crown by hand."""

from typing import Annotated

from prefect import flow
from prefect.states import State
from pydantic import Field

from blocks.registry import ModelVersion
from flows.runs import OPTIONS, completed, ended, run_name
from tasks.steps.adopt import find_adopted, make_watchable, vacate
from tasks.steps.begin_rollout import begin_adopted_rollout, check_adopted_rollout
from tasks.steps.crown import Crowning, crown
from tasks.steps.rollout import end_for_crown

Words = Annotated[str, Field(min_length=1, max_length=2000, pattern=r"\S")]


@flow(name="adopt", flow_run_name=run_name("version", before="version "), **OPTIONS)
async def adopt(
    use_case: str,
    version: str,
    by: Words,
    why: Words,
    seed: int = 0,
    rollout: str | None = None,
) -> State[ModelVersion]:
    """Make ``version`` champion without a contest, once its package is proven to load and answer;
    ``none`` gives the crown to nobody.

    This settles which version is champion if ledger, alias and service differ, and crowns a version
    if no contest can be held. A challenger is first refitted with its hold-out, as a winner is. The
    ledger records who did it and why. With a ``rollout`` such as ``canary`` the version meets real
    traffic first: the run completes as *Rollout began*, and ``rollout`` goes on.
    """
    rolls_out = check_adopted_rollout(use_case, version, rollout)
    end_for_crown(use_case, "adopt")
    adoption, reason = find_adopted(use_case, version), f"{by}: {why}"
    before = adoption.champion or "nobody"
    if adoption.version is None:
        vacate(use_case, adoption, by, why)
        return completed(
            f"{use_case} has no champion after version {before}, decided by {reason}. A retrain "
            "makes the next one."
        )
    champion = make_watchable(adoption.version, reason, seed)
    if rollout and rolls_out:
        return ended(begin_adopted_rollout(champion, adoption.champion, rollout, by, why))
    who = {"by": by, "why": why}
    seconds = crown(
        champion, Crowning(adoption.champion, [reason], "adoption", adoption.holder, who)
    )
    return completed(
        f"Version {champion.number} is champion of {use_case} after {before}, in service "
        f"{seconds:.1f} s after it was crowned: {reason}",
        champion,
    )
