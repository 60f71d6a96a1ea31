// The feeder as it is: what each bus takes and gives in a slot, and what flows through each line.

import { h, s, put, card, figure, tile, table, download } from "../dom.js";
import { t, word, count, energy, power, percent, decimal } from "../words.js";
import { keyOf } from "../live.js";
import { exportPicture } from "../charts.js";
import { labelOf } from "../playback.js";

const STEP = 31, LANE = 70, MARGIN = 42, FIRST = 18;

export function create(main, context) {
  const tiles = h("div.tiles"), detail = h("div", { "aria-live": "polite" }), lines = h("div"), limits = h("div"), buses = h("div");
  const holder = h("div.plot.feeder", { tabindex: "0", role: "application", "aria-label": t("feeder.graph"), "aria-describedby": "feeder-help" });
  const graph = h("section.card.chart.wide", { "aria-label": t("feeder.graph"), "data-chart": "feeder" },
    h("div.head", {}, h("h2", {}, t("feeder.graph")), h("div.tools", {},
      h("button.quiet", { type: "button", "data-export": "png", "aria-label": t("chart.export", { title: t("feeder.graph"), format: "PNG" }), onclick: () => exportPicture(`${t("feeder.graph")} ${labelOf(data.slot)}`, "feeder", holder, null) }, "PNG"),
      h("button.quiet", { type: "button", "data-export": "csv", "aria-label": t("chart.export", { title: t("feeder.graph"), format: "CSV" }), onclick: () => exportBuses() }, "CSV"))),
    h("div.legend", {}, h("span.entry", {}, h("i.key.tone2.round"), t("feeder.takes")), h("span.entry", {}, h("i.key.tone3.tri"), t("feeder.gives")), h("span.entry", {}, h("i.key.tone0.round"), t("feeder.rests")), h("span.entry", {}, h("i.key.tone5.ring"), t("feeder.binds")), h("span.entry", {}, t("feeder.width"))),
    holder, h("p.note", { id: "feeder-help" }, t("feeder.help")));
  main.append(h("h1", {}, t("page.feeder")), tiles, graph, h("div.grid", {}, card(t("feeder.bus"), detail), card(t("feeder.limits"), limits)), h("div.grid", {}, card(t("feeder.lines"), lines), card(t("feeder.buses"), buses)));
  let data = null, chosen = null;

  function draw() {
    main.classList.toggle("bare", !data);
    if (!data) return;
    put(tiles,
      tile(t("energy.consumed"), figure("feeder.import", data.import_wh, energy(data.import_wh)), `${t("col.slot")} ${data.slot === null ? "–" : labelOf(data.slot)}`),
      tile(t("energy.generated"), figure("feeder.export", data.export_wh, energy(data.export_wh)), t("feeder.average", { power: power(data.export_wh * 4) })),
      tile(t("feeder.transformer"), figure("feeder.transformer", data.transformer_wh, energy(Math.abs(data.transformer_wh))), t(data.transformer_wh >= 0 ? "feeder.inward" : "feeder.outward")),
      tile(t("feeder.load"), percent(data.transformer_load, 1), t("feeder.of", { power: power(data.rated_va).replace("W", "VA") }), data.transformer_load > 1 ? "bad" : ""),
      tile(t("feeder.binding"), count(data.buses.filter((b) => b.binds).length), t("feeder.enveloped", { n: data.buses.filter((b) => limited(b)).length })));
    put(holder, drawing());
    show(chosen ?? busiest());
    const loaded = [...data.lines].sort((a, b) => b.load - a.load).slice(0, 10);
    put(lines, h("p.note", {}, t("feeder.estimate")), table(t("feeder.lines"), [[t("col.line"), ""], [t("col.between"), ""], [t("col.flow"), "num"], [t("col.towards"), ""], [t("col.load"), "num"]],
      loaded.map((l) => [l.line, `${l.from} – ${l.to}`, power(Math.abs(l.flow_wh) * 4), l.flow_wh === 0 ? "–" : t(l.flow_wh > 0 ? "feeder.away" : "feeder.back"), percent(l.load, 1)]), t("feeder.none")));
    put(limits, table(t("feeder.limits"), [[t("col.bus"), ""], [t("col.participant"), ""], [t("feeder.importlimit"), "num"], [t("feeder.exportlimit"), "num"], [t("col.state"), ""]],
      data.buses.filter(limited).map((b) => [b.bus, b.name, limit(b.import_limit_wh), limit(b.export_limit_wh), b.binds ? h("strong.bad", {}, t("feeder.binds")) : t("feeder.free")]), t("feeder.nolimits")));
    const busy = data.buses.filter((b) => b.import_wh || b.export_wh).sort((a, b) => Math.abs(b.import_wh - b.export_wh) - Math.abs(a.import_wh - a.export_wh));
    put(buses, table(t("feeder.buses"), [[t("col.bus"), ""], [t("col.participant"), ""], [t("energy.consumed"), "num"], [t("energy.generated"), "num"]],
      busy.map((b) => [b.bus, h("a", { href: context.link(`participant/${b.account}`) }, b.name), energy(b.import_wh), energy(b.export_wh)]), t("feeder.none")));
  }

  const limited = (b) => b.import_limit_wh >= 0 || b.export_limit_wh >= 0;
  const limit = (wh) => (wh < 0 ? "–" : energy(wh));
  const busiest = () => data.buses.reduce((best, b) => (Math.abs(b.import_wh - b.export_wh) > Math.abs(best.import_wh - best.export_wh) ? b : best), data.buses[0]).bus;
  const at = (b) => [MARGIN + b.step * STEP + (b.step ? FIRST : 0), MARGIN + b.lane * LANE];

  function drawing() {
    const by = new Map(data.buses.map((b) => [b.bus, b]));
    const width = MARGIN * 2 + Math.max(...data.buses.map((b) => b.step)) * STEP + FIRST, height = MARGIN * 2 + Math.max(...data.buses.map((b) => b.lane)) * LANE;
    const svg = s("svg", { viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true" });
    const strongest = Math.max(1, ...data.lines.map((l) => Math.abs(l.flow_wh)));
    for (const l of data.lines) {
      const [x1, y1] = at(by.get(l.from)), [x2, y2] = at(by.get(l.to));
      const wide = 1.5 + 7 * Math.sqrt(Math.abs(l.flow_wh) / strongest);
      const bend = (x1 + x2) / 2;
      const line = s("path.line", { d: y1 === y2 ? `M${x1} ${y1}L${x2} ${y2}` : `M${x1} ${y1}C${bend} ${y1} ${bend} ${y2} ${x2} ${y2}`, "stroke-width": wide.toFixed(1), class: l.open ? "open" : l.flow_wh > 0 ? "takes" : l.flow_wh < 0 ? "gives" : "rests" });
      line.append(s("title", {}, `${l.line}: ${power(Math.abs(l.flow_wh) * 4)}, ${percent(l.load, 1)}`));
      svg.append(line);
    }
    const most = Math.max(1, ...data.buses.map((b) => Math.abs(b.import_wh - b.export_wh)));
    for (const b of data.buses) {
      const [x, y] = at(b), net = b.import_wh - b.export_wh, r = b.bus === data.root ? 9 : 4 + 7 * Math.sqrt(Math.abs(net) / most);
      const tone = b.bus === data.root ? "root" : net > 0 ? "takes" : net < 0 ? "gives" : "rests";
      const shape = b.bus === data.root ? s("rect", { x: x - r, y: y - r, width: 2 * r, height: 2 * r })
        : net < 0 ? s("path", { d: `M${x} ${(y - r * 1.25).toFixed(1)}L${(x + r * 1.1).toFixed(1)} ${(y + r * 0.8).toFixed(1)}L${(x - r * 1.1).toFixed(1)} ${(y + r * 0.8).toFixed(1)}Z` }) : s("circle", { cx: x, cy: y, r: r.toFixed(1) });
      const group = s(`g.bus.${tone}`, { "data-bus": b.bus, onclick: () => { chosen = b.bus; show(b.bus); holder.focus({ preventScroll: true }); } }, shape,
        b.binds ? s("circle.binds", { cx: x, cy: y, r: (r + 4).toFixed(1) }) : null, s("title", {}, `${b.name || b.bus}: ${energy(net)}`),
        s("text.busname", { x, y: y + (b.bus === data.root ? -16 : 25), "text-anchor": "middle" }, b.bus === data.root ? t("feeder.station") : b.bus));
      svg.append(group);
    }
    return svg;
  }

  function show(bus) {
    const b = data.buses.find((one) => one.bus === bus);
    if (!b) return;
    for (const group of holder.querySelectorAll(".bus")) group.classList.toggle("chosen", group.dataset.bus === bus);
    put(detail, h("dl.facts", {},
      fact(t("col.bus"), b.bus === data.root ? `${b.bus} · ${t("feeder.station")}` : b.bus), fact(t("col.participant"), b.account ? h("a", { href: context.link(`participant/${b.account}`) }, b.name) : "–"),
      fact(t("feeder.devices"), b.kinds.map((kind) => word("kind", kind)).join(", ") || "–"), fact(t("energy.consumed"), energy(b.import_wh)), fact(t("energy.generated"), energy(b.export_wh)),
      fact(t("feeder.average1"), power((b.import_wh - b.export_wh) * 4)), fact(t("feeder.distance"), `${decimal(b.length_m, 0)} m`),
      fact(t("feeder.importlimit"), limit(b.import_limit_wh)), fact(t("feeder.exportlimit"), limit(b.export_limit_wh))));
  }

  const fact = (name, value) => h("div", {}, h("dt", {}, name), h("dd", {}, value));

  holder.addEventListener("keydown", (event) => {
    const here = data?.buses.find((b) => b.bus === (chosen ?? busiest()));
    const moves = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    if (!here || !(event.key in moves)) {
      if (event.key === "Enter" && here?.account) location.hash = context.link(`participant/${here.account}`);
      return;
    }
    event.preventDefault();
    const [dx, dy] = moves[event.key];
    const ahead = data.buses.map((b) => [b, (b.step - here.step) * STEP, (b.lane - here.lane) * LANE]).filter(([, x, y]) => x * dx + y * dy > 1);
    const score = ([, x, y]) => Math.abs(x) * (dx ? 1 : 3) + Math.abs(y) * (dy ? 1 : 3);
    const next = ahead.sort((a, b) => score(a) - score(b))[0];
    if (next) { chosen = next[0].bus; show(chosen); }
  });

  function exportBuses() {
    const rows = [["bus", "participant", "import (Wh)", "export (Wh)"], ...data.buses.map((b) => [b.bus, b.name, b.import_wh, b.export_wh])];
    download("feeder.csv", new Blob(["\ufeff", rows.map((row) => row.join(",")).join("\r\n"), "\r\n"], { type: "text/csv;charset=utf-8" }));
  }

  return {
    route: (route) => new Map([[keyOf("feeder", { day: route.query.day, slot: route.query.slot }), (found, error) => { data = found; if (error) put(tiles, h("p.empty", {}, t("feeder.unknown"))); draw(); }]]),
  };
}
