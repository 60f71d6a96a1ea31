// How much was issued, traded and retired; one certificate's way; proof files out and in.

import { h, put, card, figure, tile, table } from "../dom.js";
import { t, word, count, energy, kwh, percent, money, price, moment, short } from "../words.js";
import { chart } from "../charts.js";
import { keyOf, ask, tellServer } from "../live.js";
import { labelOf, dayOf, slotOn } from "../playback.js";

const FIRST = ["retirement_id", "quantity_wh", "owner", "beneficiary", "purpose", "certificate_id", "device", "technology", "location", "interval_start_s", "interval_end_s", "consumption_slot", "retired_ms"];

export function create(main, context) {
  const tiles = h("div.tiles"), way = h("div"), listed = h("div"), retired = h("div"), verdict = h("div", { "aria-live": "polite", role: "status" });
  const flow = chart(t("certificates.flow"), "certificates"), sums = chart(t("certificates.sums"), "certificates-sums");
  const number = h("input", { id: "certificate", type: "text", inputmode: "numeric", pattern: "[0-9]+", required: true });
  const search = h("form.inline", { onsubmit: (event) => { event.preventDefault(); location.hash = context.link(`certificates/${number.value.trim()}`); } }, h("label", { for: "certificate" }, t("certificates.search")), number, h("button", { type: "submit" }, t("search.go")));
  const file = h("input.unseen", { id: "proof", type: "file", onchange: () => { if (file.files.length) check(file.files[0]); file.value = ""; } });
  const zone = h("div.drop", { id: "drop" }, h("p", {}, t("proof.drop")), h("label.button", { for: "proof" }, t("proof.choose")), file, verdict);
  for (const kind of ["dragenter", "dragover"]) zone.addEventListener(kind, (event) => { event.preventDefault(); zone.classList.add("over"); });
  for (const kind of ["dragleave", "drop"]) zone.addEventListener(kind, () => zone.classList.remove("over"));
  zone.addEventListener("drop", (event) => { event.preventDefault(); if (event.dataTransfer.files.length) check(event.dataTransfer.files[0]); });
  const wayCard = card(t("certificates.way"), way);
  main.append(h("div.headline", {}, h("h1", {}, t("page.certificates")), search), tiles, h("div.grid", {}, flow.element, sums.element), h("div.grid", {}, wayCard, card(t("proof.title"), zone)),
    h("div.grid", {}, card(t("certificates.listed"), listed), card(t("certificates.retirements"), retired)));
  let shown = null, data = null;

  function draw() {
    if (!data) return;
    put(tiles,
      tile(t("certificates.issued"), figure("certificates.issued", data.total_issued_wh, energy(data.total_issued_wh)), t("certificates.count", { n: count(data.count) })),
      tile(t("certificates.retired"), figure("certificates.retired", data.total_retired_wh, energy(data.total_retired_wh)), t("certificates.retirementcount", { n: count(data.retirement_count) })),
      tile(t("certificates.share"), percent(data.total_issued_wh ? data.total_retired_wh / data.total_issued_wh : null, 1), t("certificates.sharenote")),
      tile(t("certificates.traded"), figure("certificates.traded", data.total_traded_wh, energy(data.total_traded_wh)), t("certificates.tradednote")),
      tile(t("certificates.ended"), figure("certificates.ended", data.total_ended_wh, energy(data.total_ended_wh)), t("certificates.endednote")));
    const at = context.bar.place(), common = { over: t("col.slot"), labels: data.labels, cursor: at, until: context.running() ? at : null, left: { unit: "kWh", show: energy, tick: kwh, plain: (v) => (v / 1000).toFixed(3), empty: 1000 } };
    const running = (values) => { let sum = 0; return values.map((v) => (v === null ? null : (sum += v))); };
    const series = (values, kind) => [{ name: t("certificates.issued"), kind, tone: 3, values: values(data.issued_wh) }, { name: t("certificates.retired"), kind, tone: 1, values: values(data.retired_wh) }, { name: t("certificates.traded"), kind, tone: 4, values: values(data.traded_wh) }];
    flow.update({ ...common, series: series((v) => v, "step") });
    sums.update({ ...common, series: series(running, "line") });
    put(listed, table(t("certificates.listed"), [[t("col.certificate"), "num"], [t("col.device"), ""], [t("col.slot"), ""], [t("col.quantity"), "num"], [t("col.left"), "num"], [t("col.owner"), ""]],
      data.certificates.map((c) => [open(c.id), `${c.device} · ${word("kind", c.technology)}`, labelOf(c.slot), amount(c.quantity, c.unit), amount(c.left, c.unit), c.owner_name]), t("certificates.none")));
    put(retired, table(t("certificates.retirements"), [[t("col.retirement"), "num"], [t("col.certificate"), "num"], [t("col.slot"), ""], [t("col.quantity"), "num"], [t("col.beneficiary"), ""], [t("proof.file"), ""]],
      data.retirements.map((r) => [count(r.id), open(r.certificate), slotOn(data.day, r), amount(r.quantity, r.unit), r.beneficiary_name, proof(r.id)]), t("certificates.noretirements")));
  }

  const amount = (quantity, unit) => (unit === "Wh" ? energy(quantity) : `${count(quantity)} ${unit}`);
  const open = (id) => h("a", { href: context.link(`certificates/${id}`) }, count(id));
  const proof = (id) => h("a", { href: `/api/proof/${id}`, download: `retirement-${id}.proof`, "aria-label": t("proof.of", { id }) }, t("proof.get"));

  async function trace(id) {
    if (id === shown) return;
    shown = id;
    number.value = id;
    if (!id) { put(way, h("p.empty", {}, t("certificates.choose"))); return; }
    try {
      const found = await ask("certificate", { id });
      if (shown !== id) return;
      put(way, story(found));
    } catch (error) { put(way, h("p.empty", {}, t("fault", { what: word("error", error.code), detail: error.message }))); }
  }

  function story(found) {
    const c = found.certificate, unit = (n) => amount(n, found.unit);
    return [h("p", {}, h("strong", {}, t("certificates.head", { id: c.id })), ` · ${found.device} (${word("kind", found.technology)}, ${t("col.bus")} ${found.location}) · ${c.day} ${labelOf(c.slot)} · ${t("certificates.units", { from: count(found.unit_start), to: count(found.unit_end) })}`),
      h("ol.way", {},
        found.readings.map((r) => step("metered", t("way.metered", { wh: energy(r.export_wh), quality: word("quality", r.quality), who: r.signed_by_name }), r)),
        found.history.map((e) => step(e.event.toLowerCase(), event(e, unit), e, e.event === "Retired" ? proof(e.retirement_id) : null))),
      h("p", {}, t("certificates.rest", { retired: unit(found.retired_wh), ended: unit(found.ended_wh), left: unit(found.unretired_wh) }))];
  }

  function event(e, unit) {
    const values = { owner: e.owner_name, source: e.source_name, beneficiary: e.beneficiary_name, seller: e.seller_name, buyer: e.buyer_name, purpose: e.purpose, wh: unit(e.quantity_wh ?? e.unit_end - e.unit_start), id: e.retirement_id ?? e.certificate_id, how: e.how, reason: e.reason, price: price(e.price_micros_per_kwh), amount: money(e.amount_micros) };
    const key = `way.${e.event}`;
    const text = t(["Issued", "CarbonIssued", "Transferred", "LockedForSale", "Unlocked", "Sold", "Retired", "Charged", "Ended", "Flagged"].includes(e.event) ? key : "way.other", { ...values, event: e.event });
    return text;
  }

  const step = (kind, text, where, extra = null) => h(`li.${kind}`, {}, h("div", {}, text), h("small", {}, where.time_ms ? `${moment(where.time_ms)} · ` : "", `${t("col.height")} `, h("a", { href: context.link(`explorer/block/${where.height}`) }, count(where.height)), " · ", h("a", { href: context.link(`explorer/tx/${where.tx_id}`) }, short(where.tx_id, 8)), extra ? [" · ", extra] : null));

  async function check(blob) {
    put(verdict, t("loading"));
    try {
      const found = await tellServer("verify", blob);
      zone.dataset.verdict = found.ok ? "good" : "bad";
      put(verdict, found.ok ? proved(found) : h("p.verdict.bad", {}, h("b", {}, `✕ ${t("proof.bad")}`), ` ${found.reason}: ${found.detail}`));
    } catch (error) { zone.dataset.verdict = "bad"; put(verdict, h("p.verdict.bad", {}, h("b", {}, `✕ ${t("proof.bad")}`), ` ${error.message}`)); }
  }

  function proved(found) {
    const fields = Object.entries(found.event?.fields ?? { key: found.key });
    const rank = ([key]) => { const place = FIRST.indexOf(key); return place < 0 ? FIRST.length : place; };
    const facts = fields.sort((a, b) => rank(a) - rank(b));
    return [h("p.verdict.good", {}, h("b", {}, `✓ ${t("proof.good")}`), " ", t("proof.vouched", { height: count(found.header_height), time: moment(found.header_time_ms), n: found.signed_power, of: found.total_power, steps: found.steps })),
      h("p", {}, h("strong", {}, found.event ? `${found.event.contract}.${found.event.name}` : t("proof.state")), ` · ${t("proof.chain", { chain: found.chain_id })}`),
      h("dl.facts", {}, facts.map(([key, value]) => h("div", {}, h("dt", {}, word("fact", key)), h("dd", {}, told(key, value, found.event?.fields))))) ];
  }

  /** A field of a proved event for people; what a program compares stands in the file. */
  function told(key, value, fields) {
    if (key === "quantity_wh") return amount(value, fields?.unit ?? "Wh");
    if (key === "retired_ms") return moment(value);
    if (key.startsWith("interval_")) return moment(value * 1000);
    if (key === "consumption_slot") return value < 0 ? "–" : `${dayOf(value)} ${labelOf(value)}`;
    if (key === "technology") return word("kind", value);
    if (key.startsWith("unit_") || key.endsWith("_id")) return count(value);
    return String(value);
  }

  return {
    route: (route) => { trace(route.parts[0] ?? ""); return new Map([[keyOf("certificates", { day: route.query.day }), (found) => { data = found; draw(); }]]); },
  };
}
