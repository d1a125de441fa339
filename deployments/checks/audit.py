"""Check every use case's ledger: the chain of its entries, and the champion alias against the last
crown.

    python -m deployments.checks.audit [use case ...]

It prints one line for each, and exits with 1 if anything is wrong or cannot be checked. It does not
use Prefect's server."""

import argparse
import os
import sys
from collections.abc import Iterator, Sequence

from blocks.lake import Lake, LakeAway
from blocks.registry import ModelRegistry
from deployments.local.settings import read_stack_settings
from tasks.ledger.audits import Audit, audit_ledger, audited_use_cases


def in_a_line(audit: Audit) -> str:
    if audit.faults:
        return (
            f"{audit.use_case}: {'NOT WHOLE' if audit.checked else 'NOT CHECKED'}: "
            f"{'; '.join(audit.faults)}"
        )
    if audit.entries == 0:
        return f"{audit.use_case}: no entries"
    champion = (
        f"champion {audit.champion} is the one crowned last"
        if audit.champion
        else "no champion, and none was crowned"
    )
    notes = "".join(f"; {note}" for note in audit.notes)
    return f"{audit.use_case}: {audit.entries} entries, whole; {champion}{notes}"


class AuditRefused(ValueError):
    """The ledgers that were asked for cannot be checked; the message says why."""


def audit(requested: Sequence[str], every_head: bool = False) -> Iterator[Audit]:
    """Audit the ledgers of these use cases, or of all. Raises ``AuditRefused``."""
    # MLflow's library reads it before its first request: an unreachable server becomes a line of
    # the audit, and not minutes of waiting.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    settings = read_stack_settings()
    store, registry = Lake.of(settings), ModelRegistry.of(settings)
    try:
        names = audited_use_cases(store)
    except LakeAway as error:
        raise AuditRefused(f"The ledgers cannot be checked: {error}") from error
    if strangers := sorted(set(requested) - set(names)):
        raise AuditRefused(
            f"Unknown use case {', '.join(strangers)}. Use cases with a ledger or a file: "
            f"{', '.join(names)}."
        )
    for name in requested or names:
        yield audit_ledger(store, registry, name, every_head)


def main() -> None:
    """Print the audits."""
    parser = argparse.ArgumentParser(
        prog="python -m deployments.checks.audit",
        description="Check the ledgers of use cases; by default all of them.",
    )
    parser.add_argument("use_cases", nargs="*", metavar="use case", help="the use case's name")
    parser.add_argument(
        "--every-head",
        action="store_true",
        help="compare each entry with its head in MLflow, and not the latest ones only",
    )
    arguments = parser.parse_args()
    try:
        audits = list(audit(arguments.use_cases, arguments.every_head))
    except AuditRefused as error:
        sys.exit(str(error))
    for one in audits:
        print(in_a_line(one), flush=True)
    sys.exit(1 if any(one.faults for one in audits) else 0)


if __name__ == "__main__":
    main()
