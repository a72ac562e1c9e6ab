// Holds the explorer against the vectors, in node and in a browser: what disagrees, as lines.
"use strict";
const explorerDisagrees = (explorer, cases) => {
  const found = [];
  // State: a float32 apart at most, as sums are taken in another order; outputs: as the package
  // promises of its loops, which compute in float32.
  const close = (a, b, size, ulps) => {
    const b32 = typeof b === "string" ? { nan: NaN, inf: Infinity, "-inf": -Infinity }[b] : Math.fround(b);
    return Object.is(a, b32) || (Number.isNaN(a) && Number.isNaN(b32)) || Math.abs(a - b32) <= ulps * 2 ** -23 * size;
  };
  const closeAll = (own, expected, ulps = 1) => {
    const sizes = expected.filter((x) => typeof x === "number").map(Math.abs);
    return own.length === expected.length && expected.every((x, i) => close(own[i], x, Math.max(...sizes, 0), ulps));
  };
  cases.forEach((expected, number) => {
    const s = expected.settings, complain = (text) => found.push(`${number} ${s.from} ${s.to}: ${text}`);
    const got = explorer.explore(s);
    if (expected.source.refused) {
      if (!got.source.error) complain(`not refused: ${expected.source.text}`);
      return;
    }
    const remains = got.differences.map(({ key, kind }) => `${key}, ${kind}`).sort().join("; ");
    if (remains !== expected.remains.join("; ")) complain(`${remains} instead of ${expected.remains.join("; ")}`);
    for (const side of ["source", "right", "ignored"]) {
      const [own, other] = [got[side], expected[side]];
      if (own.text !== other.text) complain(`${side}: ${own.text} instead of ${other.text}`);
      if (own.error.startsWith("channels:") ? !other.error : own.error !== other.error) complain(`${side}: ${own.error} instead of ${other.error}`);
      if (own.steps.length !== other.states.length) complain(`${side}: ${own.steps.length} steps`);
      own.steps.forEach((step, i) => {
        [step.mean, step.var].forEach((values, k) => {
          if (!closeAll(values, other.states[i][k] || [])) complain(`${side}, step ${i}: ${values} instead of ${other.states[i][k]}`);
        });
      });
      if (other.y && !closeAll([...own.steps.at(-1).y].slice(0, other.y.length), other.y, 8)) complain(`${side}: outputs ${[...own.steps.at(-1).y].slice(0, 6)} instead of ${other.y}`);
    }
  });
  return found;
};
if (typeof module === "object") module.exports = explorerDisagrees;
