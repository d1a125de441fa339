"""A rollout from its beginning to the crown, or its end: ledger, registry, service and people, on a
lake in a folder and a fake registry. Each run knows only what ledger and registry say."""

import json
from collections.abc import Iterator
from dataclasses import replace as replace_fields
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from prefect.logging import disable_run_logger

from blocks.lake import Lake
from blocks.message import Message
from blocks.registry import ModelVersion, RegistryAway
from blocks.service import ServiceAway
from serving.package.manifest import Manifest
from serving.package.model import load as load_package
from serving.records.ledger import Decision
from tasks.ledger.entries import add_entry, decision_of, now, read
from tasks.rollouts.moves import Move
from tasks.steps import begin_rollout, rollout, rollout_announcements
from tasks.steps.approve.ask import contest_of
from tasks.steps.begin_rollout import RolloutRefused, begins_rollout, other_questions
from tasks.steps.crown import NotServed
from tasks.steps.rollout import Request
from tests.fakes.heads import HeadRegistry
from tests.fixtures.packages import FEATURES, write_package
from tests.fixtures.rollout_log import Log, clock

CASE = "toy"
CANARY = '{"kind": "canary", "steps": [0.1, 1], "minimum_requests": 500, "minimum_minutes": 0}'
PICTURE = "plots/rollout.png"
SHADOW = '{"kind": "shadow", "metric": "log_loss", "label_days": 2}'


class Registry(HeadRegistry):
    """MLflow's registry, as far as a rollout needs it. ``die_at`` names a call that fails once."""

    def __init__(self) -> None:
        super().__init__()
        self.held: dict[str, dict[str, str]] = {
            number: {"laurel.package_sha256": f"sha {number}"} for number in ("1", "2", "3")
        }
        self.aliases: dict[str, str] = {}
        self.die_at = ""
        self.texts: dict[str, str] = {}
        self.figures: dict[str, Any] = {}

    def log_texts(self, run_id: str, texts: dict[str, str]) -> None:
        self._live("log texts")
        self.texts |= texts

    def log_figure(self, run_id: str, figure: Any, path: str) -> None:
        self.figures[path] = figure

    def file_url(self, run_id: str, path: str) -> str:
        return f"http://mlflow/{run_id}/{path}"

    def at(self, use_case: str, alias: str) -> ModelVersion | None:
        return self.version(use_case, self.aliases[alias]) if alias in self.aliases else None

    def version(self, use_case: str, number: str) -> ModelVersion:
        return ModelVersion(use_case, number, f"run {number}", dict(self.held[number]))

    def versions(self, use_case: str) -> list[ModelVersion]:
        return [self.version(use_case, number) for number in self.held]

    def set_alias(self, version: ModelVersion, alias: str) -> None:
        self._live(f"set {alias}")
        self.aliases[alias] = version.number

    def remove_alias(self, use_case: str, alias: str) -> None:
        self._live(f"remove {alias}")
        self.aliases.pop(alias, None)

    def tag(self, version: ModelVersion, tags: dict[str, str]) -> None:
        self._live("tag version")
        self.held[version.number] |= tags

    def version_url(self, version: ModelVersion) -> str:
        return f"http://mlflow/{version.number}"

    def _live(self, call: str) -> None:
        if self.die_at == call:
            self.die_at = ""
            raise RegistryAway("killed")


class Service:
    """The service, which does not answer: a look needs only ledger, lake and registry."""

    def describe(self, use_case: str) -> dict[str, Any]:
        raise ServiceAway("nobody answers")

    def page(self, use_case: str, decision: int | None = None) -> str:
        return f"http://laurel/#{use_case}&decision={decision}"


class Clock(datetime):
    """What the steps take for ``datetime``; ``at`` is now."""

    at: datetime

    @classmethod
    def now(cls, tz: Any = None) -> datetime:  # type: ignore[override]
        return cls.at


class World:
    def __init__(self, root: Path) -> None:
        self.lake, self.registry = Lake(url=f"file://{root}", credentials=None), Registry()
        self.service = Service()
        self.told: list[str] = []
        self.events: list[str] = []
        self.not_served = False
        self.crown_by_hand("1")

    def crown_by_hand(self, number: str) -> None:
        facts: dict[str, Any] = {"package_sha256": f"sha {number}"}
        self.add(kind="crown", verdict="crowned", version=number, facts=facts)
        self.registry.aliases["champion"] = number

    def add(self, **fields: Any) -> None:
        common = {"use_case": CASE, "time": now(), "reasons": [], "by": "a test", "run": None}
        add_entry(self.lake, self.registry, Decision(**{**common, **fields}))  # type: ignore[arg-type]

    def crown(self, version: ModelVersion, why: Any) -> float:
        if self.not_served:
            raise NotServed("its package does not load")
        self.crown_by_hand(version.number)
        return 0.5

    def contest(self, asked: str | None = CANARY, champion: str | None = "1") -> Decision:
        return Decision(
            use_case=CASE,
            time=now(),
            kind="contest",
            verdict="promote",
            reasons=[],
            by="a test",
            run=None,
            challenger="2",
            champion=champion,
            promoted=True,
            holdout="2024-06",
            facts={"rollout": asked},
        )

    def begin(self, asked: str = CANARY, at: datetime | None = None) -> str:
        Clock.at = at or clock(0, 0)
        winner = self.registry.version(CASE, "2")
        return begin_rollout.begin_rollout.fn(winner, self.contest(asked)).message

    def run(self, at: datetime, **asked: str) -> Move | None:
        """What the flow does, with nothing left of an earlier run."""
        Clock.at = at
        standing = rollout.find_rollout.fn(CASE)
        if standing is None:
            return None
        move = rollout.look_once.fn(standing, Request(**asked))  # type: ignore[arg-type]
        assert rollout.follow.fn(standing, move)
        if move.verdict == "won":
            rollout.crown_winner(standing, move)
        return move

    @property
    def verdicts(self) -> list[str]:
        return [entry.verdict for entry in read(self.lake, CASE) if entry.kind == "rollout"]

    @property
    def terms(self) -> Any:
        return json.loads(self.registry.held["2"]["laurel.rollout"])


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    new = World(tmp_path)
    told = ("steps.rollout", "steps.rollout_announcements")
    for module in ("ledger.reign", "ledger.entries", "steps.begin_rollout", *told):
        monkeypatch.setattr(f"tasks.{module}.lake", lambda: new.lake)
        monkeypatch.setattr(f"tasks.{module}.registry", lambda: new.registry)
    for module in ("ledger.reign", "steps.rollout_announcements"):
        monkeypatch.setattr(f"tasks.{module}.service", lambda: new.service)

    def tell(message: Message, thread: str | None = None) -> None:
        new.told.append(message.headline)

    monkeypatch.setattr("tasks.ledger.reign.tell", tell)
    monkeypatch.setattr(rollout_announcements, "tell", tell)
    for name in ("show_text", "show_picture"):
        monkeypatch.setattr(rollout_announcements, name, lambda *args, **links: None)
    monkeypatch.setattr(rollout_announcements, "emit", lambda name, *_: new.events.append(name))
    monkeypatch.setattr(rollout, "crown", new.crown)
    monkeypatch.setattr(rollout, "datetime", Clock)
    monkeypatch.setattr(begin_rollout, "now", lambda: Clock.at.isoformat(timespec="milliseconds"))
    with disable_run_logger():
        yield new


def test_a_rollout_begins_with_a_plan_and_not_with_the_crown(world: World) -> None:
    message = world.begin()
    assert "meets real traffic" in message and "a canary of 10 % of the callers" in message
    assert world.registry.aliases == {"champion": "1", "rollout": "2"}
    assert world.terms["kind"] == "canary" and world.terms["share"] == 0.1
    assert world.verdicts == ["began"]
    assert world.told == ["toy: rollout of version 2: rollout began"]
    assert world.events == ["laurel.rollout.began"]


def test_a_canary_goes_from_step_to_step_to_the_crown(world: World) -> None:
    world.begin()
    name = world.terms["id"]
    quiet = world.run(clock(0, 1))
    assert quiet is not None and (quiet.verdict, world.verdicts) == ("", ["began"])
    Log(1, a_day=6000).write(world.lake, "canary", share=0.1)
    world.run(clock(0, 11))
    assert world.verdicts == ["began", "stepped"]
    assert world.terms == {"id": name, "kind": "canary", "share": 1.0}
    assert world.registry.aliases["champion"] == "1"
    world.run(clock(0, 13))
    assert world.verdicts == ["began", "stepped", "won"]
    assert world.registry.aliases == {"champion": "2"}
    assert world.run(clock(1)) is None
    assert world.events[-1] == "laurel.rollout.won"


@pytest.mark.parametrize(("worse", "verdict"), [(1.0, "won"), (-1.0, "lost")])
def test_a_shadow_is_judged_day_by_day(world: World, worse: float, verdict: str) -> None:
    world.begin(SHADOW)
    assert world.terms["kind"] == "shadow" and world.terms["share"] == 0
    Log(36, worse=worse).write(world.lake, "shadow")
    for day in range(36):
        if world.run(clock(day)) is None:
            break
    assert world.verdicts[0] == "began" and set(world.verdicts[1:-1]) == {"judged"}
    assert world.verdicts[-1] == verdict
    assert world.registry.aliases == {"champion": "2" if verdict == "won" else "1"}
    last = [entry for entry in read(world.lake, CASE) if entry.kind == "rollout"][-1]
    assert last.rollout is not None and last.rollout.low is not None
    assert last.codes[0] is not None and last.codes[0].code.startswith("rollout_")


def test_a_chain_goes_on_with_its_next_stage_and_its_card_tells_all(world: World) -> None:
    world.begin(f"[{SHADOW}, {CANARY}]")
    Log(36, worse=1.0).write(world.lake, "shadow")
    for day in range(36):
        world.run(clock(day))
        if world.verdicts[-1] == "stepped":
            break
    assert world.terms["kind"] == "canary" and world.registry.aliases["champion"] == "1"
    assert not world.registry.texts, "it goes on"
    world.run(clock(day, 15), do="advance", by="Kim", why="a quiet day")
    world.run(clock(day, 16), do="advance", by="Kim", why="a quiet day")
    assert world.registry.aliases == {"champion": "2"}
    card, figure = world.registry.texts["rollout-card.md"], world.registry.figures[PICTURE]
    assert "# Version 2 against champion 1: won" in card and "| 2026-09-01 – 2026-09-02 |" in card
    assert "Canary: 10, 100 % of the callers" in card and "Kim let it go on: a quiet day" in card
    assert len(figure.axes[0].get_lines()[1].get_xdata()) >= 4, "a point for each block"


def test_a_revert_keeps_a_card_and_waits_for_no_picture(world: World) -> None:
    world.begin(SHADOW)
    Log(8).write(world.lake, "shadow")
    for day in range(7):
        world.run(clock(day))
    world.run(clock(7), do="revert", by="Kim", why="calls")
    assert "reverted" in world.registry.texts["rollout-card.md"] and not world.registry.figures


def test_a_card_that_cannot_be_kept_stops_nothing(world: World) -> None:
    world.begin()
    world.registry.die_at = "log texts"
    world.run(clock(0), do="revert", by="Kim", why="calls")
    assert world.verdicts[-1] == "reverted" and world.registry.aliases == {"champion": "1"}
    assert world.events[-1] == "laurel.rollout.reverted"


@pytest.mark.parametrize("call", ["tag version", "set rollout"])
def test_a_beginning_that_was_interrupted_is_mended(world: World, call: str) -> None:
    world.registry.die_at = call
    with pytest.raises(RegistryAway):
        world.begin()
    assert world.verdicts == ["began"] and "rollout" not in world.registry.aliases
    if call == "set rollout":  # the promotion is started again
        world.begin()
    else:  # or the next look finds it
        world.run(clock(0, 1))
    assert world.verdicts == ["began"] and world.registry.aliases["rollout"] == "2"


def test_a_step_that_was_interrupted_is_mended(world: World) -> None:
    world.begin()
    Log(1, a_day=6000).write(world.lake, "canary", share=0.1)
    world.registry.die_at = "tag version"
    with pytest.raises(RegistryAway):
        world.run(clock(0, 13))
    assert (world.verdicts[-1], world.terms["share"]) == ("stepped", 0.1)
    world.run(clock(0, 14))
    assert (world.verdicts, world.terms["share"]) == (["began", "stepped"], 1.0)


def test_an_end_that_was_interrupted_is_mended(world: World) -> None:
    world.begin()
    world.registry.die_at = "remove rollout"
    with pytest.raises(RegistryAway):
        world.run(clock(0, 1), do="revert", by="Kim", why="calls")
    assert world.registry.aliases["rollout"] == "2"
    assert world.run(clock(0, 2)) is None
    assert world.registry.aliases == {"champion": "1"} and world.verdicts == ["began", "reverted"]


def test_a_crown_that_was_interrupted_is_given_by_the_next_run(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.begin()
    world.run(clock(0, 1), do="advance", by="Kim", why="fine")

    def killed(*_: Any) -> float:
        raise RegistryAway("killed")

    monkeypatch.setattr(rollout, "crown", killed)
    with pytest.raises(RegistryAway):
        world.run(clock(0, 2), do="advance", by="Kim", why="fine")
    monkeypatch.setattr(rollout, "crown", world.crown)
    world.run(clock(0, 3))
    assert world.verdicts == ["began", "stepped", "won"]
    assert world.registry.aliases == {"champion": "2"} and world.run(clock(0, 4)) is None


def test_a_winner_that_does_not_get_into_service_ends_its_rollout(world: World) -> None:
    world.begin('{"kind": "canary", "steps": [1], "minimum_requests": 0, "minimum_minutes": 0}')
    world.not_served = True
    with pytest.raises(NotServed):
        world.run(clock(0, 1))
    assert world.verdicts == ["began", "won", "reverted"]
    assert world.registry.aliases == {"champion": "1"} and world.run(clock(0, 2)) is None


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ({"version": "2", "reason": "failed 2 of 2 requests", "time": "x"}, "failed 2 of 2"),
        ([], "no readable reason"),
    ],
)
def test_what_a_replica_of_the_service_has_reverted_is_recorded(
    world: World, content: Any, why: str
) -> None:
    world.begin()
    world.lake.write("rollouts/toy/other/reverted.json", b"{}")
    assert (move := world.run(clock(0, 1))) is not None and move.verdict == ""
    path = f"rollouts/toy/{world.terms['id']}/reverted.json"
    world.lake.write(path, json.dumps(content).encode())
    move = world.run(clock(0, 2))
    assert move is not None and why in move.reasons[0]
    assert world.verdicts == ["began", "reverted"]
    assert world.registry.aliases == {"champion": "1"}


@pytest.mark.parametrize("moved_to", [None, "3"])
def test_an_alias_that_somebody_took_away_ends_it(world: World, moved_to: str | None) -> None:
    world.begin()
    del world.registry.aliases["rollout"]
    if moved_to:
        world.registry.aliases["rollout"] = moved_to
    world.run(clock(0, 1))
    assert world.verdicts == ["began", "reverted"]
    assert world.registry.aliases.get("rollout") == moved_to


def test_another_champion_ends_it(world: World) -> None:
    world.begin()
    world.crown_by_hand("3")
    move = world.run(clock(0, 1))
    assert move is not None and "version 3 is champion now" in move.reasons[0]
    assert world.registry.aliases == {"champion": "3"}


def test_a_person_holds_resumes_and_reverts_with_a_name_and_a_reason(world: World) -> None:
    world.begin()
    Log(1, a_day=6000).write(world.lake, "canary", share=0.1)
    world.run(clock(0, 1), do="hold", by="Kim", why="a freeze")
    held = world.run(clock(0, 11))
    assert held is not None and held.verdict == "" and "holds it" in held.reasons[0]
    world.run(clock(0, 11), do="resume", by="Kim", why="over")
    world.run(clock(0, 11))
    world.run(clock(0, 12), do="revert", by="Kim", why="calls")
    assert world.verdicts == ["began", "held", "resumed", "stepped", "reverted"]
    with pytest.raises(ValueError, match="by=<you>"):
        Request("revert", "Kim")


def test_two_rollouts_at_once_are_refused_with_what_to_do(world: World) -> None:
    world.begin()
    winner, contest = world.registry.version(CASE, "3"), world.contest()
    Clock.at = clock(1)
    with pytest.raises(RolloutRefused, match="do=revert"):
        begin_rollout.begin_rollout.fn(winner, contest)
    with pytest.raises(RolloutRefused, match="Challenger 3 .* is not judged now"):
        begin_rollout.check_rollout.fn(winner, None)
    assert world.registry.aliases["rollout"] == "2" and world.verdicts == ["began"]


def test_of_two_that_begin_in_the_same_moment_one_does(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    look, others = begin_rollout.find_running, [world.registry.version(CASE, "3")]

    def find_running(*asked: Any) -> Any:
        found = look(*asked)
        if others:  # another promotion is quicker, once this one has looked
            begin_rollout.begin_rollout.fn(others.pop(), world.contest())
        return found

    monkeypatch.setattr(begin_rollout, "find_running", find_running)
    with pytest.raises(RolloutRefused, match="Version 2 is not rolled out: .*version 3"):
        world.begin()
    assert world.registry.aliases["rollout"] == "3" and world.verdicts == ["began"]


def test_a_beginning_waits_for_no_other_entry_of_the_ledger(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    look, drifts = begin_rollout.find_running, ["stable"]

    def find_running(*asked: Any) -> Any:
        found = look(*asked)
        if drifts:
            world.add(kind="drift", verdict=drifts.pop())
        return found

    monkeypatch.setattr(begin_rollout, "find_running", find_running)
    world.begin()
    assert world.registry.aliases["rollout"] == "2" and world.verdicts == ["began"]


def test_the_champion_itself_is_not_rolled_out(world: World) -> None:
    Clock.at = clock(0)
    with pytest.raises(RolloutRefused, match="is the champion"):
        begin_rollout.begin_rollout.fn(world.registry.version(CASE, "1"), world.contest())


def test_of_two_runs_at_once_one_decides(world: World) -> None:
    world.begin()
    Clock.at = clock(0, 1)
    standing = rollout.find_rollout.fn(CASE)
    assert standing is not None
    move = rollout.look_once.fn(standing, Request("advance", "Kim", "fine"))
    assert rollout.follow.fn(standing, move)
    assert not rollout.follow.fn(standing, move)
    assert world.verdicts == ["began", "stepped"]


def test_a_rollback_ends_it_first(world: World) -> None:
    world.begin()
    rollout.end_for_crown.fn(CASE, "rollback")
    rollout.end_for_crown.fn(CASE, "rollback")
    assert world.verdicts == ["began", "reverted"] and "rollout" not in world.registry.aliases


def test_a_rollback_after_a_revert_keeps_its_reason(world: World) -> None:
    world.begin()
    revert = {"version": "2", "reason": "failed 2 of 2 requests", "time": "x"}
    path = f"rollouts/toy/{world.terms['id']}/reverted.json"
    world.lake.write(path, json.dumps(revert).encode())
    rollout.end_for_crown.fn(CASE, "rollback")
    last = [entry for entry in read(world.lake, CASE) if entry.kind == "rollout"][-1]
    assert last.verdict == "reverted" and "failed 2 of 2" in last.reasons[0]


def test_a_version_without_a_contest_is_rolled_out_for_a_person(
    world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    write_package(tmp_path / "1")
    manifest = load_package(tmp_path / "1").manifest
    monkeypatch.setattr(begin_rollout, "read_manifest", lambda _, version: manifest)
    check = begin_rollout.check_adopted_rollout.fn
    assert not check(CASE, "2", None) and not check(CASE, "2", "immediate")
    for number in ("none", "1"):
        with pytest.raises(RolloutRefused, match="adopt without rollout|is the champion"):
            check(CASE, number, CANARY)
    assert check(CASE, "2", CANARY) and world.verdicts == []
    Clock.at = clock(0, 0)
    version = world.registry.version(CASE, "2")
    told = begin_rollout.begin_adopted_rollout.fn(version, "1", CANARY, "Kim", "her own")
    assert told.name == "Rollout began" and "Kim asked for it" in told.message
    assert world.registry.aliases == {"champion": "1", "rollout": "2"}
    world.run(clock(0, 1), do="advance", by="Kim", why="fine")
    world.run(clock(0, 2), do="advance", by="Kim", why="fine")
    assert world.verdicts == ["began", "stepped", "won"]
    assert world.registry.aliases == {"champion": "2"}


def test_an_alias_that_a_person_set_is_left_alone(world: World) -> None:
    world.registry.aliases["rollout"] = "3"
    world.registry.held["3"]["laurel.rollout"] = '{"id": "mine", "kind": "canary", "share": 0.1}'
    assert world.run(clock(0)) is None
    assert world.registry.aliases["rollout"] == "3"


def test_only_a_winner_beside_a_champion_is_rolled_out(world: World) -> None:
    assert begins_rollout(world.contest())
    assert not begins_rollout(world.contest(champion=None))
    assert not begins_rollout(world.contest(asked="immediate"))
    assert not begins_rollout(world.contest(asked=None))  # what the file says
    with pytest.raises(RolloutRefused, match="write immediate"):
        begins_rollout(world.contest(asked="canari"))


def test_a_challenger_that_asks_for_more_than_callers_send_is_refused(tmp_path: Path) -> None:
    def manifest(name: str, **changes: Any) -> Manifest:
        write_package(tmp_path / name, **changes)
        return load_package(tmp_path / name).manifest

    served = manifest("1")
    fewer = replace(served, features=served.features[1:])
    names = ("challenger 2", "champion 1")
    assert other_questions(names, served, served) == ""
    assert other_questions(names, fewer, served) == ""
    problem = other_questions(names, served, fewer)
    assert problem == (
        f"Challenger 2 needs {FEATURES[0].name} ({FEATURES[0].kind}), which champion 1 does not "
        "take."
    )
    assert "something else" in other_questions(names, replace(served, label="other"), served)


def test_what_a_person_approves_begins_the_rollout_that_was_asked_for(world: World) -> None:
    """From the ledger's question, which is all that the run of the approval knows."""
    contest = world.contest(SHADOW)
    facts = {**contest.facts, "contest": contest.verdict, "hours": 8, "seed": 0.0}
    question = replace_fields(contest, kind="approval", verdict="asked", facts=facts, run="r")
    add_entry(world.lake, world.registry, question)
    asked = contest_of(decision_of(read(world.lake, CASE)[-1]))
    assert begins_rollout(asked)
    Clock.at = clock(0, 0)
    outcome = begin_rollout.begin_rollout.fn(world.registry.version(CASE, "2"), asked)
    assert outcome.name == "Rollout began" and "Challenger 2: promote" in outcome.message
    assert world.terms["kind"] == "shadow" and world.verdicts == ["began"]


def test_a_closed_rollout_lets_the_next_one_begin(world: World) -> None:
    world.begin()
    world.run(clock(0, 1), do="revert", by="Kim", why="calls")
    world.begin(at=clock(1))
    assert world.verdicts == ["began", "reverted", "began"]
    ids = {entry.rollout.id for entry in read(world.lake, CASE) if entry.rollout}
    assert len(ids) == 2, "another salt: other callers are the first ones"
