// Charts as SVG: they follow the theme, can be read by keyboard, and go out as a picture or as a table.
//
// A chart over slots or blocks takes {labels, series, left, right, cursor, until}. A series is {name, values, kind: "line",
// "step" or "bar", tone: 1 to 6, axis: "right", dashed, negative}; bars of one place are stacked, above and below zero; what is
// `negative` is drawn downwards and told without its sign. `left` and
// `right` are {unit, show(value)}. `cursor` marks a place; what lies behind `until` is drawn faintly.
// A chart of curves takes {curves: [{name, points: [[x, y], ...], tone, end: "up" or "down"}], x, left, mark: {x, y, text}}.

import { h, s, download, put } from "./dom.js";
import { t } from "./words.js";

const HEIGHT = 260, NARROWEST = 300, WIDEST = 1100, TOP = 24, BOTTOM = 30, LEFT = 62, RIGHT = 16, RIGHT_AXIS = 58;
const MARKED = 215; // room for the words at a mark
const INHERITED = ["fill", "stroke", "stroke-width", "stroke-dasharray", "opacity", "stroke-linecap", "paint-order", "font-size", "font-family", "font-weight", "text-anchor"];

/** A chart in a card; `update` draws it anew. `name` becomes part of the names of files. */
export function chart(title, name, options = {}) {
  const legend = h("div.legend");
  const holder = h("div.plot", { tabindex: "0", role: "img", "aria-label": title });
  const readout = h("span.unseen", { "aria-live": "polite" });
  const buttons = h("div.tools", {},
    h("button.quiet", { type: "button", "data-export": "png", onclick: () => { if (spec) exportPicture(title, name, holder, spec); } }, "PNG"),
    h("button.quiet", { type: "button", "data-export": "csv", onclick: () => { if (spec) exportTable(name, spec); } }, "CSV"));
  const element = h("section.card.chart", { "aria-label": title, "data-chart": name }, h("div.head", {}, h("h2", {}, title), buttons), legend, holder, readout);
  const height = options.height ?? HEIGHT;
  let spec = null, drawn = "", at = null, plan = null, width = 720;

  function update(next) {
    const now = JSON.stringify(next) + holder.clientWidth;
    spec = next;
    if (now === drawn) return;
    drawn = now;
    if (at !== null && spec.labels && at >= spec.labels.length) at = null;
    width = Math.max(NARROWEST, Math.min(WIDEST, holder.clientWidth || width));
    plan = spec.curves ? curves(spec, width, height) : slots(spec, width, height);
    holder.replaceChildren(plan.svg);
    for (const button of buttons.querySelectorAll("button")) button.setAttribute("aria-label", t("chart.export", { title, format: button.textContent }));
    point(at, false);
  }

  function point(place, aloud) {
    at = place;
    if (!plan) return;
    const shown = place ?? (spec.cursor ?? null);
    plan.point(place);
    put(legend, plan.legend(shown));
    if (aloud && place !== null) readout.textContent = legend.textContent;
  }

  holder.addEventListener("pointermove", (event) => {
    const box = plan.svg.getBoundingClientRect();
    point(plan.nearest(((event.clientX - box.left) * width) / box.width), false);
  });
  holder.addEventListener("pointerleave", () => point(null, false));
  holder.addEventListener("blur", () => point(null, false));
  holder.addEventListener("keydown", (event) => {
    const steps = { ArrowRight: 1, ArrowLeft: -1, PageDown: 10, PageUp: -10 };
    if (event.key === "Escape") { point(null, false); return; }
    if (!(event.key in steps) && event.key !== "Home" && event.key !== "End") return;
    event.preventDefault();
    const last = plan.places - 1;
    const from = at ?? spec.cursor ?? (steps[event.key] < 0 ? last + 1 : -1);
    const to = event.key === "Home" ? 0 : event.key === "End" ? last : from + steps[event.key];
    point(Math.max(0, Math.min(last, to)), true);
  });
  // Drawn as wide as there is room, so that what is written in it can be read on a telephone too.
  new ResizeObserver(() => { if (spec) update(spec); }).observe(holder);
  return { element, update };
}

// --- over slots -------------------------------------------------------------------------------------------------------

function slots(spec, width, height) {
  const { labels, series } = spec;
  const hasRight = series.some((one) => one.axis === "right");
  const x0 = LEFT, x1 = width - (hasRight ? RIGHT_AXIS : RIGHT), y0 = height - BOTTOM, y1 = TOP;
  const step = (x1 - x0) / Math.max(labels.length, 1);
  const middle = (place) => x0 + step * (place + 0.5);
  const stacks = stacked(series, labels.length);
  const left = scale(bounds(series.filter((one) => one.axis !== "right"), stacks, spec.left), y0, y1, spec.left.whole);
  const right = hasRight ? scale(bounds(series.filter((one) => one.axis === "right"), null, spec.right), y0, y1, spec.right.whole) : null;
  const svg = frame(width, height, left, right, spec, x0, x1);
  const longest = Math.max(0, ...labels.map((label) => String(label).length));
  const every = Math.max(1, Math.ceil(labels.length / Math.min(12, Math.floor((x1 - x0) / (longest * 6.5 + 12)))));
  const even = labels.length > 24 ? Math.ceil(every / 4) * 4 : every;
  for (let place = 0; place < labels.length; place += even) {
    svg.append(s("text.tick", { x: (x0 + step * (place + (labels.length > 24 ? 0 : 0.5))).toFixed(1), y: height - 10, "text-anchor": "middle" }, String(labels[place])));
  }
  const until = spec.until ?? labels.length - 1;
  const bars = series.filter((one) => one.kind === "bar");
  for (const [row, one] of bars.entries()) {
    for (const [place, [from, to]] of stacks[row].entries()) {
      if (from === to) continue;
      const top = Math.min(left.at(from), left.at(to)), tall = Math.abs(left.at(from) - left.at(to));
      svg.append(s(`rect.bar.tone${one.tone}`, { x: (middle(place) - step * 0.4).toFixed(1), y: top.toFixed(1), width: Math.max(step * 0.8, 0.8).toFixed(1), height: Math.max(tall, 0.5).toFixed(1), class: place > until ? "faint" : "" }));
    }
  }
  for (const one of series.filter((other) => other.kind !== "bar")) {
    const axis = one.axis === "right" ? right : left;
    for (const faint of [false, true]) {
      const wanted = (place) => (faint ? place >= until : place <= until);
      const d = path(one, axis, middle, step, wanted);
      if (d) svg.append(s(`path.curve.tone${one.tone}`, { d, class: [one.dashed ? "dashed" : "", faint ? "faint" : ""].join(" ").trim() }));
    }
  }
  if (spec.cursor !== null && spec.cursor !== undefined) {
    svg.append(s("line.cursor", { x1: middle(spec.cursor).toFixed(1), x2: middle(spec.cursor).toFixed(1), y1, y2: y0 }));
  }
  const cross = s("line.cross", { y1, y2: y0, visibility: "hidden" });
  svg.append(cross);
  return {
    svg,
    places: labels.length,
    nearest: (x) => Math.max(0, Math.min(labels.length - 1, Math.floor((x - x0) / step))),
    point: (place) => move(cross, place === null ? null : middle(place)),
    legend: (place) => [
      place !== null && labels[place] !== undefined ? h("span.at", {}, String(labels[place])) : null,
      ...series.map((one) => h("span.entry", {}, h(`i.key.tone${one.tone}`, { class: one.kind === "bar" ? "square" : one.dashed ? "dashed" : "" }), one.name,
        place !== null && one.values[place] !== undefined ? h("b", {}, one.values[place] === null ? "–" : (one.negative ? (v) => spec.left.show(-v) : (one.axis === "right" ? spec.right : spec.left).show)(one.values[place])) : null)),
    ],
  };
}

function move(cross, x) {
  cross.setAttribute("visibility", x === null ? "hidden" : "visible");
  for (const end of ["x1", "x2"]) cross.setAttribute(end, (x ?? 0).toFixed(1));
}

function stacked(series, places) {
  const up = new Array(places).fill(0), down = new Array(places).fill(0);
  return series.filter((one) => one.kind === "bar").map((one) => one.values.map((value, place) => {
    const heap = (value ?? 0) >= 0 ? up : down;
    const from = heap[place];
    heap[place] += value ?? 0;
    return [from, heap[place]];
  }));
}

function bounds(series, stacks, axis) {
  let least = axis?.least ?? 0, most = axis?.most ?? 0;
  for (const one of series) if (one.kind !== "bar") for (const value of one.values) if (value !== null && value !== undefined) { least = Math.min(least, value); most = Math.max(most, value); }
  for (const row of stacks ?? []) for (const [, to] of row) { least = Math.min(least, to); most = Math.max(most, to); }
  return least === most ? [least, least + (axis?.empty ?? 1)] : [least, most];
}

function path(one, axis, middle, step, wanted) {
  let d = "", pen = false;
  for (const [place, value] of one.values.entries()) {
    if (value === null || value === undefined || !wanted(place)) { pen = false; continue; }
    const x = middle(place), y = axis.at(value).toFixed(1);
    if (one.kind === "step") {
      d += `${pen ? "L" : "M"}${(x - step / 2).toFixed(1)} ${y}L${(x + step / 2).toFixed(1)} ${y}`;
    } else {
      d += `${pen ? "L" : "M"}${x.toFixed(1)} ${y}`;
      if (!pen && (one.values[place + 1] === null || one.values[place + 1] === undefined)) d += `l0.1 0`;
    }
    pen = true;
  }
  return d;
}

// --- curves -----------------------------------------------------------------------------------------------------------

function curves(spec, width, height) {
  const x0 = LEFT, x1 = width - RIGHT, y0 = height - BOTTOM, y1 = TOP;
  const all = spec.curves.flatMap((one) => one.points);
  const most = Math.max(spec.x.most ?? 1, ...all.map(([x]) => x), spec.mark?.x ?? 0);
  const ticksX = nice(0, most, Math.min(8, Math.floor((x1 - x0) / 60)));
  const xAt = (value) => x0 + ((x1 - x0) * value) / ticksX.most;
  const left = scale([0, Math.max(...all.map(([, y]) => y), spec.left.most ?? 0, 0)], y0, y1);
  const svg = frame(width, height, left, null, spec, x0, x1);
  for (const value of ticksX.values) svg.append(s("text.tick", { x: xAt(value).toFixed(1), y: height - 10, "text-anchor": "middle" }, spec.x.show(value)));
  svg.append(s("text.unit", { x: x1, y: y0 - 6, "text-anchor": "end" }, spec.x.unit));
  for (const one of spec.curves) {
    let d = "", from = 0;
    for (const [x, y] of one.points) { d += `${d ? "L" : "M"}${xAt(from).toFixed(1)} ${left.at(y).toFixed(1)}L${xAt(x).toFixed(1)} ${left.at(y).toFixed(1)}`; from = x; }
    if (d && one.end) d += `L${xAt(from).toFixed(1)} ${one.end === "down" ? y0 : y1}`;
    if (d) svg.append(s(`path.curve.tone${one.tone}`, { d }));
  }
  if (spec.mark) {
    const x = xAt(spec.mark.x), y = left.at(spec.mark.y);
    const rightwards = x1 - x >= MARKED || x < MARKED;
    svg.append(s("line.cursor", { x1: x0, x2: x.toFixed(1), y1: y.toFixed(1), y2: y.toFixed(1) }), s("line.cursor", { x1: x.toFixed(1), x2: x.toFixed(1), y1: y.toFixed(1), y2: y0 }),
      s("circle.mark", { cx: x.toFixed(1), cy: y.toFixed(1), r: 5 }),
      s("text.marked", { x: (rightwards ? Math.max(0, Math.min(x + 10, width - MARKED)) : x - 10).toFixed(1), y: Math.max(y - 10, y1 + 10).toFixed(1), "text-anchor": rightwards ? "start" : "end" }, spec.mark.text));
  }
  const cross = s("line.cross", { y1, y2: y0, visibility: "hidden" });
  svg.append(cross);
  const places = 60;
  const valueAt = (place) => (ticksX.most * place) / (places - 1);
  return {
    svg, places,
    nearest: (x) => Math.max(0, Math.min(places - 1, Math.round(((x - x0) / (x1 - x0)) * (places - 1)))),
    point: (place) => move(cross, place === null ? null : xAt(valueAt(place))),
    legend: (place) => [
      place !== null ? h("span.at", {}, `${spec.x.show(valueAt(place))} ${spec.x.unit}`) : null,
      ...spec.curves.map((one) => {
        const found = place === null ? null : one.points.find(([x]) => x >= valueAt(place));
        return h("span.entry", {}, h(`i.key.tone${one.tone}`), one.name, place !== null ? h("b", {}, found ? spec.left.show(found[1]) : "–") : null);
      }),
    ],
  };
}

// --- axes -------------------------------------------------------------------------------------------------------------

function frame(width, height, left, right, spec, x0, x1) {
  const svg = s("svg", { viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true", preserveAspectRatio: "xMidYMid meet" });
  for (const value of left.ticks) {
    const y = left.at(value).toFixed(1);
    svg.append(s("line", { x1: x0, x2: x1, y1: y, y2: y, class: value === 0 ? "zero" : "rule" }), s("text.tick", { x: x0 - 7, y: (left.at(value) + 3.5).toFixed(1), "text-anchor": "end" }, spec.left.tick ? spec.left.tick(value) : String(value)));
  }
  svg.append(s("text.unit", { x: 2, y: 10 }, spec.left.unit));
  if (right) {
    for (const value of right.ticks) svg.append(s("text.tick", { x: x1 + 7, y: (right.at(value) + 3.5).toFixed(1) }, spec.right.tick ? spec.right.tick(value) : String(value)));
    svg.append(s("text.unit", { x: width - 2, y: 10, "text-anchor": "end" }, spec.right.unit));
  }
  return svg;
}

function scale([least, most], y0, y1, whole = false) {
  const ticks = nice(least, most, 5, whole);
  return { ticks: ticks.values, at: (value) => y0 - ((value - ticks.least) * (y0 - y1)) / (ticks.most - ticks.least) };
}

/** Round ticks that enclose both ends. */
function nice(least, most, wanted, whole = false) {
  if (most <= least) most = least + 1;
  const rough = (most - least) / wanted, power = 10 ** Math.floor(Math.log10(rough));
  const wide = power * ([1, 2, 2.5, 5, 10].find((factor) => factor * power >= rough * 0.999) ?? 10);
  const unit = whole ? Math.max(1, Math.ceil(wide)) : wide;
  const first = Math.floor(least / unit + 1e-9), last = Math.ceil(most / unit - 1e-9);
  const values = [];
  for (let tick = first; tick <= last; tick += 1) values.push(Number((tick * unit).toPrecision(12)));
  return { values, least: first * unit, most: last * unit };
}

// --- export -----------------------------------------------------------------------------------------------------------

function exportTable(name, spec) {
  const quote = (cell) => (/[",\n]/.test(cell) ? `"${cell.replaceAll('"', '""')}"` : cell);
  const rows = [];
  if (spec.curves) {
    rows.push(["curve", `x (${spec.x.unit})`, `y (${spec.left.unit})`]);
    for (const one of spec.curves) for (const [x, y] of one.points) rows.push([one.name, (spec.x.plain ?? String)(x), (spec.left.plain ?? String)(y)]);
  } else {
    const unit = (one) => (one.axis === "right" ? spec.right : spec.left);
    rows.push([spec.over ?? "", ...spec.series.map((one) => `${one.name} (${unit(one).unit})`)]);
    for (const [place, label] of spec.labels.entries()) {
      rows.push([String(label), ...spec.series.map((one) => (one.values[place] === null || one.values[place] === undefined ? "" : (unit(one).plain ?? String)(one.values[place])))]);
    }
  }
  const text = rows.map((row) => row.map((cell) => quote(String(cell))).join(",")).join("\r\n");
  download(`${name}.csv`, new Blob(["\ufeff", text, "\r\n"], { type: "text/csv;charset=utf-8" }));
}

/** The SVG with all of its looks written into it, on the page's own background, at twice its size. */
export async function exportPicture(title, name, holder, spec) {
  const svg = holder.querySelector("svg");
  const copy = svg.cloneNode(true);
  const originals = [svg, ...svg.querySelectorAll("*")], copies = [copy, ...copy.querySelectorAll("*")];
  for (const [place, original] of originals.entries()) {
    const looks = getComputedStyle(original);
    for (const property of INHERITED) copies[place].setAttribute(property, looks.getPropertyValue(property));
    copies[place].removeAttribute("class");
  }
  const [, , width, height] = svg.getAttribute("viewBox").split(" ").map(Number);
  const page = getComputedStyle(holder.closest(".card") ?? document.body);
  const head = 44, ink = getComputedStyle(holder).color;
  const keys = (spec?.series ?? spec?.curves ?? []);
  copy.setAttribute("x", 0); copy.setAttribute("y", head); copy.setAttribute("width", width); copy.setAttribute("height", height);
  const font = page.getPropertyValue("font-family");
  const whole = s("svg", { xmlns: "http://www.w3.org/2000/svg", viewBox: `0 0 ${width} ${height + head}`, width: width * 2, height: (height + head) * 2 },
    s("rect", { width, height: height + head, fill: page.backgroundColor }),
    s("text", { x: 12, y: 18, fill: ink, "font-family": font, "font-size": 14, "font-weight": 600 }, title), copy);
  let x = 12;
  for (const one of keys) {
    const probe = holder.closest(".card").querySelector(`.key.tone${one.tone}`);
    whole.append(s("rect", { x, y: 27, width: 10, height: 10, fill: probe ? getComputedStyle(probe).backgroundColor : ink }), s("text", { x: x + 15, y: 36, fill: ink, "font-family": font, "font-size": 11 }, one.name));
    x += 26 + [...one.name].reduce((sum, c) => sum + (c.charCodeAt(0) > 255 ? 11.5 : 6.3), 0);
  }
  const url = URL.createObjectURL(new Blob([new XMLSerializer().serializeToString(whole)], { type: "image/svg+xml" }));
  const image = new Image();
  image.src = url;
  await image.decode();
  const canvas = h("canvas", { width: width * 2, height: (height + head) * 2 });
  canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
  URL.revokeObjectURL(url);
  canvas.toBlob((blob) => download(`${name}.png`, blob), "image/png");
}
