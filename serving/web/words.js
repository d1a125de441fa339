// What the page says, in English and in Korean. {0}, {1}... stand for what is filled in.
const WORDS = {
  elsewhere: ["Elsewhere", "바로 가기"],
  routes: ["API", "API"],
  metrics: ["Metrics", "지표"],
  language: ["Language", "언어"],
  useCases: ["Use cases", "유스케이스"],
  footer: [
    "The champion is the model version that won its contest and serves now.",
    "챔피언은 대결에서 이겨 지금 서비스 중인 모델 버전입니다.",
  ],
  serving: ["Serving {0}.", "서비스 중: {0}."],
  versionOf: ["{0} version {1}", "{0} 버전 {1}"],
  noneYet: ["No champion yet for {0}.", "아직 챔피언이 없습니다: {0}."],
  noAnswer: ["The service does not answer; what stands below is old.", "서비스가 응답하지 않습니다. 아래 내용은 이전 상태입니다."],

  keyTitle: ["This service asks for a key", "이 서비스는 키가 필요합니다"],
  keyWhy: [
    "Paste an API key with the scope “predict”; with “operate” the page shows drift and decisions as well. It is kept in this browser tab only.",
    "“predict” 권한이 있는 API 키를 붙여 넣으세요. “operate” 권한이 있으면 드리프트와 결정도 볼 수 있습니다. 키는 이 브라우저 탭에만 보관됩니다.",
  ],
  key: ["API key", "API 키"],
  useKey: ["Use this key", "이 키 사용"],
  forgetKey: ["Forget the key", "키 지우기"],
  keyWrong: ["That key was refused: {0}", "키가 거부되었습니다: {0}"],
  keyForm: ["A key has no spaces and only plain letters, digits and signs.", "키에는 공백 없이 영문자, 숫자, 기호만 쓸 수 있습니다."],

  serves: ["Version {0} serves", "버전 {0} 서비스 중"],
  noChampion: ["No champion", "챔피언 없음"],
  trainOne: ["Nothing serves “{0}” yet. Train its first champion:", "“{0}”에 서비스 중인 모델이 없습니다. 첫 챔피언을 학습하세요:"],
  onHoldout: ["{0} on the hold-out", "홀드아웃 {0}"],
  gainOver: ["{0} against the champion before", "이전 챔피언 대비 {0}"],
  between: ["between {0} and {1}", "{0} ~ {1}"],
  recipe: ["Recipe", "레시피"],
  trainedThrough: ["Trained through", "학습 데이터 마지막 기간"],
  since: ["Serves here since", "서비스 시작"],
  decidesAt: ["Decides at", "결정 임계값"],
  dataset: ["Dataset version", "데이터셋 버전"],
  parity: ["Proven against its pipeline", "원본 파이프라인과 대조"],
  parityRows: ["{0} rows, {1} decisions differ", "{0}행, 다른 결정 {1}건"],
  workers: ["Workers", "워커"],
  workersSame: ["{0}, all on version {1}", "{0}개, 모두 버전 {1}"],
  workerOn: ["worker {0}: version {1}", "워커 {0}: 버전 {1}"],
  workerEmpty: ["none yet", "아직 없음"],
  inMlflow: ["Version {0} in MLflow", "MLflow에서 버전 {0} 보기"],
  inPrefect: ["Deployments in Prefect", "Prefect에서 배포 보기"],
  swapFailed: [
    "Version {0} has the crown but could not be loaded here, so version {1} keeps serving.",
    "챔피언은 버전 {0}이지만 여기서 불러오지 못해 계속 버전 {1}로 서비스합니다.",
  ],
  fields: ["All {0} fields of a row", "행의 필드 {0}개 모두 보기"],
  field: ["Field", "필드"],
  kind: ["Kind", "종류"],
  mayBe: ["May be", "허용 값"],
  nullable: ["Null", "널"],
  meaning: ["Meaning", "뜻"],
  yes: ["yes", "예"],
  no: ["no", "아니요"],
  number: ["number", "숫자"],
  category: ["category", "범주"],
  anyNumber: ["any number", "모든 숫자"],
  anyText: ["any text", "모든 텍스트"],
  knownValues: ["{0} known values", "알려진 값 {0}개"],

  live: ["Live traffic", "실시간 트래픽"],
  requestsPerSecond: ["Requests a second", "초당 요청"],
  rowsPerSecond: ["Rows a second", "초당 행"],
  half: ["Half are faster than", "중앙값 지연(p50)"],
  most: ["99 % are faster than", "99% 지연(p99)"],
  lastTwoMinutes: ["the last two minutes", "최근 2분"],
  chartRequests: ["Requests a second, the last two minutes: now {0}, at most {1}", "최근 2분간 초당 요청: 현재 {0}, 최대 {1}"],
  chartLatency: ["99 % latency, the last two minutes: now {0}, at most {1}", "최근 2분간 p99 지연: 현재 {0}, 최대 {1}"],
  totals: [
    "Since the start: requests {0}, rows {1}, refused or failed {2}.",
    "시작 이후 요청 {0}건, 행 {1}개, 거부되거나 실패한 요청 {2}건.",
  ],
  logState: ["Prediction log: in the lake {0}, waiting {1}.", "예측 로그: 레이크에 {0}건, 대기 {1}건."],
  logLag: ["The oldest has waited for {0} s.", "가장 오래된 항목은 {0}초째 대기 중입니다."],
  logDropped: ["{0} rows were answered and not logged.", "{0}개 행은 응답했지만 로그에 남지 않았습니다."],
  logTorn: ["{0} lines of the log could not be read.", "로그 {0}줄을 읽지 못했습니다."],
  milliseconds: ["{0} ms", "{0}ms"],

  tryIt: ["Try it", "직접 예측해 보기"],
  tryWhy: [
    "Filled with a real row that the champion was proven on. Change what you like.",
    "챔피언 검증에 쓰인 실제 행으로 채워져 있습니다. 원하는 값을 바꿔 보세요.",
  ],
  categories: ["Categories", "범주"],
  numbers: ["Numbers", "숫자"],
  when: ["When", "시각"],
  eventTimeHint: ["local time, without a zone; may stay empty", "현지 시각(시간대 없음), 비워 둘 수 있음"],
  unknown: ["unknown", "알 수 없음"],
  mayBeEmpty: ["empty means unknown", "비우면 알 수 없음"],
  otherValues: ["any other value counts as unknown", "다른 값은 알 수 없음으로 처리"],
  fieldRange: ["{0} to {1}", "{0}~{1}"],
  atLeast: ["at least {0}", "{0} 이상"],
  atMost: ["at most {0}", "{0} 이하"],
  strangeKind: [
    "This page cannot ask for a field of kind “{0}”. Send it to the API.",
    "이 페이지는 “{0}” 종류의 필드를 입력받을 수 없습니다. API를 사용하세요.",
  ],
  needed: ["This is needed.", "필수 항목입니다."],
  notNumber: ["This is no number.", "숫자가 아닙니다."],
  tooLow: ["At least {0}.", "{0} 이상이어야 합니다."],
  tooHigh: ["At most {0}.", "{0} 이하여야 합니다."],
  notTime: ["This is no date and time.", "올바른 날짜와 시각이 아닙니다."],
  fixFields: ["Look at the fields that are marked: {0}.", "표시된 필드를 확인하세요: {0}."],
  predict: ["Predict", "예측"],
  another: ["Another example", "다른 예시"],
  exampleOf: ["Example {0} of {1}", "예시 {0}/{1}"],
  logIt: ["Log this prediction", "이 예측을 로그에 남기기"],
  logWhy: [
    "Not logged unless you tick this: what is logged counts as traffic in the next drift check.",
    "선택하지 않으면 로그에 남지 않습니다. 남긴 예측은 다음 드리프트 검사에 포함됩니다.",
  ],
  answerHere: ["The answer appears here.", "여기에 답이 표시됩니다."],
  decisionYes: ["Yes", "예"],
  decisionNo: ["No", "아니요"],
  answerYes: [
    "The probability of “{0}” is {1}. It reaches the threshold of {2}, so the decision is yes.",
    "“{0}”일 확률은 {1}입니다. 임계값 {2} 이상이므로 결정은 ‘예’입니다.",
  ],
  answerNo: [
    "The probability of “{0}” is {1}. It stays below the threshold of {2}, so the decision is no.",
    "“{0}”일 확률은 {1}입니다. 임계값 {2} 미만이므로 결정은 ‘아니요’입니다.",
  ],
  why: ["Why", "이유"],
  explaining: ["Working out why…", "이유를 계산하는 중…"],
  base: ["The rows it is compared with score {0} on average. This row’s values move that, in percentage points:", "비교 대상 행들의 평균은 {0}입니다. 이 행의 값이 움직인 크기(%포인트):"],
  others: ["{0} other fields together", "나머지 필드 {0}개 합계"],
  raises: ["raises it by {0}", "{0} 높임"],
  lowers: ["lowers it by {0}", "{0} 낮춤"],
  noWhy: ["The answer cannot be explained now: {0}", "지금은 이유를 설명할 수 없습니다: {0}"],
  predictionId: ["Prediction", "예측 ID"],
  modelVersion: ["Model version", "모델 버전"],
  latency: ["Seen from this browser", "브라우저에서 잰 시간"],
  logged: ["Logged", "로그"],
  failed: ["No answer: {0}", "응답 없음: {0}"],

  drift: ["Drift", "드리프트"],
  driftNone: [
    "No window has been checked yet. The check runs by its schedule, or now:",
    "아직 검사한 기간이 없습니다. 예약된 시각에 실행되며, 지금 실행할 수도 있습니다:",
  ],
  historyAway: ["The lake cannot be read now: {0}", "지금은 레이크를 읽을 수 없습니다: {0}"],
  historyScope: ["The key that you use lacks the scope “operate”, which this needs.", "사용 중인 키에 필요한 “operate” 권한이 없습니다."],
  showAll: ["Show all {0}", "{0}개 모두 보기"],
  historyAsking: ["Reading…", "읽는 중…"],
  stable: ["stable", "안정"],
  drifted: ["drifted", "드리프트"],
  broken: ["broken", "데이터 손상"],
  inconclusive: ["inconclusive", "판단 불가"],
  unreadable: ["unreadable", "읽을 수 없음"],
  share: ["{0} of {1} columns are beyond their threshold; the limit is {2}", "열 {1}개 중 {0}가 임계값을 넘음 (한도 {2})"],
  furthest: ["Largest distances, as multiples of their threshold: {0}", "임계값 대비 거리가 가장 큰 열: {0}"],
  times: ["{0} {1}×", "{0} {1}배"],
  driftRows: ["{0} predictions of version {1}", "버전 {1}의 예측 {0}건"],
  labels: ["labels for {0}", "라벨 {0}"],
  checked: ["checked {0}", "{0} 검사"],
  openReport: ["Evidently report", "Evidently 보고서"],
  fetchReport: ["Download the report", "보고서 내려받기"],
  reportFor: ["of {0}", "({0})"],
  reportMlflow: ["in MLflow", "MLflow에서"],

  decisions: ["Decisions", "결정"],
  decisionsNone: [
    "Nobody has contested the crown yet. A retrain leads to a contest:",
    "아직 챔피언 대결이 없습니다. 재학습하면 대결이 열립니다:",
  ],
  firstChampion: ["Challenger {0} became the first champion", "도전자 {0}, 첫 챔피언으로 승격"],
  notFirst: ["Challenger {0} did not become champion", "도전자 {0}, 승격되지 않음"],
  took: ["Challenger {0} took the crown from champion {1}", "도전자 {0} 승리, 이전 챔피언은 {1}"],
  stays: ["Champion {1} stays; challenger {0} did not win", "챔피언 {1} 유지, 도전자 {0} 탈락"],
  rolledBack: ["Rolled back from version {1} to {0}", "버전 {1}에서 {0}(으)로 되돌림"],
  verdictPromote: ["promoted", "승격"],
  verdictKeep: ["kept", "유지"],
  verdictRollback: ["rollback", "되돌림"],
  verdictSuspicious: ["suspicious", "의심"],
  verdictUnfair: ["unfair", "불공정"],
  contestScores: ["{0}: champion {1}, challenger {2}", "{0}: 챔피언 {1}, 도전자 {2}"],
  contestGain: ["Gain {0}, between {1} and {2}; each bound holds at {3}", "향상 {0}, 구간 {1} ~ {2} (각 한계 {3})"],
  contestRows: ["{0} rows of {1}", "{1}의 {0}행"],
  flowRun: ["Its run in Prefect", "Prefect 실행 보기"],
};

const LANGUAGES = ["en", "ko"];
let language = keptLanguage();

function keptLanguage() {
  const kept = stored("localStorage", "laurel.language");
  if (LANGUAGES.includes(kept)) return kept;
  return (navigator.language ?? "en").toLowerCase().startsWith("ko") ? "ko" : "en";
}

/** What was kept under a name; null where the browser keeps nothing. */
function stored(store, name, value) {
  try {
    if (value === null) window[store].removeItem(name);
    else if (value !== undefined) window[store].setItem(name, value);
    return window[store].getItem(name);
  } catch {
    return null;
  }
}

function say(name, ...filled) {
  return WORDS[name][LANGUAGES.indexOf(language)].replace(/\{(\d)\}/g, (_, place) => filled[place]);
}

const count = value => value.toLocaleString(language);
const plain = (value, digits = 4) => Number.isFinite(value) ? value.toLocaleString(language, { maximumFractionDigits: digits }) : "–";
const fixed = (value, digits = 4) => Number.isFinite(value) ? value.toLocaleString(language, { minimumFractionDigits: digits, maximumFractionDigits: digits }) : "–";
const signed = (value, digits = 4) => Number.isFinite(value) ? (value < 0 ? "−" : "+") + fixed(Math.abs(value), digits) : "–";
const percent = (value, digits = 0) => Number.isFinite(value) ? value.toLocaleString(language, { style: "percent", maximumFractionDigits: digits }) : "–";
const moment = text => Number.isNaN(Date.parse(text)) ? text : new Date(text).toLocaleString(language, { dateStyle: "medium", timeStyle: "short" });
const spelled = name => { const words = name.replaceAll("_", " "); return words.charAt(0).toUpperCase() + words.slice(1); };
