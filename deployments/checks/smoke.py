"""Ask a running model service for real predictions of each use case, and check version and answer.

    python -m deployments.checks.smoke flights --url https://models.example.com

The rows are the examples in the champion's own package; the key is LAUREL_SERVING_KEY. Nothing goes
into the prediction log. A use case without a champion so far, as on a new stack, is reported and
passes; the registry decides that."""

import argparse
import math
import sys
import time
from collections.abc import Sequence
from typing import Any

from blocks.clients.registry import CHAMPION
from blocks.registry import ModelRegistry, RegistryError
from blocks.service import ModelService, ServiceAway, ServiceRefuses
from blocks.settings import Settings
from deployments.local.settings import read_stack_settings

CROWNED_AT = "laurel.crowned_at"  # tasks/steps/crown.py
POLL_SECONDS = 1.0


class SmokeFailed(RuntimeError):
    """The service gives a wrong answer; the message says what was expected and what came."""


class NotReady(SmokeFailed):
    """The service answers that it has no champion."""


def check_service(service: ModelService, use_case: str, version: str | None = None) -> str:
    """Send the champion's examples and return the result, in words.

    ``version`` has to serve; ``None`` accepts the version that the service reports. Raises
    ``SmokeFailed`` and ``ServiceAway``."""
    description = service.describe(use_case)
    if not description.get("ready"):
        raise NotReady(
            f"{use_case}: the service has no champion yet, "
            f"last error: {description.get('last_error')}"
        )
    expected = version or str(description["version"])
    rows = description["examples"]
    answer = service.predict(use_case, rows)
    return judge_answer(use_case, expected, len(rows), answer, description["schema"]["outputs"])


def judge_answer(
    use_case: str,
    version: str,
    rows: int,
    answer: dict[str, Any],
    outputs: Sequence[dict[str, Any]],
) -> str:
    """Describe a correct ``answer`` to ``rows`` rows, with the ``outputs`` that the service lists.
    Raises ``SmokeFailed`` if it is wrong or from another version.
    """
    if str(answer.get("model_version")) != version:
        raise SmokeFailed(
            f"{use_case}: version {answer.get('model_version')} answered, not {version}"
        )
    predictions = answer.get("predictions") or []
    if len(predictions) != rows:
        raise SmokeFailed(f"{use_case}: {len(predictions)} predictions for {rows} rows")
    invalid = [
        prediction
        for prediction in predictions
        if not all(_has(prediction, output) for output in outputs)
    ]
    if invalid:
        wanted = " and ".join(map(_describe, outputs))
        raise SmokeFailed(f"{use_case}: not a prediction, with {wanted}: {invalid[0]}")
    numbers = [output["name"] for output in outputs if output["kind"] == "number"]
    scores = ", ".join(
        "/".join(f"{prediction[name]:.4f}" for name in numbers) for prediction in predictions
    )
    return f"{use_case}: version {version} answers, {rows} rows, scores {scores}"


def _has(prediction: dict[str, Any], output: dict[str, Any]) -> bool:
    """Whether the prediction has a value of ``output``, of its kind and within its bounds."""
    value = prediction.get(output["name"])
    if output["kind"] == "decision":
        return isinstance(value, bool)
    if output["kind"] == "category":
        return value in output["categories"]
    if output["kind"] == "set":
        return isinstance(value, list) and {*value} <= {*output["categories"]}
    low, high = _bounds(output)
    return isinstance(value, float | int) and math.isfinite(value) and low <= value <= high


def _describe(output: dict[str, Any]) -> str:
    low, high = _bounds(output)
    bounded = math.isfinite(low) or math.isfinite(high)
    return f"a {output['name']}" + (f" from {low:g} to {high:g}" if bounded else "")


def _bounds(output: dict[str, Any]) -> tuple[float, float]:
    low, high = output.get("low"), output.get("high")
    return -math.inf if low is None else low, math.inf if high is None else high


def is_crowned(registry: ModelRegistry, service: ModelService, use_case: str) -> bool:
    """Whether there is a champion that the service has to serve. The registry is asked only if the
    service has none.

    A deleted alias does not mean that there never was a champion: a crowned version keeps its
    tag."""
    try:
        if service.describe(use_case).get("ready") or registry.at(use_case, CHAMPION) is not None:
            return True
        return any(CROWNED_AT in version.tags for version in registry.versions(use_case))
    except ServiceRefuses:
        raise
    except ServiceAway:
        return True  # check_within waits for the service, and reports its error


def check_within(
    service: ModelService, use_case: str, version: str | None, timeout_seconds: float
) -> str:
    """Repeat ``check_service`` until it passes or the time is over; then raise the last error."""
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
    """The use cases that the service serves, as soon as it answers. Raises ``ServiceAway`` when the
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
    """The use cases that the settings name, possibly ``*``, parsed as the service does: blanks are
    ignored.
    """
    return [name.strip() for name in settings.serving_use_cases.split(",") if name.strip()]


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line. Exit code 1 if a use case does not pass in time."""
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
    options, settings = parser.parse_args(arguments), read_stack_settings()
    service = ModelService(url=options.url or settings.serving_base_url, key=settings.serving_key)
    names = options.use_case or listed(settings)
    if options.version and (len(names) > 1 or "*" in names):
        parser.error("--version is for one use case")
    try:
        for use_case in served_within(service, options.timeout_seconds) if "*" in names else names:
            if options.version is None and not is_crowned(
                ModelRegistry.of(settings), service, use_case
            ):
                print(f"{use_case}: the service answers; there was no champion yet")
            else:
                print(check_within(service, use_case, options.version, options.timeout_seconds))
    except (ServiceAway, SmokeFailed, RegistryError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
