// The difference explorer: two calls, what each does to its running statistics, and where they part.
// What the frameworks do stands in explorer.facts.js; here is arithmetic, and the page.
// The tests run the first half in node and in a browser against what the package gives.
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
const wordsOf = (name, rank) => new Set(classOf(name, rank).parameters.map((p) => p.word));
const called = (name, rank, word) => classOf(name, rank).parameters.find((p) => p.word === word);

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
  for (const p of classOf(name, rank).parameters) {
    const text = p.name in given ? given[p.name] : p.default;
    if (text !== null) READERS[p.word](c, said(text, p.name in given));
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
  const shown = classOf(name, rank).parameters.filter((p) => p.name in given)
    .map((p) => (p.required ? given[p.name] : `${p.name}=${given[p.name]}`));
  return `${FACTS.dialects[name].prefix}${classOf(name, rank).name}(${shown.join(", ")})`;
};

const factsFor = (name, rank, axis) => classOf(name, rank).axes[axis];

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
  for (const p of classOf(to, rank).parameters) {
    const a = WRITERS[p.word](c, words, rank);
    if (a && (p.required || a.written || a.value !== valueOf(p.default))) target[p.name] = a.text;
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
  for (const p of classOf(name, rank).parameters) own[p.name] = valueOf(p.name in given ? given[p.name] : p.default ?? "None");
  const momentum = called(name, rank, "weight_of_batch") || called(name, rank, "weight_of_running");
  const facts = factsFor(name, rank, c.axis.value), number = own[momentum.name];
  let factor = momentum.word === "weight_of_batch" ? number : 1 - number;
  if (facts.rounds_factor) factor = Math.fround(factor);
  const floor = facts.epsilon_floor, epsilon = floor ? Math.max(c.epsilon.value, floor) : c.epsilon.value;
  const told = called(name, rank, "num_features") ? channels : null;
  return { name, rank, dialect, own, facts, factor, number, epsilon, written: c.epsilon.value, told, axis: place(c.axis.value, rank),
    tracks: c.tracks.value, className: classOf(name, rank).name, state: null, seen: 0 };
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

const api = { repr, complement, translate, callText, explore, draw, outputsOff, called, TOPICS };
globalThis.BatchNormExplorer = api;
if (typeof module === "object") module.exports = api;
})();

// ---- The page.
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

const TEXTS = {
  en: {
    from: "From", to: "To", swap: "Swap: port back", rank: "Rank of the inputs", call: "The call in {from}", batch: "The batches",
    leave: "Rules left aside in the third curve", channels: "channels", samples: "samples (N)", size: "length of each further axis",
    steps: "training steps", seed: "seed", mean: "mean", std: "standard deviation", stdNote: "of channel 0; each further one has an eighth of it",
    same: "the same batch in every step", values: "values of your own, for every channel and step (empty: drawn)",
    inference: "inference only, no training", momentum: "momentum: the number copied as it is", epsilon: "epsilon: left at its default",
    mode: "mode: a new layer, told nothing", axis: "axis: left at its default", changesNothing: "changes nothing here",
    calls: "The calls", source: "{from}", right: "{to}, ported", ignored: "{to}, rules left aside",
    differs: "What the port can't say, what is to be done by hand, and what differs all the same", nothing: "Nothing: the call says it all.",
    inexpressible: "can't be said", around: "by hand", predicted: "differs by itself",
    first: "The first difference", none: "{side}: none beyond rounding, in {steps} steps and one inference.",
    firstAt: "{side}: at {when}, {quantity} of channel {channel} is {theirs}, {from}'s is {ours}{why}.",
    step: "step {n}", last: "the inference at the end", because: ", because {causes}", y: "an output", mean_: "the running mean", var: "the running variance",
    off: "Outputs of the inference at the end: {off} off.", even: "equal but for rounding",
    refusedAt: "{side}: refused in step {n}: {message}", refusedAtOnce: "{side}: refused: {message}",
    cause_mode: "their modes differ: {a} there, {b} here", cause_axis: "it takes statistics over another axis",
    cause_epsilon: "epsilon is {a} there and {b} here", cause_momentum: "a new batch weighs {a} there and {b} here",
    cause_variance: "the variance is divided by {a} there and by {b} here, n = {n}",
    BATCH_AND_UPDATE: "batch statistics, running ones move", BATCH: "batch statistics, nothing moves", RUNNING: "running statistics, nothing moves",
    curves: "Running statistics over the steps", ofChannel: "channel shown", at: "step to read off", table: "The numbers of every step",
    reading: "{when}: {values}", start: "before the first step", noState: "no running statistics", share: "Share", link: "Address of this very page, with all settings",
    copy: "Copy the link", copied: "Copied.", copyByHand: "Selected: copy it with Ctrl+C.", command: "The same on the command line",
    page: "All measured differences of the two", tooMany: "{n} values in a batch are too many for this page: at most {most}.",
    badNumber: "expected a number{none}", orNone: " or None", range: "expected {low} to {high}", ignoredParts: "Not understood in the address, left out: {parts}.",
    badValues: "expected numbers, separated by blanks or commas", leftAside: "left aside: {topics}", notEnded: "not a finite number from step {n} on",
    d_cumulative: "momentum=None weighs all batches alike; {to} has no such average.", d_frozen: "{roles} stay at their initial 1 and 0: {to} {has} them, untrained in effect. Only a checkpoint with other values shows it.",
    has: "keeps", hasNot: "leaves out", d_extra: "{roles} can't be left out in {to}: freeze it: {how}", d_parameters_train: "{roles} train in {to} and not in {from}: {how}",
    d_parameters_still: "{roles} train in {from} and not in {to}.", d_batch: "Batch statistics normalize in inference too: {to} can't say so; call it in training mode always.",
    d_running: "Running statistics normalize in training too: {to} can't say so; put the layer back into inference mode after the net's training mode.",
    d_kept_true: "{to} keeps running statistics, which nothing reads.", d_kept_false: "{to} keeps no running statistics here.",
    d_axis: "The channels are on axis {ours} in {from} and on axis {theirs} in {to}: move the data's axis.",
    d_variance: "{to} divides the variance that enters the running one by {theirs}, {from} by {ours}.",
    d_clamp: "An epsilon below {floor} becomes {floor} in one of the two.",
    d_mode_method: "Set the mode: {method}(True) before training, {method}(False) before inference; a new layer is in {start}.",
    d_mode_call: "Say the mode at each call: layer(x, training=True) to train.", d_refused: "{to} refuses the call: {message}",
    training: "training mode", infer: "inference mode", plot: "{quantity} of channel {channel} over {steps} steps: {ends}", ends: "{side} ends at {value}",
  },
  zh: {
    from: "从", to: "到", swap: "对调：移植回去", rank: "输入的维数", call: "{from} 的调用", batch: "批次",
    leave: "第三条曲线中不遵守的规则", channels: "通道数", samples: "样本数（N）", size: "其余各轴的长度",
    steps: "训练步数", seed: "随机种子", mean: "均值", std: "标准差", stdNote: "通道 0；之后每个通道为前一个的八分之一",
    same: "每步用同一批次", values: "自己的数值，用于每个通道和每一步（留空则随机生成）",
    inference: "只推理，不训练", momentum: "momentum：照抄原来的数", epsilon: "epsilon：用默认值",
    mode: "模式：新建的层，不作设置", axis: "通道轴：用默认值", changesNothing: "此处无影响",
    calls: "调用", source: "{from}", right: "{to}，正确移植", ignored: "{to}，不遵守规则",
    differs: "哪些无法表达，哪些须手工处理，哪些仍有差异", nothing: "没有：这个调用已表达全部。",
    inexpressible: "无法表达", around: "手工处理", predicted: "本身有差异",
    first: "第一个差异", none: "{side}：{steps} 步训练和一次推理中，除舍入外没有差异。",
    firstAt: "{side}：{when}，通道 {channel} 的{quantity}为 {theirs}，{from} 为 {ours}{why}。",
    step: "第 {n} 步", last: "最后的推理", because: "，因为{causes}", y: "一个输出", mean_: "滑动均值", var: "滑动方差",
    off: "最后推理的输出偏差：{off}。", even: "除舍入外相等",
    refusedAt: "{side}：第 {n} 步被拒绝：{message}", refusedAtOnce: "{side}：被拒绝：{message}",
    cause_mode: "模式不同：一方为{a}，另一方为{b}", cause_axis: "它在另一个轴上取统计量",
    cause_epsilon: "epsilon 一方为 {a}，另一方为 {b}", cause_momentum: "新批次的权重一方为 {a}，另一方为 {b}",
    cause_variance: "方差一方除以 {a}，另一方除以 {b}，n = {n}",
    BATCH_AND_UPDATE: "用批统计量并更新滑动统计量", BATCH: "用批统计量而不更新", RUNNING: "用滑动统计量而不更新",
    curves: "各步的滑动统计量", ofChannel: "显示的通道", at: "读数的步", table: "每一步的数值",
    reading: "{when}：{values}", start: "第一步之前", noState: "没有滑动统计量", share: "分享", link: "本页的地址，包含所有设置",
    copy: "复制链接", copied: "已复制。", copyByHand: "已选中：请按 Ctrl+C 复制。", command: "命令行中的等价命令",
    page: "两者的全部实测差异", tooMany: "一个批次有 {n} 个值，本页最多 {most} 个。",
    badNumber: "应为一个数{none}", orNone: "或 None", range: "应在 {low} 到 {high} 之间", ignoredParts: "地址中无法理解、已略去的部分：{parts}。",
    badValues: "应为用空格或逗号分隔的数", leftAside: "不遵守：{topics}", notEnded: "从第 {n} 步起不是有限数",
    d_cumulative: "momentum=None 对所有批次等权平均；{to} 没有这种平均。", d_frozen: "{roles} 保持初始值 1 和 0：{to} {has}它们，效果上不训练。只有检查点带来其他值时才看得出。",
    has: "保留", hasNot: "没有", d_extra: "{to} 中不能去掉 {roles}：请冻结：{how}", d_parameters_train: "{roles} 在 {to} 中训练，在 {from} 中不训练：{how}",
    d_parameters_still: "{roles} 在 {from} 中训练，在 {to} 中不训练。", d_batch: "推理时也用批统计量归一化：{to} 无法表达；请始终以训练模式调用。",
    d_running: "训练时也用滑动统计量归一化：{to} 无法表达；整个网络进入训练模式之后，再单独把该层设回推理模式。",
    d_kept_true: "{to} 保存滑动统计量，但没有人读取。", d_kept_false: "{to} 在此不保存滑动统计量。",
    d_axis: "{from} 的通道在轴 {ours}，{to} 的在轴 {theirs}：请移动数据的轴。",
    d_variance: "进入滑动方差的方差，{to} 除以 {theirs}，{from} 除以 {ours}。",
    d_clamp: "小于 {floor} 的 epsilon 在其中一方变为 {floor}。",
    d_mode_method: "设置模式：训练前 {method}(True)，推理前 {method}(False)；新建的层处于{start}。",
    d_mode_call: "每次调用时指定模式：训练时 layer(x, training=True)。", d_refused: "{to} 拒绝这个调用：{message}",
    training: "训练模式", infer: "推理模式", plot: "通道 {channel} 的{quantity}，共 {steps} 步：{ends}", ends: "{side} 止于 {value}",
  },
}[LANG];
const JOIN = LANG === "zh" ? "；" : "; ";
const say = (key, values = {}) => TEXTS[key].replace(/\{(\w+)\}/g, (_, name) => values[name]);
const titleOf = (name) => FACTS.dialects[name].title;
const shown = (x) => (x === undefined ? "–" : E.repr(Number(x.toPrecision(6))).replace(/\.0$/, ""));

let s = structuredClone(DEFAULTS), notes = [];

// ---- The address.

const parametersOf = (name, rank) => FACTS.dialects[name].classes[rank].parameters
  .filter((p) => !p.required && (p.word !== "data_format" || rank === 4));
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
    const p = parametersOf(state.from, state.rank).find((each) => `a.${each.name}` === key), known = p && argument(p, text);
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
    for (const p of parametersOf(from, s.rank)) {
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
  const parameters = parametersOf(s.from, s.rank);
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
  const page = FACTS.pages[`${s.from} ${s.to}`];
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
