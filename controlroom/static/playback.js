// The bar over the pages of a day: which day, which slot, and running a finished day again. Where it stands is in the address.

import { h, put } from "./dom.js";
import { t, dayName } from "./words.js";

const SPEEDS = [1, 2, 4, 8, 16]; // slots a second

/** `go(changes)` changes the address; `route` is what the address says. */
export function playback(bar, go) {
  let head = null, route = null, timer = null, speed = 4, built = "";
  const parts = {};

  function days() { return head?.days ?? []; }
  function day() { return days().find((one) => one.day === route?.query.day) ?? days().find((one) => one.day === head?.newest) ?? days().at(-1) ?? null; }
  function slot() {
    const one = day();
    if (!one) return null;
    const asked = Number(route?.query.slot || NaN);
    return Number.isInteger(asked) && asked >= one.first && asked < one.first + one.slots ? asked : one.last;
  }

  function stop() { clearInterval(timer); timer = null; show(); }
  function step(by) {
    const one = day(), next = slot() + by;
    if (next < one.first || next >= one.first + one.slots) { stop(); return; }
    go({ slot: next });
  }
  function play() {
    const one = day();
    if (timer) { stop(); return; }
    if (slot() >= Math.min(one.last, one.first + one.slots - 1)) go({ slot: one.first });
    timer = setInterval(() => (slot() >= one.last ? stop() : step(1)), 1000 / speed);
    show();
  }

  function build() {
    parts.day = h("select", { id: "day", "aria-label": t("play.day"), onchange: () => go({ day: parts.day.value, slot: "" }) }, days().map((one) => h("option", { value: one.day }, dayName(one.day))));
    parts.play = h("button", { type: "button", id: "play", onclick: play });
    parts.back = h("button.quiet", { type: "button", "aria-label": t("play.back"), onclick: () => { stop(); step(-1); } }, "‹");
    parts.next = h("button.quiet", { type: "button", "aria-label": t("play.next"), onclick: () => { stop(); step(1); } }, "›");
    parts.range = h("input", { type: "range", id: "slot", "aria-label": t("play.slot"), oninput: () => { if (timer) stop(); go({ slot: Number(parts.range.value) }); } });
    parts.time = h("output", { for: "slot" });
    parts.speed = h("select", { id: "speed", "aria-label": t("play.speed"), onchange: () => { speed = Number(parts.speed.value); if (timer) { stop(); play(); } } }, SPEEDS.map((one) => h("option", { value: one, selected: one === speed }, t("play.rate", { n: one }))));
    parts.live = h("button.quiet", { type: "button", id: "live", onclick: () => { stop(); go({ day: "", slot: "" }); } }, t("play.live"));
    put(bar, parts.day, parts.back, parts.play, parts.next, parts.range, parts.time, parts.speed, parts.live);
  }

  function show() {
    const one = day();
    bar.hidden = !one || !route?.timed;
    if (bar.hidden) { if (timer) { clearInterval(timer); timer = null; } return; }
    const now = JSON.stringify([days().map((d) => d.day), t("play.play")]);
    if (now !== built) { built = now; build(); }
    parts.day.value = one.day;
    parts.range.min = one.first;
    parts.range.max = Math.max(one.last, slot());
    parts.range.value = slot();
    const text = labelOf(slot());
    parts.range.setAttribute("aria-valuetext", text);
    parts.time.textContent = text;
    put(parts.play, timer ? "❚❚" : "▶", h("span", {}, ` ${t(timer ? "play.pause" : "play.play")}`));
    parts.play.setAttribute("aria-label", t(timer ? "play.pause" : "play.play"));
    parts.live.setAttribute("aria-pressed", String(!route.query.slot && !route.query.day));
  }

  return {
    head: (next) => { head = next; show(); },
    route: (next) => { route = next; show(); },
    words: () => { built = ""; show(); },
    day: () => day()?.day ?? "",
    slot,
    place: () => (day() ? slot() - day().first : null),
  };
}

const clock = new Intl.DateTimeFormat("en-GB", { timeZone: "Europe/Berlin", hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const zoned = new Intl.DateTimeFormat("en-GB", { timeZone: "Europe/Berlin", timeZoneName: "short", hour: "2-digit" });

const dates = new Intl.DateTimeFormat("en-CA", { timeZone: "Europe/Berlin", year: "numeric", month: "2-digit", day: "2-digit" });

/** The local day of a slot as YYYY-MM-DD; "" for what is no slot. */
export function dayOf(slot) {
  return Number.isInteger(slot) && slot >= 0 && slot <= 1e8 ? dates.format(slot * 900_000) : "";
}

/** The slot of something listed on the page of a day: with its own day where that is another. */
export const slotOn = (day, one) => (one.day === day ? labelOf(one.slot) : `${one.day} ${labelOf(one.slot)}`);

/** The slots that begin on the local day YYYY-MM-DD; none for what is no day. */
export function slotsOf(day) {
  const noon = Math.floor(Date.parse(`${day}T12:00:00Z`) / 900_000);
  if (!Number.isInteger(noon)) return [];
  return Array.from({ length: 160 }, (_, place) => noon - 80 + place).filter((slot) => dayOf(slot) === day);
}

/** From the slot's beginning to its end; where the clock shows a time twice, with the name of the zone's time. */
export function labelOf(slot) {
  const shown = (other) => clock.format(other * 900_000);
  const twice = shown(slot) === shown(slot + 4) || shown(slot) === shown(slot - 4);
  const name = twice ? ` ${zoned.formatToParts(slot * 900_000).find((part) => part.type === "timeZoneName").value}` : "";
  return `${clock.format(slot * 900_000)}–${clock.format((slot + 1) * 900_000)}${name}`;
}
