"""The words of announcements in Korean, in the formal register. Names of metrics, flows and
parameters stay as they are in code.

No particle follows a value: the right one would depend on how the value is read aloud."""

WORDS = {
    "not known": "알 수 없음",
    "none": "없음",
    "unknown share": "알 수 없는 비율",
    "interval": "{low} – {high}",
    "stage.start": "시작",
    "stage.gate": "게이트",
    "stage.contest": "비교 평가",
    "stage.deploy": "배포",
    # start
    "retrain.started": "{use_case}: 재학습을 시작했습니다. 사유: {reason}",
    "retrain.skipped": "{use_case}: 재학습을 건너뛰었습니다. 사유: {reason}",
    "retrain.ended": "{use_case}: 재학습을 마쳤습니다. 결과: {outcome}",
    "ingest.refused": "{use_case}: {period} 배치의 수집을 거부했으며, 아무것도 기록하지 않았습니다",
    "training.started": "{use_case}: 학습을 시작했습니다. 학습 기간 {window}, 홀드아웃 {holdout}",
    "training.step": "학습 기간 {window}, {rows:,}행",
    "candidates": "후보 모델",
    "training rows": "학습 행 수",
    "dataset version": "데이터셋 버전",
    # gate
    "gate.passed": (
        "{use_case}: 홀드아웃 {holdout}에서 {best} 모델의 {metric} 값은 {score}입니다. 게이트({gate:g})를 통과했습니다"
    ),
    "gate.missed.hpo": "{use_case}: 홀드아웃 {holdout}에서 {best} 모델의 {metric} 값은 {score}입니다. "
    "게이트({gate:g})에 미달하여 하이퍼파라미터 탐색(HPO)을 시작합니다",
    "gate.missed": "{use_case}: 홀드아웃 {holdout}에서 {best} 모델의 {metric} 값은 {score}입니다. "
    "게이트({gate:g})에 미달했고 탐색 공간이 정의된 후보가 없어 챌린저를 등록하지 않습니다",
    "gate.passed.step": "{best}: {metric} {score}, 게이트 {gate:g}",
    "gate.missed.step": "{best}: {metric} {score}, 게이트 {gate:g} 미달",
    "gate.hpo.step": "{best}: {metric} {score}, 게이트 {gate:g} 미달, HPO 진행 중",
    "hpo.passed": (
        "{use_case}: HPO 결과 {candidate} 모델의 {metric} 값은 {after}입니다(이전 {before}). 게이트({gate:g})를 "
        "통과했습니다"
    ),
    "hpo.missed": "{use_case}: HPO 결과 {candidate} 모델의 {metric} 값은 {after}입니다(이전 {before}). "
    "여전히 게이트({gate:g})에 미달합니다",
    "hpo.none": "챌린저를 등록하지 않습니다. 현재 챔피언이 있으면 계속 서비스합니다.",
    "hpo.passed.step": "{candidate}: HPO 후 {metric} {after}, 게이트 {gate:g}",
    "hpo.missed.step": "{candidate}: HPO 후 {metric} {after}, 게이트 {gate:g} 미달",
    "search": "탐색",
    # contest
    "first": (
        "{use_case}: v{version} 챌린저({candidate})가 첫 챔피언이 되었습니다. {metric} {score}, 게이트 "
        "{gate:g}"
    ),
    "first.provisional": "{use_case}: v{version} 챌린저({candidate})가 근거가 부족한 임시 첫 챔피언이 되었습니다. "
    "{metric} {score}, 게이트 {gate:g}",
    "first.provisional.step": "v{version} 챌린저가 임시 첫 챔피언이 되었습니다",
    "first.step": "v{version} 챌린저가 첫 챔피언이 되었습니다",
    "contest.promote": (
        "{use_case}: v{challenger} 챌린저가 v{champion} 챔피언보다 우수하여 승격합니다 ({metric}: {scores})"
    ),
    "contest.keep": "{use_case}: v{challenger} 챌린저를 승격하지 않습니다. {kept} ({metric}: {scores})",
    "contest.suspicious": (
        "{use_case}: 데이터 누수가 의심되어 v{challenger} 챌린저를 거부했습니다. {kept} ({metric}: {scores})"
    ),
    "contest.unfair": (
        "{use_case}: 공정한 비교가 불가능하여 v{challenger} 챌린저를 거부했습니다. {kept} ({metric}: {scores})"
    ),
    "contest.inconclusive": (
        "{use_case}: 데이터가 부족하여 v{challenger} 챌린저를 평가할 수 없습니다. {kept} ({metric}: {scores})"
    ),
    "contest.promote.asks": (
        "{use_case}: v{challenger} 챌린저가 v{champion} 챔피언보다 우수하며, 승인을 요청합니다 ({metric}: {scores})"
    ),
    "contest.suspicious.asks": (
        "{use_case}: v{challenger} 챌린저에서 데이터 누수가 의심되어 승인을 요청합니다. {kept} ({metric}: {scores})"
    ),
    "contest.unfair.asks": (
        "{use_case}: v{challenger} 챌린저를 비교할 수 없어 사람의 판단을 요청합니다. 현재 {kept} ({metric}: {scores})"
    ),
    "contest.promote.step": "v{challenger} 챌린저 승격",
    "contest.keep.step": "v{challenger} 챌린저 승격 안 함",
    "contest.suspicious.step": "데이터 누수 의심",
    "contest.unfair.step": "거부: 공정한 비교 불가",
    "contest.inconclusive.step": "데이터 부족",
    "kept": "v{champion} 챔피언을 유지합니다",
    "no champion": "챔피언은 아직 없습니다",
    "scores": "챌린저 {challenger}, 챔피언 {champion}",
    "score alone": "챌린저 {challenger}",
    "challenger": "챌린저 v{challenger}",
    "champion": "챔피언 v{champion}",
    "gain": "개선 폭",
    "gain.within": "{gain}, 신뢰구간 {interval} (각 한계 {confidence:.4g} %)",
    "decidable": "판별할 수 있는 개선 폭",
    "judged on": "평가 데이터",
    "rows": "{rows:,}행",
    "rows.blocks": "{rows:,}행, 블록 {blocks}개",
    "contest.picture": "챌린저의 개선 폭",
    "contest.picture.alt": "0을 기준으로 한 개선 폭과 신뢰구간입니다: {gain}. 기준선 오른쪽이면 챌린저가 우수합니다.",
    # approval
    "approval.asked": "{use_case}: v{challenger} 챌린저를 챔피언으로 승격할지 승인을 요청합니다. "
    "{hours:g}시간 안에 응답이 없으면 거절로 처리합니다",
    "approval.contest": "비교 평가 결과",
    "approval.crown": "현재 챔피언",
    "approval.nobody": "아직 챔피언이 없습니다",
    "approval.waits.step": "승인 대기 중",
    "approval.otherwise": "Prefect의 approve 실행 페이지(Resume) 또는 모델 서비스 페이지에서 응답해 주십시오.",
    "approval.approve": "승인",
    "approval.reject": "거절",
    "approval.sure": "v{challenger} 챌린저를 승격하시겠습니까?",
    "approval.sure.text": "최신 데이터로 다시 학습한 뒤 {use_case} 서비스에 배포합니다.",
    "not now": "취소",
    "approval.approved": "{use_case}: v{challenger} 챌린저가 승인되었습니다(승인자: {by}). 다시 학습한 뒤 챔피언으로 배포합니다",
    "approval.rejected": "{use_case}: v{challenger} 챌린저가 거절되었습니다. {kept}",
    "approval.expired": "{use_case}: v{challenger} 챌린저에 대한 응답이 없어 거절로 처리했습니다. {kept}",
    "approval.approved.step": "승인됨(승인자: {by})",
    "approval.rejected.step": "거절됨",
    "approval.expired.step": "기한 내 응답 없음",
    # deploy
    "deployed": "{use_case}: 버전 {version} 모델을 {seconds:.1f}초 만에 서비스하기 시작했고, "
    "스모크 테스트 요청 {smoke_rows}건이 모두 통과했습니다",
    "deployed.step": "버전 {version} 모델, {seconds:.1f}초 만에 서비스 시작",
    "refitted": "버전 {version} 모델은 v{challenger} 챌린저의 레시피를 선정 후 "
    "홀드아웃({holdout})의 행까지 포함하여 다시 학습한 것입니다.",
    "deployed.otherwise": "버전 {champion} 모델로 돌아가려면 Prefect의 rollback/{use_case} 배포 또는 "
    "모델 서비스 페이지에서 롤백해 주십시오.",
    "rollout": "{use_case}: 버전 {version} 롤아웃, {verdict}",
    "rollout.picture": "실제 트래픽에서의 개선 폭",
    "rollout.stays": "챔피언은 그대로 버전 {champion}입니다.",
    "rollout.otherwise": "조정하려면 Prefect의 rollout/{use_case} 배포 또는 모델 서비스 페이지를 이용해 주십시오.",
    "rollout.advance": "다음 단계",
    "rollout.advance.sure": "버전 {version} 모델을 판정을 기다리지 않고 지금 다음 단계로 넘깁니다.",
    "rollout.hold": "멈춤",
    "rollout.resume": "재개",
    "rollout.revert": "되돌리기",
    "rollout.revert.sure": "버전 {version} 모델의 롤아웃을 끝내고, 챔피언 버전 {champion} 모델이 모두 답합니다.",
    "rollback.button": "롤백",
    "rollback.sure": "버전 {champion} 모델로 롤백하시겠습니까?",
    "rollback.sure.text": "버전 {champion} 모델이 정상적으로 로드되고 응답하는지 확인한 뒤, "
    "버전 {version} 모델 대신 {use_case} 서비스에 배포합니다.",
    "deployment.failed": "{use_case}: 버전 {version} 모델의 배포에 실패하여 챔피언 별칭을 버전 {restored} 모델로 되돌렸습니다",
    "deployment.failed.first": "{use_case}: 버전 {version} 모델의 배포에 실패하여 챔피언 별칭을 제거했습니다. 이전 챔피언은 없습니다",
    "deployment.failed.step": "버전 {version} 모델은 서비스되지 않습니다",
    "rolled back": "{use_case}: 버전 {from_version} 모델에서 버전 {version} 모델로 롤백했습니다",
    "rolled back.after": "{sentence}. {seconds:.1f}초 만에 서비스하기 시작했습니다",
    "adopted": "{use_case}: 비교 평가 없이 버전 {version} 모델을 직접 챔피언으로 지정했습니다(이전 챔피언: {before})",
    "vacated": "{use_case}: 챔피언을 비웠습니다(담당자: {by}, 이전 챔피언: {before}). 다음 첫 챔피언은 게이트만으로 정합니다",
    "restored": "{use_case}: 누군가 지운 챔피언 별칭을 버전 {version} 모델에 다시 설정했습니다",
    # drift
    "drift.stable": "{use_case}: {window} 구간에 드리프트가 없습니다",
    "drift.drifted": "{use_case}: {window} 구간의 데이터에서 드리프트가 감지되었습니다",
    "drift.broken": "{use_case}: {window} 구간의 데이터가 손상되어 재학습하지 않습니다",
    "drift.inconclusive": "{use_case}: {window} 구간의 드리프트를 판정할 수 없습니다",
    "drift.measured": "{sentence}. 임계값을 초과한 컬럼의 중요도 합은 {share}입니다(한도 {limit})",
    "drift.quarantined": "이 구간은 격리되었습니다. 이후 점검에서 정상으로 확인될 때까지 판단에 사용하지 않습니다.",
    "drift.word.said": "참고",
    "drift.word.unjudged": "판정하지 않음",
    "drift.word.uncalibrated": "보정되지 않음",
    "drift.advice.stable": "할 일: 없습니다.",
    "drift.advice.noted": "할 일: 판정은 안정이므로 위의 참고 사항만 확인하세요.",
    "drift.advice.drifted": "할 일: 아직 없습니다. 재학습 정책이 막지 않으면 재학습이 자동으로 시작됩니다.",
    "drift.advice.presence": "할 일: 범주가 의도대로 바뀐 것인지 확인하세요. 재학습은 자동으로 시작되지 않습니다.",
    "drift.advice.broken": "할 일: 해당 컬럼의 원천을 고친 뒤 이 구간을 다시 점검하세요.",
    "drift.advice.inconclusive": "할 일: 예측이 더 쌓이면 다시 점검하세요.",
    "drift.advice.silent": "할 일: 예측이 레이크에 도착하지 않는 이유를 찾으세요.",
    "drift.columns": "드리프트 컬럼",
    "scores.drifted": "{use_case}: 버전 {version}(으)로 일괄 예측한 {window} 구간의 데이터에서 드리프트가 감지되었습니다",
    "scores.broken": "{use_case}: 버전 {version}(으)로 일괄 예측한 {window} 구간의 데이터가 손상되어 있습니다",
    "scores.advice": "할 일: 예측 결과를 쓰기 전에 해당 컬럼을 확인하세요.",
    "drift.picture": "컬럼별 드리프트, {window}",
    "drift.picture.alt": "각 컬럼의 거리를 임계값의 배수로 나타냈습니다. 기준선을 넘은 컬럼: {columns}.",
    "performance.worse": "{use_case}: {window} 구간에 챔피언의 성능이 홀드아웃보다 낮아졌습니다({metric} {value})",
    "performance.holdout": "홀드아웃 신뢰구간",
    "performance.coverage": "라벨 도착률",
    "coverage.fewer": (
        "{use_case}: {window} 구간 응답의 신뢰구간이 라벨을 포함한 비율은 {held}, 약속은 {promised}: 약속보다 적게 포함"
    ),
    "coverage.more": (
        "{use_case}: {window} 구간 응답의 신뢰구간이 라벨을 포함한 비율은 {held}, 약속은 {promised}: 약속보다 많이 포함"
    ),
    "coverage.windows": "연속된 구간 수",
    "coverage.advice": "할 일: 재학습하세요. 다음 챔피언의 신뢰구간은 더 최근의 행으로 보정됩니다.",
    "silent": "{use_case}: 드리프트를 점검할 예측이 없습니다",
    # the rest
    "flow run": "플로우 실행",
    "flow failed": "{use_case}: {flow} 플로우가 실패했습니다. 오류: {error}",
    "run cancelled": "{use_case}: {flow} 플로우가 취소되었습니다",
    "ledger accepted": (
        "{use_case}: 결정 원장의 문제 {faults}건을 있는 그대로 수용했습니다(담당자: {by}). 플로우가 다시 결정 원장에 기록합니다"
    ),
    "breaker closed": (
        "{use_case}: {rejections}회 연속 챌린저 거부로 열린 차단기를 닫았습니다(담당자: {by}). 자동 재학습을 다시 허용합니다"
    ),
    "tidied.removed": "{use_case}: 정리했습니다. 삭제: {what}",
    "tidied.announced": "{use_case}: 내일부터 정리하며 삭제: {what}",
    "tidied.later": "내일부터: {what}",
    "tidied.keep": "더 오래 보관하려면 다음을 설정하고 배포를 다시 적용하세요 (0: 영구 보관): {settings}",
    "tidied.results": "단계 결과",
    "tidied.report_pages": "드리프트 보고서 페이지",
    "tidied.runs": "플로 실행",
    "tidied.studies": "탐색 기록",
    "tidied.predictions": "예측 로그 일수",
    "tidied.feedback": "피드백 일수",
    "tidied.challengers": "서비스된 적 없는 패키지",
}
