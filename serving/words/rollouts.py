"""Why a rollout begins, goes on and ends."""

from serving.words.template import Template

ROLLOUTS = {
    # stages and plan
    "stage_shadow": Template("a shadow, whose answers nobody gets", "섀도(답을 아무도 받지 않음)"),
    "stage_canary": Template(
        "a canary of {share:.3g} % of the callers", "카나리(호출자의 {share:.3g}%)"
    ),
    "stage_ab": Template("an A/B with {share:.3g} % of the callers", "A/B(호출자의 {share:.3g}%)"),
    "rollout_began": Template(
        "version {version} meets real traffic before it may take the crown: {stages:and}",
        "버전 {version}이(가) 챔피언이 되기 전에 실제 트래픽을 만납니다: {stages:and}",
    ),
    "rollout_asked_by": Template(
        "{by} asked for it, without a contest: {why}", "{by}: 비교 평가 없이 요청했습니다. {why}"
    ),
    "plan_finds": Template(
        "over {days} days, {blocks} blocks of 2 days, a gain of {gain:.2g} {metric} is found in "
        "eight of ten such rollouts",
        "{days}일(2일 블록 {blocks}개) 동안 이런 롤아웃의 80%는 {metric} 개선 폭 {gain:.2g}을(를) 찾아냅니다",
    ),
    "plan_takes": Template(
        "a gain of {gain:.2g} {metric} takes {days} days",
        "{metric} 개선 폭 {gain:.2g}을(를) 찾는 데 {days}일이 걸립니다",
    ),
    "plan_never": Template(
        "a gain of {gain:.2g} {metric} takes more than {days} days: the rollout will hardly find it",
        "{metric} 개선 폭 {gain:.2g}을(를) 찾는 데 {days}일이 넘게 걸려, 이 롤아웃으로는 찾기 어렵습니다",
    ),
    "plan_unknown": Template(
        "what it can find is not known: the contest has too few days to tell",
        "비교 평가의 일수가 적어, 찾아낼 수 있는 개선 폭을 알 수 없습니다",
    ),
    "plan_of_other_callers": Template(
        "an A/B compares other callers on each side, so it finds less than that",
        "A/B는 서로 다른 호출자를 비교하므로 이보다 덜 찾아냅니다",
    ),
    # it goes on
    "rollout_step_over": Template(
        "the challenger answered {requests:,} rows in {minutes:,.0f} minutes, and no guard reverted "
        "it",
        "챌린저가 {minutes:,.0f}분 동안 {requests:,}행에 답했고, 되돌릴 이유가 없었습니다",
    ),
    "rollout_goes_on": Template("next: {stage}", "다음 단계: {stage}"),
    "rollout_undecided": Template(
        "{blocks} blocks of 2 days are judged, and it is not decided: gain {gain:signed} {metric} "
        "({low:signed} – {high:signed})",
        "2일 블록 {blocks}개를 판정했고 아직 결정되지 않았습니다: {metric} 개선 폭 {gain:signed} "
        "({low:signed} – {high:signed})",
    ),
    # it ends
    "rollout_better": Template(
        "the challenger is better by {gain:signed} {metric} ({low:signed} – {high:signed}) on "
        "{blocks} blocks of 2 days",
        "2일 블록 {blocks}개에서 챌린저가 더 좋습니다: {metric} 개선 폭 {gain:signed} "
        "({low:signed} – {high:signed})",
    ),
    "rollout_not_worse": Template(
        "the challenger is not worse by more than {margin:.2g} {metric}: gain {gain:signed} "
        "({low:signed} – {high:signed}) on {blocks} blocks of 2 days",
        "챌린저가 {metric} {margin:.2g}보다 더 나쁘지 않습니다: 2일 블록 {blocks}개에서 개선 폭 {gain:signed} "
        "({low:signed} – {high:signed})",
    ),
    "rollout_worse": Template(
        "the challenger is worse: gain {gain:signed} {metric} ({low:signed} – {high:signed}) on "
        "{blocks} blocks of 2 days",
        "챌린저가 더 나쁩니다: 2일 블록 {blocks}개에서 {metric} 개선 폭 {gain:signed} "
        "({low:signed} – {high:signed})",
    ),
    "rollout_alike": Template(
        "no difference is found, or would be by the planned end: gain {gain:signed} {metric} "
        "({low:signed} – {high:signed}) on {blocks} blocks of 2 days",
        "차이가 없거나 계획된 끝까지도 찾기 어렵습니다: 2일 블록 {blocks}개에서 {metric} 개선 폭 {gain:signed} "
        "({low:signed} – {high:signed})",
    ),
    "rollout_informative": Template(
        "labelled rows differ from those without a label, so a verdict on them would not be one on "
        "all: label a random sample, or raise label_days; if those rows have no outcome, say so: "
        'missing_label="none"',
        "라벨이 있는 행과 없는 행이 서로 달라, 라벨이 있는 행만으로는 판정할 수 없습니다: 무작위 표본에 라벨을 "
        '붙이거나 label_days를 늘리세요. 결과 자체가 없는 행이라면 missing_label="none"으로 쓰세요',
    ),
    "rollout_shifted": Template(
        "the challenger's answers are {size:+.2g} standard deviations (± {error:.1g}) further from "
        "the champion's than in the contest; largest_shift allows {largest:g}",
        "챌린저와 챔피언의 응답 차이가 비교 평가 때보다 {size:+.2g} 표준편차(± {error:.1g}) 벌어졌습니다. "
        "largest_shift의 허용치는 {largest:g}입니다",
    ),
    "rollout_ratio_off": Template(
        "{seen:.3g} % of {callers:,} callers came on the challenger's side instead of {planned:.3g} %: "
        "the log lacks answers of one side, so that the sides cannot be compared",
        "호출자 {callers:,}명 중 {planned:.3g} %가 아니라 {seen:.3g} %가 챌린저 쪽에 있습니다. 한쪽의 응답이 로그에 빠져 있어 두 "
        "쪽을 비교할 수 없습니다",
    ),
    "rollout_too_few_labels": Template(
        "{days} days brought {blocks} blocks of 30 labelled rows or more, and {wanted} are needed",
        "{days}일 동안 라벨이 30행 이상인 블록이 {blocks}개였고, {wanted}개가 필요합니다",
    ),
    "rollout_too_few_requests": Template(
        "the challenger answered {requests:,} rows in {days:.3g} days, and {wanted:,} are needed",
        "{days:.3g}일 동안 챌린저가 {requests:,}행에 답했고, {wanted:,}행이 필요합니다",
    ),
    "rollout_reverted_by_service": Template(
        "the service reverted it: version {version} {why}",
        "서비스가 버전 {version}을(를) 되돌렸습니다: {why}",
    ),
    "rollout_reverted_somehow": Template(
        "it left no readable reason in the lake", "레이크에 읽을 수 있는 이유를 남기지 않았습니다"
    ),
    "rollout_alias_gone": Template(
        "MLflow's alias rollout was removed or moved by hand",
        "누군가 MLflow의 rollout 별칭을 지우거나 옮겼습니다",
    ),
    "rollout_other_champion": Template(
        "version {champion} is champion now, and the rollout compared with version {before}",
        "지금 챔피언은 버전 {champion}이고, 롤아웃은 버전 {before}과(와) 비교했습니다",
    ),
    "rollout_is_champion": Template(
        "version {version} is champion already", "버전 {version}은(는) 이미 챔피언입니다"
    ),
    "rollout_not_served": Template(
        "it won and did not get into service: {why}", "이겼지만 서비스를 시작하지 못했습니다: {why}"
    ),
    "rollout_ended_by_flow": Template(
        "{flow} gives the crown to another version", "{flow} 실행이 다른 버전을 챔피언으로 만듭니다"
    ),
    "rollout_under_way": Template(
        "version {version} meets real traffic; wait for the end of its rollout, or end it: laurel "
        "run rollout {use_case} --param do=revert --param by=<who> --param why=<why>",
        "버전 {version}의 롤아웃이 진행 중입니다. 끝날 때까지 기다리거나 끝내세요: laurel run rollout {use_case} "
        "--param do=revert --param by=<who> --param why=<why>",
    ),
    # a person
    "rollout_reverted_by": Template("{by} reverted it: {why}", "{by}: 되돌렸습니다. {why}"),
    "rollout_advanced_by": Template(
        "{by} let it go on: {why}", "{by}: 다음 단계로 넘겼습니다. {why}"
    ),
    "rollout_held_by": Template("{by} holds it: {why}", "{by}: 이 단계에 멈췄습니다. {why}"),
    "rollout_resumed_by": Template("{by} resumed it: {why}", "{by}: 다시 진행합니다. {why}"),
    # how a run ended
    "rollout_none": Template(
        "No rollout of {use_case} is running.", "진행 중인 {use_case} 롤아웃이 없습니다."
    ),
    "rollout_overtaken": Template(
        "The ledger of {use_case} has grown since this look: the next one decides.",
        "살펴보는 동안 {use_case}의 결정 원장에 새 기록이 생겼습니다. 다음 실행이 결정합니다.",
    ),
    "rollout_waits": Template(
        "Version {version} of {use_case} stays at {stage}: {why}",
        "{use_case} 버전 {version} 유지, 단계: {stage}. {why}",
    ),
    "rollout_waits_for_labels": Template(
        "{blocks} blocks of 2 days are judged, and no further day is older than {days} days",
        "2일 블록 {blocks}개를 판정했고, {days}일이 지난 새 날짜가 아직 없습니다",
    ),
    "rollout_waits_for_requests": Template(
        "{requests:,} of {wanted:,} rows, {minutes:,.0f} of {least:,.0f} minutes",
        "{wanted:,}행 중 {requests:,}행, {least:,.0f}분 중 {minutes:,.0f}분",
    ),
    "rollout_clock_was_ahead": Template(
        "it is recorded to be there since {since}, which is yet to come: a clock was ahead, and the "
        "stage begins again now",
        "이 단계의 시작이 {since}로 기록되어 있지만 아직 오지 않은 시각입니다. 시계가 앞서 있었으므로 지금부터 다시 "
        "시작합니다",
    ),
    "rollout_is_held": Template("a person holds it there", "사람이 멈춰 둔 상태입니다"),
    "rollout_was": Template(
        "Version {version} of {use_case}, {verdict}: {reasons:sentences}",
        "{use_case} 버전 {version}, {verdict}: {reasons:sentences}",
    ),
    "is_began": Template("rollout began", "롤아웃 시작"),
    "is_judged": Template("judged", "판정함"),
    "is_stepped": Template("next step", "다음 단계"),
    "is_held": Template("held", "멈춤"),
    "is_resumed": Template("resumed", "재개"),
    "is_won": Template("won", "승리"),
    "is_lost": Template("lost", "패배"),
    "is_no_difference": Template("no difference", "차이 없음"),
    "is_not_enough_traffic": Template("not enough traffic", "트래픽 부족"),
    "is_rollout_inconclusive": Template("inconclusive", "판정 불가"),
    "is_reverted": Template("reverted", "되돌림"),
    "rollout_instead_of_crown": Template(
        "{began} Challenger {challenger}: {contest}", "{began} v{challenger} 챌린저: {contest}"
    ),
}
