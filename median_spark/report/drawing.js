// Scales, axes and marks in SVG, clouds of points on canvas. Knows nothing of genes.

const wholeNumber = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });

/** At most four significant digits, thousands separators; zeros at the end only where they are `kept`. */
function valueText(value, kept = false) {
  if (!Number.isFinite(value)) return "none";
  const size = Math.abs(value);
  if (size >= 1000) return wholeNumber.format(value);
  const text = kept && size >= 1e-4 ? value.toPrecision(4) : String(Number(value.toPrecision(4)));
  if (!text.includes("e")) return text;
  const [digits, power] = text.split("e");
  const raised = [...power.replace("+", "")].map((sign) => "⁰¹²³⁴⁵⁶⁷⁸⁹"["0123456789".indexOf(sign)] ?? "⁻").join("");
  return `${digits} × 10${raised}`;
}

function changeText(share) {
  return share < 1 ? percentText(share) : `factor ${threeDigits(1 + share)}`;
}

function percentText(share) {
  const percent = share * 100;
  return `${Number(percent.toPrecision(percent >= 10 ? 3 : 2))} %`;
}

function threeDigits(value) {
  const rounded = Number(value.toPrecision(3));
  return rounded >= 1e-4 && rounded < 1000 ? rounded.toPrecision(3) : valueText(rounded);
}

const timesText = (ratio) =>
  (Number(ratio.toPrecision(3)) >= 1 ? `× ${threeDigits(ratio)}` : `÷ ${threeDigits(1 / ratio)}`);

/** From low to high in equal steps; ticks at 1, 2 or 5 times a power of ten. */
function linearScale(low, high, text = valueText) {
  const top = high > low ? high : low + 1;
  return {
    at: (value) => (value - low) / (top - low),
    back: (place) => low + place * (top - low),
    ticks(most) {
      const rough = (top - low) / most;
      const power = 10 ** Math.floor(Math.log10(rough));
      const step = [1, 2, 5, 10].find((times) => times * power >= rough) * power;
      const first = Math.ceil(low / step - 1e-9);
      const last = Math.floor(top / step + 1e-9);
      return Array.from({ length: last - first + 1 }, (_, i) => {
        const value = Number(((first + i) * step).toPrecision(12));
        return { value, text: text(value) };
      });
    },
  };
}

/** From low to high in equal ratios; ticks at powers of ten, and between them where there are few. */
function logScale(low, high, text = valueText) {
  if (!(high > low)) [low, high] = [low / 2, high * 2];
  const from = Math.log10(low);
  const to = Math.log10(high);
  return {
    at: (value) => (Math.log10(value) - from) / (to - from),
    back: (place) => 10 ** (from + place * (to - from)),
    ticks() {
      const found = [];
      const named = to - from < 1.2 ? [1, 2, 3, 5, 7] : to - from < 2.2 ? [1, 2, 5] : [1];
      for (let power = Math.floor(from); power <= Math.ceil(to); power += 1) {
        for (let times = 1; times < 10; times += 1) {
          const value = times * 10 ** power;
          const place = (Math.log10(value) - from) / (to - from);
          if (place < -1e-9 || place > 1 + 1e-9) continue;
          if (named.includes(times)) found.push({ value, text: text(Number(value.toPrecision(6))) });
          else if (to - from <= 6) found.push({ value, text: "" });
        }
      }
      return found;
    },
  };
}

function put(parent, name, attributes = {}, text = null) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== null) made.textContent = text;
  parent.append(made);
  return made;
}

const textWidth = (() => {
  const context = document.createElement("canvas").getContext("2d");
  return (text) => {
    context.font = `12px ${getComputedStyle(document.body).fontFamily}`;
    return context.measureText(text).width;
  };
})();

/** Leave every second, third, … label where they would touch. */
function thinned(ticks, places) {
  const labelled = ticks.map((tick, i) => ({ ...tick, place: places[i] })).filter((tick) => tick.text);
  for (let stride = 1; stride < labelled.length; stride += 1) {
    const kept = labelled.filter((_, i) => i % stride === 0);
    const apart = kept.every((tick, i) => i === 0
      || tick.place - kept[i - 1].place > (textWidth(tick.text) + textWidth(kept[i - 1].text)) / 2 + 10);
    if (apart) return new Set(kept.map((tick) => tick.value));
  }
  return new Set(labelled.slice(0, 1).map((tick) => tick.value));
}

/**
 * Draw a frame with axes into a host, emptied first.
 * `x` and `y` are scales; `name` says what is on an axis, with its unit; `before` keeps room left of the x axis.
 */
function frame(host, { x, y, xName, yName, height = 272, before = 0 }) {
  host.replaceChildren();
  host.style.minHeight = `${height}px`;
  const width = host.clientWidth;
  const yTicks = y.ticks(5);
  const left = Math.ceil(Math.max(18, ...yTicks.map((tick) => textWidth(tick.text)))) + 10;
  const box = { left: left + before, right: width - 10, top: 26, bottom: height - 44 };
  const px = (value) => box.left + x.at(value) * (box.right - box.left);
  const py = (value) => box.bottom - y.at(value) * (box.bottom - box.top);
  const svg = put(host, "svg", { width, height, "aria-hidden": "true" });
  for (const tick of yTicks) {
    const place = py(tick.value);
    if (!tick.text) continue;
    put(svg, "path", { class: "grid", d: `M${left},${place}H${box.right}` });
    put(svg, "text", { x: left - 8, y: place + 4, "text-anchor": "end" }, tick.text);
  }
  put(svg, "path", { class: "axis", d: `M${left},${box.bottom}H${box.right}` });
  const xTicks = x.ticks(Math.max(3, Math.floor(width / 90)));
  const shown = thinned(xTicks, xTicks.map((tick) => px(tick.value)));
  for (const tick of xTicks) {
    const long = shown.has(tick.value);
    put(svg, "path", { class: "axis", d: `M${px(tick.value)},${box.bottom}v${long ? 6 : 3}` });
    if (!long) continue;
    const half = textWidth(tick.text) / 2;
    const place = Math.min(px(tick.value), width - half);
    put(svg, "text", { x: place, y: box.bottom + 20, "text-anchor": "middle" }, tick.text);
  }
  put(svg, "text", { x: 0, y: 12 }, yName);
  put(svg, "text", { x: box.right, y: height - 6, "text-anchor": "end" }, xName);
  return { host, svg, box, px, py, x, y, width, height };
}

/** Draw points under the axes, fainter where there are many; NaN is passed over. */
function cloud(plot, xs, ys) {
  const { host, box, width, height, px, py } = plot;
  const canvas = document.createElement("canvas");
  const sharp = window.devicePixelRatio || 1;
  canvas.width = width * sharp;
  canvas.height = height * sharp;
  canvas.style.width = `${width}px`;
  canvas.style.height = `${height}px`;
  host.prepend(canvas);
  const context = canvas.getContext("2d");
  context.scale(sharp, sharp);
  context.beginPath();
  context.rect(box.left - 3, box.top - 3, box.right - box.left + 6, box.bottom - box.top + 6);
  context.clip();
  const size = xs.length > 5000 ? 2 : xs.length > 500 ? 3 : 5;
  context.fillStyle = getComputedStyle(document.documentElement).getPropertyValue("--mark");
  context.globalAlpha = xs.length > 5000 ? 0.3 : xs.length > 500 ? 0.5 : 0.75;
  for (let i = 0; i < xs.length; i += 1) {
    const across = px(xs[i]);
    const down = py(ys[i]);
    if (across === across && down === down) context.fillRect(across - size / 2, down - size / 2, size, size);
  }
}

/** Ring a point and name it beside, on the side that has room. */
function ring(plot, x, y, name, kind = "") {
  const group = put(plot.svg, "g");
  const across = plot.px(x);
  const down = plot.py(y);
  if (!Number.isFinite(across) || !Number.isFinite(down)) return group;
  for (const part of ["halo", `ring ${kind}`]) put(group, "circle", { class: part, cx: across, cy: down, r: 6 });
  const room = plot.width - across > textWidth(name) + 24;
  put(group, "text", { class: "named", x: across + (room ? 11 : -11), y: Math.max(down - 8, 24),
    "text-anchor": room ? "start" : "end" }, name);
  return group;
}

/** Draw a histogram's bars. */
function bars(plot, edges, counts) {
  counts.forEach((count, i) => {
    if (!count) return;
    const from = plot.px(edges[i]);
    const wide = Math.max(plot.px(edges[i + 1]) - from - 1, 1);
    const top = Math.min(plot.py(count), plot.box.bottom - 1);
    put(plot.svg, "rect", { class: "bar", x: from, y: top, width: wide, height: plot.box.bottom - top });
  });
}

/** Draw a line through points, and say how it is classed. */
function line(plot, xs, ys, kind = "curve") {
  const d = xs.map((x, i) => `${i ? "L" : "M"}${plot.px(x).toFixed(1)},${plot.py(ys[i]).toFixed(1)}`).join("");
  return put(plot.svg, "path", { class: kind, d });
}
