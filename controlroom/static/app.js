// Starts the page: the header, the address, and which page is shown.

import { h, put } from "./dom.js";
import { t, setLanguage, getLanguage, setCurrency, count, languages } from "./words.js";
import * as live from "./live.js";
import { playback, dayOf } from "./playback.js";
import { keyButton } from "./key.js";

const PAGES = ["network", "market", "feeder", "participant", "certificates", "explorer"];
const TIMED = new Set(["market", "feeder", "participant", "certificates"]);
const main = document.getElementById("main");

let current = null; // {name, page}
let route = null;
let head = null;
let turn = 0; // counts page changes, so that a module that arrives late is not shown

const bar = playback(document.getElementById("playback"), go);
const mine = document.getElementById("mine");
const key = keyButton(document.getElementById("key"), document.getElementById("dialog"), (account) => { mine.hidden = !account; mine.href = link(`participant/${account}`); show(); });
const context = { bar, go, key, head: () => head, link, running: () => Boolean(route?.query.slot) };

function remembered(name) { try { return localStorage.getItem(name); } catch { return null; } }
function remember(name, value) { try { localStorage.setItem(name, value); } catch { /* then it is forgotten at the next visit */ } }

/** A part of an address; as it stands where it is none that a link of ours could have. */
function plainly(text) { try { return decodeURIComponent(text); } catch { return text; } }

/** #/market?day=2016-06-10&slot=1628400 */
function read() {
  const [path, query] = location.hash.replace(/^#\/?/, "").split("?");
  const parts = path.split("/").map(plainly);
  const name = PAGES.includes(parts[0]) ? parts[0] : "network";
  const asked = Object.fromEntries(new URLSearchParams(query ?? ""));
  if (asked.slot && !asked.day) asked.day = dayOf(Number(asked.slot));
  return { name, parts: parts.slice(1), query: asked, timed: TIMED.has(name) };
}

/** The address of a page; the day and slot that are looked at stay. */
function link(path, changes = {}) {
  const kept = TIMED.has(path.split("/")[0]) ? { day: route?.query.day, slot: route?.query.slot } : {};
  const query = Object.entries({ ...kept, ...changes }).filter(([, value]) => value !== undefined && value !== "" && value !== null);
  return `#/${path}${query.length ? `?${new URLSearchParams(query)}` : ""}`;
}

function go(changes) {
  const path = [route.name, ...route.parts].map(encodeURIComponent).join("/");
  history.replaceState(null, "", link(path, { ...route.query, ...changes }));
  show();
}

async function show() {
  route = read();
  const mine = ++turn;
  navigate();
  bar.route(route);
  if (!current || current.name !== route.name) {
    const module = await import(`./pages/${route.name}.js`);
    if (mine !== turn) return; // somebody went on meanwhile
    current?.page.close?.();
    put(main);
    current = { name: route.name, page: module.create(main, context) };
  }
  document.title = `${t(`page.${route.name}`)} · ${t("room")}`;
  live.watch(new Map([["head", onHead], ...current.page.route(route)]));
}

function onHead(data) {
  if (!data) return;
  head = data;
  setCurrency(data.currency);
  bar.head(data);
  pulse(true);
  const problem = document.getElementById("problem");
  problem.hidden = !data.problem && data.first_height === 1 && !data.unread;
  problem.textContent = [data.problem ? t("head.problem", { what: data.problem }) : "", data.first_height > 1 ? t("head.pruned", { height: data.first_height }) : "", data.unread ? t("head.unread", { n: data.unread }) : ""].join(" ").trim();
  current?.page.head?.(data);
}

function pulse(connected) {
  const element = document.getElementById("pulse");
  const state = !connected || !head ? "lost" : !head.caught_up ? "reading" : head.answering < head.nodes ? "partial" : "good";
  element.className = `pulse ${state}`;
  const one = state === "partial" && head.silent.length === 1 && head.answering === head.nodes - 1; // its name is known
  put(element, h("i"), head ? t(one ? "pulse.one" : `pulse.${state}`, { n: head.answering, of: head.nodes, name: head.silent[0] }) : t("pulse.lost"),
    head ? h("span.height", {}, ` · ${t("head.height")} ${count(head.height)}`) : null);
}

function navigate() {
  const pages = document.getElementById("pages");
  put(pages, PAGES.map((name) => h("a", { href: link(name), "aria-current": name === route.name ? "page" : null }, t(`page.${name}`))));
  const here = pages.querySelector("[aria-current]"); // on a telephone they stand in one line that scrolls
  pages.scrollLeft = here.offsetLeft - (pages.clientWidth - here.offsetWidth) / 2;
}

function translate() {
  for (const element of document.querySelectorAll("[data-t]")) element.textContent = t(element.dataset.t);
  for (const element of document.querySelectorAll("[data-label]")) element.setAttribute("aria-label", t(element.dataset.label));
  const dark = document.documentElement.dataset.theme === "dark";
  put(document.getElementById("theme"), dark ? "☀" : "☾", h("span", {}, ` ${t(dark ? "theme.light" : "theme.dark")}`));
  put(document.getElementById("foot"), t("foot"));
  key.words();
  bar.words();
}

/** Everything in the other language or colours: pages are made anew. */
function again() {
  translate();
  current?.page.close?.();
  current = null;
  pulse(Boolean(head));
  show();
}

setLanguage(remembered("language") ?? (languages.find((one) => navigator.language.toLowerCase().startsWith(one)) ?? "en"));
const chooser = document.getElementById("language");
chooser.value = getLanguage();
chooser.addEventListener("change", () => { setLanguage(chooser.value); remember("language", chooser.value); again(); });
document.getElementById("theme").addEventListener("click", () => {
  const next = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
  document.documentElement.dataset.theme = next;
  remember("theme", next);
  translate();
});
document.querySelector(".skip").addEventListener("click", (event) => { event.preventDefault(); main.focus(); });
window.addEventListener("hashchange", () => { show(); });
live.start((connected) => pulse(connected));
translate();
show();
