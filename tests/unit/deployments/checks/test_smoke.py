"""Whether there ever was a champion, as the smoke test decides it."""

from typing import Any

from blocks.registry import ModelRegistry, ModelVersion
from blocks.service import ModelService
from blocks.settings import Settings
from deployments.checks.smoke import is_crowned, listed


class Vacant(ModelService):
    """A new container, which has nothing on its disk."""

    def describe(self, use_case: str) -> dict[str, Any]:
        return {"ready": False}


class Registry(ModelRegistry):
    """A registry in which no version has the alias ``champion``."""

    _tags: dict[str, str] = {}

    def at(self, use_case: str, alias: str) -> ModelVersion | None:
        return None

    def versions(self, use_case: str) -> list[ModelVersion]:
        return [ModelVersion(use_case, "1", "", self._tags)]


def test_alias_that_somebody_deleted_does_not_mean_that_nobody_was_crowned() -> None:
    registry, service = (
        Registry(tracking_uri="http://127.0.0.1:1"),
        Vacant(url="http://127.0.0.1:1"),
    )
    assert not is_crowned(registry, service, "toy")
    registry._tags = {"laurel.crowned_at": "2026-11-28T20:00:00.000+00:00"}
    assert is_crowned(registry, service, "toy")


def test_blanks_between_the_names_of_use_cases_are_none_of_theirs() -> None:
    assert listed(Settings(serving_use_cases="flights, returns ,")) == ["flights", "returns"]
