// Blocks, transactions, receipts, contracts with their source, proposals and votes; search by anything.

import { h, put, card, figure, table } from "../dom.js";
import { t, word, count, timeOf, moment, short } from "../words.js";
import { ask } from "../live.js";

export function create(main, context) {
  const query = h("input", { id: "query", type: "search", maxlength: "128", autocomplete: "off", required: true, placeholder: t("explorer.hint") });
  const search = h("form.inline.search", { role: "search", onsubmit: (event) => { event.preventDefault(); location.hash = `#/explorer/search/${encodeURIComponent(query.value.trim())}`; } }, h("label.unseen", { for: "query" }, t("explorer.search")), query, h("button", { type: "submit" }, t("search.go")));
  const found = h("div"), blocks = h("div"), transactions = h("div"), contracts = h("div"), proposals = h("div", { id: "proposals" }), parameters = h("div");
  const front = h("div.stack", {}, h("div.grid", {}, card(t("explorer.blocks"), blocks), card(t("explorer.transactions"), transactions)), h("div.grid", {}, card(t("explorer.contracts"), contracts), card(t("explorer.proposals"), proposals)), card(t("explorer.parameters"), parameters));
  main.append(h("div.headline", {}, h("h1", {}, t("page.explorer")), search), found, front);
  let opened = null;

  const link = (path, text, full) => h("a", { href: `#/${path}`, title: full }, text);
  const txLink = (id) => link(`explorer/tx/${id}`, short(id, 12), id);
  const outcome = (ok, code) => (ok ? h("span.mark.filled", {}, t("tx.ok")) : h("span.mark.cancelled", {}, code));

  /** "failed: why" after what was passed could not be put in force. */
  const status = (text) => { const [kind, ...why] = text.split(": "); return [word("status", kind), ...why].join(": "); };

  function overview(data) {
    if (!data) return;
    put(blocks, table(t("explorer.blocks"), [[t("col.height"), "num"], [t("col.time"), ""], [t("col.transactions"), "num"], [t("col.events"), "num"], [t("col.id"), ""]],
      data.blocks.map((b) => [link(`explorer/block/${b.height}`, count(b.height)), timeOf(b.time_ms), count(b.transactions), count(b.events), h("code", { title: b.block_id }, short(b.block_id, 12))]), t("network.noblocks")));
    put(transactions, table(t("explorer.transactions"), [[t("col.id"), ""], [t("col.height"), "num"], [t("col.firstevent"), ""], [t("col.state"), ""]],
      data.transactions.map((x) => [txLink(x.tx_id), link(`explorer/block/${x.height}`, count(x.height)), x.what || "–", outcome(x.ok, x.code)]), t("explorer.notransactions")));
    put(proposals, table(t("explorer.proposals"), [[t("col.number"), "num"], [t("col.kind"), ""], [t("col.subject"), "long"], [t("col.proposer"), ""], [t("col.votes"), "long"], [t("col.state"), ""]],
      data.proposals.map((p) => [count(p.id), word("proposal", p.kind), h("small.mono", {}, Object.entries(p.subject).filter(([, v]) => v !== "").map(([k, v]) => `${k}: ${short(String(v), 24)}`).join(", ")), p.proposer, p.votes.map((v) => `${v.approve ? "✓" : "✕"} ${v.voter}`).join(", "), status(p.status)]), t("explorer.noproposals")));
    put(parameters, h("dl.facts", {}, Object.entries(data.parameters).map(([name, value]) => h("div", {}, h("dt.mono", {}, name), h("dd", {}, count(value))))));
  }

  async function listContracts() {
    try {
      const answer = await ask("contracts");
      put(contracts, table(t("explorer.contracts"), [[t("col.name"), ""], [t("col.version"), "num"], [t("col.functions"), "num"], [t("col.hash"), ""]],
        answer.contracts.map((c) => [link(`explorer/contract/${c.name}`, c.name), count(c.version), count(c.functions), h("code", { title: c.code_hash }, c.code_hash ? short(c.code_hash, 12) : t("explorer.rules"))]), t("explorer.nocontracts")));
    } catch (error) { put(contracts, fault(error)); }
  }

  const fault = (error) => h("p.empty", {}, t("fault", { what: word("error", error.code), detail: error.message }));
  const facts = (rows) => h("dl.facts", {}, rows.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))));

  function block(b) {
    return card(t("explorer.block", { height: count(b.height) }),
      h("p.steps", {}, b.height > 1 ? link(`explorer/block/${b.height - 1}`, `◀ ${count(b.height - 1)}`) : null, " ", link(`explorer/block/${b.height + 1}`, `${count(b.height + 1)} ▶`)),
      facts([[t("col.id"), figure("block.id", b.block_id, h("code", {}, b.block_id))], [t("col.time"), moment(b.time_ms)], [t("col.proposer"), figure("block.proposer", b.proposer, b.proposer)], [t("col.round"), count(b.round)], [t("col.signatures"), b.signers.join(", ")], [t("explorer.rootbefore"), h("code", {}, b.state_root_before)], [t("explorer.parent"), h("code", {}, b.parent)], [t("explorer.size"), `${count(b.bytes)} B`], [t("col.transactions"), figure("block.transactions", b.transaction_count, count(b.transaction_count))]]),
      table(t("col.transactions"), [[t("col.id"), ""], [t("col.call"), ""], [t("col.gas"), "num"], [t("col.state"), ""]], b.transactions.map((x) => [txLink(x.tx_id), x.what, count(x.gas_used), outcome(x.ok, x.code)]), t("explorer.notransactions")));
  }

  function transaction(x) {
    return card(t("explorer.transaction"),
      facts([[t("col.id"), h("code", {}, x.tx_id)], [t("col.state"), figure("tx.code", x.code, outcome(x.ok, x.code))], [t("col.height"), link(`explorer/block/${x.height}`, count(x.height))], [t("col.time"), moment(x.time_ms)], [t("explorer.sender"), x.sender ? link(`participant/${x.sender}`, x.sender_name, x.sender) : "–"], [t("col.gas"), figure("tx.gas", x.gas_used, count(x.gas_used))]]),
      h("h3", {}, t("explorer.calls", { n: x.call_count })), x.calls.map((c) => h("pre", { tabindex: "0" }, `${c.contract}.${c.function}(${c.args.map((a) => JSON.stringify(a)).join(", ")})`)),
      h("h3", {}, t("explorer.events", { n: x.event_count })), table(t("col.events"), [[t("col.event"), ""], [t("col.fields"), "long"]], x.events.map((e) => [`${e.contract}.${e.name}`, h("small.mono", {}, Object.entries(e.fields).map(([k, v]) => `${k}: ${typeof v === "object" ? JSON.stringify(v) : v}`).join(", "))]), t("explorer.noevents")));
  }

  function contract(c) {
    return card(t("explorer.contract", { name: c.name }),
      facts([[t("col.version"), figure("contract.version", c.version, count(c.version))], [t("col.hash"), h("code", {}, c.code_hash)], [t("col.state"), c.paused ? t("explorer.paused", { height: c.paused_until }) : t("explorer.running")]]),
      h("h3", {}, t("col.functions")), h("ul.functions", {}, c.functions.map((f) => h("li", {}, h("code", {}, f.signature), f.view ? h("span.mark", {}, t("explorer.view")) : null, h("small", {}, f.doc)))),
      h("h3", {}, t("explorer.source")), h("pre.source", { tabindex: "0", role: "region", "aria-label": t("explorer.source") }, c.text));
  }

  function hits(answer) {
    return card(t("explorer.results", { q: answer.q }), answer.hits.length ? h("ul.hits", {}, answer.hits.map((one) => h("li", {}, h("span.mark", {}, t(`hit.${one.kind}`)), " ", link(one.page, one.title)))) : h("p.empty", {}, t("explorer.nothing")));
  }

  const OPENERS = {
    block: (what) => ask("block", { height: what }).then(block),
    tx: (what) => ask("transaction", { tx_id: what }).then(transaction),
    contract: (what) => ask("contract", { name: what }).then(contract),
    search: (what) => ask("search", { q: what }).then((answer) => {
      if (answer.hits.length === 1) { location.replace(`#/${answer.hits[0].page}`); return null; }
      return hits(answer);
    }),
  };

  async function show(parts) {
    const [kind, what = ""] = parts, mine = parts.join("/");
    if (mine === opened) return;
    opened = mine;
    front.hidden = kind in OPENERS && kind !== "search";
    if (!(kind in OPENERS)) { put(found); if (kind === "proposals") proposals.scrollIntoView(); return; }
    if (kind === "search") query.value = what;
    try {
      const shown = await OPENERS[kind](what);
      if (opened === mine) put(found, shown ? [h("p", {}, link("explorer", `← ${t("explorer.back")}`)), shown] : []);
    } catch (error) { if (opened === mine) put(found, h("p", {}, link("explorer", `← ${t("explorer.back")}`)), fault(error)); }
  }

  listContracts();
  return { route: (route) => { show(route.parts); return new Map([["explorer", overview]]); } };
}
