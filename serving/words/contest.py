"""Reasons of a contest: what speaks for a challenger, against it, and what is doubted."""

from serving.words.template import Template

CONTEST = {
    # who
    "challenger_named": Template("challenger {version}", "챌린저 v{version}"),
    "champion_named": Template("champion {version}", "챔피언 v{version}"),
    "stand_in_named": Template(
        "champion {champion} before its refit, version {version},",
        "챔피언 v{champion}의 대리 버전 v{version}",
    ),
    # the gain
    "gain_shown": Template(
        "The gain in {metric}, {gain:signed}, is above zero at {percent:.4g}%: at least "
        "{low:signed}.",
        "{metric} 개선 폭 {gain:signed}: {percent:.4g}% 신뢰수준에서 0보다 큽니다(하한 {low:signed}).",
    ),
    "gain_not_shown": Template(
        "The gain in {metric}, {gain:signed}, is not reliably above zero: its lower bound is "
        "{low:signed}.",
        "{metric} 개선 폭 {gain:signed}: 0보다 크다고 확신할 수 없습니다(하한 {low:signed}).",
    ),
    "no_bound_for_days": Template(
        "{metric} has no bound: it rests on one day alone.",
        "{metric}의 신뢰구간을 구할 수 없습니다. 하루의 데이터에만 의존합니다.",
    ),
    "no_bound_for_classes": Template(
        "{metric} has no bound: a class is missing on all days but one.",
        "{metric}의 신뢰구간을 구할 수 없습니다. 하루를 제외한 모든 날에 없는 클래스가 있습니다.",
    ),
    "refits_differ": Template(
        "{refits} refits of the recipe differ by {error:number}, which is in the bound.",
        "같은 레시피를 {refits}번 다시 학습한 결과의 차이 {error:number}: 신뢰구간에 반영되어 있습니다.",
    ),
    "no_refits": Template(
        "Not in the interval: how much refits of the recipe differ (see Promotion.refits).",
        "다시 학습할 때 생기는 차이는 신뢰구간에 반영되지 않았습니다(Promotion.refits 참고).",
    ),
    "hangs_together": Template(
        "The gain hangs together from block to block with {correlation:.2f}, more than the "
        "{promised:g} for which the bound is promised: it may be too narrow.",
        "블록 사이 개선 폭의 상관은 {correlation:.2f}이며, 신뢰구간이 보장되는 {promised:g}보다 큽니다. "
        "신뢰구간이 실제보다 좁을 수 있습니다.",
    ),
    "first_try": Template(
        "This was the first try on these days: it spent {spent:.2g} of their {whole:.2g} % of "
        "error.",
        "이 날짜들에 대한 첫 시도입니다. 허용 오류 {whole:.2g} % 중 {spent:.2g}을(를) 썼습니다.",
    ),
    "later_try": Template(
        "This was try {number} on these days: it had {spent:.2g} of their {whole:.2g} % of error "
        "left. The gain had to be {errors:.1f} standard errors, in a first try {first:.1f}; days "
        "that no contest has seen start anew.",
        "이 날짜들에 대한 {number}번째 시도입니다. 허용 오류 {whole:.2g} % 중 {spent:.2g}만 남아 있었습니다. "
        "개선 폭은 표준오차의 {errors:.1f}배(첫 시도라면 {first:.1f}배)여야 했습니다. 비교 평가에 쓰이지 않은 날짜는 "
        "처음부터 다시 셉니다.",
    ),
    # too little to decide
    "too_few_rows": Template(
        "{rows} labelled rows in {blocks} blocks; the rule requires at least {rows_needed} rows in "
        "{blocks_needed} blocks.",
        "라벨이 있는 행 {rows}개, 블록 {blocks}개입니다. 규칙에 따르면 블록 {blocks_needed}개에 걸쳐 "
        "{rows_needed}행 이상이 필요합니다.",
    ),
    "too_few_positives": Template(
        "{positives} positive rows of {rows}; the rule requires at least {needed} of each class.",
        "{rows}행 중 ‘예’가 {positives}행입니다. 규칙에 따르면 클래스마다 {needed}행 이상이 필요합니다.",
    ),
    "too_few_of_a_class": Template(
        "{rarest} of a class of {rows}; the rule requires at least {needed} of each class.",
        "{rows}행 중 가장 드문 클래스가 {rarest}행입니다. 규칙에 따르면 클래스마다 {needed}행 이상이 필요합니다.",
    ),
    "decidable_unknown": Template(
        "Which gain in {metric} {rows:,} rows would decide cannot be told from them.",
        "{rows:,}행으로 판별할 수 있는 {metric} 개선 폭은 알 수 없습니다.",
    ),
    "decidable": Template(
        "{rows:,} rows find a gain in {metric} of about {gain:.2g} in 8 of 10 contests.",
        "{rows:,}행이면 비교 평가 10번 중 8번은 {metric} 개선 폭 약 {gain:.2g}을(를) 찾아냅니다.",
    ),
    "decidable_with_more": Template(
        "{rows:,} rows find a gain in {metric} of about {gain:.2g} in 8 of 10 contests; "
        "{wanted:.2g} takes about {needed:,}.",
        "{rows:,}행이면 비교 평가 10번 중 8번은 {metric} 개선 폭 약 {gain:.2g}을(를) 찾아냅니다. "
        "{wanted:.2g}을(를) 찾으려면 약 {needed:,}행이 필요합니다.",
    ),
    "no_champion_yet": Template(
        "no champion yet; {metric} {score:number} against the gate of {gate:g}",
        "아직 챔피언이 없습니다. {metric} {score:number}, 게이트 {gate:g}",
    ),
    "thin_evidence": Template(
        "the evidence is thin, so a crown is provisional: {why}",
        "근거가 부족하여 임시 챔피언으로만 승격할 수 있습니다: {why}",
    ),
    # guards and slices
    "guard_without_bound": Template(
        "{metric} has no bound, so it may get worse by more than {tolerance:g}.",
        "{metric}의 신뢰구간을 구할 수 없어, 허용 범위 {tolerance:g}보다 더 나빠질 수 있습니다.",
    ),
    "guard_worse": Template(
        "{metric} may get worse by {loss:number}, more than the tolerated {tolerance:g}.",
        "{metric}: 최대 {loss:number}만큼 나빠질 수 있으며, 허용 범위는 {tolerance:g}입니다.",
    ),
    "slice_worse": Template(
        "{slice} gets worse: {metric} {gain:signed}, at worst {low:signed}, tolerated "
        "{tolerated:.4g}.",
        "{slice} 부분이 나빠집니다: {metric} {gain:signed}, 최악의 경우 {low:signed}, 허용 {tolerated:.4g}.",
    ),
    "slice_perhaps_worse": Template(
        "{slice} may get worse: {metric} {gain:signed}, at worst {low:signed}, tolerated "
        "{tolerated:.4g}.",
        "{slice} 부분이 나빠질 수 있습니다: {metric} {gain:signed}, 최악의 경우 {low:signed}, 허용 "
        "{tolerated:.4g}.",
    ),
    "slice_uncompared": Template(
        "{slice} could not be compared: {metric} does not exist there.",
        "{slice} 부분은 비교할 수 없습니다. 이 부분에서는 {metric} 값을 구할 수 없습니다.",
    ),
    "slices_too_small": Template(
        "Not judged, with fewer than {minimum} rows: {slices}.",
        "{minimum}행보다 적어 평가하지 않은 부분: {slices}.",
    ),
    # doubts
    "too_good": Template(
        "{metric} {score:number} (gain {gain:signed}) is too good to be true: look for a leak.",
        "{metric} {score:number}(개선 폭 {gain:signed}): 지나치게 좋습니다. 데이터 누수를 확인하세요.",
    ),
    "first_too_good": Template(
        "{metric} {score:number} is too good to be true: look for a leak",
        "{metric} {score:number}: 지나치게 좋습니다. 데이터 누수를 확인하세요",
    ),
    "gain_too_good": Template(
        "The gain in {metric}, from {before:number} to {after:number}, is {share:.0%} of what the "
        "champion lacks; more than {most:.0%} is too good to be true: look for a leak.",
        "{metric} 개선({before:number} → {after:number})은 챔피언에게 부족한 부분의 {share:.0%}입니다. "
        "{most:.0%}보다 크면 지나치게 좋습니다. 데이터 누수를 확인하세요.",
    ),
    "column_tells": Template(
        "{column!r} alone has {metric} {score:number}, and the whole model {model:number}: look "
        "for a leak in that column.",
        "{column!r} 컬럼만으로 {metric} {score:number}, 전체 모델은 {model:number}입니다. 이 컬럼의 데이터 누수를 "
        "확인하세요.",
    ),
    "column_agrees": Template(
        "{column!r} alone agrees with the label in {agreement:.0%} of the rows, both classes "
        "weighing the same, and has {share:.0%} of the model's lift over chance: look for a leak "
        "in that column.",
        "{column!r} 컬럼만으로도 (두 클래스의 가중치를 같게 할 때) 행의 {agreement:.0%}에서 라벨과 일치하며, 모델이 "
        "무작위보다 나은 정도의 {share:.0%}를 설명합니다. 이 컬럼의 데이터 누수를 확인하세요.",
    ),
    "near_rows": Template(
        "{rows:,} of {of:,} rows of the hold-out ({share:.1%}) are nearly rows of the training "
        "data (within {distance:.2g} standard deviations); {usual:.1%} would be usual: look for "
        "copies.",
        "홀드아웃 {of:,}행 중 {rows:,}행({share:.1%})이 학습 데이터의 행과 거의 같습니다(표준편차의 "
        "{distance:.2g}배 이내). 보통은 {usual:.1%}입니다. 복사된 행이 있는지 확인하세요.",
    ),
    # behaviour and latency
    "behaviour_row": Template(
        "{test!r} fails: row {row} of the test scores {score:number} and must score {bounds}.",
        "동작 테스트 {test!r} 실패: 테스트의 {row}번째 행은 {score:number}이며, {bounds}여야 합니다.",
    ),
    "at_least": Template("at least {low:g}", "{low:g} 이상"),
    "at_most": Template("at most {high:g}", "{high:g} 이하"),
    "within": Template("{low:g} to {high:g}", "{low:g} – {high:g}"),
    "changed_by": Template("with {column} {add:+g}", "{column} {add:+g}"),
    "changed_to": Template("with {column} set to {values}", "{column} = {values}"),
    "behaviour_untried": Template(
        "{test!r} cannot be tried: no row of the hold-out changes {change}.",
        "동작 테스트 {test!r}을(를) 할 수 없습니다: 홀드아웃에 값이 바뀌는 행이 없습니다({change}).",
    ),
    "behaviour_fails": Template(
        "{test!r} fails {change}: {held} of {rows} rows pass and {share:.0%} must; the worst goes "
        "from {before:number} to {after:number} (tolerated {tolerance:g}): {row}.",
        "동작 테스트 {test!r} 실패({change}): {rows}행 중 {held}행이 통과했고 {share:.0%} 이상이어야 합니다. 가장 "
        "나쁜 행은 {before:number} → {after:number}(허용 {tolerance:g}): {row}.",
    ),
    "behaviour_fails_up": Template(
        "{test!r} fails {change}: the score moves up by {mean:number} on average and must move by "
        "{needed:g}.",
        "동작 테스트 {test!r} 실패({change}): 점수가 평균 {mean:number} 오르며, {needed:g} 이상 올라야 합니다.",
    ),
    "behaviour_fails_down": Template(
        "{test!r} fails {change}: the score moves down by {mean:number} on average and must move "
        "by {needed:g}.",
        "동작 테스트 {test!r} 실패({change}): 점수가 평균 {mean:number} 내리며, {needed:g} 이상 내려야 합니다.",
    ),
    "too_slow": Template(
        "It takes {challenger:.1f} ms for {rows:row|rows}, and the champion {champion:.1f} ms: "
        "more than {times:g} times as long.",
        "{rows:,}행에 {challenger:.1f} ms가 걸리며 챔피언은 {champion:.1f} ms입니다. {times:g}배보다 오래 "
        "걸립니다.",
    ),
    # who may not be judged
    "trained_on_holdout": Template(
        "{who} was trained on {period}, so it cannot be judged on it",
        "{who} 모델은 {period} 데이터로 학습되어 같은 데이터로 평가할 수 없습니다",
    ),
    "knows_the_future": Template(
        "{who} was trained through {last}, later than {first}: it knows the future of those rows",
        "{who} 모델은 {first}보다 나중인 {last}까지 학습되어 평가할 행의 미래를 알고 있습니다",
    ),
    "trained_on_rows": Template(
        "{who} was trained on {rows} rows of the hold-out ({corrected} of them corrected since), "
        "such as {example}",
        "{who} 모델은 홀드아웃의 {rows}행으로 학습되었습니다(그중 {corrected}행은 이후 수정됨). 예: {example}",
    ),
    "may_have_seen": Template(
        "{who} may have seen the hold-out: {why}",
        "{who} 모델이 홀드아웃을 이미 보았을 수 있습니다: {why}",
    ),
    "other_schema": Template(
        "{who} was made for another schema; it differs in {columns}. Make one: laurel run retrain "
        "{use_case}",
        "{who} 모델의 스키마가 다릅니다(다른 컬럼: {columns}). 다시 학습하세요: laurel run retrain {use_case}",
    ),
    "other_target": Template(
        "{who} was made for another target: {why}. Make one: laurel run retrain {use_case}",
        "{who} 모델의 타깃이 다릅니다: {why}. 다시 학습하세요: laurel run retrain {use_case}",
    ),
    "other_label": Template(
        "it predicts {label!r}, and the use case asks for {wanted!r}",
        "{label!r}을(를) 예측하지만 유스케이스는 {wanted!r}을(를) 요구합니다",
    ),
    "other_answers": Template(
        "it answers {answers} of {label!r}, and the use case asks for {wanted}",
        "{label!r}에 대해 {answers}(으)로 답하지만 유스케이스는 {wanted}을(를) 요구합니다",
    ),
    "cannot_be_scored": Template(
        "{who} cannot be scored: {why}", "{who} 모델의 점수를 계산할 수 없습니다: {why}"
    ),
    "columns_are_gone": Template(
        "the rows of {period}, the source and the older files of the lake do not have its "
        "columns: {columns}",
        "{period}의 행에도, 원천과 레이크의 이전 파일에도 이 모델의 컬럼이 없습니다: {columns}",
    ),
    "stood_in": Template(
        "The champion has learned {holdout} in its refit, so version {version} stood in for it: "
        "the same recipe, fitted on the rows before.",
        "챔피언이 다시 학습할 때 {holdout}을(를) 학습했으므로, 같은 레시피를 그 이전 행으로 학습한 대리 버전 "
        "{version}이(가) 비교되었습니다.",
    ),
}
