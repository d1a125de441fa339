// The try-it panel: a form made from the champion's schema, and the answer with its reasons.
const SHOWN_FIELDS = 8;
const CHOICES = ["category", "boolean"];
const LONGEST_SHOWN = 100; // characters of a value beside its contribution

function tryPanel(name) {
  const element = node("section", { className: "card try", attributes: { "aria-labelledby": `try-${name}` } });
  let schema = null;
  let champion = null;
  let form = null;
  return {
    element,
    values: () => form?.values() ?? null,
    /** A new champion with the same fields keeps the form as it is, with the text being typed. */
    update(state, before) {
      element.hidden = !state.ready;
      if (!state.ready) return;
      champion = state;
      const schemaText = JSON.stringify(state.schema);
      if (schemaText === schema) return;
      const typed = before ?? form?.values() ?? null;
      const focused = element.contains(document.activeElement) ? document.activeElement.id : "";
      schema = schemaText;
      form = tryForm(state, () => champion, typed);
      element.replaceChildren(node("h2", { id: `try-${name}`, tabIndex: -1, textContent: say("tryIt") }), text("p", "lead", say("tryWhy")), form.element);
      if (focused) part(focused)?.focus({ preventScroll: true });
    },
  };
}

/** `champion()` is the current champion; `state` is the one at the time the form is made. */
function tryForm(state, champion, typed) {
  const id = `form-${state.use_case}`;
  const fields = [...state.schema.features.map(feature => fieldOf(feature, id)), timeField(state.schema.event_time, id)];
  const kinds = Object.fromEntries(state.schema.features.map(feature => [feature.name, feature.kind]));
  const group = (words, belongs) => {
    const inside = fields.filter(belongs);
    return inside.length ? node("fieldset", {}, text("legend", "", words), node("div", { className: "grid" }, ...inside.map(field => field.element))) : null;
  };
  const answer = answerPanel(champion);
  const log = node("input", { type: "checkbox", id: `${id}-log` });
  log.setAttribute("aria-describedby", `${id}-log-why`);
  const button = node("button", { type: "submit", id: `${id}-predict`, className: "primary", textContent: say("predict") });
  const next = node("button", { type: "button", id: `${id}-another`, textContent: say("another") });
  const which = text("span", "hint", "");
  const form = node("form", { id, noValidate: true, className: "columns" },
    node("div", { className: "actions at-top" }, button, next, which),
    node("div", { className: "fields" },
      group(say("texts"), field => kinds[field.name] === "text"),
      group(say("categories"), field => CHOICES.includes(kinds[field.name])),
      group(say("numbers"), field => field.name in kinds && ![...CHOICES, "datetime", "image", "text"].includes(kinds[field.name])),
      group(say("images"), field => kinds[field.name] === "image"),
      group(say("when"), field => !(field.name in kinds) || kinds[field.name] === "datetime")),
    node("div", { className: "answer-column" },
      node("div", { className: "sticky" },
        node("p", { className: "check" }, log, node("label", { htmlFor: log.id, textContent: say("logIt") })),
        node("p", { id: `${id}-log-why`, className: "hint", textContent: say("logWhy") }),
        answer.element)));

  let example = 0;
  const fill = row => fields.forEach(field => { if (field.name in row) { field.write(row[field.name]); field.tell(""); } });
  const show = index => {
    const examples = champion().examples;
    example = index % examples.length;
    which.textContent = say("exampleOf", example + 1, examples.length);
    fill(examples[example]);
  };
  next.addEventListener("click", () => show(example + 1));
  show(typed?.example ?? 0);
  if (typed) {
    fill(typed.row);
    log.checked = typed.logged;
  }

  let busy = false;
  form.addEventListener("submit", async event => {
    event.preventDefault();
    if (busy) return;
    const row = readRow(fields, answer);
    if (!row) return;
    busy = true;
    button.setAttribute("aria-busy", "true");
    await answer.predict(row, log.checked, fields);
    button.removeAttribute("aria-busy");
    busy = false;
  });
  const raw = field => { try { return field.read(); } catch { return null; } };
  return { element: form, values: () => ({ row: Object.fromEntries(fields.map(field => [field.name, raw(field)])), example, logged: log.checked }) };
}

/** The row as typed; `null` if a field is wrong, with the problem beside that field. */
function readRow(fields, answer) {
  const row = {};
  const wrong = [];
  for (const field of fields) {
    try {
      row[field.name] = field.read();
      field.tell("");
    } catch (problem) {
      if (!(problem instanceof Problem)) throw problem;
      field.tell(problem.message);
      wrong.push(field);
    }
  }
  if (!wrong.length) return row;
  answer.refuse(say("fixFields", wrong.map(field => spelled(field.name)).join(", ")));
  wrong[0].control.focus();
  return null;
}

function answerPanel(champion) {
  // Two live regions: the sentence with the answer, and refusals. A reader goes to reasons and details on its own.
  const status = node("div", { className: "said", role: "status" }, text("p", "hint", say("answerHere")));
  const alert = node("div", { role: "alert" });
  const details = node("div", { className: "details" });
  const element = node("div", { className: "answer" }, alert, status, details);
  const refuse = words => {
    alert.replaceChildren(text("p", "trouble", words));
    status.replaceChildren();
    details.replaceChildren();
  };
  const predict = async (row, logged, fields) => {
    const path = `/v1/${encodeURIComponent(champion().use_case)}`;
    let answer;
    const began = performance.now();
    try {
      answer = await ask(`${path}/predict?log=${logged}`, { body: { rows: [row] } });
    } catch (error) {
      const field = fields.find(candidate => candidate.name === error.field);
      field?.tell(error.message);
      field?.control?.focus();
      refuse(say("failed", error.message));
      return;
    }
    const milliseconds = performance.now() - began;
    alert.replaceChildren();
    status.replaceChildren(...verdict(champion(), answer.predictions[0]));
    const about = aboutAnswer(answer, milliseconds, logged);
    details.replaceChildren(text("p", "hint", say("explaining")), about);
    try {
      details.replaceChildren(...reasons(champion(), await ask(`${path}/explain`, { body: { rows: [row] } })), about);
    } catch (error) {
      details.replaceChildren(text("p", "hint", say("noWhy", error.message)), about);
    }
  };
  return { element, refuse, predict };
}

const numbersOf = state => state.schema.outputs.filter(output => output.kind === "number");
const isChance = output => output.low === 0 && output.high === 1;

function verdict(state, prediction) {
  const outputs = state.schema.outputs;
  const decides = outputs.find(output => output.kind === "decision");
  const [number] = numbersOf(state);
  if (!decides || !isChance(number)) return [facts(outputs.map(output => [spelled(output.name), valueOf(prediction[output.name])]))];
  const [score, decision] = [prediction[number.name], prediction[decides.name]];
  const threshold = state.decision_threshold;
  const label = spelled(state.schema.label).toLowerCase();
  return [
    node("p", { className: "verdict" }, text("strong", "", say(decision ? "decisionYes" : "decisionNo")), text("span", "chance", percent(score, 1))),
    bar("gauge", 0, score, ["threshold", threshold]),
    text("p", "sentence", say(decision ? "answerYes" : "answerNo", label, percent(score, 1), percent(threshold, 1))),
  ];
}

/** The largest contributions as bars to both sides of zero, the others together. */
function reasons(state, { base, contributions, explains }) {
  const numbers = numbersOf(state);
  const chance = isChance(numbers.find(output => output.name === explains) ?? numbers[0]);
  const points = (value, write) => chance ? write(100 * value, 1) : write(value);
  const [largest, others] = [contributions.slice(0, SHOWN_FIELDS), contributions.slice(SHOWN_FIELDS)];
  const images = state.schema.features.filter(feature => feature.kind === "image").map(feature => feature.name);
  const rows = largest.map(item => [images.includes(item.field) ? spelled(item.field) : `${spelled(item.field)} = ${shortened(valueOf(item.value))}`, item.contribution]);
  if (others.length) rows.push([say("others", others.length), others.reduce((sum, item) => sum + item.contribution, 0)]);
  const most = Math.max(...rows.map(([, points]) => Math.abs(points)), 1e-9);
  const items = rows.map(([words, moved]) => node("li", { className: moved < 0 ? "lowers" : "raises" },
    text("span", "what", words),
    text("span", "points", points(moved, signed)),
    text("span", "unseen", `, ${say(moved < 0 ? "lowers" : "raises", points(Math.abs(moved), fixed))}`),
    bar("points-bar", 0.5, 0.5 + moved / most / 2)));
  const compared = chance ? say("base", percent(base, 1)) : say("baseNumber", plain(base), spelled(explains ?? numbers[0].name));
  return [text("h3", "", say("why")), text("p", "hint", compared), node("ol", { className: "reasons" }, ...items)];
}

const valueOf = value => Array.isArray(value) ? value.join(", ") : typeof value === "number" ? plain(value) : typeof value === "boolean" ? say(value ? "decisionYes" : "decisionNo") : value ?? say("unknown");

const shortened = words => words.length > LONGEST_SHOWN ? `${words.slice(0, LONGEST_SHOWN)}…` : words;

function aboutAnswer(answer, milliseconds, logged) {
  return facts([
    [say("predictionId"), text("code", "", answer.predictions[0].id)],
    [say("modelVersion"), answer.model_version],
    [say("latency"), say("milliseconds", plain(milliseconds, 1))],
    [say("logged"), say(logged ? "yes" : "no")],
  ], "facts small");
}
