// A person's own key: unlocking it on the machine that serves the page, and what it may then do.

import { h, put, card } from "./dom.js";
import { t, word, energy, money, price, short } from "./words.js";
import { ask, tellServer } from "./live.js";
import { labelOf, dayOf, slotsOf } from "./playback.js";

let state = { offered: false, keys: [], unlocked: null };
const listeners = new Set();

export function keyButton(button, dialog, changed) {
  async function refresh() {
    try { state = await ask("key"); } catch { state = { offered: false, keys: [], unlocked: null }; }
    words();
    for (const listener of [...listeners]) if (listener.element.isConnected) listener.refresh(); else listeners.delete(listener);
    changed(state.unlocked?.account ?? null);
  }

  function words() {
    button.hidden = !state.offered;
    put(button, state.unlocked ? t("key.lock", { name: state.unlocked.name }) : t("key.unlock"));
  }

  button.addEventListener("click", () => (state.unlocked ? lock() : open()));

  async function lock() { await tellServer("lock", {}); await refresh(); }

  function open() {
    const fault = h("p.bad", { role: "alert" });
    const name = h("select", { id: "keyname", required: true }, [...state.keys].sort((a, b) => b.participant - a.participant).map((one) => h("option", { value: one.name }, `${one.name} · ${short(one.account, 8)}${one.participant ? ` · ${t("key.participant")}` : ""}`)));
    const phrase = h("input", { id: "passphrase", type: "password", autocomplete: "off" });
    const send = h("button", { type: "submit" }, t("key.unlock"));
    put(dialog, h("form", { method: "dialog", onsubmit: async (event) => {
      event.preventDefault();
      send.disabled = true;
      put(fault);
      try {
        state = await tellServer("unlock", { name: name.value, passphrase: phrase.value });
        phrase.value = "";
        dialog.close();
        await refresh();
      } catch (error) { put(fault, word("error", error.code) === error.code ? error.message : word("error", error.code)); }
      send.disabled = false;
    } },
    h("h2", {}, t("key.title")), h("p", {}, t("key.note")), h("label", { for: "keyname" }, t("key.name")), name, h("label", { for: "passphrase" }, t("key.passphrase")), phrase, fault,
    h("div.actions", {}, send, h("button.quiet", { type: "button", onclick: () => dialog.close() }, t("key.cancel")))));
    dialog.setAttribute("aria-label", t("key.title"));
    dialog.showModal();
    (state.keys.find((one) => one.encrypted) ? phrase : name).focus();
  }

  refresh();
  return { words, account: () => state.unlocked?.account ?? null, unlocked: () => Boolean(state.unlocked), listen: (listener) => listeners.add(listener) };
}

const refusal = (error) => (word("refusal", error.code) === error.code ? `${error.code}${error.message && error.message !== error.code ? `: ${error.message}` : ""}` : `${word("refusal", error.code)} (${error.code})`);

/** Places an order for a product; it says what may be ordered before anything is sent. */
export function orderForm(key) {
  let zone = "", slot = null, limits = null, zoneOfForm = "";
  const told = h("ul.limits", { "aria-live": "polite" }), result = h("p", { role: "status" });
  const side = h("select", { id: "order-side", onchange: judge }, h("option", { value: "buy" }, t("side.buy")), h("option", { value: "sell" }, t("side.sell")));
  const zoneInput = h("input", { id: "order-zone", type: "text", maxlength: "64", required: true, onchange: () => { zoneOfForm = zoneInput.value; ask_(); } });
  const dayInput = h("input", { id: "order-day", type: "date", required: true, onchange: () => { const all = slotsOf(dayInput.value); if (all.length) { choose(all[Math.min(slotInput.selectedIndex, all.length - 1)] ?? all[0]); ask_(); } } });
  const slotInput = h("select", { id: "order-slot", required: true, onchange: () => { slot = Number(slotInput.value); ask_(); } });
  const quantity = h("input", { id: "order-quantity", type: "number", min: "1", step: "1", required: true, oninput: judge });
  const limit = h("input", { id: "order-limit", type: "number", min: "0", step: "0.0001", required: true, oninput: judge });
  const send = h("button", { type: "submit" }, t("order.place"));
  const form = h("form.fields", { onsubmit: submit }, field("order-side", t("col.side"), side), field("order-zone", t("market.zone"), zoneInput), field("order-day", t("play.day"), dayInput), field("order-slot", t("col.slot"), slotInput), field("order-quantity", t("order.quantity"), quantity), field("order-limit", t("order.limit"), limit), h("div.actions", {}, send));
  const element = card(t("order.title"), h("p.note", {}, t("order.note")), form, told, result);
  element.id = "order-form";
  element.hidden = true;
  const listener = { element, refresh: () => { element.hidden = !key.unlocked(); if (key.unlocked()) ask_(); } };
  key.listen(listener);

  function product(newZone, newSlot) {
    element.hidden = !key.unlocked();
    if (newZone === zone && newSlot === slot) return;
    zone = newZone;
    zoneInput.value = zoneOfForm || zone || "feeder";
    choose(newSlot);
    if (key.unlocked()) ask_();
  }

  /** The slot's day, and all slots of that day to choose from: 92 or 100 where the clocks are put forward or back. */
  function choose(next) {
    slot = next;
    const day = dayOf(slot);
    if (dayInput.value !== day || !slotInput.options.length) {
      dayInput.value = day;
      put(slotInput, slotsOf(day).map((one) => h("option", { value: one }, labelOf(one))));
    }
    slotInput.value = String(slot);
  }

  async function ask_() {
    if (!zoneInput.value || !slotInput.value) return;
    try { limits = await ask("order-limits", { zone: zoneInput.value, slot: slotInput.value }); } catch (error) { limits = null; put(told, h("li.bad", {}, refusal(error))); return; }
    judge();
  }

  const cost = () => {
    const wh = Number(quantity.value) || 0, each = Math.round((Number(limit.value) || 0) * 1e6);
    const fee = Math.ceil((limits.dearest_fee_micros_per_kwh * wh) / 1000), loss = Math.ceil((each * wh * limits.dearest_loss_ppm) / 1e9);
    return Math.floor((each * wh) / 1000) + fee + loss;
  };

  function judge() {
    if (!limits) return;
    const wh = Number(quantity.value) || 0, buying = side.value === "buy";
    const most = buying ? limits.max_buy_wh : limits.max_sell_wh;
    const lines = [
      [limits.open, t(limits.open ? "order.open" : "order.closed", { slot: labelOf(limits.slot) })],
      [limits.participant, t(limits.participant ? "order.registered" : "order.stranger")],
      [most < 0 || wh <= most, most < 0 ? t("order.nolimit") : t("order.most", { wh: energy(most) })],
      [!limits.my_side || limits.my_side === side.value, limits.my_side ? t("order.myside", { side: t(`side.${limits.my_side}`) }) : t("order.noside")],
      ...(buying ? [[cost() <= limits.spendable_micros, t("order.money", { cost: money(cost()), have: money(limits.spendable_micros) })]] : []),
    ];
    put(told, lines.map(([good, text]) => h(`li.${good ? "good" : "bad"}`, {}, `${good ? "✓" : "✕"} ${text}`)));
    send.disabled = lines.some(([good]) => !good);
  }

  async function submit(event) {
    event.preventDefault();
    send.disabled = true;
    put(result, t("loading"));
    try {
      const done = await tellServer("order", { zone: zoneInput.value, slot: Number(slotInput.value), side: side.value, quantity_wh: Number(quantity.value), limit_micros_per_kwh: Math.round(Number(limit.value) * 1e6) });
      put(result, h("span.good", {}, `✓ ${t("order.done", { id: done.result, height: done.height, price: price(Math.round(Number(limit.value) * 1e6)) })}`));
      quantity.value = ""; // a second order is another wish
      ask_();
    } catch (error) { put(result, h("span.bad", {}, `✕ ${refusal(error)}`)); judge(); }
  }

  return { element, product };
}

const field = (id, label, input) => h("div.field", {}, h("label", { for: id }, label), input);

export function cancelButton(orderId) {
  const button = h("button.quiet", { type: "button", onclick: async () => {
    button.disabled = true;
    try { await tellServer("cancel", { order_id: orderId }); button.textContent = t("order.cancelled"); } catch (error) { button.textContent = refusal(error); }
  } }, t("order.cancel"));
  return button;
}

/** Opens a form that says how much may be retired before it asks for anything. */
export function retireButton(key, certificate) {
  return h("button.quiet", { type: "button", onclick: async () => {
    const dialog = document.getElementById("dialog");
    const told = h("p"), fault = h("p", { role: "alert" });
    const quantity = h("input", { id: "retire-quantity", type: "number", min: "1", step: "1", required: true });
    const purpose = h("input", { id: "retire-purpose", type: "text", maxlength: "128", value: t("retire.purpose") });
    const send = h("button", { type: "submit" }, t("retire.do"));
    put(dialog, h("form", { method: "dialog", onsubmit: async (event) => {
      event.preventDefault();
      send.disabled = true;
      try {
        const done = await tellServer("retire", { id: certificate.id, quantity_wh: Number(quantity.value), purpose: purpose.value, slot: certificate.slot });
        put(fault, h("span.good", {}, `✓ ${t("retire.done", { id: done.result, height: done.height })}`));
      } catch (error) { put(fault, h("span.bad", {}, `✕ ${refusal(error)}`)); send.disabled = false; }
    } },
    h("h2", {}, t("retire.title", { id: certificate.id })), told, h("label", { for: "retire-quantity" }, t("order.quantity")), quantity, h("label", { for: "retire-purpose" }, t("retire.what")), purpose, fault,
    h("div.actions", {}, send, h("button.quiet", { type: "button", onclick: () => dialog.close() }, t("key.close")))));
    dialog.setAttribute("aria-label", t("retire.title", { id: certificate.id }));
    dialog.showModal();
    try {
      const limits = await ask("retire-limits", { id: certificate.id });
      quantity.max = limits.max_wh;
      quantity.value = limits.max_wh || "";
      send.disabled = limits.max_wh === 0;
      put(told, t("retire.limits", { left: energy(limits.left_wh), consumed: energy(limits.consumed_wh), claimed: energy(limits.claimed_wh), most: energy(limits.max_wh) }));
    } catch (error) { put(told, h("span.bad", {}, refusal(error))); }
  } }, t("retire.do"));
}
