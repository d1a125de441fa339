// The fields of the try-it form. Each field has `element`, `name`, `read()` (a value, or throws `Problem`), `write(value)` and `tell(problem)`.
const LONGEST_SELECT = 20;

class Problem extends Error {}

// A new kind of input needs an entry here; until then the page says that it has no input for it.
const INPUTS = { number: numberInput, category: categoryInput, boolean: booleanInput, datetime: dateInput, image: imageInput, text: textInput };

function fieldOf(feature, form) {
  const makeInput = INPUTS[feature.kind];
  if (!makeInput) return { name: feature.name, element: text("p", "hint", `${spelled(feature.name)}: ${say("strangeKind", feature.kind)}`), read: () => null, write() {}, tell() {} };
  const id = `${form}-${feature.name}`;
  const input = makeInput(feature, id);
  return labelled(feature.name, id, input, hintOf(feature));
}

function labelled(name, id, input, hint) {
  const problem = node("p", { id: `${id}-problem`, className: "problem" });
  const hints = node("p", { id: `${id}-hint`, className: "hint" }, ...hint);
  Object.assign(input.control, { id, name });
  input.control.setAttribute("aria-describedby", `${id}-hint ${id}-problem`);
  const label = node("label", { htmlFor: id, textContent: spelled(name), title: name });
  const field = {
    name,
    control: input.control,
    element: node("div", { className: `field ${input.className ?? ""}` }, label, input.control, ...(input.more ?? []), hints, problem),
    read: input.read,
    write: input.write,
    tell(words) {
      problem.textContent = words;
      if (words) input.control.setAttribute("aria-invalid", "true");
      else input.control.removeAttribute("aria-invalid");
    },
  };
  input.control.addEventListener("input", () => field.tell(""));
  return field;
}

/** The field's meaning and range. An empty field shows that it may be empty; this text says it to a screen reader. */
function hintOf(feature) {
  const size = feature.kind === "category" && feature.categories?.length;
  const range = boundsOf(feature);
  const others = size > LONGEST_SELECT ? `${say("knownValues", count(size))}, ${say("otherValues")}` : "";
  return [[feature.description, range, others].filter(Boolean).join(" · "), feature.nullable ? text("span", "unseen", `, ${say("mayBeEmpty")}`) : ""];
}

function numberInput(feature) {
  const bounds = Object.fromEntries([["min", feature.low], ["max", feature.high]].filter(([, bound]) => bound !== null));
  const control = node("input", { type: "number", step: "any", inputMode: feature.low !== null && feature.low >= 0 ? "decimal" : "text", required: !feature.nullable, placeholder: feature.nullable ? say("unknown") : "", autocomplete: "off", ...bounds });
  return {
    control,
    read() {
      if (control.validity.badInput) throw new Problem(say("notNumber"));
      if (control.value === "") return empty(feature);
      const value = Number(control.value);
      if (feature.low !== null && value < feature.low) throw new Problem(say("tooLow", plain(feature.low)));
      if (feature.high !== null && value > feature.high) throw new Problem(say("tooHigh", plain(feature.high)));
      return value;
    },
    // Six digits say as much as sixteen, and are legible.
    write: value => { control.value = value === null ? "" : Number(value.toPrecision(6)); },
  };
}

function categoryInput(feature, id) {
  return feature.categories?.length && feature.categories.length <= LONGEST_SELECT ? choice(feature, feature.categories, value => value) : freeText(feature, id);
}

function booleanInput(feature) {
  return choice(feature, [true, false], value => say(value ? "yes" : "no"));
}

function choice(feature, values, words) {
  const option = value => node("option", { value: JSON.stringify(value), textContent: value === null ? say("unknown") : words(value) });
  const control = node("select", {}, ...values.map(option), feature.nullable ? option(null) : null);
  return {
    control,
    read: () => JSON.parse(control.value),
    write(value) {
      const json = JSON.stringify(value);
      if (![...control.options].some(candidate => candidate.value === json)) control.append(option(value));
      control.value = json;
    },
  };
}

function freeText(feature, id) {
  const list = node("datalist", { id: `${id}-known` }, ...(feature.categories ?? []).map(value => node("option", { value })));
  const control = node("input", { type: "text", required: !feature.nullable, placeholder: feature.nullable ? say("unknown") : "", autocomplete: "off", spellcheck: false });
  control.setAttribute("list", list.id);
  return {
    control,
    more: [list],
    read: () => control.value === "" ? empty(feature) : control.value,
    write: value => { control.value = value ?? ""; },
  };
}

function textInput(feature) {
  const control = node("textarea", { rows: 5, required: !feature.nullable, placeholder: feature.nullable ? say("unknown") : "" });
  return {
    control,
    read() {
      // As the service counts: an emoji is one character, and not two.
      if (feature.longest && [...control.value].length > feature.longest) throw new Problem(say("tooLong", count(feature.longest)));
      return control.value === "" ? empty(feature) : control.value;
    },
    write: value => { control.value = value ?? ""; },
  };
}

function empty(feature) {
  if (!feature.nullable) throw new Problem(say("needed"));
  return null;
}

function timeField(name, form) {
  const input = timeInput({ nullable: true, earliest: "1900-01-01T00:00", latest: "2099-12-31T23:59:59" });
  return labelled(name, `${form}-${name}`, input, [say("eventTimeHint")]);
}

function dateInput(feature) {
  return timeInput({ ...feature, earliest: feature.earliest ?? "0001-01-01T00:00:00", latest: feature.latest ?? "9999-12-31T23:59:59" });
}

function timeInput(feature) {
  const control = node("input", { type: "datetime-local", step: 1, required: !feature.nullable, min: toTheSecond(feature.earliest), max: toTheSecond(feature.latest) });
  return {
    control,
    read() {
      const { badInput, rangeUnderflow, rangeOverflow } = control.validity;
      if (rangeUnderflow) throw new Problem(say("tooLow", feature.earliest));
      if (rangeOverflow) throw new Problem(say("tooHigh", feature.latest));
      if (badInput) throw new Problem(say("notTime"));
      return control.value === "" ? empty(feature) : toTheSecond(control.value);
    },
    write: value => { control.value = value === null || value === undefined ? "" : toTheSecond(value); },
  };
}

/** A local time as the browser's field takes it: a date is its midnight, and fractions of a second are cut. */
function toTheSecond(time) {
  const whole = time.length === 10 ? `${time}T00:00:00` : time.replace(" ", "T");
  return whole.length === 16 ? `${whole}:00` : whole.slice(0, 19);
}
