"""What needs a person, in a line of the fleet."""

from serving.words.template import Template

NEEDS = {
    "approve_over": Template(
        "Approve v{challenger} over v{champion}? Gain {gain:signed} ({low:signed} – {high:signed})",
        "v{champion} 대신 v{challenger}을(를) 승인할까요? 개선 폭 {gain:signed}({low:signed} – {high:signed})",
    ),
    "approve_unmeasured": Template(
        "Approve v{challenger} over v{champion}?",
        "v{champion} 대신 v{challenger}을(를) 승인할까요?",
    ),
    "approve_first": Template(
        "Approve v{challenger} as the first champion?",
        "v{challenger}을(를) 첫 챔피언으로 승인할까요?",
    ),
    "nothing_serves_here": Template("no version serves", "서비스 중인 버전이 없습니다"),
    "nothing_serves_since": Template(
        "no version serves: {message}", "서비스 중인 버전이 없습니다: {message}"
    ),
    "swap_failed": Template(
        "v{alias} cannot be loaded, v{version} still serves",
        "v{alias} 모델을 불러오지 못해 계속 v{version}(으)로 서비스합니다",
    ),
    "log_dropped": Template(
        "{rows:prediction was|predictions were} not kept",
        "예측 {rows:,}건이 로그에 남지 않았습니다",
    ),
    "tampered_at": Template(
        "the ledger was changed by hand, seen at entry {place}",
        "결정 원장이 변경되었습니다({place}번 기록에서 확인)",
    ),
    "last_retrain_failed": Template(
        "the last retrain failed, {time:time}", "최근 재학습이 실패했습니다({time:time})"
    ),
    "last_retrain_crashed": Template(
        "the last retrain crashed, {time:time}", "최근 재학습이 비정상 종료되었습니다({time:time})"
    ),
    "breaker": Template(
        "the breaker stops retrains since {time:time}",
        "{time:time}부터 차단기가 재학습을 막고 있습니다",
    ),
    "silent": Template(
        "no predictions have come, as of {time:time}", "새 예측이 없습니다({time:time} 점검)"
    ),
    "broken": Template(
        "data of {window} are broken: mend their source",
        "{window} 데이터가 손상되었습니다. 원천을 고치세요",
    ),
    "unreadable": Template(
        "the drift check of {window} is unreadable",
        "{window}의 드리프트 점검 결과를 읽을 수 없습니다",
    ),
    "drifted": Template(
        "{window} drifted ({share:.0%}, limit {limit:.0%}), and no retrain followed",
        "{window} 드리프트({share:.0%}, 한도 {limit:.0%}), 재학습이 시작되지 않았습니다",
    ),
    "worse": Template(
        "the champion is worse on {window} than on its hold-out",
        "{window}에 챔피언 점수가 홀드아웃보다 낮습니다",
    ),
}
