// Elements, and the small things that every page needs of them.

const SVG = "http://www.w3.org/2000/svg";

/** h("button.quiet", {type: "button", onclick}, "text", child, ...): an element. Text is never read as HTML. */
export function h(what, attributes = {}, ...children) {
  const [tag, ...classes] = what.split(".");
  return fill(document.createElement(tag || "div"), classes, attributes, children);
}

/** The same for SVG. */
export function s(what, attributes = {}, ...children) {
  const [tag, ...classes] = what.split(".");
  return fill(document.createElementNS(SVG, tag), classes, attributes, children);
}

function fill(element, classes, attributes, children) {
  if (classes.length) element.setAttribute("class", classes.join(" "));
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "class") element.setAttribute("class", [...classes, value].join(" "));
    else if (name === "value" && "value" in element) element.value = value;
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

const FOCUSABLE = "a[href], button:not([disabled]), input, select, textarea, summary, [tabindex='0']";

/** Puts new children into an element; whoever works with the keyboard stays where they were. */
export function put(element, ...children) {
  const before = [...element.querySelectorAll(FOCUSABLE)].indexOf(document.activeElement);
  const open = new Set([...element.querySelectorAll("details[open][data-id]")].map((one) => one.dataset.id));
  element.replaceChildren(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  for (const one of element.querySelectorAll("details[data-id]")) if (open.has(one.dataset.id)) one.open = true;
  if (before >= 0) {
    const now = [...element.querySelectorAll(FOCUSABLE)];
    if (now.length) now[Math.min(before, now.length - 1)].focus({ preventScroll: true });
  }
}

/** A card with a heading. `aside` stands at the right of the heading. */
export function card(title, ...children) {
  return h("section.card", { "aria-label": title }, h("h2", {}, title), ...children);
}

/** A number that tests and programs can find: its name and its raw value stand beside what people read. */
export function figure(name, raw, text) {
  return h("span.figure", { "data-figure": name, "data-value": raw === null || raw === undefined ? "" : raw }, withUnit(text));
}

/** "0.12 EUR/kWh" with its unit in small letters. */
function withUnit(text) {
  const found = typeof text === "string" ? /^([+\-−\d][\d.,+\-−]*) (\S+)$/u.exec(text) : null;
  return found ? [found[1], " ", h("small", {}, found[2])] : text;
}

/** A tile with one number. */
export function tile(label, value, note = "", tone = "") {
  return h("div.tile", tone ? { class: tone } : {}, h("div.label", {}, label), h("div.value", {}, value), note ? h("div.note", {}, note) : null);
}

/** A table. Columns are [heading, "num" or ""]; a row is a list of cells. It scrolls by itself, also by keyboard. */
export function table(caption, columns, rows, empty) {
  if (!rows.length) return h("p.empty", {}, empty);
  return h("div.scroll", { tabindex: "0", role: "region", "aria-label": caption },
    h("table", {}, h("caption.unseen", {}, caption),
      h("thead", {}, h("tr", {}, columns.map(([name, kind]) => h("th", { scope: "col", class: kind || "" }, name)))),
      h("tbody", {}, rows.map((row) => h("tr", {}, row.map((cell, place) => h("td", { class: columns[place][1] || "" }, cell)))))));
}

export function download(name, blob) {
  const url = URL.createObjectURL(blob);
  const link = h("a", { href: url, download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}
