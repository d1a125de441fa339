"""Reasons of a drift check, of the data of a window, and of a champion's performance on it."""

from serving.words.template import Template

DRIFT = {
    # not enough to judge
    "too_few_predictions": Template(
        "{rows} predictions in the window, at least {needed} are needed",
        "구간의 예측이 {rows}건입니다. {needed}건 이상 필요합니다",
    ),
    "too_few_days": Template(
        "{days:day|days} in the window, at least {needed} are needed: days differ more than "
        "windows do",
        "구간에 {days}일이 있습니다. {needed}일 이상 필요합니다. 하루하루의 차이가 구간 사이의 차이보다 크기 때문입니다",
    ),
    "no_distance": Template("no distance for {columns}", "거리를 알 수 없는 컬럼: {columns}"),
    "no_distance_at_all": Template(
        "no distance for any column that the model uses",
        "모델이 쓰는 어떤 컬럼의 거리도 알 수 없습니다",
    ),
    "no_predictions": Template("there are no predictions", "예측이 없습니다"),
    "log_empty": Template(
        "the prediction log of {use_case!r} is empty: nothing was predicted, or it has not been "
        "uploaded yet",
        "{use_case!r}의 예측 로그가 비어 있습니다. 예측이 없었거나 아직 업로드되지 않았습니다",
    ),
    "log_lacks_window": Template(
        "the prediction log of {use_case!r} has no predictions of {window}; it has {windows}",
        "{use_case!r}의 예측 로그에 {window} 구간의 예측이 없습니다. 로그에 있는 구간: {windows}",
    ),
    "from_to": Template("{first} to {last}", "{first} – {last}"),
    "log_silent": Template(
        "no prediction of {use_case!r} has reached the lake for {hours:g} hours; the last came on "
        "{last:time}",
        "{use_case!r}의 예측이 {hours:g}시간 동안 레이크에 도착하지 않았습니다. 마지막 예측은 {last:time}에 도착했습니다",
    ),
    # the verdict
    "share_by_weight": Template(
        "{drifted} of {columns} columns, {share:.0%} of the weight, are beyond their threshold; "
        "the limit is {limit:.0%}",
        "컬럼 {columns}개 중 {drifted}개가 임계값을 넘었습니다(가중치 합 {share:.0%}, 한도 {limit:.0%})",
    ),
    "share_alike": Template(
        "{drifted} of {columns} columns, {share:.0%} counted alike, since the package does not say "
        "what the model uses, are beyond their threshold; the limit is {limit:.0%}",
        "컬럼 {columns}개 중 {drifted}개가 임계값을 넘었습니다(비율 {share:.0%}, 한도 {limit:.0%}). 패키지에 컬럼의 "
        "중요도가 없어 같은 가중치로 셌습니다",
    ),
    "driver": Template(
        "{column}: distance {distance:.3g}, threshold {threshold:.3g}, weight {weight:.1%}",
        "{column}: 거리 {distance:.3g}, 임계값 {threshold:.3g}, 가중치 {weight:.1%}",
    ),
    "windows_beyond": Template(
        "{times} of the last {windows} windows are beyond the limit; drift is declared at {needed}",
        "최근 구간 {windows}개 중 {times}개가 한도를 넘었습니다. {needed}개부터 드리프트로 판정합니다",
    ),
    "thresholds_uncalibrated": Template(
        "uncalibrated: the champion was trained on too few windows for thresholds that decide",
        "보정되지 않음: 챔피언을 학습한 구간이 적어 임계값으로 판정할 수 없습니다",
    ),
    # broken data
    "column_missing": Template("column {column!r} is missing", "{column!r} 컬럼이 없습니다"),
    "column_of_type": Template(
        "column {column!r} arrives as {dtype}, but it is of kind {kind}",
        "{column!r} 컬럼의 자료형이 {dtype}입니다. 정의된 종류는 {kind}입니다",
    ),
    "column_empty": Template(
        "column {column!r} has no value at all", "{column!r} 컬럼에 값이 하나도 없습니다"
    ),
    "column_constant": Template(
        "column {column!r} is constant ({value})", "{column!r} 컬럼의 값이 모두 같습니다({value})"
    ),
    "column_null": Template(
        "column {column!r} is {nulls:.1%} null, tolerated {tolerated:.1%}",
        "{column!r} 컬럼의 결측 비율이 {nulls:.1%}입니다(허용 {tolerated:.1%})",
    ),
    "column_median": Template(
        "column {column!r} has median {median:g}, healthy batches {low:g} to {high:g}: did its "
        "unit change?",
        "{column!r} 컬럼의 중앙값이 {median:g}입니다. 정상 범위는 {low:g} – {high:g}입니다. 단위가 바뀌었는지 확인하세요",
    ),
    "column_strangers": Template(
        "column {column!r} has categories that the reference lacks in {share:.1%} of the rows",
        "{column!r} 컬럼에 기준 데이터에 없는 범주가 행의 {share:.1%}에 있습니다",
    ),
    "column_unit": Template(
        "column {column!r} is {times:.3g} times what it was, small and large values alike: did its "
        "unit change?",
        "{column!r} 컬럼의 값이 크기와 상관없이 이전의 {times:.3g}배입니다. 단위가 바뀌었는지 확인하세요",
    ),
    "column_missing_in_predictions": Template(
        "column {column!r} is missing in {nulls:.1%} of the predictions",
        "{column!r} 컬럼이 예측의 {nulls:.1%}에 없습니다",
    ),
    "column_of_type_in_files": Template(
        "column {column!r} has type {found} instead of {expected} in {files} of {of} files, such "
        "as {example}",
        "파일 {of}개 중 {files}개에서 {column!r} 컬럼의 종류가 {expected} 대신 {found}입니다. 예: {example}",
    ),
    # impossible values
    "column_infinite": Template(
        "column {column!r} is infinite in {share} of the rows, such as {example}",
        "{column!r} 컬럼의 값이 행의 {share}에서 무한대입니다. 예: {example}",
    ),
    "column_below": Template(
        "column {column!r} is infinite or below {low:g} in {share} of the rows, such as {example}",
        "{column!r} 컬럼의 값이 행의 {share}에서 무한대이거나 {low:g}보다 작습니다. 예: {example}",
    ),
    "column_above": Template(
        "column {column!r} is infinite or above {high:g} in {share} of the rows, such as {example}",
        "{column!r} 컬럼의 값이 행의 {share}에서 무한대이거나 {high:g}보다 큽니다. 예: {example}",
    ),
    "column_outside": Template(
        "column {column!r} is outside of {low:g} to {high:g} in {share} of the rows, such as "
        "{example}",
        "{column!r} 컬럼의 값이 행의 {share}에서 범위({low:g} – {high:g})를 벗어납니다. 예: {example}",
    ),
    "column_no_category": Template(
        "column {column!r} is outside of {categories} in {share} of the rows, such as {example}",
        "{column!r} 컬럼의 값이 행의 {share}에서 정의된 범주({categories})가 아닙니다. 예: {example}",
    ),
    "column_spelled": Template(
        "column {column!r} spells known categories otherwise in {share} of the rows, such as "
        "{example!r} for {known!r}",
        "{column!r} 컬럼에 알려진 범주의 다른 표기가 행의 {share}에 있습니다. 예: {known!r} 대신 {example!r}",
    ),
    "column_spike": Template(
        "column {column!r} is {value:g} in {share:.1%} of the rows, far more often than in any "
        "training window",
        "{column!r} 컬럼의 값이 행의 {share:.1%}에서 {value:g}입니다. 어떤 학습 구간보다도 훨씬 잦습니다",
    ),
    "column_spike_missing": Template(
        "column {column!r} is {value:g} in {share:.1%} of the rows, far more often than in any "
        "training window: does the value stand for a missing one?",
        "{column!r} 컬럼의 값이 행의 {share:.1%}에서 {value:g}입니다. 어떤 학습 구간보다도 훨씬 잦습니다. 결측값을 "
        "나타내는 값인지 확인하세요",
    ),
    # beside the profile
    "on_few_periods": Template(
        "on only {blocks} training periods: {what}", "학습 기간 {blocks}개만으로 볼 때: {what}"
    ),
    "uncalibrated_on": Template(
        "uncalibrated, on {blocks:training period|training periods}: {what}",
        "보정되지 않음(학습 기간 {blocks}개): {what}",
    ),
    "relation_broken": Template(
        "column {column!r} follows from the other columns {times:.1f} times worse than in training "
        "(limit {limit:.1f} times): does it hold other rows' values, or another unit in some?",
        "{column!r} 컬럼과 다른 컬럼의 관계가 학습 때보다 {times:.1f}배 나쁩니다(한도 {limit:.1f}배). 다른 행의 값이 "
        "섞였거나 일부의 단위가 다른지 확인하세요",
    ),
    "relation_drifted": Template(
        "column {column!r} follows from the other columns {times:.1f} times worse than in training "
        "(limit {limit:.1f} times), within days as ever",
        "{column!r} 컬럼과 다른 컬럼의 관계가 학습 때보다 {times:.1f}배 나쁩니다(한도 {limit:.1f}배). 하루 안에서는 "
        "그대로입니다",
    ),
    "relations_unjudged": Template(
        "unjudged: relations between columns, since the window lacks some of them",
        "판정하지 않음: 구간에 없는 컬럼이 있어 컬럼 사이의 관계를 볼 수 없습니다",
    ),
    "relations_by_day": Template(
        "day by day, relations of columns moved so far by {date} as in a year of ordinary days "
        "hardly once",
        "컬럼 사이의 관계가 날마다 조금씩 달라져 {date}에는 평소라면 일 년에 한 번 보기 어려울 만큼 벗어났습니다",
    ),
    "categories_by_day": Template(
        "day by day, categories moved so far by {date} as in a year of ordinary days hardly once",
        "범주가 날마다 조금씩 달라져 {date}에는 평소라면 일 년에 한 번 보기 어려울 만큼 벗어났습니다",
    ),
    "categories_lost": Template(
        "categories {categories} of column {column!r} vanished: they had {mass:.1%} of the rows",
        "{column!r} 컬럼에서 범주 {categories}이(가) 사라졌습니다. 이전에는 행의 {mass:.1%}였습니다",
    ),
    "categories_new": Template(
        "categories {categories} of column {column!r} are new: they have {mass:.1%} of the rows",
        "{column!r} 컬럼에 새 범주 {categories}이(가) 행의 {mass:.1%}에 있습니다",
    ),
    "and_others": Template("{shown} and others", "{shown} 등"),
    "nulls_moved": Template(
        "column {column!r} is {share:.1%} null, {before:.1%} in training",
        "{column!r} 컬럼의 결측 비율이 {share:.1%}입니다(학습 때 {before:.1%})",
    ),
    "rows_repeat": Template(
        "{share:.1%} of the rows repeat another one", "행의 {share:.1%}가 다른 행과 같습니다"
    ),
    "volume_moved": Template(
        "a day has {times:.2g} times the rows of training",
        "하루의 행 수가 학습 때의 {times:.2g}배입니다",
    ),
    "volume_of_day": Template(
        "{date} has {times:.2g} times the rows of its days",
        "{date}의 행 수가 같은 요일의 {times:.2g}배입니다",
    ),
    "days_missing": Template("no predictions on {days}", "예측이 없는 날: {days}"),
    "no_profile": Template(
        "unjudged: relations, categories and volume, since the package has no profile of them",
        "판정하지 않음: 패키지에 프로필이 없어 관계, 범주, 행 수를 볼 수 없습니다",
    ),
    "profile_of_other_windows": Template(
        "unjudged: relations, categories and volume, since the champion knows them of a {known}: "
        "retrain to calibrate it anew",
        "판정하지 않음: 챔피언의 프로필이 다른 길이({known})의 구간에 대한 것이라 관계, 범주, 행 수를 볼 수 없습니다. "
        "다시 학습하면 새로 보정됩니다",
    ),
    "profile_by_day": Template(
        "unjudged: relations, categories and volume, since they are known by day, and {window} is "
        "not made of days",
        "판정하지 않음: 관계, 범주, 행 수는 날짜별로만 알 수 있으며, 구간({window})이 하루보다 짧습니다",
    ),
    # the answers
    "answers_differ": Template(
        "column {column!r}: {share:.1%} of {rows:,} logged answers are not what version {version} "
        "answers to the logged inputs",
        "{column!r} 컬럼: 로그의 응답 {rows:,}건 중 {share:.1%}가 버전 {version}이(가) 같은 입력에 내는 응답과 다릅니다",
    ),
    "answers_unscored": Template(
        "unjudged: the answers cannot be scored anew, the log lacks {columns}",
        "판정하지 않음: 로그에 {columns} 컬럼이 없어 응답을 다시 계산할 수 없습니다",
    ),
    "answers_few": Template(
        "unjudged: the answers cannot be scored anew, only {rows} rows of the sample were answered "
        "by version {version}",
        "판정하지 않음: 표본 중 버전 {version}이(가) 응답한 행이 {rows}개뿐이라 응답을 다시 계산할 수 없습니다",
    ),
    # performance
    "no_own_predictions": Template(
        "this champion has no predictions here", "이 챔피언의 예측이 없습니다"
    ),
    "no_labels": Template(
        "no label has arrived for {rows:,} predictions",
        "예측 {rows:,}건의 라벨이 아직 하나도 없습니다",
    ),
    "labels_cover": Template(
        "labels for {share:.0%} of {rows:,} predictions, {needed:.0%} are required",
        "예측 {rows:,}건 중 라벨이 도착한 비율은 {share:.0%}입니다. {needed:.0%}가 필요합니다",
    ),
    "labels_few": Template(
        "{labels} labels, {needed} are required", "라벨이 {labels}개입니다. {needed}개가 필요합니다"
    ),
    "labels_of_days": Template(
        "labels of {days} days, {needed} are required",
        "라벨이 {days}일치입니다. {needed}일치가 필요합니다",
    ),
    "score_without_interval": Template(
        "{metric} has no interval: it rests on one day, or a class is missing",
        "{metric}의 신뢰구간을 구할 수 없습니다. 하루의 데이터뿐이거나 없는 클래스가 있습니다",
    ),
    "holdout_without_interval": Template(
        "the champion's package has no hold-out interval of {metric}: retrain to get one",
        "챔피언 패키지에 {metric}의 홀드아웃 신뢰구간이 없습니다. 다시 학습하면 생깁니다",
    ),
    "score_worse": Template(
        "{metric} {score:number} ({low:number} to {high:number} at {level:.0%}, {labels:,} labels) "
        "is worse than the champion's own hold-out, {then_low:number} to {then_high:number}",
        "{metric} {score:number}({level:.0%} 신뢰구간 {low:number} – {high:number}, 라벨 {labels:,}개): 챔피언의 "
        "홀드아웃({then_low:number} – {then_high:number})보다 나쁩니다",
    ),
    "score_level": Template(
        "{metric} {score:number} ({low:number} to {high:number} at {level:.0%}, {labels:,} labels) "
        "is not surely worse than the champion's own hold-out, {then_low:number} to "
        "{then_high:number}",
        "{metric} {score:number}({level:.0%} 신뢰구간 {low:number} – {high:number}, 라벨 {labels:,}개): 챔피언의 "
        "홀드아웃({then_low:number} – {then_high:number})보다 나쁘다고 확신할 수 없습니다",
    ),
    "other_versions": Template(
        "{rows:,} predictions of other versions are left out",
        "다른 버전의 예측 {rows:,}건은 제외했습니다",
    ),
    "unknown_ids": Template(
        "{labels:,} labels are for ids that are not in this window: from another window, not "
        "logged, or mistaken",
        "라벨 {labels:,}개의 ID가 이 구간에 없습니다. 다른 구간의 것이거나, 로그에 남지 않았거나, 잘못된 ID입니다",
    ),
    "impossible_labels": Template(
        "{labels:,} labels are impossible for the target, and left out",
        "타깃에 맞지 않는 라벨 {labels:,}개는 제외했습니다",
    ),
    "champion_of_other_target": Template(
        "champion {version} is of another target: {why}",
        "챔피언 v{version}의 타깃이 다릅니다: {why}",
    ),
    # intervals and sets of the answers
    "intervals_held_fewer": Template(
        "the answers' intervals held {held:.1%} of the labels, fewer than the {promised:.0%} that "
        "they are made for",
        "응답의 신뢰구간이 라벨의 {held:.1%}를 포함했습니다. 약속한 {promised:.0%}보다 적습니다",
    ),
    "intervals_held_more": Template(
        "the answers' intervals held {held:.1%} of the labels, more than the {promised:.0%} that "
        "they are made for",
        "응답의 신뢰구간이 라벨의 {held:.1%}를 포함했습니다. 약속한 {promised:.0%}보다 많습니다",
    ),
    "sets_held_fewer": Template(
        "the answers' sets of classes held {held:.1%} of the labels, fewer than the {promised:.0%} "
        "that they are made for",
        "응답의 클래스 집합이 라벨의 {held:.1%}를 포함했습니다. 약속한 {promised:.0%}보다 적습니다",
    ),
    "sets_held_more": Template(
        "the answers' sets of classes held {held:.1%} of the labels, more than the {promised:.0%} "
        "that they are made for",
        "응답의 클래스 집합이 라벨의 {held:.1%}를 포함했습니다. 약속한 {promised:.0%}보다 많습니다",
    ),
    "held_in_a_window": Template(
        "{what}, in a window: retrain to calibrate them anew",
        "{what}. 구간 하나에서 확인했습니다. 다시 학습하면 새로 보정됩니다",
    ),
    "held_in_a_row": Template(
        "{what}, in {windows} windows in a row: retrain to calibrate them anew",
        "{what}. 구간 {windows}개에서 연속으로 확인했습니다. 다시 학습하면 새로 보정됩니다",
    ),
}
