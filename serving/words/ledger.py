"""Reasons of the governor, of the crown and of those who answer."""

from serving.words.template import Template

LEDGER = {
    # why a retrain starts
    "asked_for": Template("asked for", "요청에 따름"),
    "asked_by": Template("{by} asked for it", "{by}의 요청"),
    "drift_in": Template("drift in {window}: {what}", "{window} 구간의 드리프트: {what}"),
    "data_drifted": Template("data", "데이터"),
    "performance_fell": Template("performance", "성능"),
    "data_and_performance": Template("data and performance", "데이터와 성능"),
    # why it does not
    "other_retrain_runs": Template(
        "another retrain of {use_case!r} is running: run {runs}. Wait for it to end, or cancel "
        "it: {ways}",
        "{use_case!r}의 다른 재학습이 실행 중입니다: {runs}. 끝날 때까지 기다리거나 취소하세요: {ways}",
    ),
    "cooldown": Template(
        "the last retrain started at {last:time}, and the next may start {hours:g} h after it, at "
        "{until:time}",
        "마지막 재학습이 {last:time}에 시작되었습니다. 다음 재학습은 {hours:g}시간 뒤인 {until:time}부터 가능합니다",
    ),
    "budget": Template(
        "{retrains} retrains started within 24 h, and {allowed} are allowed a day; the next may "
        "start at {until:time}",
        "24시간 동안 재학습이 {retrains}번 시작되었고 하루 한도는 {allowed}번입니다. 다음 재학습은 {until:time}부터 "
        "가능합니다",
    ),
    "approval_waits": Template(
        "challenger {challenger} waits for approval until {until:time}: run {run}",
        "v{challenger} 챌린저가 {until:time}까지 승인을 기다립니다: 실행 {run}",
    ),
    "breaker_open": Template(
        "the breaker is open: {rejections:and}. It closes at {until:time}, or by hand: laurel run "
        "close-breaker {use_case} --param by=<who> --param why=<why>",
        "차단기가 열려 있습니다: {rejections:and}. {until:time}에 닫히며, 직접 닫을 수도 있습니다: laurel run "
        "close-breaker {use_case} --param by=<who> --param why=<why>",
    ),
    "challengers_in_a_row": Template(
        "{number} challengers in a row were not promoted",
        "챌린저 {number}개가 연속으로 승격되지 않음",
    ),
    "runs_crashed": Template("{number:run|runs} crashed", "실행 {number}개가 비정상 종료됨"),
    "breaker_closed": Template("closed by {by}: {why}", "{by}: 차단기를 닫았습니다. {why}"),
    # runs that died
    "run_forgotten": Template(
        "Prefect no longer knows this run", "Prefect에 이 실행의 기록이 더 이상 없습니다"
    ),
    "run_silent": Template("it stopped silently", "아무 신호 없이 멈췄습니다"),
    # the crown
    "crowning_undone": Template(
        "the run that crowned version {version} ended before it was proven; the alias is back at "
        "{champion}",
        "버전 {version}을(를) 배포하던 실행이 검증 전에 끝나, 챔피언 별칭을 이전 상태로 되돌렸습니다: {champion}",
    ),
    "nobody": Template("nobody", "없음"),
    "alias_from_before": Template(
        "version {version} had MLflow's alias champion before the ledger crowned anybody",
        "결정 원장이 시작되기 전부터 MLflow의 챔피언 별칭이 버전 {version}에 있었습니다",
    ),
    "alias_deleted": Template(
        "MLflow's alias champion was deleted by hand; it is set again where the ledger put it",
        "누군가 MLflow의 챔피언 별칭을 지워, 결정 원장에 기록된 버전에 다시 설정했습니다",
    ),
    "crown_vacated": Template(
        "{by} left the crown vacant: {why}", "{by}: 챔피언을 비웠습니다. {why}"
    ),
    # answers
    "withdrawn": Template(
        "withdrawn: challenger {challenger} asks now",
        "철회됨: 이제 v{challenger} 챌린저의 승인을 요청합니다",
    ),
    "nobody_answered": Template(
        "nobody answered within {hours:g} hours", "{hours:g}시간 안에 응답이 없었습니다"
    ),
    "waiting_run_ended": Template(
        "nobody answered: the run that waited ended as {state}",
        "응답이 없었습니다: 기다리던 실행이 {state} 상태로 끝났습니다",
    ),
    "rejected": Template("{by} rejected it", "{by}: 거절했습니다"),
    "rejected_because": Template("{by} rejected it: {why}", "{by}: 거절했습니다. {why}"),
    "approved": Template("{by} approved it", "{by}: 승인했습니다"),
    "approved_because": Template("{by} approved it: {why}", "{by}: 승인했습니다. {why}"),
    "approved_too_late": Template(
        "{by} approved it, too late: it contested champion {contested}, and {holder} has the "
        "crown now",
        "{by}: 승인했지만 늦었습니다. 비교한 챔피언은 {contested}, 현재 챔피언은 {holder}입니다",
    ),
    "none": Template("none", "없음"),
    "version_named": Template("version {version}", "v{version}"),
    # a ledger as it stood
    "ledger_accepted": Template("accepted by {by}: {why}", "{by}: 있는 그대로 수용했습니다. {why}"),
    "and_more": Template("and {number} more", "그 밖에 {number}건"),
}
