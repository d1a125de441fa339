import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from blocks.message import Message
from blocks.slack import RUN_LINK, SlackNotifier
from serving.records.contest import Comparison, Contest
from serving.records.ledger import Decision
from serving.records.reasons import because
from serving.records.rollout import Rollout, Stage
from tasks.messages import announcements
from tests.fakes.slack import SlackServer

SCORES_OF_BOTH: dict[str, Any] = {
    "champion": 0.7640,
    "challenger": 0.7782,
    "gain": 0.0142,
    "low": 0.0087,
    "high": 0.0210,
}
DRIFT: dict[str, Any] = {
    "window": "2013-06",
    "share": 0.3704,
    "limit": 0.30,
    "columns": {"temp": 1.24, "dewp": 2.31},
}
SCORES = {"logistic": 0.7123, "forest": 0.7419}


def finished(**changed: Any) -> Message:
    values = {
        "metric": "roc_auc",
        "scores": SCORES,
        "best": "forest",
        "gate": 0.75,
        "passed": False,
        "holdout": "2013-03",
        **changed,
    }
    return announcements.training_finished("flights", **values)


def tuned(**changed: Any) -> Message:
    values = {
        "metric": "roc_auc",
        "candidate": "hgb",
        "before": 0.7419,
        "after": 0.7626,
        "gate": 0.75,
        "passed": True,
    }
    search = {
        "why": "best of 20 trials, 11 pruned",
        "params": {"learning_rate": 0.0612345, "max_iter": 200},
    }
    return announcements.tuning_finished("flights", **{**values, **search, **changed})


def decision(verdict: str, kind: str = "contest", **changed: Any) -> Decision:
    """A contest of version 4 against version 3, as in the ledger."""
    scores = {
        **SCORES_OF_BOTH,
        **{name: changed.pop(name) for name in [*changed] if name in SCORES_OF_BOTH},
    }
    contest = Contest(
        verdict="promote",
        reasons=[],
        blocks=30,
        replicates=400,
        confidence=0.95,
        seed=0,
        main=Comparison(metric="roc_auc", rows=27_075, **scores),
    )
    parts: dict[str, Any] = {
        "use_case": "flights",
        "time": "2026-11-21T05:00:00.874+00:00",
        "by": "a test",
        "run": "f00d",
        "champion": "3",
        "challenger": "4",
        "reasons": ["The gain is above zero."],
        "contest": contest,
    }
    names = {"champion_version": "champion", "challenger_version": "challenger"}
    changes = {names.get(name, name): value for name, value in changed.items()}
    return Decision(kind=kind, verdict=verdict, **{**parts, **changes})


def contest(verdict: str, **changed: Any) -> Message:
    options = {name: changed.pop(name) for name in ("asks", "gate", "picture") if name in changed}
    return announcements.contest_decided(decision(verdict, **changed), metric="roc_auc", **options)


def drift(verdict: str, **changed: Any) -> Message | None:
    return announcements.drift_checked("flights", verdict=verdict, **{**DRIFT, **changed})


def question_message(verdict: str = "promote", **changed: Any) -> Message:
    parts = {"reasons": ["2013-06"], "facts": {"contest": verdict}, **changed}
    question = decision("asked", kind="approval", **parts)
    return announcements.approval_asked(question, metric="roc_auc", hours=24.0)


def answer_message(verdict: str) -> Message:
    values = {"challenger_version": "4", "champion_version": "3", "by": "Ana", "reason": "2013-06"}
    return announcements.approval_answered("flights", verdict=verdict, **values)


def served(before: str | None = "3", **refit: Any) -> Message:
    return announcements.deployed(
        "flights", version="5", seconds=1.234, smoke_rows=16, champion_before=before, **refit
    )


STEPPED = Stage(kind="canary", steps=[0.01, 0.05, 0.25, 1.0])
ROLLOUT = Rollout(
    id="4-abc", stages=[Stage(kind="shadow"), STEPPED], since="2013-07-01", stage=1, step=2
)
EVERY: dict[str, Callable[[], Any]] = {
    "training started": lambda: announcements.training_started(
        "flights",
        candidates=["logistic"],
        window="2013-01..2013-02",
        holdout="2013-03",
        rows=51_955,
        dataset_version="9f3c",
    ),
    "training finished": finished,
    "hpo finished": tuned,
    "first champion": lambda: announcements.first_champion(
        "flights", version="1", candidate="hgb", metric="roc_auc", score=0.7626, gate=0.75
    ),
    **{
        f"contest {verdict}": lambda verdict=verdict: contest(verdict)
        for verdict in ("promote", "keep", "suspicious", "unfair")
    },
    "contest inconclusive": lambda: contest(
        "inconclusive", champion=None, challenger=None, gain=None, low=None, high=None
    ),
    **{
        f"contest {verdict}, asks": lambda verdict=verdict: contest(verdict, asks=True)
        for verdict in ("promote", "suspicious")
    },
    "contest with its picture": lambda: contest("keep", picture=b"drawn"),
    "approval asked": lambda: question_message(),
    "approval asked, no champion": lambda: question_message(
        champion_version=None, champion=None, low=None, high=None, verdict="suspicious"
    ),
    **{
        f"approval {verdict}": lambda verdict=verdict: answer_message(verdict)
        for verdict in ("approved", "rejected", "expired")
    },
    "retrain started": lambda: announcements.retrain_started("flights", reason="2013-06 drifted"),
    "retrain ended": lambda: announcements.retrain_ended(
        "flights", outcome="no labelled period after 2013-06"
    ),
    "adopted": lambda: announcements.adopted(
        "flights", version="4", champion_before="3", reason="Ana: 2013-06", seconds=1.2
    ),
    "adopted, the alias was there": lambda: announcements.adopted(
        "flights", version="4", champion_before=None, reason="2013-06"
    ),
    "vacated": lambda: announcements.crown_vacated(
        "flights", champion_before="3", by="Ana", why="2013-06"
    ),
    "restored": lambda: announcements.alias_restored("flights", version="4"),
    "first champion, provisionally": lambda: announcements.first_champion(
        "flights",
        version="1",
        candidate="hgb",
        metric="roc_auc",
        score=0.7626,
        gate=0.75,
        rows=12,
        provisional="2013-06",
    ),
    "contest unfair, asks": lambda: contest("unfair", asks=True, gate=0.75),
    "deployed": lambda: announcements.deployed(
        "flights", version="4", seconds=1.234, smoke_rows=16
    ),
    "deployed, with a way back": lambda: served(),
    "deployed, refitted": lambda: served(refit_of="4", holdout="2013-06"),
    "deployment failed": lambda: announcements.deployment_failed(
        "flights", version="4", reason="smoke row 2 differs", restored_version="3"
    ),
    "drifted": lambda: drift("drifted"),
    "broken": lambda: drift("broken", share=None, columns={}, reasons=["temp: 80 % null"]),
    "inconclusive": lambda: drift(
        "inconclusive", share=None, columns={}, reasons=["12 rows, 1000 wanted"]
    ),
    "stable, asked for": lambda: drift("stable", share=0.11, columns={}, tell_stable=True),
    "ingest refused": lambda: announcements.ingest_refused(
        "flights", period="2013-06", problems=["column 'temp' is missing"]
    ),
    "retrain skipped": lambda: announcements.retrain_skipped(
        "flights", reason="no labelled period is newer than the champion"
    ),
    "flow failed": lambda: announcements.flow_failed(
        "flights", flow="retrain", error="MLflow is away\nTraceback", run_url="http://ui/r/1"
    ),
    "run cancelled": lambda: announcements.run_cancelled(
        "flights", flow="retrain", why="by hand", run_url="http://ui/r/1"
    ),
    "rolled back": lambda: announcements.rolled_back(
        "flights", version="3", from_version="4", reason="asked for by Ana"
    ),
    "rolled back, measured": lambda: announcements.rolled_back(
        "flights", version="3", from_version="4", reason="", seconds=2.04
    ),
    "rollout began": lambda: announcements.rollout_told(
        "flights",
        version="4",
        champion="3",
        verdict="began",
        word=because("is_began"),
        reasons=[because("plan_unknown")],
        rollout=ROLLOUT,
    ),
    "rollout held": lambda: announcements.rollout_told(
        "flights",
        version="4",
        champion="3",
        verdict="held",
        word=because("is_held"),
        reasons=["Ana holds it: freeze"],
        rollout=replace(ROLLOUT, held=True),
    ),
    "rollout lost": lambda: announcements.rollout_told(
        "flights",
        version="4",
        champion="3",
        verdict="lost",
        word=because("is_lost"),
        reasons=[because("rollout_informative")],
        rollout=ROLLOUT,
    ),
    "drifted, with its picture": lambda: drift("drifted", picture=b"drawn"),
    "silent": lambda: announcements.predictions_missing("flights", reasons=["2013-06"]),
    "ledger accepted": lambda: announcements.ledger_accepted(
        "flights", by="Ana", why="2013-06", faults=["decisions/flights/00000006.json is missing"]
    ),
    "tidied": lambda: announcements.tidied(
        "flights",
        removed={"runs": 412, "report_pages": 2013},
        announced={"predictions": 6},
        settings=["LAUREL_KEEP_PREDICTIONS_DAYS"],
    ),
    "tidied soon": lambda: announcements.tidied(
        "flights", removed={}, announced={"results": 3}, settings=["LAUREL_KEEP_RESULTS_DAYS"]
    ),
    "breaker closed": lambda: announcements.breaker_closed(
        "flights", by="Ana", why="2013-06", rejections=3
    ),
    "performance worse": lambda: announcements.performance_worse(
        "flights",
        window="2013-06",
        metric="roc_auc",
        value=0.71,
        holdout=(0.74, None),
        coverage=0.42,
        reasons=["2013-06"],
    ),
    "scores checked": lambda: announcements.scores_checked(
        "flights",
        version="7",
        verdict="drifted",
        window="2013-06",
        columns={"temp": 2.0},
        reasons=["1 of 3 columns"],
    ),
    "coverage off": lambda: announcements.coverage_off(
        "flights",
        window="2013-06",
        held=0.71,
        promised=0.9,
        windows=2,
        fewer=True,
        reasons=["2013-06"],
    ),
}


@pytest.mark.parametrize("kind", EVERY)
def test_every_message_names_its_use_case_first_and_is_accepted_by_slack(kind: str) -> None:
    message = EVERY[kind]()
    assert message is not None
    assert message.text.startswith("flights: ")
    assert "nan" not in message.text
    with SlackServer() as slack:
        assert (
            SlackNotifier(token=slack.token, channel="#ml", api_url=slack.url).send(message)
            is not None
        )
        assert len(slack.messages) == 1


def test_every_announcement_is_in_this_table() -> None:
    called = {
        name
        for make in (
            *EVERY.values(),
            finished,
            tuned,
            contest,
            drift,
            question_message,
            answer_message,
            served,
        )
        for name in make.__code__.co_names
    }
    assert {
        name
        for name in announcements.__all__
        if hasattr(getattr(announcements, name), "__wrapped__")
    } <= called


# Values of the table, and names that are written alike in both languages.
VALUES = {
    *(
        "v1",
        "flights",
        "logistic",
        "forest",
        "hgb",
        "temp",
        "dewp",
        "learning_rate",
        "max_iter",
        "retrain",
        "Ana",
        "x",
        "f3c",
    ),
    *re.findall(r"\w+", "best of 20 trials, 11 pruned"),
    *re.findall(
        r"\w+",
        "no labelled period is newer than the champion; no labelled period after; drifted; "
        "MLflow is away",
    ),
    *("ROC", "AUC", "HPO", "Prefect", "approve", "Resume", "rollback", "v3", "v4"),
    "rollout",
}


def words_of(message: Message) -> str:
    """Return all that people read of a message, except its details: those are recorded reasons,
    which stay untranslated."""
    texts = [
        text
        for button in message.buttons
        for text in (button.text, *(vars(button.confirm).values() if button.confirm else ()))
    ]
    steps = [(step.title, step.outcome) for step in message.steps]
    pictures = [(picture.title, picture.alt) for picture in message.pictures]
    return " ".join(
        str(part)
        for part in (
            message.headline,
            message.facts,
            list(message.links),
            message.otherwise,
            texts,
            steps,
            pictures,
        )
    )


@pytest.mark.parametrize("kind", EVERY)
def test_every_message_is_whole_in_both_languages(kind: str) -> None:
    english = EVERY[kind]()
    korean = english.in_language("ko")
    assert korean.headline.startswith("flights: ")
    assert re.search("[가-힣]", korean.headline)
    assert not re.search("[가-힣]", words_of(english.in_language("en")))
    english_words = set(re.findall(r"[A-Za-z][A-Za-z_0-9]*", words_of(korean))) - VALUES
    assert not english_words, f"{english_words} of {words_of(korean)}"
    assert len(korean.facts) == len(english.facts)
    assert (
        re.findall(r"[+-]?\d+\.\d+", words_of(korean)) != []
        or re.findall(r"[+-]?\d+\.\d+", words_of(english)) == []
    )
    shape = (
        [(button.action_id, button.value, button.style) for button in english.buttons],
        [(step.stage, step.status) for step in english.steps],
    )
    assert shape == (
        [(button.action_id, button.value, button.style) for button in korean.buttons],
        [(step.stage, step.status) for step in korean.steps],
    )
    assert (korean.broadcast, korean.closes, len(korean.pictures)) == (
        english.broadcast,
        english.closes,
        len(english.pictures),
    )
    with SlackServer() as slack:
        block = SlackNotifier(
            token=slack.token, channel="#ml", api_url=slack.url, language="ko", buttons=True
        )
        assert block.send(english) is not None
        assert slack.messages[0]["text"] == korean.text


def test_asking_has_both_buttons_for_the_run_that_waits() -> None:
    message = question_message()
    value = {"use_case": "flights", "run": "f00d"}
    assert [(button.action_id, button.value) for button in message.buttons] == [
        ("laurel.approve", value),
        ("laurel.reject", value),
    ]
    assert message.broadcast and "Prefect" in message.otherwise


def test_a_running_rollout_has_buttons_that_name_its_step_and_an_ended_one_has_none() -> None:
    value = {"use_case": "flights", "rollout": "4-abc", "stage": "1", "step": "2"}
    running, held = EVERY["rollout began"](), EVERY["rollout held"]()
    for message, stay in ((running, "hold"), (held, "resume")):
        assert [(button.action_id, button.value) for button in message.buttons] == [
            ("laurel.advance", value),
            (f"laurel.{stay}", value),
            ("laurel.revert", value),
        ]
        assert message.answers and "rollout/flights" in message.otherwise
    ended = EVERY["rollout lost"]()
    assert ended.answers and not (ended.buttons or ended.otherwise)


def test_only_a_champion_with_one_before_it_has_a_way_back() -> None:
    [button] = served().buttons
    assert (button.action_id, button.value) == (
        "laurel.rollback",
        {"use_case": "flights", "version": "3", "from": "5"},
    )
    assert button.confirm is not None and "version 3" in button.confirm.title
    assert served(None).buttons == () and served(None).otherwise == ""


def test_a_leak_that_a_person_judges_is_not_told_as_refused() -> None:
    message = contest("suspicious", asks=True)
    assert "a person must decide" in message.headline and "refused" not in message.headline
    assert [step.status for step in message.steps] == ["done"], "whether it is deployed is open"
    assert [step.status for step in contest("suspicious").steps] == ["done", "skipped"]


def test_training_started_says_windows_rows_and_data() -> None:
    text = EVERY["training started"]().text
    for fact in ("2013-01..2013-02", "2013-03", "51,955", "9f3c", "logistic"):
        assert fact in text


def test_missed_gate_announces_hpo_and_every_candidate_with_its_score() -> None:
    message = finished()
    assert message.headline == (
        "flights: forest scores ROC AUC 0.7419 on 2013-03: it misses the gate of 0.75, so "
        "HPO starts"
    )
    assert "logistic: ROC AUC 0.7123" in message.text


def test_missed_gate_without_a_search_space_promises_no_hpo() -> None:
    assert "HPO" not in finished(hpo=False).text
    assert "no challenger" in finished(hpo=False).text


def test_passed_gate_announces_no_hpo() -> None:
    message = finished(scores={"forest": 0.7801}, passed=True)
    assert message.headline.endswith("it passes the gate of 0.75")


def test_hpo_says_what_it_found_and_what_was_before() -> None:
    message = tuned()
    assert (
        message.headline
        == "flights: HPO found hgb with ROC AUC 0.7626 (was 0.7419); it passes the gate of 0.75"
    )
    assert "learning_rate: 0.06123" in message.text
    assert "best of 20 trials, 11 pruned" in message.text


def test_hpo_below_the_gate_says_that_nothing_is_registered() -> None:
    message = tuned(after=0.7450, passed=False)
    assert "still misses" in message.headline
    assert "No challenger is registered" in message.text


def test_won_contest_gives_both_scores_and_the_interval() -> None:
    message = contest("promote")
    assert (
        message.headline
        == "flights: challenger v4 beats champion v3 (ROC AUC: challenger 0.7782, champion 0.7640)"
    )
    assert "gain: +0.0142, interval +0.0087 – +0.0210, each bound at 95 %" in message.text
    assert "27,075 rows in 30 blocks" in message.text


@pytest.mark.parametrize(
    ("language", "interval"),
    [
        ("en", "+0.0142, interval +0.0087 – +0.0210, each bound at 95 %"),
        ("ko", "+0.0142, 신뢰구간 +0.0087 – +0.0210 (각 한계 95 %)"),
    ],
)
def test_an_interval_is_written_alike_in_all_messages(language: Any, interval: str) -> None:
    asked, won = question_message(), contest("promote", picture=b"drawn")
    assert interval in asked.in_language(language).text
    assert interval in won.in_language(language).text
    assert interval in won.in_language(language).pictures[0].alt
    worse = EVERY["performance worse"]().in_language(language)
    assert "0.7400 – " in worse.text and "[" not in worse.text + won.text


@pytest.mark.parametrize(
    ("language", "sentence"),
    [
        ("en", "Version 5 is the recipe of challenger v4, fitted again once it was chosen, with"),
        ("ko", "버전 5 모델은 v4 챌린저의 레시피를 선정 후 홀드아웃(2013-06)의 행까지 포함하여"),
    ],
)
def test_the_refit_is_explained_where_another_version_serves_than_won(
    language: Any, sentence: str
) -> None:
    explained = {"refit_of": "4", "holdout": "2013-06"}
    assert sentence in served(**explained).in_language(language).text
    adopted = announcements.adopted(
        "flights", version="5", champion_before="3", reason="Ana: a test", **explained
    )
    assert sentence in adopted.in_language(language).text
    assert sentence not in served().in_language(language).text


def test_lost_contest_gives_both_scores_and_the_reasons() -> None:
    message = contest(
        "keep",
        challenger=0.7651,
        gain=0.0011,
        low=-0.0020,
        reasons=["Not surely better.", "JFK gets worse."],
    )
    assert message.headline == (
        "flights: challenger v4 is not promoted; champion v3 keeps the crown (ROC AUC: "
        "challenger 0.7651, champion 0.7640)"
    )
    assert "- Not surely better.\n- JFK gets worse." in message.text
    assert "-0.0020 – " in message.text


def test_leak_is_told_as_a_refusal_and_not_as_a_win() -> None:
    message = contest("suspicious", challenger=0.9912, reasons=["too good to be true"])
    assert "leak" in message.headline
    assert "champion v3 keeps the crown" in message.headline
    assert "0.9912" in message.headline
    assert "beats" not in message.text


def test_refused_challenger_without_a_champion_invents_none() -> None:
    message = contest(
        "suspicious",
        champion_version=None,
        challenger=0.9912,
        champion=None,
        gain=None,
        low=None,
        high=None,
    )
    assert "there is still no champion (ROC AUC: challenger 0.9912)" in message.headline
    assert "champion v" not in message.text


def test_an_inconclusive_contest_says_which_gain_it_would_find() -> None:
    plain = decision("inconclusive")
    assert plain.contest is not None
    told = replace(plain, contest=replace(plain.contest, decidable=0.0712))
    message = announcements.contest_decided(told, metric="roc_auc")
    assert "would find a gain of: 0.0712\n" in message.text
    assert "would find" not in announcements.contest_decided(plain, metric="roc_auc").text


def test_score_that_does_not_exist_is_said_in_words() -> None:
    message = contest(
        "inconclusive", champion=None, challenger=None, gain=None, low=None, high=None
    )
    assert "(ROC AUC: challenger not known, champion not known)" in message.headline
    assert "gain: not known\n" in message.text
    assert (
        "gain: +0.0142, interval not known, each bound at 95 %\n"
        in contest("inconclusive", low=None, high=None).text
    )


def test_a_decision_without_a_contest_has_the_score_of_its_gate_and_what_to_do() -> None:
    message = contest(
        "unfair",
        contest=None,
        gate_score=0.7512,
        gate=0.75,
        facts={"rows": 27_075.0, "next": "Train it again."},
    )
    assert "challenger 0.7512, champion not known" in message.headline
    assert "27,075 rows" in message.text and "gate: 0.75" in message.text
    assert message.details == ["The gain is above zero.", "Train it again."]


@pytest.mark.parametrize("make", [contest, drift])
def test_unknown_verdict_is_refused_with_the_known_ones(make: Callable[[str], object]) -> None:
    with pytest.raises(ValueError, match="'fine'; known: .*inconclusive"):
        make("fine")


def test_stable_window_is_not_told() -> None:
    assert drift("stable", share=0.11, columns={}) is None


def test_drift_says_how_much_and_names_the_columns_in_the_order_of_the_verdict() -> None:
    message = drift("drifted")
    assert message is not None
    assert message.headline == (
        "flights: the data drifted in 2013-06, 37 % of what the model uses is beyond its "
        "threshold (limit 30 %)"
    )
    assert "temp 1.2×, dewp 2.3×" in message.text


def test_broken_window_says_why_and_that_nothing_is_retrained() -> None:
    text = EVERY["broken"]().text
    assert "nothing is retrained" in text
    assert "temp: 80 % null" in text


def test_each_drift_verdict_says_what_to_do_and_what_did_not_decide() -> None:
    def told(verdict: str, **changed: Any) -> str:
        message = drift(verdict, **changed)
        assert message is not None
        return message.text

    assert "repair the source" in told("broken")
    assert "A retrain starts by itself" in told("drifted")
    assert "No retrain starts by itself" in told("drifted", retrain=False)
    findings = {"said": ["nulls wind"], "unjudged": ["integrity"], "uncalibrated": ["within x"]}
    english = drift("stable", share=0.0, columns={}, tell_stable=True, findings=findings)
    assert english is not None and not english.broadcast
    for word in ("said", "nulls wind", "unjudged", "integrity", "uncalibrated"):
        assert word in english.text
    korean = english.in_language("ko").text
    for word in ("참고", "판정하지 않음", "보정되지 않음", "할 일"):
        assert word in korean


def test_failed_deployment_says_who_has_the_alias() -> None:
    again = EVERY["deployment failed"]().text
    assert "back at version 3" in again
    first = announcements.deployment_failed(
        "flights", version="1", reason="no answer", restored_version=None
    ).text
    assert "no earlier champion" in first


def test_failed_flow_gives_its_error_and_the_link_to_its_run() -> None:
    message = EVERY["flow failed"]()
    assert message is not None
    assert message.headline == "flights: flow retrain failed: MLflow is away"
    assert message.links[RUN_LINK] == "http://ui/r/1"


def test_failed_state_is_told_without_the_words_that_every_failed_run_has() -> None:
    message = announcements.flow_failed(
        "flights", flow="train", error="Flow run encountered an exception: LakeAway: no answer"
    )
    assert message.headline == "flights: flow train failed: LakeAway: no answer"


def test_links_are_in_the_text_and_marked_up_in_the_blocks() -> None:
    message = announcements.deployed(
        "flights",
        version="4",
        seconds=1.0,
        smoke_rows=16,
        links={"MLflow": "http://127.0.0.1/#/models"},
    )
    assert "MLflow: http://127.0.0.1/#/models" in message.text
    assert message.blocks[-1]["elements"][0]["text"] == "<http://127.0.0.1/#/models|MLflow>"


def test_silence_too_says_what_to_do() -> None:
    message = announcements.predictions_missing("flights", reasons=["none came"])
    assert message.details == ("none came", "To do: find out why no predictions reach the lake.")
