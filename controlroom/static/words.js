// Words in the viewer's language, numbers with their units, and times as the clocks of the market's country show them.

const ZONE = "Europe/Berlin";
const texts = await (await fetch("/static/translations.json")).json();
let language = "en";
let currency = "";

export const languages = Object.keys(texts);

export function setLanguage(chosen) {
  language = languages.includes(chosen) ? chosen : "en";
  document.documentElement.lang = language === "zh" ? "zh-CN" : "en";
}

export function setCurrency(code) { currency = code; }

export function getLanguage() { return language; }

const locale = () => (language === "zh" ? "zh-CN" : "en-GB");

/** The text of a key, with {names} filled in. */
export function t(key, values = {}) {
  const found = texts[language][key] ?? texts.en[key];
  if (found === undefined) { console.error(`no text for ${key}`); return key; }
  return found.replace(/\{(\w+)\}/g, (_, name) => String(values[name] ?? ""));
}

/** A word of the chain (a state, a kind, a code): translated where it is known, as it stands where not. */
export function word(group, value) {
  return texts[language][`${group}.${value}`] ?? texts.en[`${group}.${value}`] ?? String(value);
}

const formats = new Map();
function number(value, options = {}) {
  const key = locale() + JSON.stringify(options);
  if (!formats.has(key)) formats.set(key, new Intl.NumberFormat(locale(), options));
  return formats.get(key).format(value);
}

export const count = (value) => (value === null || value === undefined ? "–" : number(value));
export const decimal = (value, digits = 1) => (value === null || value === undefined ? "–" : number(value, { maximumFractionDigits: digits, minimumFractionDigits: digits }));
export const percent = (value, digits = 0) => (value === null || value === undefined ? "–" : number(value, { style: "percent", maximumFractionDigits: digits, minimumFractionDigits: digits }));

/** Energy to the last Wh. */
export function energy(wh) {
  if (wh === null || wh === undefined) return "–";
  return Math.abs(wh) < 1000 ? `${number(wh)} Wh` : `${number(wh / 1000, { minimumFractionDigits: 3, maximumFractionDigits: 3 })} kWh`;
}

export const kwh = (wh) => number(wh / 1000, { maximumFractionDigits: 3 });
export const power = (w) => (Math.abs(w) < 1000 ? `${number(w)} W` : `${number(w / 1000, { maximumFractionDigits: 2 })} kW`);

/** Money to the last micro where it has any, else to the cent. */
export function money(micros, digits = 6) {
  if (micros === null || micros === undefined) return "–";
  return `${number(micros / 1e6, { minimumFractionDigits: Math.min(2, digits), maximumFractionDigits: digits })} ${currency}`.trim();
}

/** To the last micro, for columns whose heading has the unit. */
export const exact = (micros) => (micros === null || micros === undefined ? "–" : number(micros / 1e6, { minimumFractionDigits: 6, maximumFractionDigits: 6 }));
export const exactSigned = (micros) => `${micros > 0 ? "+" : ""}${exact(micros)}`;
export const moneyUnit = () => currency || "¤";

/** Money with its sign: what is received, what is paid. */
export const signed = (micros) => `${micros > 0 ? "+" : ""}${exact(micros)} ${currency}`.trim();

export const priceUnit = () => `${currency || "¤"}/kWh`;
export function price(micros) {
  if (micros === null || micros === undefined) return "–";
  return `${number(micros / 1e6, { minimumFractionDigits: 4, maximumFractionDigits: 6 })} ${priceUnit()}`;
}

export const milliseconds = (ms) => (ms === null || ms === undefined ? "–" : ms < 10_000 ? `${number(ms)} ms` : `${number(ms / 1000, { maximumFractionDigits: 1 })} s`);

const clocks = new Map();
function clock(ms, options) {
  const key = locale() + JSON.stringify(options);
  if (!clocks.has(key)) clocks.set(key, new Intl.DateTimeFormat(locale(), { timeZone: ZONE, ...options }));
  return clocks.get(key).format(ms);
}

export const timeOf = (ms) => (ms ? clock(ms, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" }) : "–");
export const moment = (ms) => (ms ? clock(ms, { year: "numeric", month: "2-digit", day: "2-digit", hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23", timeZoneName: "short" }) : "–");
/** A day given as YYYY-MM-DD. */
export const dayName = (day) => clock(Date.parse(`${day}T12:00:00Z`), { weekday: "short", year: "numeric", month: "short", day: "numeric" });

export const short = (id, length = 10) => (id && id.length > length + 2 ? `${id.slice(0, length)}…` : id);
