"use strict";
// Draws the charts of the page from the numbers that stand in it. Words of users reach the page as text only.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const byId = (id) => document.getElementById(id);
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const charts = new Map(); // element -> chart
  const painters = []; // redrawn when light turns to dark

  // -- colours

  // Viridis, sampled. The better end is the one that stands out from the ground.
  const VIRIDIS = ["#fde725", "#b5de2b", "#6ece58", "#35b779", "#1f9e89", "#26828e", "#31688e", "#3e4989", "#482878", "#440154"];
  const scaleStops = () => (dark.matches ? VIRIDIS.slice(0, 9).reverse() : VIRIDIS.slice(1));
  const cssColour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
  const stateColour = { finished: "green", limited: "green", stopped: "orange", diverged: "purple", failed: "red", running: "sky" };
  const stateWords = { finished: "finished", limited: "cut at the limit of iterations", stopped: "stopped early", diverged: "diverged", failed: "failed", running: "running" };

  function share(value) {
    let [low, high] = data.limits;
    if (data.log) [low, high, value] = [Math.log(low), Math.log(high), Math.log(value)];
    const part = Math.min(1, Math.max(0, (value - low) / (high - low || 1)));
    return data.mode === "max" ? part : 1 - part;
  }

  function resultColour(value) {
    const stops = scaleStops();
    const at = share(value) * (stops.length - 1);
    const i = Math.min(stops.length - 2, Math.floor(at));
    const mix = (from) => {
      const a = parseInt(stops[i].slice(from, from + 2), 16);
      const b = parseInt(stops[i + 1].slice(from, from + 2), 16);
      return Math.round(a + (b - a) * (at - i));
    };
    return `rgb(${mix(1)},${mix(3)},${mix(5)})`;
  }

  // Mixed with the ground: opaque, so that cells may overlap by half a pixel and leave no seams.
  function pale(colour) {
    const ground = dark.matches ? [20, 23, 27] : [255, 255, 255];
    const parts = colour.match(/\d+/g).map(Number);
    return `rgb(${parts.map((part, i) => Math.round(0.35 * part + 0.65 * ground[i])).join(",")})`;
  }

  function drawScales() {
    const ends = data.mode === "max" ? data.limits : [...data.limits].reverse();
    for (const element of document.querySelectorAll(".scale")) {
      const ramp = document.createElement("i");
      ramp.style.background = `linear-gradient(to right, ${scaleStops().join(", ")})`;
      element.replaceChildren(`${data.metric} ${format(ends[0])}`, ramp, `${format(ends[1])} (better)`);
    }
  }

  // -- what all charts share

  const format = (value) => (value === null || value === undefined ? "none" : Number(value.toPrecision(4)).toString());
  const clamp = (value, low, high) => Math.min(high, Math.max(low, value));
  const short = (words, limit) => (words.length > limit ? `${words.slice(0, limit - 1)}…` : words);
  const CROSS = "path://M2 0L5 3L8 0L10 2L7 5L10 8L8 10L5 7L2 10L0 8L3 5L0 2Z";
  const groups = [
    { key: "random", words: "random, warm-up", colour: "blue", symbol: "circle", size: 9 },
    { key: "bayes", words: "Bayesian", colour: "red", symbol: CROSS, size: 9 },
    { key: "point", words: "given points, grid", colour: "ink", symbol: "diamond", size: 10 },
  ];

  function tip(lines) {
    const element = document.createElement("div");
    element.className = "tip";
    element.textContent = lines.join("\n");
    return element;
  }

  function tipOfTrial(trial) {
    const at = trial.s === "stopped" ? `, stopped at ${trial.i}` : "";
    const result = trial.v === null ? "no result" : `${data.metric}: ${trial.t}${at}`;
    const config = data.axes.map((axis, i) => (trial.c[i] === "" ? null : `${axis.name}: ${trial.c[i]}`)).filter(Boolean);
    return tip([`trial ${trial.n}, ${stateWords[trial.s]}`, result, ...config.slice(0, 12)]);
  }

  function base() {
    return {
      animation: false,
      textStyle: { color: cssColour("ink"), fontFamily: "system-ui, sans-serif" },
      grid: { left: 42, right: 20, top: 20, bottom: 58, containLabel: true },
      legend: { bottom: 0, left: 0, textStyle: { color: cssColour("ink") }, itemWidth: 18, itemHeight: 10, itemGap: 8, type: "plain" },
      tooltip: {
        trigger: "item", confine: true, backgroundColor: cssColour("panel"), borderColor: cssColour("line"),
        textStyle: { color: cssColour("ink") },
      },
    };
  }

  function axisStyle(name, more) {
    return {
      type: "value", name, nameLocation: "middle", nameGap: 28, scale: true,
      nameTextStyle: { color: cssColour("faint") },
      axisLine: { show: true, onZero: false, lineStyle: { color: cssColour("faint") } },
      axisTick: { show: true, lineStyle: { color: cssColour("faint") } },
      // The ends of a scale that follows the data are crooked numbers.
      axisLabel: { color: cssColour("ink"), hideOverlap: true, showMinLabel: false, showMaxLabel: false },
      splitLine: { lineStyle: { color: cssColour("line"), opacity: 0.6 } },
      ...more,
    };
  }

  const upward = (name, more) => axisStyle(name, { nameGap: 48, nameRotate: 90, ...more });

  // Hyperparameters are drawn between 0 and 1, with ticks where their own values stand.
  function unitAxis(axis, more) {
    const labels = new Map(axis.ticks.map(([unit, label]) => [unit, label]));
    const room = roomOf(axis);
    const nearest = (value) => [...labels.keys()].reduce((a, b) => (Math.abs(b - value) < Math.abs(a - value) ? b : a));
    const values = [...labels.keys()];
    return {
      min: -room, max: 1 + room, scale: false,
      name: short(axis.name, 30) + (axis.log ? " (log)" : ""),
      axisLabel: { color: cssColour("ink"), customValues: values, hideOverlap: true, formatter: (value) => labels.get(nearest(value)) },
      axisTick: { show: true, customValues: values, lineStyle: { color: cssColour("faint") } },
      splitLine: { show: false },
      ...more,
    };
  }

  // Beyond the ends of an axis: half a cell where it has choices.
  const roomOf = (axis) => (axis.choices ? 0.5 / Math.max(1, axis.choices - 1) : 0.04);

  // Trials of one choice stand side by side, always in the same place.
  const jitter = (axis, trial) => (axis.choices ? (((trial.n * 0.618) % 1) - 0.5) * 0.7 * roomOf(axis) : 0);

  // A legend may take several rows on a phone: the plot makes room for them.
  function makeRoom(element, option) {
    const names = option.legend.show === false ? [] : option.legend.data ?? [...new Set(option.series.map((s) => s.name).filter(Boolean))];
    let count = names.length ? 1 : 0, used = 0;
    for (const name of names) {
      const width = 40 + 7 * name.length;
      if (used + width > element.clientWidth && used) [count, used] = [count + 1, 0];
      used += width;
    }
    option.grid = { ...option.grid, bottom: 34 + 20 * count };
  }

  function paint(id, option) {
    const element = byId(id);
    if (!element) return null;
    if (option.grid) makeRoom(element, option);
    let chart = charts.get(element);
    if (!chart) {
      chart = echarts.init(element, null, { renderer: "canvas" });
      charts.set(element, chart);
      new ResizeObserver(() => chart.resize()).observe(element);
    }
    chart.setOption(option, true);
    return chart;
  }

  function valueAxisRange(values) {
    const found = values.filter((v) => v !== null);
    if (!found.length) return {};
    const [low, high] = data.limits;
    const margin = 0.06 * (high - low);
    return data.log ? { type: "log" } : { min: Number((low - margin).toPrecision(4)), max: Number((high + margin).toPrecision(4)) };
  }

  // -- progress

  function drawBest() {
    const { steps, band } = data.progress;
    const series = [];
    if (band) {
      const whole = { type: "line", silent: true, symbol: "none", step: "end", stack: "band", stackStrategy: "all", lineStyle: { opacity: 0 }, tooltip: { show: false } };
      series.push({ ...whole, data: band.map((p) => [p[0], p[1]]) });
      series.push({ ...whole, name: "random alone, 10 to 90 %", data: band.map((p) => [p[0], p[3] - p[1]]), areaStyle: { color: cssColour("blue"), opacity: 0.18 }, itemStyle: { color: cssColour("blue") } });
      series.push({ type: "line", silent: true, symbol: "none", step: "end", name: "random alone, median", data: band.map((p) => [p[0], p[2]]), lineStyle: { type: "dashed", width: 1.5, color: cssColour("blue") }, itemStyle: { color: cssColour("blue") } });
    }
    series.push({ type: "line", name: "this search", step: "end", symbolSize: 7, data: steps, lineStyle: { width: 2.5, color: cssColour("red") }, itemStyle: { color: cssColour("red") } });
    const { limits: [low, high], name } = data.progress, margin = 0.1 * (high - low);
    paint("chart-best", {
      ...base(),
      xAxis: axisStyle("trials ended", { min: 0, minInterval: 1 }),
      yAxis: upward(name, steps.length ? { min: Number((low - margin).toPrecision(3)), max: Number((high + margin).toPrecision(3)) } : {}),
      tooltip: { ...base().tooltip, formatter: (p) => tip([`${name} ${format(p.value[1])}`, `after ${p.value[0]} trials`]) },
      series,
    });
  }

  function drawResults() {
    const shown = data.trials.filter((t) => t.v !== null && t.s !== "diverged" && t.s !== "failed");
    const range = valueAxisRange(shown.map((t) => t.v));
    const place = (t) => [t.n, "min" in range ? clamp(t.v, range.min, range.max) : t.v];
    const series = [];
    for (const group of groups) {
      const some = shown.filter((t) => t.o === group.key);
      if (!some.length) continue;
      series.push({
        type: "scatter", name: group.words, symbol: group.symbol, symbolSize: some.length > 500 ? 5 : group.size,
        itemStyle: { color: cssColour(group.colour) },
        data: some.map((t) => ({ value: place(t), trial: t, itemStyle: { opacity: t.s === "stopped" ? 0.4 : 1 } })),
      });
    }
    const lost = data.trials.filter((t) => t.s === "diverged" || t.s === "failed");
    if (lost.length && "min" in range) {
      series.push({ type: "scatter", name: "failed or diverged", symbol: "rect", symbolSize: 7, itemStyle: { color: cssColour("grey") }, data: lost.map((t) => ({ value: [t.n, range.min], trial: t })) });
    }
    const best = data.trials.find((t) => t.n === data.best);
    if (best) series.push(ring(place(best), "best"));
    paint("chart-results", {
      ...base(),
      xAxis: axisStyle("trial number", { minInterval: 1, max: "dataMax" }),
      yAxis: upward(data.metric, range),
      tooltip: { ...base().tooltip, formatter: (p) => (p.data.trial ? tipOfTrial(p.data.trial) : "") },
      series,
    });
  }

  const ring = (value, name) => ({
    type: "scatter", name, silent: true, z: 5, symbol: "circle", symbolSize: 20, data: [value],
    itemStyle: { color: "transparent", borderColor: cssColour("ink"), borderWidth: 2.5 },
  });

  function drawCurves() {
    const { lines, top } = data.curves;
    const range = valueAxisRange(lines.flatMap((line) => line.p.map((p) => p[1])));
    // The scale of final values may be too narrow for first epochs: curves show all that they have.
    const limits = range.type === "log" ? range : bulk(lines.flatMap((line) => line.p.map((p) => p[1])));
    const colours = ["blue", "red", "green", "purple", "orange"];
    const series = lines.map((line) => {
      const rank = top.indexOf(line.n);
      const colour = rank < 0 ? cssColour("grey") : cssColour(colours[rank]);
      return {
        type: "line", name: rank < 0 ? "other trials" : `trial ${line.n}`, data: line.p, symbol: line.p.length > 1 ? "none" : "circle", symbolSize: 4, z: rank < 0 ? 2 : 4,
        triggerLineEvent: true, lineStyle: { width: rank < 0 ? 1 : 2.5, color: colour, opacity: rank < 0 ? 0.55 : 1 }, itemStyle: { color: colour },
      };
    });
    for (const [state, symbol] of [["stopped", "emptyCircle"], ["diverged", "rect"], ["failed", "rect"]]) {
      const ends = lines.filter((line) => line.s === state && line.p.at(-1)[1] !== null);
      if (ends.length) {
        series.push({
          type: "scatter", name: stateWords[state], symbol, symbolSize: 8, z: 5, itemStyle: { color: cssColour(stateColour[state]) },
          data: ends.map((line) => ({ value: line.p.at(-1), line })),
        });
      }
    }
    if (series.length && data.rungs.length) {
      series[0].markLine = { silent: true, symbol: "none", label: { show: false }, lineStyle: { type: "dotted", color: cssColour("faint") }, data: data.rungs.map((rung) => ({ xAxis: rung })) };
    }
    const names = [...top.map((n) => `trial ${n}`), "other trials", ...Object.values(stateWords)];
    const present = new Set(series.map((s) => s.name));
    paint("chart-curves", {
      ...base(),
      legend: { ...base().legend, data: names.filter((name) => present.has(name)) },
      xAxis: axisStyle("iteration (epoch or round)", { minInterval: 1, min: "dataMin", max: "dataMax", axisLabel: { color: cssColour("ink"), hideOverlap: true } }),
      yAxis: upward(data.curves.name, limits),
      tooltip: {
        ...base().tooltip,
        formatter: (p) => {
          const line = p.data && p.data.line ? p.data.line : lines[p.seriesIndex];
          return tip([`trial ${line.n}, ${stateWords[line.s]}`, `${data.curves.name} ${line.t}`]);
        },
      },
      series,
    });
  }

  function drawFronts() {
    data.fronts.forEach(({ name, mode, points, front }, i) => {
      const limits = bulk(points.map((p) => p[1]));
      const place = ([x, y, n]) => [x, "min" in limits ? clamp(y, limits.min, limits.max) : y, n];
      paint(`chart-front-${i}`, {
        ...base(),
        xAxis: axisStyle(name, {}),
        yAxis: upward(data.metric, limits),
        tooltip: { ...base().tooltip, formatter: (p) => tip([`trial ${p.value[2]}`, `${data.metric}: ${format(p.value[1])}`, `${name}: ${format(p.value[0])}`]) },
        series: [
          { type: "scatter", name: "trials", symbolSize: 7, data: points.map(place), itemStyle: { color: cssColour("grey"), opacity: 0.7 } },
          // What a budget buys is a step: between two trials of the front there is none.
          { type: "line", name: "Pareto front", step: mode === "min" ? "end" : "start", symbol: "circle", symbolSize: 9, data: front.map(place), lineStyle: { width: 2, color: cssColour("red") }, itemStyle: { color: cssColour("red") } },
        ],
      });
    });
  }

  // -- effects

  function drawEffects() {
    const colours = ["blue", "red", "green", "purple", "orange", "sky"];
    data.effects.forEach((panels, table) => panels.forEach(({ metric, values }, panel) => {
      const series = values.flatMap(({ name, points }, i) => {
        const colour = { color: cssColour(colours[i % colours.length]) };
        const band = { type: "line", silent: true, symbol: "none", stack: name, stackStrategy: "all", lineStyle: { opacity: 0 } };
        const type = ["solid", "dashed", "dotted"][Math.floor(i / colours.length) % 3];
        return [
          { ...band, data: points.map(([at, , low]) => [at, low]) },
          { ...band, data: points.map(([at, , low, high]) => [at, high - low]), areaStyle: { ...colour, opacity: 0.16 } },
          { type: "line", name, symbol: points.length < 15 ? "circle" : "none", symbolSize: 5, data: points.map(([at, mean]) => [at, mean]), lineStyle: { width: 2.2, type, ...colour }, itemStyle: colour },
        ];
      });
      const all = values.flatMap(({ points }) => points.flatMap(([, , low, high]) => [low, high]));
      paint(`chart-effect-${table}-${panel}`, {
        ...base(),
        xAxis: axisStyle("iteration (epoch or round)", { minInterval: 1, min: "dataMin", max: "dataMax", axisLabel: { color: cssColour("ink"), hideOverlap: true } }),
        yAxis: upward(metric, bulk(all)),
        tooltip: { ...base().tooltip, trigger: "item", formatter: (p) => tip([p.seriesName, `${metric} ${format(p.value[1])} at ${p.value[0]}`]) },
        series,
      });
    }));
  }

  // The range to show, as the plots have it: all, unless a few values far off would flatten the rest.
  function bulk(values) {
    const all = values.filter((v) => v !== null).sort((a, b) => a - b);
    if (!all.length) return {};
    const at = (q) => all[Math.round(q * (all.length - 1))];
    let [low, high] = [at(0), at(1)];
    const span = at(0.95) - at(0.05);
    if (span > 0 && 10 * span < high - low) [low, high] = [Math.max(low, at(0.05) - 1.5 * span), Math.min(high, at(0.95) + 1.5 * span)];
    const margin = 0.05 * (high - low || Math.abs(high) || 1);
    return { min: Number((low - margin).toPrecision(3)), max: Number((high + margin).toPrecision(3)) };
  }

  // -- hyperparameters

  const NOT_SET = -0.12; // where a line passes an axis that its trial has no value on

  function drawParallel() {
    const shown = data.trials.filter((t) => t.k).sort((a, b) => share(a.v) - share(b.v));
    if (byId("chart-parallel")) byId("chart-parallel").style.minWidth = `${Math.max(20, 5.5 * data.axes.length + 4)}rem`;
    const axes = data.axes.map((axis, dim) => {
      const drawn = unitAxis(axis);
      const found = { dim, ...drawn, type: "value", min: 0, max: 1, name: short(drawn.name, 16), nameLocation: "end" };
      if (shown.every((t) => t.u[dim] !== null)) return found;
      const { customValues, formatter } = drawn.axisLabel;
      return {
        ...found, min: NOT_SET, axisTick: { ...drawn.axisTick, customValues: [NOT_SET, ...customValues] },
        axisLabel: { ...drawn.axisLabel, customValues: [NOT_SET, ...customValues], formatter: (value) => (value < NOT_SET / 2 ? "not set" : formatter(value)) },
      };
    });
    const [low, high] = data.limits;
    const marks = data.log ? [low, high] : [0, 1, 2, 3, 4].map((i) => low + (i / 4) * (high - low));
    axes.push({ dim: axes.length, type: data.log ? "log" : "value", min: low, max: high, name: data.metric, axisLabel: { customValues: marks, formatter: format }, axisTick: { customValues: marks, lineStyle: { color: cssColour("faint") } } });
    const text = { color: cssColour("ink") };
    const chart = paint("chart-parallel", {
      ...base(),
      legend: { show: false },
      parallel: { left: 50, right: 70, top: 40, bottom: 20, axisExpandable: false },
      parallelAxis: axes.map((axis) => ({
        ...axis, nameTextStyle: text, nameGap: 14, axisLabel: { ...axis.axisLabel, ...text, textBorderColor: cssColour("ground"), textBorderWidth: 3, showMinLabel: true, showMaxLabel: true },
        axisLine: { lineStyle: { color: cssColour("faint"), width: 1.5 } }, axisTick: axis.axisTick ?? { lineStyle: { color: cssColour("faint") } },
        areaSelectStyle: { width: 22, color: cssColour("blue"), opacity: 0.25, borderColor: cssColour("blue"), borderWidth: 1 },
      })),
      tooltip: { ...base().tooltip, formatter: (p) => tipOfTrial(shown[p.dataIndex]) },
      series: [{
        type: "parallel", inactiveOpacity: 0.04, activeOpacity: 0.9, smooth: false,
        data: shown.map((t) => ({
          value: [...t.u.map((u) => u ?? NOT_SET), clamp(t.v, low, high)],
          lineStyle: { color: resultColour(t.v), width: t.n === data.best ? 3.5 : 1.3, opacity: t.n === data.best ? 1 : shown.length > 300 ? 0.2 : 0.65 },
        })),
      }],
    });
    if (!chart) return;
    chart.off("axisareaselected");
    chart.on("axisareaselected", () => {
      const active = chart.getModel().getSeriesByIndex(0).getRawIndicesByActiveState("active");
      const intervals = chart.getModel().getComponent("parallelAxis") && chart.getOption().parallelAxis.some((_, i) => chart.getModel().getComponent("parallelAxis", i).activeIntervals.length);
      rows.brushed = intervals ? new Set(active.map((i) => shown[i].n)) : null;
      byId("brushed").textContent = intervals ? `${active.length} of ${shown.length} trials pass.` : "";
      byId("unbrush").hidden = !intervals;
      showRows();
    });
  }

  function drawMap() {
    const [x, y] = [Number(byId("map-x").value), Number(byId("map-y").value)];
    if (x === y) return;
    const shown = data.trials.filter((t) => t.k && t.u[x] !== null && t.u[y] !== null);
    const table = data.maps[x < y ? `${x},${y}` : `${y},${x}`];
    const series = [];
    if (table) series.push(ground(table, x > y, roomOf(data.axes[x]), roomOf(data.axes[y])));
    const place = (t) => [t.u[x] + jitter(data.axes[x], t), t.u[y] + jitter(data.axes[y], t)];
    const few = shown.length <= 60;
    for (const group of groups) {
      const some = shown.filter((t) => t.o === group.key);
      if (!some.length) continue;
      series.push({
        type: "scatter", name: group.words, symbol: group.symbol, symbolSize: shown.length > 500 ? 6 : group.size + 2, itemStyle: { color: cssColour("grey") },
        label: { show: few, position: "right", distance: 3, fontSize: 10, color: cssColour("ink"), textBorderColor: cssColour("ground"), textBorderWidth: 2, formatter: (p) => String(p.data.trial.n) },
        labelLayout: { hideOverlap: true },
        data: some.map((t) => ({ value: place(t), trial: t, itemStyle: { color: resultColour(t.v), borderColor: cssColour("ground"), borderWidth: 1 } })),
      });
    }
    const best = shown.find((t) => t.n === data.best);
    if (best) series.push(ring(place(best), "best"));
    paint("chart-map", {
      ...base(),
      xAxis: axisStyle("", unitAxis(data.axes[x])),
      yAxis: upward("", unitAxis(data.axes[y])),
      tooltip: { ...base().tooltip, formatter: (p) => (p.data.trial ? tipOfTrial(p.data.trial) : "") },
      series,
    });
  }

  // The model's mean as a ground of pale cells: [y][x], in units.
  function ground(table, turned, roomX, roomY) {
    const edges = (grid, room) => grid.map((u, i) => [i ? (grid[i - 1] + u) / 2 : -room, i < grid.length - 1 ? (u + grid[i + 1]) / 2 : 1 + room]);
    const [xs, ys] = turned ? [edges(table.x, roomY), edges(table.y, roomX)] : [edges(table.x, roomX), edges(table.y, roomY)];
    const cells = table.z.flatMap((row, j) => row.map((z, i) => (turned ? [...ys[j], ...xs[i], z] : [...xs[i], ...ys[j], z]))).filter((cell) => cell[4] !== null);
    const drawn = cells.map((cell) => cell[4]);
    const [low, high] = [Math.min(...drawn), Math.max(...drawn)];
    const stretch = (z) => data.limits[0] + ((z - low) / (high - low || 1)) * (data.limits[1] - data.limits[0]);
    return {
      type: "custom", silent: true, z: 1, tooltip: { show: false }, data: cells, encode: { x: [0, 1], y: [2, 3] },
      renderItem: (params, api) => {
        const [a, b] = [api.coord([api.value(0), api.value(2)]), api.coord([api.value(1), api.value(3)])];
        return {
          type: "rect",
          shape: { x: a[0], y: b[1], width: b[0] - a[0] + 0.5, height: a[1] - b[1] + 0.5 },
          style: { fill: pale(resultColour(stretch(api.value(4)))) },
        };
      },
    };
  }

  function fillChoices() {
    const [first, second] = [byId("map-x"), byId("map-y")];
    if (!first) return;
    for (const select of [first, second]) {
      select.replaceChildren(...data.axes.map((axis, i) => new Option(axis.name, i)));
    }
    const order = data.order && data.order.length > 1 ? data.order : [0, 1];
    first.value = remembered("x") ?? order[0];
    second.value = remembered("y") ?? order[1];
    for (const [select, other, key] of [[first, second, "x"], [second, first, "y"]]) {
      let before = select.value;
      select.addEventListener("change", () => {
        if (select.value === other.value) {
          other.value = before; // the two change places
          other.dispatchEvent(new Event("changed"));
        }
        remember("x", first.value);
        remember("y", second.value);
        before = select.value;
        drawMap();
      });
      select.addEventListener("changed", () => (before = select.value));
    }
  }

  function drawDependence() {
    data.dependence.forEach(({ axis, points }, i) => {
      const blue = { color: cssColour("blue") };
      const whole = { type: "line", silent: true, symbol: "none", lineStyle: { opacity: 0 } };
      const stacked = { ...whole, stack: "band", stackStrategy: "all" };
      const means = { type: "line", symbolSize: 9, data: points.map(([u, m]) => [u, m]), itemStyle: blue };
      const series = data.axes[axis].choices
        ? [
            ...points.map(([u, m, d]) => ({ ...whole, data: [[u, m - d], [u, m + d]], lineStyle: { width: 3, ...blue } })),
            { ...means, symbol: "circle", lineStyle: { opacity: 0 } },
          ]
        : [
            { ...stacked, data: points.map(([u, m, d]) => [u, m - d]) },
            { ...stacked, data: points.map(([u, , d]) => [u, 2 * d]), areaStyle: { ...blue, opacity: 0.2 } },
            { ...means, symbol: "none", lineStyle: { width: 2.5, ...blue } },
          ];
      paint(`chart-dependence-${i}`, {
        ...base(),
        legend: { show: false },
        xAxis: axisStyle("", unitAxis(data.axes[axis], { name: "" })),
        yAxis: upward(data.metric, {}),
        series,
        tooltip: { ...base().tooltip, formatter: (p) => tip([`${data.metric} ${format(p.value[1])}`]) },
      });
    });
  }

  // -- workers

  function drawTimeline() {
    const { lanes, bars, unit } = data.timeline;
    const element = byId("chart-timeline");
    if (!element) return;
    element.style.height = `${Math.min(44, 7 + 1.9 * lanes.length)}rem`;
    const few = bars.length <= 200;
    const series = Object.keys(stateColour).filter((state) => bars.some((bar) => bar[4] === state)).map((state) => ({
      type: "custom", name: stateWords[state], itemStyle: { color: cssColour(stateColour[state]) }, encode: { x: [1, 2], y: 0 },
      data: bars.filter((bar) => bar[4] === state),
      renderItem: (params, api) => {
        const from = api.coord([api.value(1), api.value(0)]);
        const to = api.coord([api.value(2), api.value(0)]);
        const height = Math.min(14, api.size([0, 1])[1] * 0.6);
        return { type: "rect", shape: { x: from[0], y: from[1] - height / 2, width: Math.max(1, to[0] - from[0]), height }, style: { fill: cssColour(stateColour[state]), stroke: cssColour("ground"), lineWidth: 0.5 } };
      },
    }));
    if (few) {
      const marks = (name, column, rotate, colour, some) => ({ type: "scatter", name, silent: true, z: 4, symbol: "triangle", symbolSize: 8, symbolRotate: rotate, itemStyle: { color: cssColour(colour), borderColor: cssColour("ground"), borderWidth: 0.5 }, data: some.map((bar) => [bar[column], bar[0]]) });
      series.push(marks("start", 1, -90, "green", bars));
      series.push(marks("end", 2, 90, "red", bars.filter((bar) => bar[4] !== "running")));
    }
    paint("chart-timeline", {
      ...base(),
      xAxis: axisStyle(`time since the first start (${unit})`, { min: 0 }),
      yAxis: { type: "category", data: lanes, inverse: true, axisLabel: { color: cssColour("ink"), width: 130, overflow: "truncate" }, axisLine: { lineStyle: { color: cssColour("faint") } } },
      tooltip: { ...base().tooltip, formatter: (p) => (p.data.length > 4 ? tip([`trial ${p.data[3]}, ${stateWords[p.data[4]]}`, `${format(p.data[1])} to ${format(p.data[2])} ${unit}`]) : "") },
      series,
    });
  }

  // -- the table of trials

  const table = byId("trial-table");
  const rows = { all: table ? [...table.tBodies[0].rows] : [], brushed: null };

  function showRows() {
    if (!table) return;
    const words = byId("filter").value.trim().toLowerCase();
    let count = 0;
    for (const row of rows.all) {
      const kept = (!rows.brushed || rows.brushed.has(Number(row.dataset.trial))) && row.textContent.toLowerCase().includes(words);
      row.hidden = !kept;
      count += kept;
    }
    byId("row-count").textContent = count === rows.all.length ? "" : `${count} of ${rows.all.length} rows.`;
  }

  function sortRows(column, descending) {
    const heads = [...table.tHead.rows[0].cells];
    const numeric = heads[column].classList.contains("numeric");
    const key = (row) => row.cells[column].textContent;
    const sign = descending ? -1 : 1;
    rows.all.sort((a, b) => {
      const [x, y] = [key(a), key(b)];
      if (x === "" || y === "") return (x === "") - (y === ""); // empty cells last, either way
      return sign * (numeric ? Number(x) - Number(y) : x.localeCompare(y));
    });
    table.tBodies[0].append(...rows.all);
    heads.forEach((head, i) => (i === column ? head.setAttribute("aria-sort", descending ? "descending" : "ascending") : head.removeAttribute("aria-sort")));
  }

  function makeTable() {
    if (!table) return;
    [...table.tHead.rows[0].cells].forEach((head, column) => {
      head.querySelector("button").addEventListener("click", () => {
        const descending = head.getAttribute("aria-sort") === "ascending";
        sortRows(column, descending);
        remember("sort", JSON.stringify([column, descending]));
      });
    });
    byId("filter").addEventListener("input", showRows);
    const sorted = JSON.parse(remembered("sort") ?? "null");
    if (sorted && sorted[0] < table.tHead.rows[0].cells.length) sortRows(...sorted);
  }

  // -- copying, and reading the page anew while the run goes on

  // A page from a file has no clipboard in some browsers: then the text is selected.
  async function copy(button) {
    const source = byId(button.dataset.copy);
    try {
      await navigator.clipboard.writeText(source.textContent);
      byId("copied").textContent = "Copied.";
      button.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(source);
      byId("copied").textContent = "Selected: press Ctrl+C.";
      button.textContent = "Selected";
    }
  }

  const memory = (() => {
    try {
      sessionStorage.setItem("tuneapp", "");
      return sessionStorage;
    } catch {
      return null; // some browsers give pages from files no storage
    }
  })();
  const keyOf = (name) => `tuneapp ${document.body.dataset.run} ${name}`;
  const remember = (name, value) => memory && memory.setItem(keyOf(name), value);
  const remembered = (name) => (memory && memory.getItem(keyOf(name))) ?? null;

  const STALE = 600; // seconds

  function keepFresh() {
    const seconds = Number(document.body.dataset.refresh);
    const box = byId("refresh");
    if (!seconds || !box) return;
    box.checked = remembered("refresh") !== "off";
    box.addEventListener("change", () => remember("refresh", box.checked ? "on" : "off"));
    const scroll = remembered("scroll");
    if (scroll) scrollTo(0, Number(scroll));
    const old = () => Date.now() / 1000 - Number(document.body.dataset.written) > STALE;
    const busy = () => rows.brushed || byId("filter")?.value || document.hidden;
    setInterval(() => {
      if (old()) byId("going").textContent = "Nothing was written for ten minutes: the run was interrupted, or is slow.";
      if (!box.checked || busy() || (old() && remembered("stale") === document.body.dataset.written)) return; // a reader who is comparing must not lose the place
      if (old()) remember("stale", document.body.dataset.written); // read once more, then wait for the reader
      remember("scroll", scrollY);
      location.reload();
    }, seconds * 1000);
  }

  painters.push(drawScales, drawBest, drawResults, drawParallel, drawDependence, drawTimeline, drawEffects, drawFronts);
  if (byId("chart-curves")) painters.push(drawCurves);
  if (byId("map-x")) painters.push(drawMap);
  makeTable();
  fillChoices();
  for (const draw of painters) draw();
  dark.addEventListener("change", () => painters.forEach((draw) => draw()));
  byId("unbrush")?.addEventListener("click", () => {
    rows.brushed = null;
    byId("brushed").textContent = "All trials are shown again.";
    byId("unbrush").hidden = true;
    drawParallel();
    showRows();
  });
  for (const button of document.querySelectorAll("[data-copy]")) button.addEventListener("click", () => copy(button));
  keepFresh();
})();
