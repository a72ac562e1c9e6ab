// The difference explorer's page: what is asked, what is answered, and its state in the address.
"use strict";
(() => {
if (typeof document === "undefined" || !document.getElementById("explorer")) return;
const FACTS = globalThis.BATCHNORM_FACTS, E = globalThis.BatchNormExplorer;
const ROOT = document.getElementById("explorer"), LANG = document.documentElement.lang.startsWith("zh") ? "zh" : "en";
const MOST = 16384; // values in a batch
const DEFAULTS = { from: "torch", to: "mindspore", rank: 4, given: {}, channels: 3, samples: 8, size: 4, steps: 40,
  seed: 1, same: false, mean: 0.5, std: 1, values: null, inference: false, ignored: ["momentum"], channel: 0, at: 1 };
const NUMBERS = { channels: [1, 8], samples: [1, 64], size: [1, 16], steps: [1, 200], seed: [0, 9999], mean: [-1e6, 1e6],
  std: [0, 1e6], channel: [0, 7], at: [0, 200] };
const WHOLE = new Set(["channels", "samples", "size", "steps", "seed", "channel", "at"]);
const SIDES = ["source", "right", "ignored"];

const TEXTS = globalThis.BATCHNORM_TEXTS[LANG];
const JOIN = LANG === "zh" ? "；" : "; ";
const say = (key, values = {}) => TEXTS[key].replace(/\{(\w+)\}/g, (_, name) => values[name]);
const titleOf = (name) => FACTS.dialects[name].title;
const shown = (x) => (x === undefined ? "–" : E.repr(Number(x.toPrecision(6))).replace(/\.0$/, ""));

let s = structuredClone(DEFAULTS), notes = [];

// ---- The address.

const optional = (name, rank) => E.parametersOf(name, rank).filter((p) => !E.required(p) && (p.word !== "data_format" || rank === 4));
const optionsOf = (p) => ({ forced_statistics: ["None", "True", "False"], channel_axis: ["1", "-1"], data_format: ['"NCHW"', '"NHWC"'] })[p.word] || ["True", "False"];
const isNumber = (p) => ["epsilon", "weight_of_batch", "weight_of_running"].includes(p.word);
const plainDefault = (p) => p.default.replaceAll("'", '"');

// A parameter's text as it stands in a call, or null for what is none.
const argument = (p, text) => {
  if (!isNumber(p)) return optionsOf(p).includes(text) ? text : null;
  if (text === "None") return p.word === "weight_of_batch" ? text : null;
  const value = text.trim() === "" ? NaN : Number(text);
  return Number.isFinite(value) && (value === 0 || (Math.abs(value) > 1e-30 && Math.abs(value) < 1e9)) ? E.repr(value) : null;
};

const numbersOf = (text) => {
  const parts = text.split(/[\s,，]+/).filter(Boolean), values = parts.map(Number);
  if (!parts.length) return { values: null };
  return values.every(Number.isFinite) && values.length <= 4096 ? { values } : { bad: true };
};

const toHash = (state) => {
  const parts = new URLSearchParams();
  for (const [key, value] of Object.entries(state)) {
    if (key === "given") Object.entries(value).forEach(([name, text]) => parts.set(`a.${name}`, text));
    else if (key === "ignored" || key === "values") {
      const joined = (value || []).join(","), usual = (DEFAULTS[key] || []).join(",");
      if (joined !== usual) parts.set(key, joined);
    } else if (key === "from" || key === "to" || value !== DEFAULTS[key]) parts.set(key, String(value));
  }
  return `#${parts.toString()}`;
};

const fromHash = (hash) => {
  const state = structuredClone(DEFAULTS), bad = [], parts = [...new URLSearchParams(hash.replace(/^#/, ""))];
  const later = [];
  for (const [key, text] of parts) {
    const value = Number(text);
    if (key.startsWith("a.")) later.push([key, text]);
    else if ((key === "from" || key === "to") && text in FACTS.dialects) state[key] = text;
    else if (key === "rank" && ["2", "3", "4", "5"].includes(text)) state.rank = value;
    else if (key in NUMBERS && text !== "" && value >= NUMBERS[key][0] && value <= NUMBERS[key][1] && (!WHOLE.has(key) || Number.isInteger(value))) state[key] = value;
    else if ((key === "same" || key === "inference") && (text === "true" || text === "false")) state[key] = text === "true";
    else if (key === "ignored" && text.split(",").every((topic) => topic === "" || E.TOPICS.includes(topic))) state.ignored = E.TOPICS.filter((t) => text.split(",").includes(t));
    else if (key === "values" && !numbersOf(text).bad) state.values = numbersOf(text).values;
    else bad.push(`${key}=${text}`);
  }
  if (state.from === state.to) state.to = FACTS.order.find((name) => name !== state.from);
  for (const [key, text] of later) {
    const p = optional(state.from, state.rank).find((each) => `a.${each.name}` === key), known = p && argument(p, text);
    if (known) state.given[p.name] = known;
    else bad.push(`${key}=${text}`);
  }
  return [state, bad];
};

// ---- Elements.

const h = (tag, attributes = {}, ...children) => {
  const svg = ["svg", "path", "line", "text", "title", "g", "circle", "rect", "desc"].includes(tag);
  const made = svg ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false && value !== null) made.setAttribute(name, value);
  }
  made.append(...children.flat().filter((child) => child !== null));
  return made;
};

const field = (id, label, control, note = "") => {
  control.id = `explorer-${id}`;
  const error = h("span", { class: "bad", id: `explorer-${id}-bad` });
  control.setAttribute("aria-describedby", error.id);
  return h("div", { class: "field" }, h("label", { for: control.id }, label), control, note ? h("span", { class: "note" }, note) : null, error);
};

const complain = (control, text) => {
  control.setAttribute("aria-invalid", text ? "true" : "false");
  document.getElementById(`${control.id}-bad`).textContent = text;
};

const select = (options, value, change) => h("select", { onchange: (event) => change(event.target.value) },
  options.map(([text, label]) => h("option", { value: text, selected: text === value }, label)));

const check = (id, label, checked, change, note = "") => {
  const box = h("input", { type: "checkbox", id: `explorer-${id}`, checked, onchange: (event) => change(event.target.checked) });
  return h("div", { class: "check" }, box, h("label", { for: box.id }, label), h("span", { class: "note" }, note ? ` (${note})` : ""));
};

const numberField = (key) => {
  const [low, high] = NUMBERS[key];
  const input = h("input", { type: "text", inputmode: "decimal", value: String(s[key]), autocomplete: "off", oninput: () => {
    const value = Number(input.value), fits = input.value.trim() !== "" && value >= low && value <= high && (!WHOLE.has(key) || Number.isInteger(value));
    complain(input, fits ? "" : say("range", { low, high }));
    if (fits) { s[key] = value; answer(); }
  } });
  return field(key, say(key), input, key === "std" ? say("stdNote") : "");
};

// ---- What is asked.

const choose = (from, to) => {
  const old = s.from, size = E.called(from, s.rank, "num_features");
  if (from !== old) {
    s.given = E.translate(old, from, s.rank, s.given, s.channels).target;
    if (size) delete s.given[size.name];
    for (const p of optional(from, s.rank)) {
      if (p.name in s.given && s.given[p.name] === plainDefault(p)) delete s.given[p.name];
    }
  }
  if (from === to) to = old !== from ? old : FACTS.order.find((name) => name !== from);
  [s.from, s.to] = [from, to];
  form();
};

const argumentField = (p) => {
  const current = s.given[p.name] || plainDefault(p);
  const set = (text) => {
    if (text === plainDefault(p)) delete s.given[p.name];
    else s.given[p.name] = text;
    answer();
  };
  if (!isNumber(p)) return field(`a-${p.name}`, h("code", {}, p.name), select(optionsOf(p).map((text) => [text, text]), current, set));
  const input = h("input", { type: "text", inputmode: "decimal", value: current, autocomplete: "off", oninput: () => {
    const known = argument(p, input.value);
    complain(input, known ? "" : say("badNumber", { none: p.word === "weight_of_batch" ? say("orNone") : "" }));
    if (known) set(known);
  } });
  return field(`a-${p.name}`, h("code", {}, p.name), input);
};

const form = () => {
  const names = FACTS.order.map((name) => [name, titleOf(name)]);
  const ranks = ["2", "3", "4", "5"].map((rank) => [rank, rank]);
  const own = h("textarea", { rows: 2, oninput: () => {
    const found = numbersOf(own.value);
    complain(own, found.bad ? say("badValues") : "");
    if (!found.bad) { s.values = found.values; answer(); }
  } }, (s.values || []).join(" "));
  const focused = document.activeElement && document.activeElement.id;
  const parameters = optional(s.from, s.rank);
  for (const name of Object.keys(s.given)) if (!parameters.some((p) => p.name === name)) delete s.given[name];
  ROOT.querySelector(".ask").replaceChildren(
    h("div", { class: "row" },
      field("from", say("from"), select(names, s.from, (name) => choose(name, s.to))),
      h("button", { type: "button", id: "explorer-swap", class: "swap", onclick: () => choose(s.to, s.from) }, `⇄ ${say("swap")}`),
      field("to", say("to"), select(names, s.to, (name) => (name === s.from ? choose(s.to, s.from) : choose(s.from, name)))),
      field("rank", say("rank"), select(ranks, String(s.rank), (rank) => { s.rank = Number(rank); form(); }))),
    h("fieldset", {}, h("legend", {}, say("call", { from: titleOf(s.from) })), h("div", { class: "row" }, parameters.map(argumentField))),
    h("fieldset", {}, h("legend", {}, say("batch")),
      h("div", { class: "row" }, ["samples", "size", "channels", "steps", "mean", "std", "seed"].map(numberField)),
      field("values", say("values"), own),
      check("same", say("same"), s.same, (on) => { s.same = on; answer(); }),
      check("inference", say("inference"), s.inference, (on) => { s.inference = on; answer(); })),
    h("fieldset", { class: "topics" }, h("legend", {}, say("leave"))));
  if (focused && document.getElementById(focused)) document.getElementById(focused).focus();
  answer();
};

// ---- What is answered.

const sideName = (side) => say(side, { from: titleOf(s.from), to: titleOf(s.to) });

const sentence = (d) => {
  const to = titleOf(s.to), from = titleOf(s.from), freeze = FACTS.dialects[s.to].freeze, state = FACTS.dialects[s.to].state;
  const how = (d.roles || []).map((role) => freeze.replace("{role}", role).replace("{name}", state[role])).join(", ");
  const roles = (d.roles || []).join(", "), n = (c) => (c ? "n − 1" : "n");
  const method = FACTS.dialects[s.to].mode_method, start = say(FACTS.dialects[s.to].starts_in_training ? "training" : "infer");
  const templates = {
    "cumulative-average": ["d_cumulative"], "frozen-affine": ["d_frozen", { has: say(d.absent ? "hasNot" : "has") }], "extra-parameter": ["d_extra"],
    "frozen-parameters": [d.trains ? "d_parameters_train" : "d_parameters_still"], "batch-statistics-in-inference": ["d_batch"],
    "running-statistics-in-training": ["d_running"], "statistics-kept": [d.kept ? "d_kept_true" : "d_kept_false"],
    "channel-axis": ["d_axis", { ours: d.ours, theirs: d.theirs }], "running-variance-denominator": ["d_variance", { ours: n(d.ours), theirs: n(d.theirs) }],
    "epsilon-clamp": ["d_clamp", { floor: d.floor }], mode: [method ? "d_mode_method" : "d_mode_call", { method, start }], refused: ["d_refused", { message: d.message }],
  };
  const [key, more = {}] = templates[d.key];
  return say(key, { to, from, roles, how, ...more });
};

const causeText = (cause, a, b, step) => {
  const n = a.steps[0].y.length / s.channels, kind = n > 1 ? "correction" : "correction_of_one";
  const values = {
    mode: [say(a.steps[step].mode), say(b.steps[step].mode)], axis: [], epsilon: [a.layer.epsilon, b.layer.epsilon].map(shown),
    momentum: [a.layer, b.layer].map((l) => (l.number === null ? "1/k" : shown(l.factor))), variance: [a, b].map((x) => n - x.layer.facts[kind]),
  }[cause];
  return say(`cause_${cause}`, { a: values[0], b: values[1], n });
};

const firstText = (side, found) => {
  const a = found.source, b = found[side], name = sideName(side), lines = [];
  if (b.error) {
    const message = b.error;
    lines.push(b.steps.length ? say("refusedAt", { side: name, n: b.steps.length + 1, message }) : say("refusedAtOnce", { side: name, message }));
  }
  if (a.error || (b.error && !b.steps.length)) return lines;
  if (!b.first) {
    if (!b.error) lines.push(say("none", { side: name, steps: s.steps }));
    return lines;
  }
  const { step, quantity, channel, ours, theirs, causes } = b.first;
  const why = causes.length ? say("because", { causes: causes.map((cause) => causeText(cause, a, b, step)).join(JOIN) }) : "";
  lines.push(say("firstAt", { side: name, when: step < s.steps ? say("step", { n: step + 1 }) : say("last"), channel, why,
    quantity: say(quantity === "mean" ? "mean_" : quantity), ours: shown(ours), theirs: shown(theirs), from: titleOf(s.from) }));
  const off = E.outputsOff(a, b);
  if (!b.error) lines.push(say("off", { off: off < 1e-6 ? say("even") : off < 0.001 ? off.toExponential(1) : `${Number((100 * off).toPrecision(2))} %` }));
  return lines;
};

// The values of one side, from before the first step on.
const series = (found, side, quantity) => {
  const { layer, steps } = found[side];
  if (!layer.tracks) return [];
  const start = layer.dialect.initial[quantity === "mean" ? "running_mean" : "running_var"];
  const pick = (values) => values[Math.min(s.channel, values.length - 1)];
  return [start, ...steps.slice(0, s.steps).map((step) => pick(step[quantity]))];
};

const WIDTH = 640, HEIGHT = 260, LEFT = 64, RIGHT = 12, TOP = 14, BOTTOM = 30;

const ticks = (low, high, count) => {
  const rough = (high - low) / count, power = 10 ** Math.floor(Math.log10(rough));
  const size = [1, 2, 5, 10].map((f) => f * power).find((f) => f >= rough);
  const found = [];
  for (let t = Math.ceil(low / size) * size; t <= high + size * 1e-9; t += size) found.push(Number(t.toPrecision(12)));
  return found;
};

const plot = (found, quantity) => {
  const lines = SIDES.map((side) => series(found, side, quantity)), all = lines.flat().filter(Number.isFinite);
  let [low, high] = all.length ? [Math.min(...all), Math.max(...all)] : [0, 1];
  if (high - low < 1e-12 * Math.max(1, Math.abs(high))) [low, high] = [low - 0.5, high + 0.5];
  [low, high] = [low - 0.05 * (high - low), high + 0.05 * (high - low)];
  const x = (step) => LEFT + ((WIDTH - LEFT - RIGHT) * step) / s.steps, y = (value) => HEIGHT - BOTTOM - ((HEIGHT - BOTTOM - TOP) * (value - low)) / (high - low);
  const name = say(quantity === "mean" ? "mean_" : "var"), ends = SIDES.map((side, i) => say("ends", { side: sideName(side), value: shown(lines[i].at(-1)) })).join(JOIN);
  const drawing = h("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": say("plot", { quantity: name, channel: s.channel, steps: s.steps, ends }) });
  for (const t of ticks(low, high, 5)) drawing.append(h("line", { class: "grid", x1: LEFT, x2: WIDTH - RIGHT, y1: y(t), y2: y(t) }), h("text", { class: "tick", x: LEFT - 6, y: y(t) + 4, "text-anchor": "end" }, shown(t)));
  for (const t of ticks(0, s.steps, 8).filter(Number.isInteger)) drawing.append(h("text", { class: "tick", x: x(t), y: HEIGHT - 10, "text-anchor": "middle" }, String(t)));
  drawing.append(h("line", { class: "now", x1: x(s.at), x2: x(s.at), y1: TOP, y2: HEIGHT - BOTTOM }));
  lines.forEach((values, i) => {
    let path = "";
    values.forEach((value, step) => {
      if (Number.isFinite(value)) path += `${path && Number.isFinite(values[step - 1]) ? "L" : "M"}${x(step).toFixed(1)} ${y(value).toFixed(1)}`;
    });
    drawing.append(h("path", { class: `curve ${SIDES[i]}`, d: path }));
    const every = Math.max(1, Math.round(s.steps / 8));
    values.forEach((value, step) => {
      if (Number.isFinite(value) && (step + i * Math.ceil(every / 3)) % every === 0) drawing.append(marker(SIDES[i], x(step), y(value)));
    });
  });
  return h("figure", {}, h("figcaption", {}, name), drawing);
};

const MARKS = { source: "M-4 0a4 4 0 1 0 8 0a4 4 0 1 0 -8 0", right: "M-4 -4h8v8h-8z", ignored: "M0 -5L5 4H-5Z" };
const marker = (side, x, y) => h("path", { class: `mark ${side}`, d: MARKS[side], transform: `translate(${x.toFixed(1)} ${y.toFixed(1)})` });

const legend = () => h("ul", { class: "legend" }, SIDES.map((side) => h("li", {},
  h("svg", { viewBox: "0 0 44 14", width: 44, height: 14, "aria-hidden": "true" }, h("path", { class: `curve ${side}`, d: "M2 7H42" }), marker(side, 22, 7)), ` ${sideName(side)}`)));

const reading = (found) => {
  const when = s.at ? say("step", { n: s.at }) : say("start");
  return SIDES.map((side) => {
    const [mean, variance] = ["mean", "var"].map((quantity) => series(found, side, quantity)[s.at]);
    const values = found[side].layer.tracks ? `${say("mean_")} ${shown(mean)}, ${say("var")} ${shown(variance)}` : say("noState");
    return h("li", {}, h("strong", {}, sideName(side)), say("reading", { when: ` ${when}`, values }));
  });
};

const table = (found) => {
  const head = ["mean", "var"].flatMap((quantity) => SIDES.map((side) => [quantity, side]));
  const columns = head.map(([quantity, side]) => series(found, side, quantity));
  return h("table", {},
    h("thead", {}, h("tr", {}, h("th", { scope: "col" }, say("steps")), head.map(([quantity, side]) => h("th", { scope: "col" }, `${say(quantity === "mean" ? "mean_" : "var")}: ${sideName(side)}`)))),
    h("tbody", {}, Array.from({ length: s.steps + 1 }, (_, step) => h("tr", {}, h("th", { scope: "row" }, String(step)), columns.map((values) => h("td", {}, shown(values[step])))))));
};

const commandOf = (found) => {
  const keras = !E.called(s.from, s.rank, "num_features"), quoted = found.source.text.replaceAll("'", "'\\''");
  return `batchnorm translate '${quoted}' --from ${s.from} --to ${s.to}${keras ? ` --num-features ${s.channels}` : ""}${s.rank === 4 ? "" : ` --rank ${s.rank}`}`;
};

const topics = (found) => {
  const names = ["momentum", "epsilon", "mode", "axis"];
  const box = ROOT.querySelector(".topics"), boxes = names.map((topic) => {
    const alone = E.explore({ ...s, steps: 1, ignored: [topic] });
    const idle = alone.ignored.text === found.right.text && (topic !== "mode" || !alone.differences.some((d) => d.key === "mode"));
    return check(`leave-${topic}`, say(topic), s.ignored.includes(topic), (on) => {
      s.ignored = names.filter((name) => (name === topic ? on : s.ignored.includes(name)));
      answer();
    }, idle ? say("changesNothing") : "");
  });
  const focused = document.activeElement && document.activeElement.id;
  box.replaceChildren(box.firstChild, ...boxes);
  if (focused && focused.startsWith("explorer-leave-")) document.getElementById(focused).focus();
};

const share = (found) => {
  const link = h("input", { type: "text", readonly: true, id: "explorer-link", value: location.href });
  const status = h("span", { role: "status", class: "note" });
  const button = h("button", { type: "button", id: "explorer-copy", onclick: async () => {
    try {
      await navigator.clipboard.writeText(location.href);
      status.textContent = say("copied");
    } catch {
      link.select();
      status.textContent = document.execCommand("copy") ? say("copied") : say("copyByHand");
    }
  } }, say("copy"));
  const page = FACTS.pages[`${s.from} ${s.to}`] || FACTS.pages[`${s.to} ${s.from}`];
  return [h("div", { class: "share" }, h("label", { for: link.id }, say("link")), link, button, status),
    h("p", {}, `${say("command")}: `), h("pre", { tabindex: 0 }, h("code", {}, commandOf(found))),
    page ? h("p", {}, h("a", { href: page }, say("page"))) : null];
};

const answer = () => {
  const size = (s.values ? s.values.length : s.samples * s.size ** (s.rank - 2)) * s.channels, out = ROOT.querySelector(".answer");
  s.channel = Math.min(s.channel, s.channels - 1);
  s.at = Math.min(s.at, s.steps);
  history.replaceState(null, "", toHash(s));
  const told = notes;
  notes = [];
  const parts = told.length ? [h("p", { class: "bad", role: "alert" }, say("ignoredParts", { parts: told.join(", ") }))] : [];
  if (size > MOST) {
    out.replaceChildren(...parts, h("p", { class: "bad", role: "alert" }, say("tooMany", { n: size, most: MOST })));
    return;
  }
  const found = E.explore(s);
  topics(found);
  const curves = h("div", { class: "curves" }), read = h("ul", { class: "reading", "aria-live": "polite" });
  const redraw = () => {
    curves.replaceChildren(plot(found, "mean"), plot(found, "var"));
    read.replaceChildren(...reading(found));
    history.replaceState(null, "", toHash(s));
    const link = document.getElementById("explorer-link");
    if (link) link.value = location.href;
  };
  const slider = h("input", { type: "range", min: 0, max: s.steps, value: s.at, oninput: () => { s.at = Number(slider.value); redraw(); } });
  const channels = select(Array.from({ length: s.channels }, (_, k) => [String(k), String(k)]), String(s.channel), (k) => { s.channel = Number(k); answer(); document.getElementById("explorer-channel").focus(); });
  out.replaceChildren(...parts,
    h("h2", { id: "calls" }, say("calls")),
    h("dl", { class: "calls" }, SIDES.flatMap((side) => [
      h("dt", {}, sideName(side), side === "ignored" && s.ignored.includes("mode") ? ` (${say("mode")})` : ""), h("dd", {}, h("pre", { tabindex: 0 }, h("code", { "data-side": side }, found[side].text)))])),
    h("h3", {}, say("differs")),
    found.differences.length ? h("ul", { class: "differences" }, found.differences.map((d) => h("li", { "data-key": d.key }, h("strong", {}, `${say(d.kind)}: `), sentence(d)))) : h("p", {}, say("nothing")),
    h("h2", { id: "first" }, say("first")),
    h("ul", { class: "first", "aria-live": "polite" }, found.source.error ? h("li", {}, say("refusedAtOnce", { side: sideName("source"), message: found.source.error })) : null,
      ["right", "ignored"].map((side) => firstText(side, found)).filter((lines) => lines.length).map((lines) => h("li", {}, lines.join(LANG === "zh" ? "" : " ")))),
    h("h2", { id: "curves" }, say("curves")), legend(),
    h("div", { class: "row" }, field("channel", say("ofChannel"), channels), field("at", say("at"), slider)),
    read, curves,
    h("details", {}, h("summary", {}, say("table")), h("div", { class: "numbers", tabindex: 0 }, table(found))),
    h("h2", { id: "share" }, say("share")), ...share(found).filter(Boolean));
  redraw();
};

const load = () => {
  [s, notes] = fromHash(location.hash);
  form();
};

ROOT.replaceChildren(h("div", { class: "ask" }), h("div", { class: "answer" }));
addEventListener("hashchange", load);
load();
})();
