// One participant: what was metered, traded and settled, what it cost down to the readings, and its certificates.

import { h, put, card, figure, tile, table } from "../dom.js";
import { t, word, count, percent, energy, kwh, money, moneyUnit, signed, price, exact, exactSigned, priceUnit, power, short } from "../words.js";
import { chart } from "../charts.js";
import { keyOf, ask } from "../live.js";
import { labelOf, slotOn } from "../playback.js";
import { orderForm, cancelButton, retireButton } from "../key.js";
import { stateMark } from "./market.js";

const TONES = { household: 2, commercial: 2, heat_pump: 5, ev_charger: 4, battery: 6, pv: 3, wind: 3, hydro: 3, biomass: 3 };

export function create(main, context) {
  const chooser = h("input", { id: "who", list: "everybody", autocomplete: "off", onchange: () => find(chooser.value) });
  const list = h("datalist", { id: "everybody" });
  const name = h("h1", {}, t("page.participant")), address = h("p.note.mono");
  const tiles = h("div.tiles"), meters = h("div"), bill = h("div"), orders = h("div"), trades = h("div"), held = h("div"), retired = h("div");
  const metered = chart(t("participant.metered"), "metered"), deviation = chart(t("participant.deviation"), "deviation");
  const form = orderForm(context.key);
  main.append(h("div.headline", {}, name, h("label.inline", { for: "who" }, t("participant.choose"), chooser), list), address, tiles,
    h("div.grid", {}, metered.element, deviation.element), h("div.grid", {}, card(t("participant.bill"), bill), card(t("participant.trades"), trades)), form.element,
    h("div.grid", {}, card(t("participant.orders"), orders), card(t("participant.held"), held), card(t("participant.meters"), meters), card(t("participant.retired"), retired)));
  let data = null, people = [], statement = null, asked = "", total = null, fault = null;

  function find(text) {
    const wanted = text.trim();
    if (wanted) location.hash = context.link(`participant/${encodeURIComponent(people.find((p) => p.name === wanted)?.account ?? wanted)}`);
    chooser.value = "";
  }

  function draw() {
    main.classList.toggle("bare", !data?.account);
    if (!data?.account) { name.textContent = t("page.participant"); put(tiles, h("p.empty", {}, t(fault ? "participant.unknown" : "participant.nobody"))); return; }
    name.textContent = data.name;
    chooser.placeholder = data.name;
    put(address, data.account, data.roles.length ? ` · ${data.roles.map((role) => word("role", role)).join(", ")}` : "");
    const mine = context.key.account() === data.account;
    numbers();
    const at = context.bar.place(), common = { over: t("col.slot"), labels: data.labels, cursor: at, until: context.running() ? at : null };
    const axis = { unit: "kWh", show: energy, tick: kwh, plain: (v) => (v / 1000).toFixed(3), empty: 1000 };
    const negative = (values) => values.map((v) => (v === null ? null : -v));
    const bound = (side) => data.envelope_wh.map((pair) => (pair[side] < 0 ? null : side ? pair[side] : -pair[side]));
    const envelope = data.envelope_wh.some((pair) => pair[0] >= 0 || pair[1] >= 0);
    metered.update({ ...common, left: axis, series: [
      ...data.by_kind.filter((one) => one.export_wh.some((v) => v)).map((one) => ({ name: t("participant.gives", { kind: word("kind", one.kind) }), kind: "bar", tone: TONES[one.kind] ?? 3, values: one.export_wh })),
      ...data.by_kind.filter((one) => one.import_wh.some((v) => v)).map((one) => ({ name: t("participant.takes", { kind: word("kind", one.kind) }), kind: "bar", tone: TONES[one.kind] ?? 2, negative: true, values: negative(one.import_wh) })),
      { name: t("participant.position"), kind: "step", tone: 1, values: data.sold_wh.map((v, i) => (v === null ? null : v - data.bought_wh[i])) },
      ...(envelope ? [{ name: t("feeder.exportlimit"), kind: "step", dashed: true, tone: 5, values: bound(1) }, { name: t("feeder.importlimit"), kind: "step", dashed: true, tone: 4, values: bound(0) }] : []) ] });
    deviation.update({ ...common, left: axis, series: [{ name: t("col.imbalance"), kind: "bar", tone: 4, values: data.imbalance_wh },
      ...(data.activated_wh.some((v) => v) ? [{ name: t("participant.activated"), kind: "step", tone: 1, values: data.activated_wh }] : [])] });
    put(meters, table(t("participant.meters"), [[t("col.meter"), ""], [t("col.kind"), ""], [t("col.bus"), ""], [t("col.rating"), "num"], [t("col.capacity"), "num"], [t("energy.consumed"), "num"], [t("energy.generated"), "num"]],
      data.meters.map((m) => [m.code, word("kind", m.kind), m.bus, power(m.rating_w), m.capacity_wh ? energy(m.capacity_wh) : "–", m.readings ? energy(m.import_wh) : t("participant.noseries"), m.readings ? energy(m.export_wh) : "–"]), t("participant.nometers")));
    put(orders, data.order_count ? h("p.note", {}, t("shown", { n: data.orders.length, of: data.order_count })) : null, table(t("participant.orders"), [[t("col.slot"), ""], [t("col.side"), ""], [t("col.quantity"), "num"], [`${t("col.limit")} (${priceUnit()})`, "num"], [t("col.filled"), "num"], [t("col.state"), ""]],
      [...data.orders].reverse().map((o) => [labelOf(o.slot), t(`side.${o.side}`), energy(o.quantity_wh), exact(o.limit), energy(o.filled_wh), mine && o.state === "OPEN" && o.market === "market" ? cancelButton(o.id) : stateMark(o.state)]), t("participant.noorders")));
    put(trades, data.trade_count ? h("p.note", {}, t("shown", { n: data.trades.length, of: data.trade_count })) : null, table(t("participant.trades"), [[t("col.slot"), ""], [t("col.side"), ""], [t("col.with"), ""], [t("col.quantity"), "num"], [`${t("col.price")} (${priceUnit()})`, "num"], [`${t("col.amount")} (${moneyUnit()})`, "num"]],
      [...data.trades].reverse().map((r) => [h("a", { href: context.link(`explorer/tx/${r.tx_id}`) }, labelOf(r.slot)), t(`side.${r.side}`), r.with, energy(r.quantity_wh), exact(r.price), exactSigned(r.amount_micros)]), t("participant.notrades")));
    put(held, data.held_count ? h("p.note", {}, t("participant.owned", { wh: energy(data.held_wh), n: data.held.length, of: data.held_count })) : null, table(t("participant.held"), [[t("col.certificate"), "num"], [t("col.device"), ""], [t("col.slot"), ""], [t("col.left"), "num"], ...(mine ? [["", ""]] : [])],
      data.held.map((c) => [h("a", { href: context.link(`certificates/${c.id}`) }, count(c.id)), c.device, slotOn(data.day, c), c.unit === "Wh" ? energy(c.left) : `${count(c.left)} ${c.unit}`, ...(mine ? [retireButton(context.key, c)] : [])]), t("participant.nonowned")));
    put(retired, data.retirement_count ? h("p.note", {}, t("participant.covered", { wh: energy(data.retired_wh), n: data.retirements.length, of: data.retirement_count })) : null, table(t("participant.retired"), [[t("col.retirement"), "num"], [t("col.certificate"), "num"], [t("col.slot"), ""], [t("col.quantity"), "num"], [t("col.owner"), ""], [t("col.beneficiary"), ""]],
      data.retirements.map((r) => [count(r.id), h("a", { href: context.link(`certificates/${r.certificate}`) }, count(r.certificate)), slotOn(data.day, r), r.unit === "Wh" ? energy(r.quantity) : `${count(r.quantity)} ${r.unit}`, r.owner_name, r.beneficiary_name]), t("participant.nonretired")));
    if (mine) form.product("", (context.running() ? context.bar.slot() : context.head()?.next_slot) ?? data.first);
    form.element.hidden = !mine;
    more();
  }

  function numbers() {
    put(tiles,
      tile(t("participant.balance"), figure("participant.balance", statement?.balance_micros, money(statement?.balance_micros)), statement ? t("participant.held_money", { amount: money(statement.held_micros) }) : ""),
      tile(t("participant.billtotal"), figure("participant.bill", total, total === null ? "…" : signed(total)), t("participant.received")),
      tile(t("energy.consumed"), figure("participant.import", data.totals.import_wh, energy(data.totals.import_wh)), t("participant.settled")),
      tile(t("energy.generated"), figure("participant.export", data.totals.export_wh, energy(data.totals.export_wh)), t("participant.settled")),
      tile(t("participant.bought"), figure("participant.bought", data.totals.bought_wh, energy(data.totals.bought_wh)), t("participant.sold", { wh: energy(data.totals.sold_wh) })),
      tile(t("participant.certificates"), figure("participant.held", data.held_wh, energy(data.held_wh)), t("participant.covered1", { wh: energy(data.retired_wh) })));
  }

  /** Money and bill come from the node, so they are asked for only when the participant's own numbers have changed. */
  async function more() {
    const now = JSON.stringify([data.account, data.day, data.totals, data.order_count, data.trade_count]);
    if (now === asked) return;
    asked = now;
    try {
      const [money_, bill_] = await Promise.all([ask("statement", { account: data.account }), ask("bill", { account: data.account, day: data.day })]);
      if (now !== asked) return;
      statement = money_;
      total = bill_.total_micros;
      numbers();
      lines(bill_);
    } catch (error) { asked = ""; put(bill, h("p.empty", {}, t("fault", { what: word("error", error.code), detail: error.message }))); }
  }

  function lines(found) {
    put(bill, found.lines.length ? h("p.note", {}, t("participant.billnote")) : null, found.lines.length ? h("div.scroll.lines", { tabindex: "0", role: "region", "aria-label": t("participant.bill") }, found.lines.map((line) => {
      const body = h("div.tree", {}, t("loading"));
      const details = h("details", { "data-id": String(line.slot) }, h("summary", {}, h("span", {}, labelOf(line.slot)), h("span.what", {}, line.parts.map((p) => `${lineName(p.label)} ${exactSigned(p.amount_micros)}`).join(" · ")), h("b", { class: line.amount_micros < 0 ? "paid" : "got" }, signed(line.amount_micros))), body);
      details.addEventListener("toggle", async () => {
        if (!details.open || body.dataset.done) return;
        body.dataset.done = "1";
        try { const answer = await ask("explain", { account: found.account, slot: line.slot }); put(body, tree(answer.item)); } catch (error) { put(body, t("fault", { what: word("error", error.code), detail: error.message })); }
      });
      return details;
    })) : h("p.empty", {}, t("participant.nobill")));
  }

  function tree(item) {
    const facts = Object.entries(item.facts).filter(([key]) => key !== "tx_id" && key !== "height" && key !== "slot").map(([key, value]) => `${word("fact", key)} ${shown(key, value)}`).join(", ");
    return h("ul", {}, h("li", {}, h("span", {}, lineName(item.label)), item.amount_micros === null ? null : h("b", { class: item.amount_micros < 0 ? "paid" : "got" }, signed(item.amount_micros)), facts ? h("small", {}, facts) : null,
      item.facts.tx_id ? h("a", { href: context.link(`explorer/tx/${item.facts.tx_id}`) }, short(item.facts.tx_id, 8)) : null, [...item.parts, ...item.because].map(tree)));
  }

  /** What a line of a bill is called; some have a number or a meter in their name. */
  function lineName(label) {
    const [, slot] = /^slot (\d+)$/.exec(label) ?? [], [, meter] = /^reading of (.+)$/.exec(label) ?? [], [, run] = /^re-settlement (\d+)$/.exec(label) ?? [];
    return slot ? labelOf(Number(slot)) : meter ? t("participant.reading", { meter }) : run ? t("participant.resettled", { n: run }) : word("bill", label);
  }

  function shown(key, value) {
    if (key === "quality" || key === "pricing") return word(key, value);
    if (key === "loss_ppm") return percent(value / 1e6, 3);
    if (key.endsWith("_wh")) return energy(value);
    if (key.endsWith("micros_per_kwh")) return price(value);
    if (key.endsWith("_micros")) return signed(value);
    if (typeof value === "string" && value.length === 40) return short(value, 8);
    return typeof value === "object" ? JSON.stringify(value) : String(value);
  }

  return {
    route: (route) => {
      const day = { day: route.query.day };
      return new Map([
        [keyOf("participants", day), (found) => { people = found?.participants ?? []; put(list, people.map((p) => h("option", { value: p.name }, p.kinds.map((kind) => word("kind", kind)).join(", ")))); }],
        [keyOf("participant", { ...day, account: route.parts[0] }), (found, error) => { if (found?.account !== data?.account || found?.day !== data?.day) { statement = null; total = null; asked = ""; put(bill, t("loading")); } data = found; fault = error; draw(); }],
      ]);
    },
  };
}
