// What is embedded in the page: every gene's figures, and its distribution from the quantiles of its digest.
const content = JSON.parse(document.getElementById("content").textContent);

function unpacked(text, Kind) {
  return new Kind(Uint8Array.from(atob(text), (sign) => sign.charCodeAt(0)).buffer);
}

const ids = content.genes;
const names = content.names ?? ids.map(() => "");
const median = unpacked(content.median, Float64Array);
const cells = unpacked(content.cells, Float64Array);
const sources = unpacked(content.sources, Uint32Array);
const error = content.error === null ? null : unpacked(content.error, Float32Array);
const comparisons = content.comparisons.map(({ name, there }) => ({ name, there: unpacked(there, Float32Array) }));
const groups = content.groups === null ? null : {
  ...content.groups,
  medians: unpacked(content.groups.medians, Uint16Array),
  cells: unpacked(content.groups.cells, Uint8Array),
};
const stability = content.stability === null ? null : {
  ...content.stability,
  halves: unpacked(content.stability.halves, Float32Array),
};
const { low, step, levels } = content.digests;
const codes = unpacked(content.digests.codes, Uint16Array);
const rowOf = new Int32Array(ids.length).fill(-1); // of a detected gene among the digests
let detected = 0;
cells.forEach((number, i) => { if (number) { rowOf[i] = detected; detected += 1; } });

const UNIT = content.targetSum === null ? "scaled counts" : `counts per ${wholeNumber.format(content.targetSum)}`;
const CELLS = "cells with a value";
const titleOf = (gene) => names[gene] || ids[gene];
const counted = (number, noun) => `${wholeNumber.format(number)} ${noun}${number === 1 ? "" : "s"}`;

function span(values) {
  let least = Infinity;
  let most = -Infinity;
  for (const value of values) {
    if (value > 0) { least = Math.min(least, value); most = Math.max(most, value); }
  }
  return least <= most ? [least, most] : [1, 10];
}

function quantilesOf(gene) {
  const first = rowOf[gene] * levels.length;
  return levels.map((_, i) => Math.exp(low + step * codes[first + i]));
}

/** A gene in each embedded group: its median, and its number of cells to two digits; NaN and 0 where not detected. */
function acrossGroups(gene) {
  const first = gene * groups.labels.length;
  return groups.labels.map((label, i) => {
    const code = groups.cells[first + i];
    const number = code ? Number((2 ** ((code - 1) / 8)).toPrecision(2)) : 0;
    return { label, number, value: number ? Math.exp(groups.low + groups.step * groups.medians[first + i]) : NaN };
  });
}

function interpolated(xs, ys, x) {
  let i = 1;
  while (i < xs.length - 1 && xs[i] < x) i += 1;
  const gap = xs[i] - xs[i - 1];
  return gap > 0 ? ys[i - 1] + ((x - xs[i - 1]) / gap) * (ys[i] - ys[i - 1]) : ys[i];
}

/** Density over log10 of the values: 400 of them, evenly by rank, each spread by a Gaussian. */
function densityOf(gene, quantiles) {
  const logs = quantiles.map(Math.log10);
  const sample = Array.from({ length: 400 }, (_, i) => interpolated(levels, logs, (i + 0.5) / 400));
  const mean = sample.reduce((sum, x) => sum + x, 0) / sample.length;
  const deviation = Math.sqrt(sample.reduce((sum, x) => sum + (x - mean) ** 2, 0) / sample.length);
  const middleHalf = (interpolated(levels, logs, 0.75) - interpolated(levels, logs, 0.25)) / 1.349;
  const spread = middleHalf > 0 ? Math.min(deviation, middleHalf) : deviation;
  const width = Math.max(0.9 * spread * Math.min(cells[gene], 400) ** -0.2, 0.015); // Silverman's rule
  const from = logs[0] - 3 * width;
  const to = logs[logs.length - 1] + 3 * width;
  const at = Array.from({ length: 161 }, (_, i) => from + ((to - from) * i) / 160);
  const peak = 1 / (width * Math.sqrt(2 * Math.PI) * sample.length);
  const density = at.map((x) => peak * sample.reduce((sum, y) => sum + Math.exp(-(((x - y) / width) ** 2) / 2), 0));
  return { values: at.map((x) => 10 ** x), density };
}
