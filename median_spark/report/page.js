// The page's figures, and the search for a gene.

let chosen = -1;

function drawDensity(host) {
  const quantiles = quantilesOf(chosen);
  const { values, density } = densityOf(chosen, quantiles);
  const x = logScale(values[0], values[values.length - 1]);
  const y = linearScale(0, Math.max(...density) * 1.12, percentText);
  const plot = frame(host, { x, y, xName: UNIT, yName: "share of values per tenfold" });
  const [from, to] = [0.25, 0.75].map((level) => interpolated(levels, quantiles, level));
  const inside = values.map((value, i) => i).filter((i) => values[i] >= from && values[i] <= to);
  const edge = [from, ...inside.map((i) => values[i]), to];
  const heights = edge.map((value) => interpolated(values, density, value));
  line(plot, [from, ...edge, to], [0, ...heights, 0], "area");
  line(plot, values, density);
  line(plot, [median[chosen], median[chosen]], [0, y.back(1)], "guide");
  label(plot, median[chosen], `median ${valueText(median[chosen], true)}`);
}

function label(plot, value, text) {
  const across = plot.px(value);
  const room = plot.box.right - across > textWidth(text) + 8;
  put(plot.svg, "text", { class: "named", x: across + (room ? 6 : -6), y: plot.box.top + 8,
    "text-anchor": room ? "start" : "end" }, text);
}

function drawCumulative(host) {
  const quantiles = quantilesOf(chosen);
  const x = logScale(quantiles[0] * 0.97, quantiles[quantiles.length - 1] * 1.03);
  const plot = frame(host, { x, y: linearScale(0, 1, percentText), xName: UNIT, yName: "share of values" });
  line(plot, quantiles, levels);
  line(plot, [x.back(0), median[chosen], median[chosen]], [0.5, 0.5, 0], "guide thin");
}

// ---- figures of all genes

function drawDetection(host) {
  const { edges, counts, undetected } = content.detection;
  const before = undetected ? 34 : 0;
  const plot = frame(host, {
    x: logScale(edges[0], edges[edges.length - 1]), y: linearScale(0, Math.max(undetected, 1, ...counts) * 1.05),
    xName: CELLS, yName: "genes", before,
  });
  bars(plot, edges, counts);
  if (!undetected) return;
  const top = Math.min(plot.py(undetected), plot.box.bottom - 1);
  const from = plot.box.left - before + 4;
  put(plot.svg, "rect", { class: "bar none", x: from, y: top, width: 16, height: plot.box.bottom - top });
  put(plot.svg, "text", { x: from + 8, y: plot.box.bottom + 20, "text-anchor": "middle" }, "0");
}

function drawMedians(host) {
  const { edges, counts } = content.medians;
  const plot = frame(host, {
    x: logScale(edges[0], edges[edges.length - 1]), y: linearScale(0, Math.max(1, ...counts) * 1.05),
    xName: `median, ${UNIT}`, yName: "genes",
  });
  bars(plot, edges, counts);
}

/** How far medians of a share of the sources are from those of all, for half of the genes and for nine in ten. */
function drawStability(host) {
  const { shares, half, most } = stability;
  const floor = 0.001; // medians are estimated to about 1 %: what is below shows as 0.1 %
  const changes = [...half, ...most].filter((change) => change !== null).map((change) => Math.max(change, floor));
  const ticks = [...shares, 1].map((value) => ({ value, text: value < 1 ? `1/${Math.round(1 / value)}` : "all" }));
  const plot = frame(host, {
    x: { ...logScale(shares[0] * 0.9, 1), ticks: () => ticks }, y: logScale(Math.min(0.1, ...changes) * 0.7, Math.max(0.1, ...changes) * 1.6, percentText),
    xName: "share of the sources", yName: "distance from the medians of all",
  });
  [[half, "curve", "half of the genes"], [most, "curve most", "nine in ten genes"]].forEach(([distances, kind, name]) => {
    const known = shares.flatMap((share, i) => (distances[i] === null ? [] : [[share, Math.max(distances[i], floor)]]));
    if (!known.length) return;
    line(plot, known.map(([share]) => share), known.map(([, change]) => change), kind);
    known.forEach(([share, change]) => {
      put(plot.svg, "circle", { class: `${kind} point`, cx: plot.px(share), cy: plot.py(change), r: 3 });
    });
    const [share, change] = known[0];
    put(plot.svg, "text", { class: "named", x: plot.px(share), y: plot.py(change) - 10 }, name);
  });
}

/** A cloud of genes: the chosen one is ringed, the one that is pointed at is named, a click chooses it. */
function drawGenes(host, xs, ys, options) {
  const plot = frame(host, options);
  if (options.diagonal) line(plot, options.diagonal, options.diagonal, "guide thin");
  cloud(plot, xs, ys);
  if (chosen >= 0) ring(plot, xs[chosen], ys[chosen], titleOf(chosen));
  let passing = null;
  const nearest = (event) => {
    const corner = plot.svg.getBoundingClientRect();
    const [across, down] = [event.clientX - corner.left, event.clientY - corner.top];
    let found = -1;
    let least = 14 ** 2;
    for (let i = 0; i < xs.length; i += 1) {
      const distance = (plot.px(xs[i]) - across) ** 2 + (plot.py(ys[i]) - down) ** 2;
      if (distance < least) [found, least] = [i, distance];
    }
    return found;
  };
  plot.svg.addEventListener("pointermove", (event) => {
    const gene = nearest(event);
    passing?.remove();
    passing = gene >= 0 && gene !== chosen ? ring(plot, xs[gene], ys[gene], titleOf(gene), "passing") : null;
  });
  plot.svg.addEventListener("pointerleave", () => { passing?.remove(); });
  plot.svg.addEventListener("click", (event) => {
    const gene = nearest(event);
    if (gene >= 0) choose(gene);
  });
}

const shownCells = cells.map((number) => number || NaN);
const medianScale = () => logScale(...span(median));

function drawSpread(host) {
  drawGenes(host, shownCells, median, {
    x: logScale(...span(cells)), y: medianScale(), xName: CELLS, yName: `median, ${UNIT}`,
  });
}

function drawErrors(host) {
  const worst = error.reduce((most, value) => (value > most ? value : most), 0);
  drawGenes(host, shownCells, error, {
    x: logScale(...span(cells)), y: linearScale(0, worst * 1.05 || 0.01, percentText), xName: CELLS,
    yName: "rank error, share of the gene’s values",
  });
}

function drawComparison(host, there) {
  const both = [...median.filter((value, i) => there[i] > 0), ...there.filter((value, i) => median[i] > 0)];
  const ends = span(both);
  drawGenes(host, there, median, {
    x: logScale(...ends), y: logScale(...ends), xName: "median there", yName: `median here, ${UNIT}`,
    height: Math.min(Math.max(host.clientWidth, 272), 460), diagonal: ends,
  });
}

// ---- drawing again when the width or the colours change, or another gene is chosen

const figures = [];

function figure(name, draw) {
  const host = document.getElementById(name);
  if (!host) return;
  const made = { width: 0, draw: () => { if (host.clientWidth) { made.width = host.clientWidth; draw(host); } } };
  figures.push(made);
  new ResizeObserver(() => { if (host.clientWidth !== made.width) made.draw(); }).observe(host);
}

const drawAll = () => figures.forEach((made) => made.draw());

// ---- the search

const MOST = 12;
const input = document.getElementById("gene-name");
const list = document.getElementById("gene-list");
const said = document.getElementById("gene-said");
const upperIds = ids.map((id) => id.toUpperCase());
const upperNames = names.map((name) => name.toUpperCase());
let matches = [];
let active = -1;

/** Genes that match, the best first: whole names, then beginnings, then parts, and of each the shorter names. */
function found(text) {
  const wanted = text.trim().toUpperCase();
  if (!wanted) return [];
  const ranked = [[], [], []];
  for (let i = 0; i < ids.length; i += 1) {
    const [id, name] = [upperIds[i], upperNames[i]];
    if (id === wanted || name === wanted) ranked[0].push(i);
    else if (id.startsWith(wanted) || name.startsWith(wanted)) ranked[1].push(i);
    else if (id.includes(wanted) || name.includes(wanted)) ranked[2].push(i);
  }
  const shorter = (a, b) => titleOf(a).length - titleOf(b).length || titleOf(a).localeCompare(titleOf(b), "en");
  return ranked.flatMap((genes) => genes.sort(shorter));
}

function close() {
  list.hidden = true;
  input.setAttribute("aria-expanded", "false");
  input.removeAttribute("aria-activedescendant");
  active = -1;
}

function point(to) {
  active = to;
  [...list.children].forEach((option, i) => option.setAttribute("aria-selected", String(i === to)));
  if (to < 0) return input.removeAttribute("aria-activedescendant");
  input.setAttribute("aria-activedescendant", list.children[to].id);
  return list.children[to].scrollIntoView({ block: "nearest" });
}

function offer() {
  const all = found(input.value);
  matches = all.slice(0, MOST);
  list.replaceChildren(...matches.map((gene, i) => {
    const option = document.createElement("li");
    option.id = `gene-option-${i}`;
    option.setAttribute("role", "option");
    option.setAttribute("aria-selected", "false");
    const [title, figure] = [document.createElement("span"), document.createElement("span")];
    title.textContent = names[gene] ? `${names[gene]}  ${ids[gene]}` : ids[gene];
    figure.textContent = cells[gene] ? valueText(median[gene], true) : "not detected";
    option.append(title, figure);
    option.addEventListener("pointerdown", (event) => { event.preventDefault(); choose(gene); });
    return option;
  }));
  const more = all.length - matches.length;
  said.textContent = !input.value.trim() ? "" : !all.length ? `No gene matches “${input.value.trim()}”.`
    : `${counted(all.length, "gene")} ${all.length === 1 ? "matches" : "match"}${more > 0 ? `; the first ${MOST} are listed` : ""}.`;
  close();
  if (!matches.length) return;
  list.hidden = false;
  input.setAttribute("aria-expanded", "true");
}

input.addEventListener("input", offer);
input.addEventListener("blur", close);
input.addEventListener("keydown", (event) => {
  if (event.key === "Escape") return close();
  if (event.key === "Enter") {
    const gene = list.hidden ? found(input.value)[0] : matches[Math.max(active, 0)];
    if (gene !== undefined) choose(gene);
    return event.preventDefault();
  }
  if (event.key !== "ArrowDown" && event.key !== "ArrowUp") return undefined;
  event.preventDefault();
  if (list.hidden) offer();
  if (!matches.length) return undefined;
  const turn = event.key === "ArrowDown" ? 1 : -1;
  return point((active + turn + matches.length + (active < 0 && turn < 0 ? 1 : 0)) % matches.length);
});

function element(name, text = "", kind = "") {
  const made = document.createElement(name);
  if (kind) made.className = kind;
  made.textContent = text;
  return made;
}

function facts(pairs) {
  document.getElementById("gene-facts").replaceChildren(...pairs.map(([term, held]) => {
    const pair = element("div");
    pair.append(element("dt", term), element("dd", held));
    return pair;
  }));
}

/** List a gene's median in every group, on a logarithmic track with its corpus median in the middle. */
function listGroups(gene) {
  const rows = acrossGroups(gene).map((row) => ({ ...row, ratio: row.value / median[gene] }));
  const ratios = rows.filter(({ number }) => number).map(({ ratio }) => ratio);
  const reach = Math.max(Math.log(3), ...ratios.map((ratio) => Math.abs(Math.log(ratio)))) * 1.08;
  document.getElementById("groups-of-gene").replaceChildren(...rows.map(({ label, number, value, ratio }) => {
    const [row, head, track] = [element("tr"), element("th", label), element("td")];
    head.scope = "row";
    if (number) {
      const dot = element("span", "", number < content.manyCells ? "dot hollow" : "dot");
      dot.style.left = `${(50 + (50 * Math.log(ratio)) / reach).toFixed(1)}%`;
      track.append(element("span", "", "track"));
      track.firstChild.append(dot);
    }
    const shown = number ? [threeDigits(value), timesText(ratio)] : ["not detected", ""];
    row.append(head, element("td", shown[0], "number"), track, element("td", shown[1], "number quiet"),
      element("td", wholeNumber.format(number), "number"));
    return row;
  }));
  document.getElementById("groups-said").textContent = ratios.length
    ? `From ${timesText(Math.min(...ratios))} to ${timesText(Math.max(...ratios))}, compared with its corpus median.`
    : "None of these has a value of the gene.";
}

/** Show a gene; `quietly` at first, when nobody has asked for it. */
function choose(gene, quietly = false) {
  close();
  const full = names[gene] ? `${names[gene]} ${ids[gene]}` : ids[gene];
  if (!quietly) input.value = titleOf(gene);
  if (!cells[gene]) {
    said.textContent = `${full} is not detected: no cell has a value of it, and so it has no median.`;
    document.getElementById("gene-shown").hidden = true;
    return;
  }
  chosen = gene;
  document.getElementById("gene-shown").hidden = false;
  document.getElementById("gene-label").textContent = full;
  const quantiles = quantilesOf(gene);
  const at = (level) => valueText(interpolated(levels, quantiles, level), true);
  const named = `${full}: median ${valueText(median[gene], true)} ${UNIT}, ${counted(cells[gene], "value")}`;
  facts([
    ["median", `${valueText(median[gene], true)} ${UNIT}`],
    ["values (cells)", wholeNumber.format(cells[gene])],
    ["sources", `${content.leastSources ? "at least " : ""}${wholeNumber.format(sources[gene])}`],
    ["middle half", `${at(0.25)} – ${at(0.75)}`],
    ["smallest – largest", `${at(0)} – ${at(1)}`],
    ...(stability && stability.halves[gene] >= 0 ? [["change with half of the sources", changeText(stability.halves[gene])]] : []),
    ...comparisons.filter(({ there }) => there[gene] > 0).map(({ name, there }) => [name, valueText(there[gene], true)]),
  ]);
  if (groups) listGroups(gene);
  said.textContent = quietly ? "Shown first: the gene with a value in most cells." : `Shown: ${named}.`;
  document.getElementById("plot-density").setAttribute("aria-label",
    `Distribution of the values of ${named}; half of them lie between ${at(0.25)} and ${at(0.75)}.`);
  document.getElementById("plot-cumulative").setAttribute("aria-label",
    `Share of the values of ${full} up to a value: 5 % up to ${at(0.05)}, 50 % up to ${at(0.5)}, 95 % up to ${at(0.95)}.`);
  if (!quietly) drawAll();
}

figure("plot-density", (host) => { if (chosen >= 0) drawDensity(host); });
figure("plot-cumulative", (host) => { if (chosen >= 0) drawCumulative(host); });
figure("plot-detection", drawDetection);
figure("plot-medians", drawMedians);
figure("plot-spread", drawSpread);
if (stability) figure("plot-stability", drawStability);
if (error) figure("plot-errors", drawErrors);
comparisons.forEach(({ there }, i) => figure(`plot-comparison-${i}`, (host) => drawComparison(host, there)));
if (detected) choose(cells.indexOf(cells.reduce((most, number) => Math.max(most, number), 0)), true);
drawAll();
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
