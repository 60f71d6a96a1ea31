// Who decides, how fast, and who is missing.

import { h, put, card, figure, tile, table } from "../dom.js";
import { t, word, count, decimal, percent, milliseconds, timeOf, moment, short } from "../words.js";
import { chart } from "../charts.js";

const SIGNS = { ok: "✓", behind: "▲", benched: "■", silent: "✕" };

export function create(main, context) {
  const title = h("h1", {}, t("page.network"));
  const tiles = h("div.tiles"), nodes = h("div.nodes");
  const blocks = chart(t("network.blocks"), "blocks");
  const speed = chart(t("network.speed"), "throughput");
  const finality = chart(t("network.finality"), "finality");
  const pool = chart(t("network.mempool"), "mempool");
  const members = h("div"), latest = h("div"), faults = h("div");
  main.append(title, tiles, nodes, h("div.grid", {}, blocks.element, finality.element, speed.element, pool.element),
    h("div.grid", {}, card(t("network.latest"), latest), h("div.stack", {}, card(t("network.members"), members), card(t("network.evidence"), faults))));

  function network(data) {
    if (!data) return;
    put(tiles,
      tile(t("network.height"), figure("network.height", data.height, count(data.height)), t("network.at", { time: timeOf(data.time_ms) })),
      tile(t("network.transactions"), figure("network.transactions", data.transactions, count(data.transactions)), t("network.since")),
      tile(t("network.rate"), figure("network.rate", data.per_second, `${decimal(data.per_second)} ${t("unit.tps")}`), t("network.minute")),
      tile(t("network.blocktime"), figure("network.blocktime", data.block_ms, milliseconds(data.block_ms || null)), t("network.busy")),
      agreement(data));
    put(nodes, data.nodes.map(node));
    charts(data);
    put(members, h("p.note", {}, t("network.quorum")), table(t("network.members"), [[t("col.name"), ""], [t("col.role"), ""], [t("col.power"), "num"], [t("col.proposed"), "num"], [t("col.signed"), "num"], [t("col.missed"), "num"], [t("col.bench"), "num"]],
      data.members.map((m) => [m.name, word("role", m.role), count(m.power), t("network.share", { n: m.proposed, of: m.of }), percent(m.of ? m.signed / m.of : null), count(m.missed), m.benched_until ? until(m, data.height) : "–"]), t("network.nomembers")));
    put(latest, table(t("network.latest"), [[t("col.height"), "num"], [t("col.time"), ""], [t("col.transactions"), "num"], [t("col.proposer"), ""], [t("col.round"), "num"], [t("col.signatures"), "num"]],
      data.blocks.map((b) => [h("a", { href: context.link(`explorer/block/${b.height}`) }, count(b.height)), timeOf(b.time_ms), count(b.transactions), b.proposer ?? "…", b.proposer === null ? "…" : count(b.round), b.proposer === null ? "…" : count(b.signers)]), t("network.noblocks")));
    put(faults, table(t("network.evidence"), [[t("col.validator"), ""], [t("col.kind"), ""], [t("col.height"), "num"], [t("col.round"), "num"], [t("col.block"), "num"]],
      data.faults.map((f) => [f.validator, word("fault", f.kind), count(f.height), count(f.round), h("a", { href: context.link(`explorer/block/${f.block}`) }, count(f.block))]), t("network.noevidence")));
  }

  /** A bench whose height has passed lasts on until the validator signs again. */
  const until = (one, height) => (one.benched_until > (height ?? 0) && height ? t("network.until", { height: count(one.benched_until) }) : t("network.untilsigned"));

  function agreement(data) {
    const roots = data.state_roots.length;
    return tile(t("network.agreement"), figure("network.roots", roots, roots === 1 ? t("network.oneroot") : t("network.roots", { n: roots })), roots === 1 ? short(data.state_roots[0], 16) : "", roots > 1 ? "bad" : roots === 1 ? "good" : "");
  }

  function node(n) {
    const silent = n.state === "silent";
    const connected = silent ? 0 : n.peers.filter((p) => p.connected).length;
    const facts = silent
      ? [[t("node.seen"), n.seen_ms ? moment(n.seen_ms) : t("node.never"), "whole"]]
      : [[t("col.height"), figure(`node.${n.name}.height`, n.height, count(n.height))], [t("col.round"), count(n.round)], [t("node.finality"), milliseconds(n.finality_ms)], [t("node.mempool"), count(n.mempool)],
        [t("node.peers"), h("span", { title: n.peers.map((p) => `${p.connected ? "✓" : "✕"} ${p.name}`).join("  ") }, t("network.share", { n: connected, of: n.peers.length }))]];
    facts.push([t("col.proposed"), t("network.share", { n: n.proposed, of: n.of })], [t("col.signed"), percent(n.of ? n.signed / n.of : null)], [t("col.missed"), count(n.missed)]);
    if (n.benched_until) facts.push([t("col.bench"), until(n, n.height)]);
    if (n.faults) facts.push([t("network.evidence"), count(n.faults)]);
    return h(`article.node.${n.state}`, { "aria-label": n.name, "data-node": n.name, "data-state": n.state },
      h("header", {}, h("span.sign", { "aria-hidden": "true" }, SIGNS[n.state]), h("div", {}, h("h2", {}, n.name), h("small", {}, `${n.role ? `${word("role", n.role)} · ` : ""}${n.address}`)), h("strong.state", {}, t(`state.${n.state}`))),
      h("dl", {}, facts.map(([name, value, width]) => h("div", { class: width }, h("dt", {}, name), h("dd", {}, value)))));
  }

  function charts(data) {
    const names = [...new Set(data.busy.map((b) => b.proposer).filter((name) => name !== null))].sort();
    const whole = { unit: t("unit.transactions"), show: count, tick: count, whole: true };
    blocks.update({ over: t("col.height"), labels: data.busy.map((b) => b.height), left: { ...whole, most: 1 },
      series: [...names.map((name, place) => ({ name, kind: "bar", tone: (place % 6) + 1, values: data.busy.map((b) => (b.proposer === name ? b.transactions : 0)) })),
        ...(data.busy.some((b) => b.proposer === null && b.transactions) ? [{ name: t("network.unknown"), kind: "bar", tone: 0, values: data.busy.map((b) => (b.proposer === null ? b.transactions : 0)) }] : [])] });
    const labels = data.samples.time_ms.map(timeOf);
    speed.update({ over: t("col.time"), labels, left: { unit: t("unit.tps"), show: (v) => decimal(v), tick: count, most: 1 }, series: [{ name: t("network.rate"), kind: "line", tone: 1, values: data.samples.per_second }] });
    const lines = (rows) => data.node_names.map((name, place) => ({ name, kind: "line", tone: (place % 6) + 1, values: rows.map((row) => row[place]) }));
    finality.update({ over: t("col.time"), labels, left: { unit: "ms", show: milliseconds, tick: count, most: 10 }, series: lines(data.samples.finality_ms) });
    pool.update({ over: t("col.time"), labels, left: { ...whole, most: 1 }, series: lines(data.samples.mempool) });
  }

  return { route: () => new Map([["network", network]]) };
}
