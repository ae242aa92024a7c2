"use strict";
(function () {
  const byId = (id) => document.getElementById(id);
  const data = JSON.parse(byId("data").textContent);
  const last = data.steps.length - 1;
  const state = { person: 0, step: last, layer: 1, value: 0 };
  let timer = null;

  // Every text from the run goes through here, as text.
  function fill(node, attributes, children) {
    for (const [name, value] of Object.entries(attributes || {})) node.setAttribute(name, value);
    node.append(...(children || []));
    return node;
  }
  const make = (tag, attributes, ...children) => fill(document.createElement(tag), attributes, children);
  const draw = (tag, attributes, ...children) =>
    fill(document.createElementNS(byId("chart").namespaceURI, tag), attributes, children);
  const number = (value) => value.toLocaleString("en");
  const percent = (share) => (share < 0.0005 ? "<0.1%" : (100 * share).toFixed(1) + "%");
  const word = (token) => token.replace(/^[ ▁]/, "").replace(/▁/g, " ") || "␣";
  const person = () => data.people[state.person];
  const moment = () => person().moments[state.step];
  const nameOf = (value) => data.attributes[value.attribute];

  function answersOf(value) {
    const flat = moment().top[value], found = [];
    for (let i = 0; i < flat.length; i += 2) found.push({ text: flat[i], share: flat[i + 1] });
    return found;
  }

  // Attention of one value: an array with one row of weights per layer.
  function attentionOf(value) {
    const layers = data.num_attention_layers, bytes = atob(moment().attention);
    let start = 0;
    for (let q = 0; q < value; q++) start += layers * (person().values[q].at + 1);
    const length = person().values[value].at + 1, rows = [];
    for (let layer = 0; layer < layers; layer++, start += length)
      rows.push(Array.from({ length }, (_, t) => bytes.charCodeAt(start + t) / 255));
    return rows;
  }

  function verdict(value) {
    const text = answersOf(value)[0].text;
    if (text === person().values[value].truth) return { sign: "✓", said: "right", kind: "right" };
    const abstains = data.abstentions.includes(data.texts[text]);
    return { sign: abstains ? "–" : "✗", said: abstains ? "says that it does not know" : "wrong", kind: "wrong" };
  }

  function tokenNode(place, weights, experts) {
    const { tokens, roles, values } = person(), token = tokens[place];
    const from = values[state.value].at === place, share = weights && weights[place];
    const kinds = ["token"];
    if (place > 0 && !/^[ ▁]/.test(token)) kinds.push("glued");
    if (roles[place] === "n") kinds.push("name");
    if (from) kinds.push("from");
    if (place === 0) kinds.push("none");
    const node = make("span", { class: kinds.join(" ") }, make("span", { class: "word" }, word(token)));
    if (data.num_attention_layers) {
      if (share > 0) node.style.backgroundColor = `rgba(var(--heat), ${(0.5 * Math.sqrt(share)).toFixed(2)})`;
      if (share >= 0.01 || experts) node.append(make("small", {}, share >= 0.01 ? Math.round(100 * share).toString() : ""));
    }
    if (experts) {
      const chip = make("small", { class: "expert", title: `expert ${experts[place]}` }, experts[place].toString());
      chip.style.backgroundColor = `hsl(${Math.round((360 * experts[place]) / data.num_experts)}, 70%, 85%)`;
      node.append(chip);
    }
    return node;
  }

  function showText() {
    const { roles, values } = person(), weights = attentionOf(state.value)[state.layer - 1];
    const experts = moment().experts[data.expert_layers.indexOf(state.layer)];
    const nodes = [];
    for (let place = 0, next = 0; place < roles.length; place++) {
      if (next >= values.length || values[next].at + 1 !== place) {
        nodes.push(tokenNode(place, weights, experts));
        continue;
      }
      const { sign, said, kind } = verdict(next), chosen = next === state.value;
      const button = make("button", { type: "button", class: "value", id: `value${next}`, "aria-pressed": chosen });
      button.append(make("span", { class: "heard" }, `${nameOf(values[next])}: `));
      for (; roles[place] === "v"; place++) button.append(tokenNode(place, weights, experts));
      button.append(make("span", { class: `verdict ${kind}`, "aria-hidden": "true" }, " " + sign));
      button.append(make("span", { class: "heard" }, `, ${said}`));
      nodes.push(button);
      next++;
      place--;
    }
    byId("text").replaceChildren(...nodes);
    byId("key").textContent = !data.expert_layers.length ? ""
      : experts ? ` Number in a coloured box: the expert of the token in layer ${state.layer} (the router's first choice).`
      : ` Layer ${state.layer} has no experts; choose another layer to see them.`;
  }

  function showLooks() {
    const { tokens, roles, values } = person(), value = values[state.value];
    const wanted = `${nameOf(value)} (${data.texts[value.truth]})`;
    byId("seen").textContent = data.num_attention_layers
      ? `From the token before the ${wanted}, at step ${number(data.steps[state.step])}: attention by layer.`
      : "This model has a recurrence in place of attention, so there is nothing to show.";
    if (!data.num_attention_layers) return;
    const sentence = (place) => {
      const q = values.findIndex((one) => one.at >= place);
      return q === state.value ? "this sentence" : `sentence ${q + 1}`;
    };
    const head = make("tr", {}, ...["layer", "on name tokens", "most on"].map((text) => make("th", { scope: "col" }, text)));
    const rows = attentionOf(state.value).map((weights, layer) => {
      const onName = weights.reduce((sum, share, t) => sum + (roles[t] === "n" ? share : 0), 0);
      const best = weights.map((share, t) => ({ share, t })).sort((a, b) => b.share - a.share).slice(0, 5);
      const most = best.filter((one) => one.share >= 0.01)
        .map(({ share, t }) => `${word(tokens[t])}${roles[t] === "n" ? ` (name, ${sentence(t)})` : ""} ${Math.round(100 * share)}%`);
      return make("tr", { class: layer + 1 === state.layer ? "chosen" : "" }, make("th", { scope: "row" }, `${layer + 1}`),
        make("td", { class: "number" }, percent(onName)), make("td", {}, most.join(", ")));
    });
    byId("looks").replaceChildren(head, ...rows);
  }

  function showAnswers() {
    const cards = person().values.map((value, q) => {
      const { sign, said, kind } = verdict(q), answers = answersOf(q), isThere = answers.some((one) => one.text === value.truth);
      const items = answers.map(({ text, share }) => {
        const bar = make("span", { class: "bar", "aria-hidden": "true" });
        bar.style.width = percent(share).replace("<", "");
        const isTrue = text === value.truth;
        return make("li", {}, make("span", { class: "answer" },
          make("span", isTrue ? { class: "true" } : {}, data.texts[text] + (isTrue ? " (true)" : "")),
          make("span", { class: "number" }, percent(share))), bar);
      });
      const head = make("button", { type: "button", id: `card${q}`, "aria-pressed": q === state.value }, nameOf(value));
      return make("section", { class: q === state.value ? "card chosen" : "card" },
        make("h3", {}, head, " ", make("span", { class: `verdict ${kind}` }, `${sign} ${said}`)),
        make("p", {}, `True: ${data.texts[value.truth]}${isThere ? "" : `, ${percent(moment().p[q])}`}. Confidence: ${percent(answers[0].share)}.`),
        make("ol", {}, ...items));
    });
    byId("answers").replaceChildren(...cards);
    const right = person().values.filter((_, q) => verdict(q).kind === "right").length;
    byId("said").textContent = `Step ${number(data.steps[state.step])}: ${right} of ${person().values.length} answers are right.`;
  }

  function showChart() {
    const svg = byId("chart"), width = Math.max(svg.clientWidth, 240), height = 190;
    const left = 42, right = width - 26, top = 20, bottom = height - 26, steps = data.steps;
    const x = (place) => left + ((right - left) * place) / Math.max(last, 1), y = (share) => bottom - (bottom - top) * share;
    const label = (text, at, from, anchor) => draw("text", { x: at, y: from, "text-anchor": anchor }, text);
    const nodes = [draw("rect", { class: "frame", x: left, y: top, width: right - left, height: bottom - top })];
    for (const share of [0, 0.5, 1]) nodes.push(label(`${100 * share}%`, left - 6, y(share) + 4, "end"));
    const longest = 8 * number(steps[last]).length + 10, every = Math.ceil(longest / ((right - left) / Math.max(last, 1)));
    steps.forEach((step, i) => {
      if ((last - i) % every === 0) nodes.push(label(number(step), x(i), bottom + 17, "middle"));
    });
    const [begins, ends] = data.plateau.map((step) => {
      const after = step === null ? last : steps.findIndex((one) => one >= step);
      if (step === null || after < 1) return x(after < 0 ? last : after);
      return x(after - 1 + (step - steps[after - 1]) / (steps[after] - steps[after - 1]));
    });
    if (data.plateau[0] !== null && ends > begins) {
      nodes.push(draw("rect", { class: "plateau", x: begins, y: top, width: ends - begins, height: bottom - top }));
      nodes.push(label("plateau", Math.min(Math.max((begins + ends) / 2, left + 22), right - 22), top - 7, "middle"));
    }
    nodes.push(draw("line", { class: "now", x1: x(state.step), x2: x(state.step), y1: top - 4, y2: bottom + 4 }));
    const items = person().values.map((value, q) => {
      const shares = person().moments.map((one) => one.p[q]), chosen = q === state.value, kind = `a${value.attribute}`;
      const points = shares.map((share, i) => `${x(i).toFixed(1)},${y(share).toFixed(1)}`).join(" ");
      nodes.push(draw("g", { class: chosen ? "chosen" : "" }, draw("polyline", { class: `curve ${kind}`, points }),
        draw("circle", { class: kind, cx: x(state.step), cy: y(shares[state.step]), r: chosen ? 5 : 3, fill: "none", style: "stroke-dasharray: none; stroke-width: 2" })));
      const swatch = draw("svg", { viewBox: "0 0 38 10", "aria-hidden": "true" }, draw("line", { class: `curve ${kind}`, x1: 0, x2: 38, y1: 5, y2: 5 }));
      return make("li", chosen ? { class: "chosen" } : {}, swatch, `${nameOf(value)} ${percent(shares[state.step])}`);
    });
    svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    svg.setAttribute("aria-label", `Line chart of the probability of the true value over ${steps.length} checkpoints. At step ${number(steps[state.step])}: ${items.map((item) => item.textContent).join(", ")}.`);
    svg.replaceChildren(...nodes);
    byId("legend").replaceChildren(...items);
    const shares = person().moments.map((one) => one.p[state.value]), value = person().values[state.value];
    let first = shares.length;
    while (first > 0 && shares[first - 1] >= 0.5) first--;
    byId("learned").textContent = `The true ${nameOf(value)} has ${percent(shares[state.step])}; ` +
      (first === shares.length ? "it is not above 50% at the last checkpoint." : `it is above 50% from step ${number(steps[first])} to the last checkpoint.`);
  }

  function show() {
    const focused = document.activeElement && document.activeElement.id;
    const step = number(data.steps[state.step]);
    byId("person").value = state.person;
    byId("layer").value = state.layer;
    byId("step").value = state.step;
    byId("step").setAttribute("aria-valuetext", `step ${step}`);
    byId("now").textContent = `${step} (checkpoint ${state.step + 1} of ${last + 1})`;
    byId("status").textContent = `${person().name} ${person().status}.`;
    [showText, showLooks, showAnswers, showChart].forEach((part) => part());
    if (focused && byId(focused)) byId(focused).focus();
    try {
      history.replaceState(null, "", `#person=${state.person}&step=${data.steps[state.step]}&layer=${state.layer}&value=${state.value}`);
    } catch { /* a page in a frame may not */ }
  }

  function change(part) {
    Object.assign(state, part);
    show();
  }

  function play(isOn) {
    clearInterval(timer);
    timer = isOn ? setInterval(() => (state.step < last ? change({ step: state.step + 1 }) : play(false)), 900) : null;
    byId("play").textContent = isOn ? "Stop" : "Play";
    byId("play").setAttribute("aria-pressed", isOn);
    if (isOn) change({ step: state.step === last ? 0 : state.step });
  }

  function begin() {
    const groups = new Map();
    data.people.forEach((one, i) => {
      if (!groups.has(one.cohort)) groups.set(one.cohort, make("optgroup", { label: one.cohort }));
      groups.get(one.cohort).append(make("option", { value: i }, one.name));
    });
    byId("person").append(...groups.values());
    for (let layer = 1; layer <= data.num_layers; layer++)
      byId("layer").append(make("option", { value: layer }, `${layer}${data.expert_layers.includes(layer) ? " (experts)" : ""}`));
    byId("step").max = last;
    const wanted = new URLSearchParams(location.hash.slice(1)), asked = (key) => (wanted.has(key) ? Number(wanted.get(key)) : NaN);
    if (asked("person") in data.people) state.person = asked("person");
    if (data.steps.includes(asked("step"))) state.step = data.steps.indexOf(asked("step"));
    if (asked("layer") >= 1 && asked("layer") <= data.num_layers) state.layer = Math.round(asked("layer"));
    if (asked("value") in person().values) state.value = asked("value");
    byId("person").addEventListener("change", (event) => {
      const attribute = person().values[state.value].attribute, other = data.people[Number(event.target.value)];
      change({ person: Number(event.target.value), value: other.values.findIndex((one) => one.attribute === attribute) });
    });
    byId("layer").addEventListener("change", (event) => change({ layer: Number(event.target.value) }));
    byId("step").addEventListener("input", (event) => { play(false); change({ step: Number(event.target.value) }); });
    byId("back").addEventListener("click", () => { play(false); change({ step: Math.max(state.step - 1, 0) }); });
    byId("next").addEventListener("click", () => { play(false); change({ step: Math.min(state.step + 1, last) }); });
    byId("play").addEventListener("click", () => play(timer === null));
    for (const [id, prefix] of [["text", "value"], ["answers", "card"]])
      byId(id).addEventListener("click", (event) => {
        const button = event.target.closest("button");
        if (button) change({ value: Number(button.id.slice(prefix.length)) });
      });
    window.addEventListener("resize", showChart);
    byId("plain").hidden = true;
    byId("app").hidden = false;
    show();
  }

  begin();
})();
