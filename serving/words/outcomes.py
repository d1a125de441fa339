"""How a run ended, and what a person can do about it."""

from serving.words.template import Template

OUTCOMES = {
    # how a contest ended
    "not_crowned": Template(
        "Challenger {challenger}: {contest} {next}", "v{challenger} 챌린저: {contest} {next}"
    ),
    "not_crowned_so_far": Template(
        "Challenger {challenger}: {contest}", "v{challenger} 챌린저: {contest}"
    ),
    "waits_for_answer": Template(
        "Challenger {challenger} waits for an answer in run {run}. {contest}",
        "v{challenger} 챌린저가 실행 {run}에서 응답을 기다립니다. {contest}",
    ),
    "crowned_after": Template(
        "Version {version} is champion of {use_case} after version {champion}, in service "
        "{seconds:.1f} s after it was crowned. Challenger {challenger}: {contest}",
        "버전 {version}이(가) 버전 {champion}에 이어 {use_case}의 챔피언이 되었고, {seconds:.1f}초 만에 서비스를 "
        "시작했습니다. v{challenger} 챌린저: {contest}",
    ),
    "crowned_first": Template(
        "Version {version} is the first champion of {use_case}, in service {seconds:.1f} s after "
        "it was crowned. Challenger {challenger}: {contest}",
        "버전 {version}이(가) {use_case}의 첫 챔피언이 되었고, {seconds:.1f}초 만에 서비스를 시작했습니다. "
        "v{challenger} 챌린저: {contest}",
    ),
    "answer_refused": Template(
        "Challenger {challenger} is {verdict}, and champion {champion} stays: {why}. The contest "
        "was {contest}",
        "v{challenger} 챌린저 {verdict}, v{champion} 챔피언 유지: {why}. 비교 평가 결과: {contest}",
    ),
    "answer_refused_first": Template(
        "Challenger {challenger} is {verdict}, and there is still no champion: {why}. The contest "
        "was {contest}",
        "v{challenger} 챌린저 {verdict}, 챔피언은 아직 없음: {why}. 비교 평가 결과: {contest}",
    ),
    "is_approved": Template("approved", "승인됨"),
    "is_rejected": Template("rejected", "거절됨"),
    "is_expired": Template("expired", "기한 만료"),
    "contest_was": Template(
        "{verdict}: {scores}, {gate}, {ground}. {reasons:sentences}",
        "{verdict}: {scores}, {gate}, {ground}. {reasons:sentences}",
    ),
    "is_promote": Template("promote", "승격"),
    "is_keep": Template("keep", "유지"),
    "is_suspicious": Template("suspicious", "데이터 누수 의심"),
    "is_unfair": Template("unfair", "불공정"),
    "is_inconclusive": Template("inconclusive", "데이터 부족"),
    "scored_without_champion": Template(
        "{metric} {score:number} (there is no champion)", "{metric} {score:number}(챔피언 없음)"
    ),
    "scored_alone": Template(
        "{metric} {score:number} (champion {champion} was not scored)",
        "{metric} {score:number}(챔피언 v{champion}은(는) 평가되지 않음)",
    ),
    "scored_against": Template(
        "{metric} {score:number} against {other:number} of champion {champion} (gain "
        "{gain:signed}, at least {low:signed})",
        "{metric} {score:number}, 챔피언 v{champion} {other:number}(개선 폭 {gain:signed}, 하한 "
        "{low:signed})",
    ),
    "gate_passed": Template(
        "gate {gate:g} passed ({better} is better)", "게이트 {gate:g} 통과({better} 좋음)"
    ),
    "gate_missed": Template(
        "gate {gate:g} missed ({better} is better)", "게이트 {gate:g} 미달({better} 좋음)"
    ),
    "higher": Template("higher", "높을수록"),
    "lower": Template("lower", "낮을수록"),
    "on_holdout": Template("on {holdout}", "홀드아웃 {holdout}"),
    "on_rows": Template("on {rows:row|rows} of {holdout}", "홀드아웃 {holdout}의 {rows:,}행"),
    "on_rows_in_blocks": Template(
        "on {rows:row|rows} of {holdout} in {blocks} blocks",
        "홀드아웃 {holdout}의 {rows:,}행, 블록 {blocks}개",
    ),
    # below the gate
    "below_the_gate": Template(
        "{candidate} scores {metric} {score:number} on {rows:row|rows} of {holdout}, {gate}, "
        "{search}: no challenger is registered, and the champion, if any, keeps serving. Give it "
        "more rows, better columns or candidates, or set another gate in usecases/{use_case}.py.",
        "홀드아웃 {holdout}의 {rows:,}행에서 {candidate} 모델의 {metric} 값은 {score:number}, {gate}, {search}: "
        "챌린저를 등록하지 않으며, 챔피언이 있으면 계속 서비스합니다. 데이터를 늘리거나 컬럼과 후보 모델을 개선하거나 "
        "usecases/{use_case}.py에서 게이트를 조정하세요.",
    ),
    "after_search": Template("also after HPO", "HPO 후에도 동일"),
    "without_search": Template(
        "and no candidate has a search space", "탐색 공간이 정의된 후보 없음"
    ),
    # nothing to do
    "nothing_new": Template("{learned} {next}", "{learned} {next}"),
    "has_learned_all": Template(
        "Champion {champion} of {use_case!r} has learned {through}; the latest labelled period is "
        "{latest}.",
        "{use_case!r}의 챔피언 v{champion}은(는) {through}까지 학습했고, 라벨이 있는 최신 기간은 {latest}입니다.",
    ),
    "has_learned_most": Template(
        "Champion {champion} of {use_case!r} has learned {through}; a hold-out needs {needed} "
        "later periods with labels, and there is only {newer}.",
        "{use_case!r}의 챔피언 v{champion}은(는) {through}까지 학습했습니다. 홀드아웃에는 라벨이 있는 이후 기간 "
        "{needed}개가 필요하지만 {newer}만 있습니다.",
    ),
    "ingest_later": Template(
        "Ingest a later one, with its labels. A changed definition (columns, recipes, search) "
        "contests without: laurel run train {use_case}; --param again=true if the change is "
        "elsewhere.",
        "라벨이 있는 이후 기간을 수집하세요. 정의(컬럼, 레시피, 탐색)를 바꾸면 새 기간 없이도 비교 평가합니다: laurel "
        "run train {use_case}. 다른 곳을 바꿨다면 --param again=true를 붙이세요.",
    ),
    "ingest_later_no_stand_in": Template(
        "Ingest a later one, with its labels: the version that the champion was refitted from is "
        "gone, or has learned {holdout} too.",
        "라벨이 있는 이후 기간을 수집하세요. 챔피언의 대리 버전이 없거나, 그 버전도 {holdout}을(를) "
        "학습했습니다.",
    ),
    "ingest_later_contested": Template(
        "This definition has contested on {holdout} already: {verdict}, challenger {challenger}. "
        "Ingest a later period, with its labels.",
        "이 정의는 {holdout}에서 이미 비교 평가했습니다: {verdict}, 챌린저 v{challenger}. 라벨이 있는 이후 기간을 "
        "수집하세요.",
    ),
    # what to do
    "next_retrain_tries": Template(
        "Nothing is broken: the next retrain tries again.",
        "문제가 있는 것은 아닙니다. 다음 재학습에서 다시 시도합니다.",
    ),
    "nothing_serves": Template(
        "No version serves yet: fix what is named, and start again: laurel run retrain {use_case}.",
        "아직 서비스 중인 버전이 없습니다. 위 문제를 고친 뒤 다시 시작하세요: laurel run retrain {use_case}.",
    ),
    "look_for_leak": Template(
        "Look for a column that was written after the label was known. If there is none, crown it "
        "by hand: {adopt}",
        "라벨이 정해진 뒤에 기록된 컬럼이 있는지 확인하세요. 없다면 직접 승격할 수 있습니다: {adopt}",
    ),
    "wait_for_rows": Template(
        "Wait for more labelled rows, or set Promotion.minimum_rows in usecases/{use_case}.py, or "
        "crown it: {adopt}",
        "라벨이 있는 행이 더 쌓일 때까지 기다리거나, usecases/{use_case}.py의 Promotion.minimum_rows를 조정하거나, "
        "직접 승격하세요: {adopt}",
    ),
    "train_before_holdout": Template(
        "Train on rows from before the hold-out: laurel run retrain {use_case}.",
        "홀드아웃 이전의 행으로 학습하세요: laurel run retrain {use_case}.",
    ),
    "keep_old_columns": Template(
        "Let the source keep the old columns until the next crowning (docs/renaming.md), or crown "
        "without a contest: {adopt}",
        "다음 승격 때까지 원천에 이전 컬럼을 남겨 두거나(docs/renaming.md), 비교 평가 없이 승격하세요: {adopt}",
    ),
    "person_decides": Template(
        "A person must decide: see the approve run.",
        "사람이 결정해야 합니다. approve 실행을 확인하세요.",
    ),
}
