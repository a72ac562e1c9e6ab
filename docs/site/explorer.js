// The difference explorer's arithmetic: two calls, what each does to its running statistics, and where they part.
// What the frameworks do stands in explorer.facts.js; the page in explorer.page.js, its words in explorer.texts.js.
// The tests run this file in node and in a browser against what the package gives.
"use strict";
(() => {
const FACTS = globalThis.BATCHNORM_FACTS;
const TOPICS = ["momentum", "epsilon", "mode", "axis"];

// ---- Numbers as Python writes and reads them.

const repr = (x) => {
  if (!Number.isFinite(x)) return Number.isNaN(x) ? "nan" : x > 0 ? "inf" : "-inf";
  if (x === 0) return Object.is(x, -0) ? "-0.0" : "0.0";
  const sign = x < 0 ? "-" : "", [mantissa, power] = Math.abs(x).toExponential().split("e");
  const digits = mantissa.replace(".", ""), e = Number(power);
  if (e < -4 || e >= 16) {
    const size = String(Math.abs(e)).padStart(2, "0");
    return `${sign}${mantissa}e${e < 0 ? "-" : "+"}${size}`;
  }
  if (e < 0) return `${sign}0.${"0".repeat(-e - 1)}${digits}`;
  const whole = digits.slice(0, e + 1).padEnd(e + 1, "0");
  return `${sign}${whole}.${digits.slice(e + 1) || "0"}`;
};

const decimal = (text) => {
  const [, sign, whole, part = "", power = "0"] = /^([-+]?)(\d*)\.?(\d*)(?:e([-+]?\d+))?$/i.exec(text);
  return { digits: BigInt(`${sign === "-" ? "-" : ""}${whole}${part}`), power: Number(power) - part.length };
};

const equalDecimals = (a, b) => {
  const power = Math.min(a.power, b.power);
  return a.digits * 10n ** BigInt(a.power - power) === b.digits * 10n ** BigInt(b.power - power);
};

// 1 - x of the number that a text spells, exactly: 0.9 gives 0.1.
const complement = (text) => {
  const { digits, power } = decimal(text), places = Math.max(0, -power);
  const left = 10n ** BigInt(places) - digits * 10n ** BigInt(power + places);
  const exact = { digits: left, power: -places };
  const sign = left < 0n ? "-" : "", all = String(left < 0n ? -left : left).padStart(places + 1, "0");
  const fixed = `${sign}${all.slice(0, all.length - places)}.${all.slice(all.length - places) || "0"}`;
  const short = repr(Number(fixed));
  if (!equalDecimals(decimal(short), exact)) return fixed.replace(/0+$/, "");
  return left === 0n ? "0.0" : short;
};

const valueOf = (text) => {
  if (text === "None") return null;
  if (text === "True" || text === "False") return text === "True";
  return /^['"]/.test(text) ? text.slice(1, -1) : Number(text);
};

// ---- Calls: read into what they mean, and written again in another framework's words.

const said = (text, written = false) => ({ text, written, value: valueOf(text) });
const same = (a, b) => a.value === b.value;
const TRUE = said("True"), FALSE = said("False"), NONE = said("None");
const classOf = (name, rank) => FACTS.dialects[name].classes[rank];
const parametersOf = (name, rank) => FACTS.dialects[name].parameters.filter((p) => !p.ranks || p.ranks.includes(rank));
const required = (p) => p.default === undefined;
const wordsOf = (name, rank) => new Set(parametersOf(name, rank).map((p) => p.word));
const called = (name, rank, word) => parametersOf(name, rank).find((p) => p.word === word);

const READERS = {
  num_features: (c, a) => { c.num_features = a; },
  epsilon: (c, a) => { c.epsilon = a; },
  weight_of_batch: (c, a) => { c.factor = a; },
  weight_of_running: (c, a) => { c.factor = said(complement(a.text), a.written); },
  affine: (c, a) => { c.has_gamma = c.has_beta = a; },
  beta_if_affine: (c, a) => {
    if (!c.has_gamma.value) c.has_beta = c.has_gamma;
    else if (a.value) c.has_beta = { ...c.has_gamma, written: c.has_gamma.written || a.written };
    else c.has_beta = a;
  },
  train_affine: (c, a) => { c.trained = a; },
  has_gamma: (c, a) => { c.has_gamma = a; },
  has_beta: (c, a) => { c.has_beta = a; },
  tracking: (c, a) => { c.tracks = a; c.forced = said(a.value ? "None" : "True", a.written); },
  forced_statistics: (c, a) => { c.forced = a; },
  trainable: (c, a) => { c.trained = a; c.forced = said(a.value ? "None" : "False", a.written); },
  channel_axis: (c, a) => { c.axis = a; },
  data_format: (c, a) => { c.axis = said(a.value === "NHWC" ? "-1" : "1", a.written); },
};

const read = (name, rank, given) => {
  const c = { num_features: NONE, factor: said("0.1"), epsilon: said("1e-05"), has_gamma: TRUE, has_beta: TRUE,
    trained: TRUE, tracks: TRUE, forced: NONE, axis: said("1") };
  for (const p of parametersOf(name, rank)) {
    const text = p.name in given ? given[p.name] : p.default;
    if (text !== undefined) READERS[p.word](c, said(text, p.name in given));
  }
  return c;
};

const place = (axis, rank) => (axis + rank) % rank;

// What stays untrained is as good as absent, where the target can't say it otherwise.
const frozen = (c, words) => (words.has("trainable") || c.forced.value === false || c.trained.value ? null : c.trained);

const WRITERS = {
  num_features: (c) => c.num_features,
  epsilon: (c) => c.epsilon,
  weight_of_batch: (c) => c.factor,
  weight_of_running: (c) => (c.factor.value === null ? null : said(complement(c.factor.text), c.factor.written)),
  affine: (c, words) => frozen(c, words) || (c.has_gamma.value || !c.has_beta.value ? c.has_gamma : c.has_beta),
  beta_if_affine: (c, words) => (same(c.has_gamma, c.has_beta) || frozen(c, words) ? null : c.has_beta),
  train_affine: (c) => {
    if (!c.trained.value) return c.trained;
    if (same(c.has_gamma, c.has_beta)) return c.has_gamma;
    return c.has_beta.value && !c.has_gamma.value ? c.has_beta : c.has_gamma;
  },
  has_gamma: (c, words) => frozen(c, words) || c.has_gamma,
  has_beta: (c, words) => frozen(c, words) || c.has_beta,
  tracking: (c) => {
    if (!c.tracks.value) return c.tracks;
    return c.forced.value === true ? { ...FALSE, written: c.forced.written } : c.tracks;
  },
  forced_statistics: (c) => c.forced,
  trainable: (c, words) => {
    if (words.has("trainable")) return c.trained;
    return c.forced.value === false ? { ...FALSE, written: c.forced.written } : null;
  },
  channel_axis: (c) => c.axis,
  data_format: (c, words, rank) => {
    if (!words.has("data_format") || rank !== 4) return null;
    return { text: c.axis.value === 1 ? '"NCHW"' : '"NHWC"', value: c.axis.value === 1 ? "NCHW" : "NHWC", written: c.axis.written };
  },
};

const callText = (name, rank, given) => {
  const shown = parametersOf(name, rank).filter((p) => p.name in given)
    .map((p) => (required(p) ? given[p.name] : `${p.name}=${given[p.name]}`));
  return `${FACTS.dialects[name].prefix}${classOf(name, rank)}(${shown.join(", ")})`;
};

const factsFor = (name, rank, axis) => FACTS.dialects[name].rules[`${rank} ${axis}`] || FACTS.dialects[name].rules.other;

const KINDS = { "cumulative-average": "inexpressible", "extra-parameter": "inexpressible",
  "frozen-parameters": "inexpressible", "batch-statistics-in-inference": "inexpressible",
  "running-statistics-in-training": "inexpressible", refused: "inexpressible", "frozen-affine": "around",
  "channel-axis": "around", mode: "around", "statistics-kept": "predicted",
  "running-variance-denominator": "predicted", "epsilon-clamp": "predicted" };

// The call for another framework, and what remains different.
const translate = (from, to, rank, given, channels) => {
  const c = read(from, rank, given), words = wordsOf(from, rank), target = {};
  if (c.num_features.value === null) c.num_features = said(String(channels), true);
  const floor = factsFor(from, rank, c.axis.value).epsilon_floor;
  if (floor && c.epsilon.value < floor) c.epsilon = { ...c.epsilon, text: repr(floor), value: floor };
  for (const p of parametersOf(to, rank)) {
    const a = WRITERS[p.word](c, words, rank);
    if (a && (required(p) || a.written || a.value !== valueOf(p.default))) target[p.name] = a.text;
  }
  return { target, differences: differences(from, to, rank, c, read(to, rank, target), target, channels) };
};

const differences = (from, to, rank, c, again, target, channels) => {
  const found = [], add = (key, more = {}) => found.push({ key, kind: KINDS[key], ...more });
  const names = { gamma: "has_gamma", beta: "has_beta" }, roles = Object.keys(names);
  if (c.factor.value === null && again.factor.value !== null && c.tracks.value) add("cumulative-average");
  const extra = roles.filter((r) => again[names[r]].value && !c[names[r]].value);
  const gone = roles.filter((r) => c[names[r]].value && !again[names[r]].value);
  const kept = roles.filter((r) => c[names[r]].value);
  if (gone.length) add("frozen-affine", { roles: gone, absent: true });
  else if (extra.length) add(again.trained.value ? "extra-parameter" : "frozen-affine", { roles: extra });
  else if (again.trained.value !== c.trained.value && kept.length) {
    add("frozen-parameters", { roles: kept, trains: again.trained.value });
  }
  if (!same(c.forced, again.forced) || !same(c.tracks, again.tracks)) {
    if (c.forced.value === true && again.forced.value !== true) add("batch-statistics-in-inference");
    else if (c.forced.value === false && again.forced.value !== false) add("running-statistics-in-training");
    else if (again.tracks.value !== c.tracks.value) add("statistics-kept", { kept: again.tracks.value });
  }
  const [ours, theirs] = [place(c.axis.value, rank), place(again.axis.value, rank)];
  if (ours !== theirs) add("channel-axis", { ours, theirs });
  const own = factsFor(from, rank, c.axis.value), other = factsFor(to, rank, again.axis.value);
  const moves = c.tracks.value && again.tracks.value && c.forced.value !== false && again.forced.value !== false;
  if (moves && own.correction !== other.correction) add("running-variance-denominator", { ours: own.correction, theirs: other.correction });
  const floor = Math.max(own.epsilon_floor, other.epsilon_floor);
  if (own.epsilon_floor !== other.epsilon_floor && c.epsilon.value < floor) add("epsilon-clamp", { floor: repr(floor) });
  const dialects = [FACTS.dialects[from], FACTS.dialects[to]];
  if (c.forced.value === null && dialects[0].told_how !== dialects[1].told_how) add("mode");
  const refusal = refused(layer(to, rank, target, channels), dialects[1].checks_when_called ? "inference" : "construction", 2);
  if (refusal) add("refused", { message: refusal });
  return found;
};

// The same call with rules left aside: numbers copied as they are, defaults kept, no mode told.
const ignoring = (from, to, rank, given, target, topics) => {
  const wrong = { ...target };
  const drop = (...words) => words.forEach((word) => {
    const p = called(to, rank, word);
    if (p) delete wrong[p.name];
  });
  if (topics.includes("momentum")) {
    const [ours, theirs] = [from, to].map((n) => called(n, rank, "weight_of_batch") || called(n, rank, "weight_of_running"));
    const number = ours.name in given ? given[ours.name] : ours.default;
    if (ours.word !== theirs.word && number !== "None") wrong[theirs.name] = number;
    else drop(theirs.word);
  }
  if (topics.includes("epsilon")) drop("epsilon");
  if (topics.includes("axis")) drop("channel_axis", "data_format");
  return wrong;
};

// ---- Layers: what a call does with a batch. State in float32, sums in double, as the package has it.

const layer = (name, rank, given, channels) => {
  const dialect = FACTS.dialects[name], c = read(name, rank, given), own = {};
  for (const p of parametersOf(name, rank)) own[p.name] = valueOf(p.name in given ? given[p.name] : p.default ?? "None");
  const momentum = called(name, rank, "weight_of_batch") || called(name, rank, "weight_of_running");
  const facts = factsFor(name, rank, c.axis.value), number = own[momentum.name];
  let factor = momentum.word === "weight_of_batch" ? number : 1 - number;
  if (facts.rounds_factor) factor = Math.fround(factor);
  const floor = facts.epsilon_floor, epsilon = floor ? Math.max(c.epsilon.value, floor) : c.epsilon.value;
  const told = called(name, rank, "num_features") ? channels : null;
  return { name, rank, dialect, own, facts, factor, number, epsilon, written: c.epsilon.value, told, axis: place(c.axis.value, rank),
    tracks: c.tracks.value, className: classOf(name, rank), state: null, seen: 0 };
};

const modeOf = (l, training) => {
  const value = (name) => (name === "training" ? training : name === "buffers" ? l.tracks : l.own[name]);
  return l.dialect.modes.find(([given]) => Object.keys(given).every((name) => given[name] === value(name)))[1];
};

const kindOf = (x) => (x < 0 ? "negative" : x === 0 ? "zero" : x > 1 ? "above 1" : "");

// What the framework says where it refuses: "construction", or that and "training" or "inference".
const refused = (l, when, count) => {
  const { momentum, epsilon } = l.dialect.limits, asked = [];
  if (l.number !== null) asked.push([momentum[kindOf(l.number)], l.number]);
  asked.push([epsilon[kindOf(l.written)], l.written]);
  if (count === 1) asked.push([l.dialect.limits["one value"], null]);
  for (const [known, value] of asked) {
    const text = known && (known.construction || known[when]);
    if (text) return (value === null ? text : text.replace(/-?\d+\.\d+(?=\.?$)/, repr(value))).replace("BatchNorm2d", l.className);
  }
  return "";
};

// One call: the outputs; the state moves. Throws what the framework says where it refuses.
const call = (l, x, shape, training) => {
  const channels = shape[l.axis], inner = shape.slice(l.axis + 1).reduce((a, b) => a * b, 1);
  const count = x.length / channels, mode = modeOf(l, training), batch = mode !== "RUNNING";
  const refusal = refused(l, batch ? "training" : "inference", count);
  if (refusal) throw new Error(refusal.replace(/\(\d+(, \d+)+\)/, `(${shape.join(", ")})`));
  if (l.told !== null && l.told !== channels) throw new Error(`channels: ${l.told} ≠ ${channels}`);
  if (!l.state) l.state = { mean: Array(channels).fill(l.dialect.initial.running_mean), var: Array(channels).fill(l.dialect.initial.running_var) };
  if (training && l.tracks) l.seen += 1;
  const of = (i) => Math.floor(i / inner) % channels;
  let { mean, var: variance } = l.state;
  if (batch) {
    mean = Array(channels).fill(0);
    const squares = Array(channels).fill(0), left = Array(channels).fill(0);
    for (let i = 0; i < x.length; i++) mean[of(i)] += x[i];
    mean = mean.map((sum) => sum / count);
    for (let i = 0; i < x.length; i++) {
      const off = x[i] - mean[of(i)];
      squares[of(i)] += off * off;
      left[of(i)] += off;
    }
    const m2 = squares.map((square, k) => square - (left[k] * left[k]) / count);
    variance = m2.map((square) => square / count);
    if (mode === "BATCH_AND_UPDATE" && l.tracks) {
      const correction = count > 1 ? l.facts.correction : l.facts.correction_of_one;
      const f = l.number === null ? 1 / l.seen : l.factor;
      const average = (old, now) => Math.fround((1 - f) * old + f * now);
      l.state = { mean: mean.map((now, k) => average(l.state.mean[k], now)),
        var: m2.map((square, k) => average(l.state.var[k], square / (count - correction))) };
    }
  }
  const scale = variance.map((v) => 1 / Math.sqrt(v + l.epsilon));
  return Float32Array.from(x, (value, i) => (value - mean[of(i)]) * scale[of(i)]);
};

// ---- Batches, the same in Python: whole numbers give the same numbers everywhere.

const random = (seed) => () => {
  seed = (seed + 0x6d2b79f5) | 0;
  let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
  t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
  return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
};

// Values with the channels last, each channel an eighth as wide as the one before.
const draw = (s, step) => {
  if (s.values) return Float32Array.from({ length: s.values.length * s.channels }, (_, i) => s.values[Math.floor(i / s.channels)]);
  const next = random(s.seed * 1000 + (s.same ? 0 : step)), size = s.samples * s.size ** (s.rank - 2) * s.channels;
  return Float32Array.from({ length: size }, (_, i) => {
    const normal = (next() + next() + next() + next() - 2) * 1.7320508;
    return s.mean + s.std * 8 ** -(i % s.channels) * normal;
  });
};

const shapeOf = (s, axis) => {
  const shape = [s.values ? s.values.length : s.samples, ...Array(s.rank - 2).fill(s.values ? 1 : s.size)];
  shape.splice(axis, 0, s.channels);
  return shape;
};

// For each place of a layout with its channels on an axis, the place with the channels last.
const layout = (shape, axis) => {
  const inner = shape.slice(axis + 1).reduce((a, b) => a * b, 1), channels = shape[axis];
  const found = [];
  for (let i = 0; i < shape.reduce((a, b) => a * b, 1); i++) {
    const channel = Math.floor(i / inner) % channels, outer = Math.floor(i / inner / channels);
    found.push((outer * inner + (i % inner)) * channels + channel);
  }
  return found;
};

const run = (s, name, given, axis, told) => {
  const l = layer(name, s.rank, given, s.channels), shape = shapeOf(s, axis), places = layout(shape, axis);
  const result = { layer: l, steps: [], error: "" }, start = l.dialect.starts_in_training;
  try {
    for (let step = 0; step <= s.steps; step++) {
      const x = draw(s, step), training = step < s.steps && !s.inference, mode = told ? training : start;
      const y = call(l, places.map((p) => x[p]), shape, mode), back = new Float32Array(y.length);
      places.forEach((p, i) => { back[p] = y[i]; });
      const { mean, var: variance } = l.tracks ? l.state : { mean: [], var: [] };
      result.steps.push({ y: back, mean, var: variance, mode: modeOf(l, mode) });
    }
  } catch (error) {
    result.error = error.message;
  }
  return result;
};

// ---- The explorer's answer for its settings.

const explore = (s) => {
  const given = { ...s.given }, size = called(s.from, s.rank, "num_features");
  if (size) given[size.name] = String(s.channels);
  const { target, differences: remaining } = translate(s.from, s.to, s.rank, given, s.channels);
  const wrong = ignoring(s.from, s.to, s.rank, given, target, s.ignored);
  const own = layer(s.from, s.rank, given, s.channels).axis, axis = layer(s.to, s.rank, target, s.channels).axis;
  const sides = {
    source: { name: s.from, text: callText(s.from, s.rank, given), ...run(s, s.from, given, own, true) },
    right: { name: s.to, text: callText(s.to, s.rank, target), ...run(s, s.to, target, axis, true) },
    ignored: { name: s.to, text: callText(s.to, s.rank, wrong), ...run(s, s.to, wrong, axis, !s.ignored.includes("mode")) },
  };
  sides.right.first = firstDifference(sides.source, sides.right, s);
  sides.ignored.first = firstDifference(sides.source, sides.ignored, s);
  return { ...sides, differences: remaining };
};

const CAUSES = { y: ["mode", "axis", "epsilon"], mean: ["mode", "axis", "momentum"], var: ["mode", "axis", "momentum", "variance"] };

// The first step and quantity in which two sides differ by more than rounding, and why.
const firstDifference = (a, b, s) => {
  for (let step = 0; step < Math.min(a.steps.length, b.steps.length); step++) {
    for (const quantity of ["y", "mean", "var"]) {
      const [one, two] = [a.steps[step][quantity], b.steps[step][quantity]];
      if (!one.length || !two.length) continue;
      const size = Math.max(...one.map(Math.abs), ...two.map(Math.abs));
      let worst = -1, channel = 0;
      for (let i = 0; i < Math.min(one.length, two.length); i++) {
        const off = Object.is(one[i], two[i]) ? 0 : Number.isNaN(one[i] - two[i]) ? Infinity : Math.abs(one[i] - two[i]);
        if (off > worst) [worst, channel] = [off, i];
      }
      if (!(worst > 1e-6 * (Number.isNaN(size) ? 1 : size)) && one.length === two.length) continue;
      return { step, quantity, channel: quantity === "y" ? channel % s.channels : channel,
        ours: one[channel], theirs: two[channel], causes: causes(a, b, step, quantity, s) };
    }
  }
  return null;
};

const causes = (a, b, step, quantity, s) => {
  const count = a.steps[0].y.length / s.channels, kind = count > 1 ? "correction" : "correction_of_one";
  const apart = (x, y) => x !== y && !(Math.abs(x - y) <= 1e-7 * Math.abs(x));
  const axis = b.layer.axis === layer(s.to, s.rank, translate(s.from, s.to, s.rank, s.given, s.channels).target, s.channels).axis;
  const differs = {
    mode: a.steps[step].mode !== b.steps[step].mode,
    axis: !axis,
    epsilon: apart(a.layer.epsilon, b.layer.epsilon),
    momentum: a.layer.number === null ? b.layer.number !== null : apart(a.layer.factor, b.layer.factor),
    variance: a.layer.facts[kind] !== b.layer.facts[kind],
  };
  return CAUSES[quantity].filter((cause) => differs[cause]);
};

// How far the last outputs, in inference, are from the source's: root mean square over theirs.
const outputsOff = (a, b) => {
  if (a.error || b.error) return NaN;
  const [one, two] = [a.steps.at(-1).y, b.steps.at(-1).y];
  let off = 0, size = 0;
  one.forEach((value, i) => { off += (value - two[i]) ** 2; size += value ** 2; });
  return Math.sqrt(off / size);
};

const api = { repr, complement, translate, callText, explore, draw, outputsOff, called, parametersOf, required, TOPICS };
globalThis.BatchNormExplorer = api;
if (typeof module === "object") module.exports = api;
})();
