"""Ask a running model service for one real prediction of each use case, and check version and
answer.

    python -m deployments.checks.smoke flights --url https://models.example.com

The rows are the ones that the champion's own package brings as examples; the key is
LAUREL_SERVING_KEY. Nothing of it gets into the prediction log. A use case for which nobody was
crowned yet, as on a new stack, is said and passes: the registry is asked."""

import argparse
import math
import sys
import time
from collections.abc import Sequence
from typing import Any

from blocks.registry import CHAMPION, ModelRegistry, RegistryError
from blocks.service import ModelService, ServiceAway, ServiceRefuses
from blocks.settings import Settings
from deployments.local.settings import read_stack_settings

CROWNED_AT = "laurel.crowned_at"  # tasks/steps/crown.py
POLL_SECONDS = 1.0


class SmokeFailed(RuntimeError):
    """The service answers, and not as it should; the message says what was expected and what
    came.
    """


class NotReady(SmokeFailed):
    """The service answers that it has no champion."""


def check_service(service: ModelService, use_case: str, version: str | None = None) -> str:
    """Send the champion's examples and return what was found, in words.

    ``version``: the one that has to serve; ``None`` takes what the service says of itself. Raises
    ``SmokeFailed`` and ``ServiceAway``."""
    said = service.describe(use_case)
    if not said.get("ready"):
        raise NotReady(
            f"{use_case}: the service has no champion yet, last error: {said.get('last_error')}"
        )
    expected = version or str(said["version"])
    rows = said["examples"]
    return judge_answer(use_case, expected, len(rows), service.predict(use_case, rows))


def judge_answer(use_case: str, version: str, rows: int, answer: dict[str, Any]) -> str:
    """What ``answer`` to ``rows`` rows says, in words. Raises ``SmokeFailed`` where it is not one
    of that version, as it should be.
    """
    if str(answer.get("model_version")) != version:
        raise SmokeFailed(
            f"{use_case}: version {answer.get('model_version')} answered, not {version}"
        )
    predictions = answer.get("predictions") or []
    if len(predictions) != rows:
        raise SmokeFailed(f"{use_case}: {len(predictions)} predictions for {rows} rows")
    wrong = [one for one in predictions if not _is_answer(one)]
    if wrong:
        raise SmokeFailed(
            f"{use_case}: not a prediction, with a score from 0 to 1 and a decision: {wrong[0]}"
        )
    scores = ", ".join(f"{one['score']:.4f}" for one in predictions)
    return f"{use_case}: version {version} answers, {rows} rows, scores {scores}"


def _is_answer(one: dict[str, Any]) -> bool:
    score = one.get("score")
    return (
        isinstance(score, float | int)
        and math.isfinite(score)
        and 0 <= score <= 1
        and isinstance(one.get("decision"), bool)
    )


def is_crowned(registry: ModelRegistry, service: ModelService, use_case: str) -> bool:
    """Whether there is a champion that the service has to serve. The registry is asked only where
    the service has none.

    An alias that somebody deleted does not mean that nobody was crowned: a version that was keeps
    its tag."""
    try:
        if service.describe(use_case).get("ready") or registry.at(use_case, CHAMPION) is not None:
            return True
        return any(CROWNED_AT in version.tags for version in registry.versions(use_case))
    except ServiceRefuses:
        raise
    except ServiceAway:
        return True  # check_within waits for the service, and says what is wrong with it


def check_within(
    service: ModelService, use_case: str, version: str | None, timeout_seconds: float
) -> str:
    """``check_service``, again and again until it passes or the time is over; then the last error
    is raised.
    """
    end = time.monotonic() + timeout_seconds
    while True:
        try:
            return check_service(service, use_case, version)
        except ServiceRefuses:
            raise
        except (ServiceAway, SmokeFailed):
            if time.monotonic() > end:
                raise
        time.sleep(POLL_SECONDS)


def served_within(service: ModelService, timeout_seconds: float) -> list[str]:
    """The use cases that the service serves, as soon as it says so. Raises ``ServiceAway`` when the
    time is over.
    """
    end = time.monotonic() + timeout_seconds
    while True:
        try:
            return service.use_cases()
        except ServiceRefuses:
            raise
        except ServiceAway:
            if time.monotonic() > end:
                raise
        time.sleep(POLL_SECONDS)


def listed(settings: Settings) -> list[str]:
    """The use cases that the settings name, ``*`` among them, as the service reads them: blanks do
    not count.
    """
    return [name.strip() for name in settings.serving_use_cases.split(",") if name.strip()]


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line. Exit code 1 where one use case does not pass in time."""
    parser = argparse.ArgumentParser(
        prog="python -m deployments.checks.smoke", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument(
        "use_case",
        nargs="*",
        help="default: LAUREL_SERVING_USE_CASES; if that is *, all that are served",
    )
    parser.add_argument("--url", help="base address of the service; default: LAUREL_SERVING_URL")
    parser.add_argument("--version", help="the model version that has to serve (one use case only)")
    parser.add_argument(
        "--timeout-seconds",
        type=float,
        default=120,
        help="how long a new container may take to take over (default: 120)",
    )
    asked, settings = parser.parse_args(arguments), read_stack_settings()
    service = ModelService(url=asked.url or settings.serving_base_url, key=settings.serving_key)
    names = asked.use_case or listed(settings)
    if asked.version and (len(names) > 1 or "*" in names):
        parser.error("--version is for one use case")
    try:
        for use_case in served_within(service, asked.timeout_seconds) if "*" in names else names:
            if asked.version is None and not is_crowned(
                ModelRegistry.of(settings), service, use_case
            ):
                print(f"{use_case}: the service answers; there was no champion yet")
            else:
                print(check_within(service, use_case, asked.version, asked.timeout_seconds))
    except (ServiceAway, SmokeFailed, RegistryError) as failed:
        print(failed, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
