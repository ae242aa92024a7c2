"use strict";
// What scripts add to a page that reads fully without them: tables that sort, filter and download, figures as charts.
(() => {
  const make = (name, attributes = {}, ...children) => {
    const element = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    element.append(...children);
    return element;
  };
  const draw = (name, attributes) => {
    const element = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    return element;
  };
  const button = (text, label, act) => {
    const element = make("button", { type: "button", "aria-label": label }, text);
    element.addEventListener("click", act);
    return element;
  };
  const text = (element) => element.textContent.trim().replace(/\s+/g, " ");
  const save = (name, kind, content) => {
    const link = make("a", { href: URL.createObjectURL(new Blob([content], { type: kind })), download: name });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  };
  const csv = (rows) => rows.map((row) => row.map((cell) =>
    /[",\r\n]/.test(cell) ? `"${String(cell).replaceAll('"', '""')}"` : cell).join(",")).join("\r\n") + "\r\n";
  const fileName = (title) => title.toLowerCase().replace(/[^\p{L}\p{N}]+/gu, "_").replace(/^_|_$/g, "").slice(0, 60) || "table";

  // "1,234", "−5%" and "12 ± 3" are numbers; what only begins like one, as 3e5ab, is text.
  const asNumber = (cell) => {
    const found = /^([−-]?\d[\d,]*(?:\.\d+)?(?:e[-+]?\d+)?)(?=$|[\s%;(±])/i.exec(cell);
    return found ? Number(found[1].replaceAll(",", "").replace("−", "-")) : NaN;
  };

  const improveTable = (table) => {
    const body = table.tBodies[0], rows = [...body.rows], headers = [...table.tHead.rows[0].cells];
    const title = text(table.caption);
    const compare = (column) => {
      const cells = new Map(rows.map((row) => [row, text(row.cells[column])]));
      const numbers = new Map(rows.map((row) => [row, asNumber(cells.get(row))]));
      const known = rows.filter((row) => !Number.isNaN(numbers.get(row))).length;
      const isNumeric = known > 0 && 2 * known >= rows.filter((row) => !["", "–"].includes(cells.get(row))).length;
      return (sign) => (a, b) => {
        if (!isNumeric) return sign * cells.get(a).localeCompare(cells.get(b), "en", { numeric: true });
        const [x, y] = [numbers.get(a), numbers.get(b)];
        return Number.isNaN(x) || Number.isNaN(y) ? Number.isNaN(x) - Number.isNaN(y) : sign * (x - y);
      };
    };
    if (rows.length > 1) headers.forEach((header, column) => {
      if ("unsorted" in header.dataset) return;
      const sorter = make("button", { type: "button", class: "sort" });
      sorter.append(...header.childNodes);
      header.append(sorter);
      sorter.addEventListener("click", () => {
        const next = { ascending: "descending", descending: null }[header.getAttribute("aria-sort")];
        headers.forEach((other) => other.removeAttribute("aria-sort"));
        const direction = next === undefined ? "ascending" : next;
        if (direction) header.setAttribute("aria-sort", direction);
        body.append(...(direction ? [...rows].sort(compare(column)(direction === "ascending" ? 1 : -1)) : rows));
      });
    });
    const tools = make("div", { class: "tools" });
    if (rows.length > 7) {
      const field = make("input", { type: "search", placeholder: "filter", "aria-label": `Filter the rows of: ${title}` });
      const count = make("span", { role: "status" });
      field.addEventListener("input", () => {
        const wanted = field.value.trim().toLowerCase();
        for (const row of rows) row.hidden = !text(row).toLowerCase().includes(wanted);
        count.textContent = wanted ? `${rows.filter((row) => !row.hidden).length} of ${rows.length} rows` : "";
      });
      tools.append(field, count);
    }
    tools.append(button("CSV", `Download as CSV: ${title}`, () => save(`${fileName(title)}.csv`, "text/csv",
      csv([headers, ...[...body.rows].map((row) => [...row.cells])].map((row) => row.map(text))))));
    table.parentElement.before(tools);
  };

  const dashes = [[], [9, 4], [2, 3], [9, 3, 2, 3], [14, 4], [5, 2, 1, 2, 1, 2], [4, 6]];
  const onWhite = { "#e69f00": "#a86f00", "#56b4e9": "#2480b8", "#cc79a7": "#b0578a" };
  const onBlack = { "#0072b2": "#7aa8ff", "#d55e00": "#ff8c4a", "#009e73": "#3fd0a0", "#cc79a7": "#e6a0c6", "#000000": "#e6e6e6" };
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const shown = (value) => value == null ? "–" : Number(value.toPrecision(4)).toLocaleString("en", { maximumFractionDigits: 8 });

  const drawChart = (panel, place) => {
    const ink = dark.matches ? "#e6e6e6" : "#1a1a1a", rule = dark.matches ? "#3a3d42" : "#e3e3e3";
    const means = panel.series.filter((one) => !one.is_seed);
    const dashOf = (one) => dashes[means.findIndex((mean) => one.is_seed ? one.label.startsWith(`${mean.label}, run `) : mean === one) % dashes.length] ?? [];
    const colorOf = (one) => (dark.matches ? onBlack : onWhite)[one.color] ?? one.color;
    const data = uPlot.join(panel.series.map((one) => [one.steps, one.values]));
    const first = data[0][0], last = data[0].at(-1);
    const values = panel.series.map(() => make("output"));
    const step = make("output", {}, "none");
    const chart = new uPlot({
      width: place.clientWidth, height: 280, legend: { show: false },
      scales: {
        x: { time: false },
        y: { distr: panel.is_log ? 3 : 1, range: (u, low, high) => {
          if (u.scales.x.min == null || (u.scales.x.min <= first && u.scales.x.max >= last)) return panel.limits;
          return panel.is_log ? uPlot.rangeLog(low, high, 10, false) : uPlot.rangeNum(low, high, 0.1, true);
        } },
      },
      axes: [
        { label: "training step", stroke: ink, grid: { stroke: rule }, ticks: { stroke: rule }, values: (u, ticks) => ticks.map(shown) },
        { label: panel.title, stroke: ink, grid: { stroke: rule }, ticks: { stroke: rule }, size: 60, values: (u, ticks) => ticks.map((tick) => tick == null ? "" : shown(tick)) },
      ],
      series: [{}, ...panel.series.map((one) => ({
        stroke: colorOf(one), dash: dashOf(one), width: one.is_seed ? 1 : 2, spanGaps: true, points: { show: false },
      }))],
      hooks: { setCursor: [(u) => {
        const at = u.cursor.idx;
        step.textContent = at == null ? "none" : shown(data[0][at]);
        values.forEach((value, index) => { value.textContent = at == null ? "" : shown(data[index + 1][at]); });
      }] },
    }, data, place);
    place.addEventListener("keydown", (event) => {
      const at = chart.cursor.idx ?? 0, { min, max } = chart.scales.x;
      const move = { ArrowLeft: -1, ArrowRight: 1 }[event.key], zoom = { "+": 0.5, "-": 2 }[event.key];
      if (move) {
        const next = Math.min(Math.max(at + move, 0), data[0].length - 1);
        chart.setCursor({ left: chart.valToPos(data[0][next], "x"), top: 1 });
      } else if (zoom) {
        const half = zoom * (max - min) / 2, middle = Math.min(Math.max(data[0][at], min), max);
        chart.setScale("x", { min: Math.max(first, middle - half), max: Math.min(last, middle + half) });
      } else return;
      event.preventDefault();
    });
    const entries = panel.series.map((one, index) => {
      const box = make("input", { type: "checkbox" });
      box.checked = true;
      box.addEventListener("change", () => chart.setSeries(index + 1, { show: box.checked }));
      const mark = draw("svg", { width: 34, height: 10, "aria-hidden": true });
      mark.append(draw("line", { x1: 0, x2: 34, y1: 5, y2: 5, stroke: colorOf(one), "stroke-width": one.is_seed ? 1 : 2.5, "stroke-dasharray": dashOf(one).join(" ") }));
      return make("li", {}, make("label", {}, box, mark, ` ${one.label} `), values[index]);
    });
    const whole = button("whole range", `Show the whole range: ${panel.title}`, () => chart.setScale("x", { min: first, max: last }));
    place.after(make("p", { class: "readout" }, "Step: ", step, ". ", whole), make("ul", { class: "legend" }, ...entries));
    new ResizeObserver(() => chart.setSize({ width: place.clientWidth, height: 280 })).observe(place);
  };

  const drawCharts = (box, panels) => {
    box.replaceChildren(make("p", {}, "Point at a curve for its values, drag to zoom, double-click for the whole range; with the keyboard: arrows, + and −."));
    for (const panel of panels) {
      const place = make("div", { class: "chart", tabindex: "0", role: "group", "aria-label": `Chart of ${panel.title}` });
      box.append(make("div", {}, place));
      drawChart(panel, place);
    }
  };

  const improveFigure = (figure) => {
    const picture = figure.querySelector(".scroll"), svg = picture.querySelector("svg"), name = figure.id.replace(/^figure-/, "");
    const tools = make("div", { class: "tools" });
    const source = figure.querySelector("script[type='application/json']");
    if (source && window.uPlot) {
      const panels = JSON.parse(source.textContent), box = make("div", { class: "charts" });
      box.hidden = true;
      figure.append(box);
      const redraw = () => { if (!box.hidden) drawCharts(box, panels); };
      const toggle = button("explore", `explore: ${name.replaceAll("_", " ")}`, () => {
        box.hidden = !box.hidden;
        picture.hidden = !box.hidden;
        figure.classList.toggle("exploring", !box.hidden);
        toggle.setAttribute("aria-expanded", String(!box.hidden));
        toggle.textContent = box.hidden ? "explore" : "figure";
        toggle.setAttribute("aria-label", `${toggle.textContent}: ${name.replaceAll("_", " ")}`);
        redraw();
      });
      toggle.setAttribute("aria-expanded", "false");
      dark.addEventListener("change", redraw);
      tools.append(toggle, button("CSV", `Download the curves as CSV: ${name}`, () => save(`${name}.csv`, "text/csv",
        csv([["panel", "series", "step", "value"], ...panels.flatMap((panel) => panel.series.flatMap((one) =>
          one.steps.map((step, index) => [panel.title, one.label, step, one.values[index] ?? ""])))]))));
    }
    tools.append(button("SVG", `Download as SVG: ${name}`, () => {
      const copy = svg.cloneNode(true), [, , width, height] = svg.getAttribute("viewBox").split(" ");
      copy.removeAttribute("style");
      copy.setAttribute("width", `${width}pt`);
      copy.setAttribute("height", `${height}pt`);
      save(`${name}.svg`, "image/svg+xml", new XMLSerializer().serializeToString(copy));
    }));
    picture.after(tools);
  };

  document.querySelectorAll("table.data").forEach(improveTable);
  document.querySelectorAll("figure[id]").forEach(improveFigure);
  const watcher = new ResizeObserver((entries) => entries.forEach(({ target }) => {
    if (target.scrollWidth > target.clientWidth) target.setAttribute("tabindex", "0");
    else target.removeAttribute("tabindex");
  }));
  document.querySelectorAll(".scroll").forEach((box) => watcher.observe(box));
})();
