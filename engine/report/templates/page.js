"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const { models, metrics, slices } = data, K = models.length, M = metrics.length;
  const NARROW = matchMedia("(max-width: 46rem)");
  const SIGNS = { "+": ["+", "better"], "-": ["−", "worse"], "~": ["~", "different"] };
  const STYLES = { "+": "better", "-": "worse", "~": "differs" };
  const FEW = new Set(["few rows"]);
  const $ = (id) => document.getElementById(id);
  const FIRST = NARROW.matches ? 10 : 15; // slices of the charts and of the table
  const state = {
    split: 0, metric: 0, other: 1, sort: null, down: true, forest: FIRST, shown: FIRST,
    search: "", show: "all", least: 0, chosen: new Set(),
  };

  // Elements are made of texts, never of markup.
  function put(node, attributes, children) {
    for (const [name, value] of Object.entries(attributes)) {
      if (value !== null && value !== undefined && value !== false) node.setAttribute(name, value);
    }
    node.append(...children.flat().filter((child) => child !== null && child !== undefined));
    return node;
  }
  const el = (tag, attributes = {}, ...children) =>
    put(document.createElement(tag), attributes, children);
  const svg = (tag, attributes = {}, ...children) =>
    put(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);

  // As the terminal writes numbers.
  const count = (n) => n.toLocaleString("en-US");
  function general(v, digits) { // Python's format "g"
    const [mantissa, power] = v.toExponential(digits - 1).split("e").map(Number);
    if (-5 < power && power < digits) return String(Number(v.toPrecision(digits)));
    return `${mantissa}e${power < 0 ? "-" : "+"}${String(Math.abs(power)).padStart(2, "0")}`;
  }
  function decimal(v, places = 4) {
    const size = Math.abs(v);
    if (size === 0 || (10 ** (1 - places) <= size && size < 1e6)) return v.toFixed(places);
    return size > 1 && size < 1e15 ? count(Math.round(v)) : general(v, places);
  }
  function ends(low, high) {
    let texts = [decimal(low, 3), decimal(high, 3)];
    for (let n = 4; texts[0] === texts[1] && low !== high && n < 10; n++) {
      texts = [general(low, n), general(high, n)];
    }
    return `[${texts.join(" ")}]`;
  }
  const plural = (n, word) => `${count(n)} ${word}${n === 1 ? "" : "s"}`;

  // One figure, of a slice, a metric and a model by their positions.
  const split = () => data.splits[state.split];
  function figure(i, j, k) {
    const of = split(), at = (i * M + j) * K + k;
    return {
      value: of.value[at], low: of.low[at], high: of.high[at], mark: of.marks[at],
      status: data.statuses[of.status[at]], p: of.p[at], effect: of.effect[at],
      support: of.support[at] ?? of.rows[i],
    };
  }
  function badness(v, j, k) {
    if (v === null) return -Infinity;
    const better = metrics[j].better;
    if (better) return better === "low" ? v : -v;
    return Math.abs(v - (figure(0, j, k).value ?? 0));
  }
  function worstOf(i, j) {
    let worst = -Infinity;
    for (let k = 0; k < K; k++) {
      const f = figure(i, j, k);
      if (f.status !== "0/0") worst = Math.max(worst, badness(f.value, j, k));
    }
    return worst;
  }
  const there = (i) => split().order.includes(i);
  const slicesWith = (test) =>
    split().order.filter((i) => i !== 0 && split().rows[i] >= state.least && test(i));

  function marker(k, hollow) {
    const shapes = [
      "M-4 0A4 4 0 1 1 4 0A4 4 0 1 1 -4 0Z", "M-3.7 -3.7H3.7V3.7H-3.7Z",
      "M0 -5L5 0L0 5L-5 0Z", "M0 -4.6L4.6 3.8H-4.6Z",
    ];
    return svg("path", {
      d: shapes[(k + Math.floor(k / 4)) % 4], // a fifth model has a colour again, and no shape of it fill: hollow ? "var(--ground)" : "currentColor", stroke: "currentColor",
      "stroke-width": 1.5,
    });
  }
  function range(values) {
    let low = Infinity, high = -Infinity;
    for (const v of values) {
      if (v === null || v === undefined) continue;
      low = Math.min(low, v);
      high = Math.max(high, v);
    }
    if (low > high) return [0, 1];
    if (low === high) return low === 0 ? [0, 1] : [low - Math.abs(low) / 10, high + Math.abs(high) / 10];
    return [low, high];
  }
  function ticks([low, high], most) {
    const rough = (high - low) / most, power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].map((n) => n * power).find((s) => s >= rough);
    const all = [];
    for (let n = Math.ceil(low / step - 1e-9); n * step <= high + step * 1e-9; n++) all.push(n * step);
    const digits = Math.min(12, Math.max(0, -Math.floor(Math.log10(step) + 1e-9)));
    const plain = Math.max(Math.abs(low), Math.abs(high)) < 1e6 && digits <= 6;
    return all.map((v) => [v, plain ? v.toFixed(digits) : general(v, 3)]);
  }
  const scale = ([low, high]) => (v) => `${(2 + (96 * (v - low)) / (high - low)).toFixed(3)}%`;

  // Slices against all rows.
  function drawForest() {
    const j = state.metric, every = slicesWith(() => true);
    const with_ = every.filter((i) => worstOf(i, j) > -Infinity)
      .sort((a, b) => worstOf(b, j) - worstOf(a, j));
    const shown = with_.slice(0, state.forest), better = metrics[j].better;
    const figures = [0, ...shown].flatMap((i) => models.map((_, k) => figure(i, j, k)));
    const domain = range(figures.flatMap((f) => [f.value, f.low, f.high]));
    const x = scale(domain), axis = ticks(domain, NARROW.matches ? 3 : 6);
    const wholes = models.map((_, k) => figure(0, j, k).value);
    $("forest-about").textContent =
      `${metrics[j].name}: ${count(shown.length)} of ${plural(every.length, "slice")}, ` +
      `${better ? "worst first" : "farthest from all rows first"}` +
      `${better ? `; ${better} values are better` : ""}. Bars are ` +
      `${Math.round(data.level * 100)}% intervals, dashed lines the figures of all rows, hollow ` +
      "marks rest on few rows." +
      (every.length > with_.length
        ? ` ${plural(every.length - with_.length, "slice")} without a figure left out.` : "");
    const line = (i) => {
      const of = models.map((_, k) => figure(i, j, k)), height = 18 * K + 8;
      const drawn = svg("svg", { height, "aria-hidden": "true" });
      for (const [v] of axis) drawn.append(svg("line", { class: "grid", x1: x(v), x2: x(v), y1: 0, y2: height }));
      wholes.forEach((v, k) => {
        if (v !== null) {
          drawn.append(svg("line", { class: `whole c${k % 4}`, x1: x(v), x2: x(v), y1: 0, y2: height }));
        }
      });
      of.forEach((f, k) => {
        if (f.value === null) return;
        const y = 13 + 18 * k, group = svg("g", { class: `c${k % 4}` });
        if (f.low !== null) {
          group.append(svg("line", { x1: x(f.low), x2: x(f.high), y1: y, y2: y, stroke: "currentColor", "stroke-width": 2 }));
        }
        group.append(svg("svg", { x: x(f.value), y, overflow: "visible" }, marker(k, FEW.has(f.status))));
        drawn.append(group);
      });
      const values = of.map((f, k) => el("div", { class: STYLES[f.mark] ?? "" },
        el("span", { class: "number" },
          svg("svg", { width: 12, height: 10, viewBox: "-6 -5 12 10", class: `c${k % 4} key`, "aria-hidden": "true" }, marker(k)),
          K > 1 ? el("span", { class: "unseen" }, `${models[k]} `) : null,
          f.value === null ? "–" : decimal(f.value)),
        el("span", { class: "ends" }, f.value === null ? f.status : f.low === null ? "" : ends(f.low, f.high)),
        sign(f) ?? el("span", { class: "sign" })));
      return el("li", { class: i === 0 ? "overall" : "" },
        el("span", { class: "name" }, i === 0 ? "all rows" : slices[i].name), drawn,
        el("div", { class: "values" }, values));
    };
    const labels = svg("svg", { class: "ticks", height: 18, "aria-hidden": "true" },
      axis.map(([v, text]) => svg("text", { x: x(v), y: 13, "text-anchor": "middle" }, text)));
    const list = el("ol", { class: "forest" }, line(0), shown.map(line),
      el("li", { "aria-hidden": "true", class: "axis" }, el("span"), labels, el("span")));
    $("forest").replaceChildren(list);
    const left = with_.length - shown.length;
    $("forest-more").hidden = !left;
    $("forest-more").textContent = `Show ${count(Math.min(left, 15))} more`;
  }
  function sign(f) {
    const [text, word] = SIGNS[f.mark] ?? [];
    if (!text) return null;
    const p = f.p === null || f.p === undefined ? "" : `, corrected p ${general(f.p, 2)}`;
    return el("span", { class: "sign", title: `${word}${p}` },
      el("span", { "aria-hidden": "true" }, text), el("span", { class: "unseen" }, ` ${word}${p}`));
  }

  // A chart of points: where their axes' texts are, they aren't part of what scales.
  function plot(place, about, { points, x, y, xTicks, yTicks, lines, names }) {
    const height = 300, up = (v) => `${100 - parseFloat(y(v))}%`;
    const drawn = svg("svg", { height, role: "img", "aria-label": about });
    for (const [v] of xTicks) drawn.append(svg("line", { class: "grid", x1: x(v), x2: x(v), y1: 0, y2: "100%" }));
    for (const [v] of yTicks) drawn.append(svg("line", { class: "grid", x1: 0, x2: "100%", y1: up(v), y2: up(v) }));
    for (const [a, b, name] of lines) {
      drawn.append(svg("line", { class: `whole ${name}`, x1: x(a[0]), x2: x(b[0]), y1: up(a[1]), y2: up(b[1]) }));
    }
    for (const p of points) {
      drawn.append(svg("circle", {
        class: p.style, cx: x(p.x), cy: up(p.y), r: 3.5, fill: p.hollow ? "none" : "currentColor",
        "fill-opacity": points.length > 300 ? 0.3 : 0.6, stroke: "currentColor",
      }, svg("title", {}, p.text)));
    }
    place.replaceChildren(el("div", { class: "plot" },
      el("p", { class: "title-y" }, names[1]),
      svg("svg", { class: "ticks", height, "aria-hidden": "true" }, yTicks.map(([v, text]) =>
        svg("text", { x: "92%", y: up(v), dy: 4, "text-anchor": "end" }, text))),
      drawn,
      svg("svg", { class: "ticks down", height: 20, "aria-hidden": "true" }, xTicks.map(([v, text]) =>
        svg("text", { x: x(v), y: 15, "text-anchor": "middle" }, text))),
      el("p", { class: "title-x" }, names[0])));
  }

  function drawSupport() {
    const j = state.metric, points = [];
    for (const i of slicesWith(() => true)) {
      models.forEach((model, k) => {
        const f = figure(i, j, k);
        if (f.value === null || !f.support) return;
        points.push({
          x: Math.log10(f.support), y: f.value, style: `c${k % 4}`, hollow: FEW.has(f.status),
          text: `${slices[i].name}, ${model}: ${decimal(f.value)}, ${plural(f.support, "row")}`,
        });
      });
    }
    const wholes = models.map((_, k) => figure(0, j, k).value);
    const xs = range(points.map((p) => p.x)), ys = range([...points.map((p) => p.y), ...wholes]);
    if (xs[1] - xs[0] < 1) xs.splice(0, 2, Math.floor(xs[0]), Math.ceil(xs[1] + 1e-9));
    const every = [];
    for (const n of xs[1] - xs[0] < 2 ? [1, 2, 5] : [1]) {
      for (let power = Math.floor(xs[0]); power <= xs[1]; power++) {
        const at = power + Math.log10(n);
        if (xs[0] - 1e-9 <= at && at <= xs[1] + 1e-9) every.push([at, count(n * 10 ** power)]);
      }
    }
    const name = metrics[j].name;
    $("support-about").textContent = `A point per slice${K > 1 ? " and model" : ""}; figures of ` +
      "few rows scatter by chance. Dashed: all rows.";
    plot($("support"), `Rows against ${name} of ${plural(points.length, "figure")}; the table has the numbers`, {
      points, x: scale(xs), y: scale(ys), xTicks: every, yTicks: ticks(ys, 5),
      lines: wholes.flatMap((v, k) => v === null ? [] : [[[xs[0], v], [xs[1], v], `c${k % 4}`]]),
      names: ["rows (logarithmic)", name],
    });
  }
  function drawModels() {
    $("models-section").hidden = K < 2;
    if (K < 2) return;
    const j = state.metric, b = state.other, better = metrics[j].better, points = [];
    let up = 0, down = 0;
    for (const i of slicesWith(() => true)) {
      const [f, g] = [figure(i, j, 0), figure(i, j, b)];
      if (f.value === null || g.value === null) continue;
      up += g.value > f.value;
      down += g.value < f.value;
      points.push({
        x: f.value, y: g.value, style: `c${b % 4}`, hollow: FEW.has(f.status) || FEW.has(g.status),
        text: `${slices[i].name}: ${models[0]} ${decimal(f.value)}, ${models[b]} ${decimal(g.value)}`,
      });
    }
    const domain = range(points.flatMap((p) => [p.x, p.y])), name = metrics[j].name;
    const [good, bad] = better === "low" ? [down, up] : [up, down];
    $("models-about").textContent = better
      ? `${name}: ${models[b]} is better than ${models[0]} on ${plural(good, "slice")}, worse on ` +
        `${count(bad)}, by however little. Above the dashed line it is ${better === "low" ? "worse" : "better"}.`
      : `${name}: ${models[b]} is above ${models[0]} on ${plural(up, "slice")}, below on ${count(down)}.`;
    plot($("models"), `${name} of ${models[0]} against ${models[b]}; the table has the numbers`, {
      points, x: scale(domain), y: scale(domain), xTicks: ticks(domain, 5), yTicks: ticks(domain, 5),
      lines: [[[domain[0], domain[0]], [domain[1], domain[1]], ""]],
      names: [models[0], models[b]],
    });
  }

  // The table.
  const leaves = () => [...metrics.keys()].filter((j) => state.chosen.has(j))
    .flatMap((j) => models.map((_, k) => ({ j, k })));
  const labelOf = ({ j, k }) => (K > 1 ? `${metrics[j].name}, ${models[k]}` : metrics[j].name);
  const keyOf = ({ j, k }) => `${j} ${k}`;
  function header() {
    const columns = leaves(), two = K > 1;
    const th = (key, text, more = {}) => {
      const sorted = state.sort === key ? (state.down ? "descending" : "ascending") : "none";
      const arrow = { descending: " ↓", ascending: " ↑", none: "" }[sorted];
      const button = el("button", { type: "button", "data-sort": key }, text,
        el("span", { "aria-hidden": "true" }, arrow));
      return el("th", { scope: "col", role: "columnheader", "aria-sort": sorted, ...more }, button);
    };
    const tall = two ? { rowspan: 2 } : {};
    const first = el("tr", { role: "row" }, th("name", "slice", tall), th("rows", "rows", tall),
      th("undecided", "undecided", tall));
    const second = el("tr", { role: "row" });
    for (const column of columns) {
      const { j, k } = column;
      if (two && k === 0) {
        first.append(el("th", { scope: "colgroup", role: "columnheader", colspan: K, class: "of-metric" }, metrics[j].name));
      }
      (two ? second : first).append(th(keyOf(column), two ? models[k] : metrics[j].name, {
        class: k === 0 ? "begins" : null, "aria-label": labelOf(column),
      }));
    }
    return two ? [first, second] : [first];
  }
  let bars = [];
  function measure() {
    bars = metrics.map((_, j) => {
      let low = 0, high = 1;
      for (const i of split().order) {
        for (let k = 0; k < K; k++) {
          const v = figure(i, j, k).value;
          if (v !== null) [low, high] = [Math.min(low, v), Math.max(high, v)];
        }
      }
      return [low, high];
    });
  }
  function figureCell(i, { j, k }) {
    const f = figure(i, j, k), label = labelOf({ j, k }), begins = k === 0 ? "begins" : null;
    if (f.value === null) {
      return el("td", { role: "cell", class: begins, "data-label": label }, el("div", { class: "figure" }, el("span", { class: "ends" }, f.status || "–")));
    }
    const x = scale(bars[j]), zero = parseFloat(x(0)), at = parseFloat(x(f.value));
    const clip = (v) => x(Math.min(Math.max(v, bars[j][0]), bars[j][1]));
    const bar = svg("svg", { height: 9, class: `c${k % 4}`, "aria-hidden": "true" },
      svg("line", { class: "track", x1: "2%", x2: "98%", y1: 4.5, y2: 4.5 }),
      svg("rect", { class: "bar", x: `${Math.min(zero, at)}%`, width: `${Math.abs(at - zero)}%`, y: 1.5, height: 6 }),
      svg("line", { class: "zero", x1: x(0), x2: x(0), y1: 0, y2: 9 }),
      f.low === null ? null : svg("line", { class: "whisker", x1: clip(f.low), x2: clip(f.high), y1: 4.5, y2: 4.5 }));
    const other = f.support === split().rows[i] ? "" : `of ${plural(f.support, "row")}`;
    return el("td", { role: "cell", class: begins, "data-label": label },
      el("div", { class: `figure ${STYLES[f.mark] ?? ""}` },
        el("span", { class: "number" }, decimal(f.value)), " ", sign(f),
        el("span", { class: "ends" }, f.low === null ? "" : ends(f.low, f.high)), " ",
        f.status || other ? el("span", { class: "status" }, [f.status, other].filter(Boolean).join(", ")) : null,
        bar));
  }
  function about(i) {
    const s = slices[i], items = [];
    const add = (name, ...value) => items.push(el("dt", {}, name), el("dd", {}, ...value));
    if (s.description) add("description", s.description);
    if (s.id !== s.name) add("id", s.id);
    if (s.kind) add("written as", s.kind);
    if (s.source) add("source", el("pre", {}, s.source));
    for (const [at, k, confusion, calibration] of split().cells) {
      if (at !== i) continue;
      if (confusion.length) {
        add(`confusion of ${models[k]}: labels down, predictions across`, el("table", { class: "cells" },
          el("tbody", {}, el("tr", {}, el("th"), data.classes.map((c) => el("th", { scope: "col" }, c))),
            confusion.map((row, n) => el("tr", {}, el("th", { scope: "row" }, data.classes[n]),
              row.map((cell) => el("td", {}, count(cell))))))));
      }
      if (calibration.length) add(`calibration of ${models[k]}`, calibrationChart(calibration, k));
    }
    return el("dl", {}, items);
  }
  function calibrationChart(bins, k) {
    const held = bins.filter(([n]) => n > 0), text = held.map(([n, c, r]) => `${decimal(c, 2)} is right ${decimal(r, 2)} (${count(n)} rows)`).join("; ");
    return svg("svg", { width: 130, height: 130, viewBox: "-5 -5 110 110", role: "img", "aria-label": `confidence and share right: ${text}` },
      svg("path", { class: "grid", d: "M0 0V100H100V0Z", fill: "none" }),
      svg("path", { class: "whole", d: "M0 100L100 0", fill: "none" }),
      held.map(([, c, r]) => svg("circle", { class: `c${k % 4}`, cx: 100 * c, cy: 100 - 100 * r, r: 3, fill: "currentColor" })));
  }
  function row(i) {
    const s = slices[i], of = split();
    const details = el("details", {}, el("summary", {}, el("span", { class: "name" }, i === 0 ? "all rows" : s.name)));
    details.addEventListener("toggle", () => {
      if (details.open && details.children.length < 2) details.append(about(i));
    });
    const name = i === 0 && !of.cells.some(([at]) => at === 0) ? el("span", { class: "name" }, "all rows") : details;
    const under = s.description && i !== 0 ? el("div", { class: "description" }, s.description) : null;
    return el("tr", { role: "row", class: i === 0 ? "overall" : null },
      el("th", { scope: "row", role: "rowheader" }, name, under),
      el("td", { role: "cell", "data-label": "rows" }, count(of.rows[i])),
      el("td", { role: "cell", "data-label": "undecided", class: of.undecided[i] ? null : "zero" }, count(of.undecided[i])),
      leaves().map((column) => figureCell(i, column)));
  }
  const texts = slices.map((s) => [s.name, s.id, s.description, s.source].join("\n").toLowerCase());
  const FILTERS = {
    all: ["all slices", () => true],
    worse: ["worse slices", (f) => f.mark === "-"],
    better: ["better slices", (f) => f.mark === "+"],
    differs: ["different ones", (f) => f.mark !== " "],
    few: ["figures of few rows", (f) => FEW.has(f.status)],
    none: ["without a figure", (f) => f.value === null],
  };
  function chosenRows() {
    const words = state.search.toLowerCase().split(/\s+/).filter(Boolean), columns = leaves();
    const test = FILTERS[state.show][1];
    const rows = slicesWith((i) => words.every((w) => texts[i].includes(w))
      && (state.show === "all" || columns.some(({ j, k }) => test(figure(i, j, k)))));
    if (state.sort === null) return rows;
    const value = {
      name: (i) => slices[i].name.toLowerCase(), rows: (i) => split().rows[i],
      undecided: (i) => split().undecided[i],
    }[state.sort] ?? ((i) => figure(i, ...state.sort.split(" ").map(Number)).value);
    const way = state.down ? -1 : 1;
    return rows.sort((a, b) => {
      const [v, w] = [value(a), value(b)];
      if (v === null || w === null) return (v === null) - (w === null);
      return v < w ? -way : v > w ? way : 0;
    });
  }
  function drawTable() {
    const rows = chosenRows(), shown = rows.slice(0, state.shown);
    const focus = document.activeElement?.dataset?.sort;
    const [thead, tbody] = [$("table").tHead, $("table").tBodies[0]];
    thead.replaceChildren(...header());
    tbody.replaceChildren(...(there(0) ? [row(0)] : []), ...shown.map(row));
    if (focus) thead.querySelector(`[data-sort="${focus}"]`)?.focus();
    const all = split().order.filter((i) => i !== 0).length, hidden = metrics.filter((_, j) => !state.chosen.has(j));
    $("status").textContent =
      `${count(shown.length)} of ${plural(rows.length, "slice")}` +
      (rows.length < all ? ` that fit, of ${count(all)}` : "") +
      (state.sort === null ? `, those of the worst ${metrics[0].name} first` : "") + "." +
      (hidden.length ? ` Not in the table: ${hidden.map((m) => m.name).join(", ")}.` : "");
    $("chosen").textContent = `Metrics: ${M - hidden.length} of ${M} in the table`;
    const left = rows.length - shown.length;
    $("more").hidden = $("all").hidden = !left;
    $("more").textContent = `Show ${count(Math.min(left, 50))} more`;
    $("all").textContent = `Show all ${count(rows.length)}`;
    $("sort").replaceChildren(el("option", { value: "" }, `worst ${metrics[0].name}`),
      ...["name", "rows", "undecided"].map((key) => el("option", { value: key }, key)),
      ...leaves().map((c) => el("option", { value: keyOf(c) }, labelOf(c))));
    $("sort").value = state.sort ?? "";
  }
  function sortBy(key) {
    const metric = metrics[key.split(" ")[0]];
    // The worst are looked for first, of losses at the top; names from a to z.
    const first = key === "name" ? false : metric ? metric.better === "low" : true;
    state.down = state.sort === key ? !state.down : first;
    state.sort = key;
    state.shown = FIRST;
    drawTable();
  }

  const options = (select, names, chosen) => {
    select.replaceChildren(...names.map(([value, text]) => el("option", { value }, text)));
    select.value = String(chosen);
  };
  function fits() {
    const room = $("app").clientWidth || document.body.clientWidth;
    const n = NARROW.matches ? 3 : Math.max(1, Math.floor((room - 400) / (132 * K)));
    return Math.min(M, n);
  }
  function charts() {
    drawForest();
    drawSupport();
    drawModels();
  }
  const on = (id, event, then) => $(id).addEventListener(event, then);
  const again = (id, event, key, read) => on(id, event, () => {
    state[key] = read($(id).value);
    state.shown = FIRST;
    drawTable();
  });

  $("app").hidden = $("theme").hidden = false;
  for (let j = 0; j < fits(); j++) state.chosen.add(j);
  options($("split"), data.splits.map((s, i) => [i, s.name]), 0);
  $("split-label").hidden = data.splits.length < 2;
  options($("metric"), metrics.map((m, j) => [j, m.name]), 0);
  options($("show"), Object.entries(FILTERS).map(([key, [text]]) => [key, text]), "all");
  options($("other"), models.slice(1).map((m, k) => [k + 1, m]), 1);
  $("other-label").hidden = K < 3;
  $("legend").append(...models.map((m, k) => el("li", { class: `c${k % 4}` },
    svg("svg", { width: 12, height: 12, viewBox: "-6 -6 12 12", "aria-hidden": "true" }, marker(k)), m)));
  $("choices").append(...metrics.map((m, j) => {
    const box = el("input", { type: "checkbox", value: j, checked: state.chosen.has(j) ? "" : null });
    box.addEventListener("change", () => {
      state.chosen[box.checked ? "add" : "delete"](j);
      const of = Number(state.sort?.split(" ")[0]);
      if (of === j && !box.checked) state.sort = null;
      drawTable();
    });
    return el("label", {}, box, ` ${m.name}`);
  }));
  on("split", "change", () => {
    state.split = Number($("split").value);
    measure();
    charts();
    drawTable();
  });
  on("metric", "change", () => {
    state.metric = Number($("metric").value);
    state.forest = FIRST;
    charts();
  });
  on("other", "change", () => {
    state.other = Number($("other").value);
    drawModels();
  });
  on("forest-more", "click", () => {
    state.forest += 15;
    drawForest();
  });
  again("search", "input", "search", String);
  again("show", "change", "show", String);
  again("least", "input", "least", Number);
  on("least", "input", charts);
  on("sort", "change", () => {
    if ($("sort").value) return sortBy($("sort").value);
    state.sort = null;
    return drawTable();
  });
  on("turn", "click", () => state.sort && sortBy(state.sort));
  on("table", "click", (event) => {
    const key = event.target.closest("[data-sort]")?.dataset.sort;
    if (key) sortBy(key);
  });
  on("more", "click", () => {
    state.shown += 50;
    drawTable();
  });
  on("all", "click", () => {
    state.shown = Infinity;
    drawTable();
  });
  const root = document.documentElement, dark = matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : dark.matches);
  const tellTheme = () => $("theme").setAttribute("aria-pressed", String(isDark()));
  on("theme", "click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    tellTheme();
  });
  dark.addEventListener("change", tellTheme);
  NARROW.addEventListener("change", charts);
  addEventListener("beforeprint", () => {
    for (const d of document.querySelectorAll(".more-about details")) d.open = true;
  });
  if (NARROW.matches) for (const d of document.querySelectorAll(".more-about details")) d.open = false;
  tellTheme();
  measure();
  charts();
  drawTable();
})();
