// A slot's curves, book and trades; the day's prices, volumes and imbalances.

import { h, put, card, figure, tile, table } from "../dom.js";
import { t, word, count, energy, kwh, money, moneyUnit, price, exact, exactSigned, priceUnit, decimal, short } from "../words.js";
import { chart } from "../charts.js";
import { keyOf } from "../live.js";
import { labelOf } from "../playback.js";
import { orderForm } from "../key.js";

export function create(main, context) {
  const tiles = h("div.tiles"), tariffs = h("p.note");
  const zone = h("select", { "aria-label": t("market.zone"), onchange: () => context.go({ zone: zone.value }) });
  const curves = chart(t("market.curves"), "curves", { height: 356 });
  const prices = chart(t("market.prices"), "prices");
  const volumes = chart(t("market.volumes"), "volumes");
  const imbalances = chart(t("market.imbalances"), "imbalances");
  const metered = chart(t("market.metered"), "metered");
  const book = h("div.halves"), trades = h("div"), groups = h("div"), dayGroups = h("div");
  const form = orderForm(context.key);
  main.append(h("div.headline", {}, h("h1", {}, t("page.market")), h("label.inline", {}, t("market.zone"), zone)), tiles, tariffs,
    h("div.grid", {}, curves.element, card(t("market.book"), book)),
    h("div.grid", {}, prices.element, volumes.element, imbalances.element, metered.element),
    h("div.grid", {}, card(t("market.groups"), groups), card(t("market.daygroups"), dayGroups)), card(t("market.trades"), trades), form.element);
  let day = null, slot = null;

  const euros = { unit: priceUnit(), show: price, tick: (v) => decimal(v / 1e6, 2), plain: (v) => (v / 1e6).toFixed(6) };
  const hours = { unit: "kWh", show: energy, tick: kwh, plain: (v) => (v / 1000).toFixed(3), empty: 1000 };

  function drawDay() {
    main.classList.toggle("bare", !day?.day);
    if (!day?.day) return;
    put(zone, day.zones.map((one) => h("option", { value: one, selected: one === day.zone }, one)));
    const place = slot && slot.slot >= day.first && slot.slot < day.first + day.slots ? slot.slot - day.first : null;
    const common = { over: t("col.slot"), labels: day.labels, cursor: place, until: context.running() ? place : null };
    euros.unit = priceUnit();
    const flat = (value) => day.labels.map(() => value);
    prices.update({ ...common, left: euros, series: [
      { name: t("market.price"), kind: "step", tone: 1, values: day.price },
      { name: t("market.imbalanceprice"), kind: "step", tone: 2, values: day.imbalance_price },
      ...(day.tariffs ? [{ name: t("market.retail"), kind: "line", dashed: true, tone: 5, values: flat(day.tariffs.retail) }, { name: t("market.feedin"), kind: "line", dashed: true, tone: 3, values: flat(day.tariffs.feed_in) }] : []),
    ] });
    volumes.update({ ...common, left: hours, right: { unit: t("unit.orders"), show: count, tick: count, whole: true }, series: [
      { name: t("market.traded"), kind: "bar", tone: 1, values: day.traded_wh },
      { name: t("market.orders"), kind: "step", axis: "right", tone: 4, values: day.orders },
    ] });
    imbalances.update({ ...common, left: hours, series: [
      { name: t("market.long"), kind: "bar", tone: 3, values: day.long_wh },
      { name: t("market.short"), kind: "bar", tone: 2, values: day.short_wh },
      { name: t("market.system"), kind: "step", tone: 4, values: day.imbalance_wh },
    ] });
    metered.update({ ...common, left: hours, series: [
      { name: t("energy.consumed"), kind: "step", tone: 2, values: day.import_wh },
      { name: t("energy.generated"), kind: "step", tone: 3, values: day.export_wh },
    ] });
    put(dayGroups, deviating(day, t("market.daygroups")));
    put(tariffs, day.tariffs ? t(day.tariffs.on_chain ? "market.tariffschain" : "market.tariffstold", { retail: price(day.tariffs.retail), feedin: price(day.tariffs.feed_in) }) : t("market.notariffs"));
  }

  /** The balance groups of a slot or of a day; each leads to its members' page where it is somebody's own. */
  function deviating(found, caption) {
    return [found.group_count ? h("p.note", {}, t("market.groupnote", { n: found.groups.length, of: found.group_count })) : null, table(caption, [[t("col.brp"), ""], [t("col.members"), "num"], [t("col.imbalance"), "num"], [t("col.direction"), ""], [`${t("col.amount")} (${moneyUnit()})`, "num"]],
      found.groups.map((g) => [h("a", { href: context.link(`participant/${g.brp}`) }, g.name), count(g.members), energy(g.imbalance_wh), t(`direction.${g.imbalance_wh > 0 ? "long" : g.imbalance_wh < 0 ? "short" : "balanced"}`), exactSigned(g.amount_micros)]), t("market.nogroups"))];
  }

  function drawSlot() {
    if (!slot) return;
    put(tiles,
      tile(t("market.price"), figure("market.price", slot.price, price(slot.price)), `${t("col.slot")} ${labelOf(slot.slot)}`),
      tile(t("market.volume"), figure("market.volume", slot.quantity_wh, energy(slot.quantity_wh)), t("market.tradecount", { n: count(slot.trade_count) })),
      tile(t("market.gate"), t(slot.cleared ? "market.closed" : "market.open"), t("market.ordercount", { n: count(slot.orders.length) })),
      tile(t("market.system"), slot.direction ? t(`direction.${slot.direction}`) : "–", figure("market.imbalance", slot.imbalance_wh, energy(slot.imbalance_wh))),
      tile(t("market.imbalanceprice"), figure("market.imbalanceprice", slot.imbalance_price, price(slot.imbalance_price)), t("market.reference")),
      tile(t("market.daytraded"), figure("market.daytraded", day ? day.traded_wh.reduce((a, b) => a + b, 0) : null, day ? energy(day.traded_wh.reduce((a, b) => a + b, 0)) : "–"), day ? t("market.turnover", { n: count(day.trades), amount: money(day.turnover_micros) }) : ""));
    const curve = (name, points, tone, end) => ({ name, points, tone, end });
    curves.update({ x: { unit: "kWh", most: 1000, show: kwh, plain: (v) => (v / 1000).toFixed(3) }, left: { ...euros, unit: priceUnit(), most: slot.tariffs?.retail ?? 0 },
      curves: [curve(t("market.demand"), slot.demand, 1, "down"), curve(t("market.supply"), slot.supply, 2, "up")],
      mark: slot.price === null ? null : { x: slot.quantity_wh, y: slot.price, text: `${price(slot.price)} · ${energy(slot.quantity_wh)}` } });
    const side = (which) => slot.orders.filter((o) => o.side === which).sort((a, b) => (which === "buy" ? b.limit - a.limit : a.limit - b.limit) || a.id - b.id);
    const rows = (which) => side(which).map((o) => [h("a", { href: context.link(`participant/${o.account}`) }, o.name), energy(o.quantity_wh), exact(o.limit), energy(o.filled_wh), stateMark(o.state)]);
    const columns = [[t("col.participant"), ""], [t("col.quantity"), "num"], [`${t("col.limit")} (${priceUnit()})`, "num"], [t("col.filled"), "num"], [t("col.state"), ""]];
    put(book, h("h3", {}, t("market.bids")), table(t("market.bids"), columns, rows("buy"), t("market.nobids")), h("h3", {}, t("market.asks")), table(t("market.asks"), columns, rows("sell"), t("market.noasks")));
    put(trades, table(t("market.trades"), [[t("col.buyer"), ""], [t("col.seller"), ""], [t("col.quantity"), "num"], [`${t("col.price")} (${priceUnit()})`, "num"], [`${t("col.amount")} (${moneyUnit()})`, "num"], [t("col.transaction"), ""]],
      slot.trades.map((r) => [r.buyer, r.seller, energy(r.quantity_wh), exact(r.price), exact(r.amount_micros), h("a", { href: context.link(`explorer/tx/${r.tx_id}`) }, short(r.tx_id, 8))]), t("market.notrades")));
    put(groups, deviating(slot, t("market.groups")));
    form.product(slot.zone, context.running() ? slot.slot : context.head()?.next_slot ?? slot.slot);
  }

  return {
    route: (route) => {
      const query = { day: route.query.day, slot: route.query.slot, zone: route.query.zone };
      return new Map([
        [keyOf("market/day", { day: query.day, zone: query.zone }), (data) => { day = data; if (data) { drawDay(); drawSlot(); } }],
        [keyOf("market/slot", query), (data, error) => { slot = data; drawSlot(); if (error) put(tiles, h("p.empty", {}, t("market.nothing"))); else drawDay(); }],
      ]);
    },
  };
}

export function stateMark(state) {
  return h(`span.mark.${state.toLowerCase()}`, {}, word("order", state));
}
