// SPDX-License-Identifier: Apache-2.0
/*
 * Charts of series over steps, by dygraphs, which is loaded when the first chart is drawn.
 *
 * m(Chart, {title, series, version, marks, yLabel, range, log, height})
 *   series   [{label, x, y, low?, high?, colour?, dash?, thin?}]; x ascending; y not finite: a gap, null: passed over; low and high: a band
 *   version  anything that changes with the data: the chart is drawn anew only when it does
 *   marks    [{x, text}]: upright lines, interventions
 *   within   [low, high] that y shows at least; log: whether it begins logarithmic; percent: values are shares
 *
 * All charts share one queue that is worked off in animation frames: a chart is drawn at most 20 times a second, and
 * a frame in which much has been drawn leaves the rest to the next one.
 */
import { save } from "./api.js";
import * as format from "./format.js";
import { drawSvg, logTicks, rasterize } from "./export.js";
import { say } from "./ui.js";

const EACH_MS = 50, FRAME_MS = 8, CALM_MS = 400, LEGEND_MS = 250, COLOURS = 8;
const POINTS = 40000, LEAST = 24; // of a chart at most; of a series at least
const PACE_FIRST = 6000, PACE_LEAST = 1000, PACE_MOST = 20000; // points in a frame
const DASHES = [null, [7, 3], [2, 2], [9, 3, 2, 3]];

/* ---- dygraphs ---- */

let loading = null;

export function load() {
    loading ??= new Promise((resolve, reject) => {
        const style = Object.assign(document.createElement("link"), { rel: "stylesheet", href: "/assets/dygraph.css" });
        const script = Object.assign(document.createElement("script"), { src: "/assets/dygraph.js" });
        script.onload = () => {
            const { Dygraph } = window; // its legend sets style attributes, which the policy forbids; ours is below
            Dygraph.PLUGINS = Dygraph.PLUGINS.filter((plugin) => plugin !== Dygraph.Plugins.Legend);
            resolve(Dygraph);
        };
        script.onerror = () => { loading = null; reject(new Error("the charts cannot be loaded")); };
        document.head.append(style, script);
    });
    return loading;
}

/* ---- colours ---- */

/* What a CSS colour (a custom property's name) is now, or in a scheme, as canvas and SVG understand it. */
export function colour(name, scheme) {
    const probe = document.createElement("i");
    probe.style.color = `var(${name})`;
    if (scheme) probe.style.colorScheme = scheme;
    document.body.append(probe);
    const value = getComputedStyle(probe).color;
    probe.remove();
    return value;
}

let palette = null;
addEventListener("tetrad-look", () => { palette = null; for (const chart of charts) { chart.key = null; touch(chart, true); } });

function colours() {
    palette ??= { s: Array.from({ length: COLOURS }, (_, i) => colour(`--s${i}`)), ink: colour("--ink"), soft: colour("--soft"), grid: colour("--grid"), line: colour("--line") };
    return palette;
}

const colourOf = (s, i) => (s.colour ?? i) % COLOURS;
const dashOf = (s, i) => DASHES[s.dash ?? (Math.floor((s.colour ?? i) / COLOURS) % DASHES.length)];

/* ---- the queue ---- */

/*
 * How much is drawn in a frame follows from how long frames take: `pace` is in points, less after a frame that came
 * late, more after one in time. While much moves, series are thinned out to that; once all is calm, they are drawn
 * with all their points.
 */
const charts = new Set(), waiting = new Set(), moving = new Set();
let frame = null, calm = null, pace = PACE_FIRST, workedAt = 0;

function touch(chart, whole = false) {
    if (chart.whole && waiting.has(chart)) return;
    waiting.add(chart);
    chart.whole = whole;
    if (!whole) {
        moving.add(chart);
        clearTimeout(calm);
        calm = setTimeout(settle, CALM_MS);
    }
    frame ??= requestAnimationFrame(work);
}

function settle() {
    for (const chart of moving) {
        if (chart.thinned) touch(chart, true);
        if (!chart.over) values(chart, null, []);
    }
    moving.clear();
}

function work(now) {
    frame = null;
    const late = now - workedAt;
    if (late < 500) pace = late > 20 ? Math.max(PACE_LEAST, pace * 0.7) : Math.min(PACE_MOST, pace * 1.01 + 10);
    const begun = performance.now();
    let points = 0;
    for (const chart of waiting) {
        if (now - chart.drawn < EACH_MS - 2) continue;
        if (points > 0 && (points + chart.points > pace || performance.now() - begun > FRAME_MS)) break;
        waiting.delete(chart);
        chart.drawn = now;
        draw(chart);
        points += chart.points;
    }
    workedAt = points > 0 ? now : 0;
    if (waiting.size > 0 || moving.size > 0) frame = requestAnimationFrame(work);
}

/* How many points a series of the chart may have now. */
function allowance(chart, n) {
    if (chart.whole || moving.size === 0) return Math.max(60, Math.floor(POINTS / n));
    return Math.max(LEAST, Math.min(Math.floor(POINTS / n), Math.floor(pace * (EACH_MS / 16.7) / moving.size / n)));
}

/* ---- data ---- */

/*
 * The series at about n steps that they share: of every stretch of steps the least and the greatest of each, in their
 * order, so that spikes stay. Stretches have lengths of powers of two and stay where they are while series grow.
 */
export function thin(series, n) {
    const x0 = Math.min(...series.map((s) => s.x[0])), x1 = Math.max(...series.map((s) => s.x.at(-1)));
    const width = 2 ** Math.ceil(Math.log2(Math.max(1e-9, 2 * (x1 - x0) / n))), first = Math.floor(x0 / width);
    const stretches = Math.floor(x1 / width) - first + 1, x = new Array(2 * stretches);
    for (let k = 0; k < stretches; k++) {
        x[2 * k] = (first + k + 0.25) * width;
        x[2 * k + 1] = (first + k + 0.75) * width;
    }
    return series.map((s) => {
        const least = new Int32Array(stretches).fill(-1), greatest = new Int32Array(stretches).fill(-1);
        for (let i = 0; i < s.x.length; i++) {
            if (!Number.isFinite(s.y[i])) continue;
            const k = Math.floor(s.x[i] / width) - first;
            if (least[k] < 0 || s.y[i] < s.y[least[k]]) least[k] = i;
            if (greatest[k] < 0 || s.y[i] > s.y[greatest[k]]) greatest[k] = i;
        }
        const take = (list) => list && x.map((_, j) => {
            const k = j >> 1, i = (j & 1) ? Math.max(least[k], greatest[k]) : Math.min(least[k], greatest[k]);
            return i < 0 ? null : list[i];
        });
        return { ...s, x, y: take(s.y), low: take(s.low), high: take(s.high), last: s.y.at(-1) };
    });
}

const same = (a, b) => a === b || (a.length === b.length && a[0] === b[0] && a.at(-1) === b.at(-1) && a.every((v, i) => v === b[i]));

/* Rows of dygraphs: [x, y...] over all steps that a series has; null: none here, NaN: a gap. */
function rowsOf(series, bands) {
    const none = bands ? [null, null, null] : null, gap = [NaN, NaN, NaN];
    const cell = bands
        ? (s, i) => s.y[i] === null ? none : Number.isFinite(s.y[i]) ? [s.low?.[i] ?? s.y[i], s.y[i], s.high?.[i] ?? s.y[i]] : gap
        : (s, i) => s.y[i] === null || Number.isFinite(s.y[i]) ? s.y[i] : NaN;
    if (series.every((s) => same(s.x, series[0].x))) { // the usual case, and the quick one
        const x = series[0].x, rows = new Array(x.length);
        for (let i = 0; i < x.length; i++) {
            const row = rows[i] = new Array(series.length + 1);
            row[0] = x[i];
            for (let k = 0; k < series.length; k++) row[k + 1] = cell(series[k], i);
        }
        return rows;
    }
    const rows = new Map();
    series.forEach((s, k) => {
        for (let i = 0; i < s.x.length; i++) {
            let row = rows.get(s.x[i]);
            if (row === undefined) {
                row = new Array(series.length + 1).fill(none);
                row[0] = s.x[i];
                rows.set(s.x[i], row);
            }
            row[k + 1] = cell(s, i);
        }
    });
    return [...rows.values()].sort((a, b) => a[0] - b[0]);
}

/* ---- drawing ---- */

const axes = (em, percent) => ({
    x: { axisLabelFormatter: (value) => format.tick(value), pixelsPerLabel: 4 * em, drawGrid: true },
    y: { axisLabelFormatter: percent ? (value) => format.tickPercent(value) : (value) => format.tick(value), axisLabelWidth: 3.6 * em, pixelsPerLabel: 2.3 * em, ticker: yTicks },
});

function marks(chart) {
    return (canvas, area, g) => {
        canvas.save();
        canvas.strokeStyle = colours().soft;
        canvas.fillStyle = colours().soft;
        canvas.font = "11px system-ui, sans-serif";
        canvas.setLineDash([3, 3]);
        for (const mark of chart.attrs.marks ?? []) {
            const x = Math.round(g.toDomXCoord(mark.x)) + 0.5;
            if (x < area.x || x > area.x + area.w) continue;
            canvas.beginPath();
            canvas.moveTo(x, area.y);
            canvas.lineTo(x, area.y + area.h);
            canvas.stroke();
            const width = canvas.measureText(mark.text).width;
            canvas.fillText(mark.text, Math.min(x + 3, area.x + area.w - width - 2), area.y + 11);
        }
        canvas.restore();
    };
}

/* The range of y where it is to show at least `within`. */
function rangeOf(series, within) {
    let [low, high] = within;
    for (const s of series) for (const list of [s.y, s.low ?? [], s.high ?? []]) for (const v of list) {
        if (v !== null && v < low) low = v;
        if (v > high) high = v;
    }
    const pad = 0.02 * (high - low);
    return [low - pad, high + pad];
}

/* One step alone gets ground on both sides. */
function around(series) {
    const [x] = series[0].x;
    return series.every((s) => s.x.length === 1 && s.x[0] === x) ? [x - 1, x + 1] : null;
}

function options(chart, series, bands) {
    const look = colours(), em = parseFloat(getComputedStyle(document.documentElement).fontSize), stroke = Math.max(1, em / 15);
    const own = Object.fromEntries(series.map((s, i) => [String(i), {
        strokePattern: dashOf(s, i), strokeWidth: (s.thin || series.length > 40 ? 1 : 1.7) * stroke, drawPoints: s.x.length < 3, pointSize: 2.5,
    }]));
    return {
        file: rowsOf(series, bands), labels: ["step", ...series.map((_, i) => String(i))], series: own,
        colors: series.map((s, i) => look.s[colourOf(s, i)]), customBars: bands, visibility: series.map((s) => !chart.hidden.has(s.label)),
        logscale: chart.log, valueRange: chart.log || !chart.attrs.within ? null : rangeOf(series, chart.attrs.within), dateWindow: around(series), axisLineColor: look.line, gridLineColor: look.grid,
        axisLabelFontSize: Math.round(0.78 * em), axes: axes(em, chart.attrs.percent), xRangePad: 4, yRangePad: chart.log ? 0 : 6,
    };
}

const FIXED = {
    legend: "never", showLabelsOnHighlight: false, connectSeparatedPoints: true, highlightCircleSize: 2.5, fillAlpha: 0.16, drawGapEdgePoints: true,
    rightGap: 10, animatedZooms: false, digitsAfterDecimal: 6, labelsKMB: false,
};

/* Round numbers, on a logarithmic axis as well. */
function yTicks(low, high, pixels, option, chart, values) {
    if (!option("logscale")) return window.Dygraph.numericTicks(low, high, pixels, option, chart, values);
    const text = option("axisLabelFormatter");
    return logTicks(low, high, Math.max(3, Math.floor(pixels / option("pixelsPerLabel")))).map((v) => ({ v, label: text(v) }));
}

/* What a logarithmic axis can show: bands that reach 0 or below end at the least value that there is. */
function positive(series) {
    let least = Infinity;
    for (const s of series) for (const list of [s.y, s.low ?? []]) for (const v of list) if (v > 0 && v < least) least = v;
    return series.map((s) => ({ ...s, y: s.y.map((v) => v > 0 ? v : NaN), low: s.low?.map((v) => v > 0 ? v : least) }));
}

function shown(chart) {
    const series = (chart.attrs.series ?? []).filter((s) => s.x.length > 0);
    const most = allowance(chart, Math.max(1, series.length));
    chart.thinned = series.some((s) => s.x.length > most);
    const given = chart.log ? positive(series) : series;
    const drawn = chart.thinned ? thin(given, most) : given;
    chart.points = drawn.reduce((sum, s) => sum + s.x.length, 0);
    return drawn;
}

function draw(chart) {
    if (!chart.ground?.isConnected || !window.Dygraph) return;
    const series = shown(chart);
    const whole = chart.whole;
    chart.whole = false;
    const key = series.map((s) => s.label).join("\n");
    chart.current = series;
    if (series.length === 0) return;
    const bands = series.some((s) => s.low);
    const set = options(chart, series, bands);
    if (chart.g && (chart.key !== key || chart.bands !== bands)) { // other series: begin again
        chart.g.destroy();
        chart.g = null;
        chart.over = false;
    }
    chart.key = key;
    chart.bands = bands;
    if (chart.g) {
        const zoomed = chart.zoomable && chart.g.isZoomed("x");
        chart.g.updateOptions(zoomed ? { ...set, dateWindow: chart.g.xAxisRange() } : set);
    } else {
        const { file, ...rest } = set;
        chart.g = new window.Dygraph(chart.ground, file, {
            ...FIXED, ...rest, underlayCallback: marks(chart),
            highlightCallback: (event, x, points) => values(chart, x, points), unhighlightCallback: () => values(chart, null, []),
        });
    }
    chart.zoomable = set.dateWindow === null;
    if (!chart.over && (whole || performance.now() - chart.written > LEGEND_MS)) {
        chart.written = performance.now();
        values(chart, null, []);
    }
}

const valueText = (chart, value) => chart.attrs.percent ? format.percent(value) : format.number(value, 4);
const lastOf = (s) => s.last ?? s.y.at(-1);

/* Writes the values at x (or the last ones) beside the names in the legend. */
function values(chart, x, points) {
    chart.over = x !== null;
    const of = new Map(points.map((p) => [p.name, p.yval]));
    chart.current.forEach((s, i) => {
        const at = chart.cells.get(s.label);
        if (at) at.textContent = valueText(chart, x === null ? lastOf(s) : of.get(String(i)));
    });
    if (chart.where) chart.where.textContent = x === null ? "" : `step ${format.count(x)}`;
}

/* ---- the component ---- */

function picture(chart, scheme) {
    const g = chart.g, series = chart.current.filter((s) => !chart.hidden.has(s.label));
    return drawSvg({
        title: chart.attrs.title, yLabel: chart.attrs.yLabel ?? "", marks: chart.attrs.marks ?? [], log: chart.log, percent: chart.attrs.percent, xRange: g.xAxisRange(), yRange: g.yAxisRange(),
        ink: colour("--ink", scheme), soft: colour("--soft", scheme), grid: colour("--grid", scheme), paper: colour("--paper", scheme),
        series: series.map((s) => {
            const i = chart.current.indexOf(s);
            return { ...s, stroke: colour(`--s${colourOf(s, i)}`, scheme), dashes: dashOf(s, i) };
        }),
    });
}

async function exportAs(chart, kind) {
    const svg = picture(chart, kind === "svg" ? "light" : undefined);
    const name = chart.attrs.title.replace(/[^\p{L}\p{N}]+/gu, "-").replace(/^-|-$/g, "") || "chart";
    if (kind === "svg") save(new Blob([svg], { type: "image/svg+xml" }), `${name}.svg`);
    else save(await rasterize(svg, 2), `${name}.png`);
}

/* Where a series' value stands. It may be made after its chart was drawn, and its like may go after it has come. */
function legendCell(chart, s) {
    return {
        oncreate({ dom }) {
            chart.cells.set(s.label, dom);
            const drawn = chart.current.find((other) => other.label === s.label);
            if (drawn && !chart.over) dom.textContent = valueText(chart, lastOf(drawn));
        },
        onremove({ dom }) { if (chart.cells.get(s.label) === dom) chart.cells.delete(s.label); },
    };
}

function legend(chart, series) {
    return m("ul.legend", { "aria-label": "Series" }, series.map((s, i) => m("li", { key: s.label }, m("button", {
        type: "button", "aria-pressed": chart.hidden.has(s.label) ? "false" : "true", title: s.label,
        onclick: () => { if (!chart.hidden.delete(s.label)) chart.hidden.add(s.label); touch(chart); },
    }, m("svg", { width: 18, height: 8, "aria-hidden": "true", class: `c${colourOf(s, i)}` },
        m("line", { x1: 0, x2: 18, y1: 4, y2: 4, "stroke-width": 2.5, "stroke-dasharray": dashOf(s, i)?.join(" ") })),
    m("span.label", s.label),
    m("span.value", legendCell(chart, s))))));
}

export function Chart() {
    const chart = { hidden: new Set(), cells: new Map(), drawn: 0, current: [], attrs: {}, log: false, over: false, whole: false, points: 0, thinned: false, written: 0 };
    let observer = null, version = null;
    const tool = (text, title, onclick, pressed) => m("button.quiet", { type: "button", title, onclick, "aria-pressed": pressed }, text);
    return {
        oninit({ attrs }) { chart.log = attrs.log ?? false; },
        oncreate({ attrs, dom }) {
            chart.attrs = attrs;
            version = attrs.version;
            chart.ground = dom.querySelector(".plot");
            chart.where = dom.querySelector(".where");
            charts.add(chart);
            observer = new ResizeObserver(() => { chart.g?.resize(); });
            observer.observe(chart.ground);
            load().then(() => touch(chart), say);
        },
        onupdate({ attrs }) {
            const changed = attrs.version !== version || attrs.version === undefined;
            chart.attrs = attrs;
            version = attrs.version;
            if (changed) touch(chart);
        },
        onremove() {
            observer.disconnect();
            charts.delete(chart);
            waiting.delete(chart);
            moving.delete(chart);
            chart.g?.destroy();
            chart.g = null;
        },
        view({ attrs }) {
            const empty = !(attrs.series ?? []).some((s) => s.x.length > 0);
            return m("figure.chart", { "aria-label": attrs.title },
                m("figcaption", m("h3", attrs.title), m("span.where.soft"),
                    m("span.tools",
                        tool("log", "Logarithmic", () => { chart.log = !chart.log; touch(chart); }, String(chart.log)),
                        tool("1:1", "Whole range (double click)", () => chart.g?.resetZoom()),
                        tool("PNG", "Save as PNG", () => chart.g && exportAs(chart, "png").catch(say)),
                        tool("SVG", "Save as SVG", () => chart.g && exportAs(chart, "svg").catch(say)))),
                attrs.explains && m("p.explains", attrs.explains),
                m("div.frame", m("span.y-name", attrs.yLabel), m("div.plot", { class: attrs.tall ? "tall" : "" }), m("span.x-name", "step"), empty && m("p.soft.nothing", attrs.nothing ?? "nothing recorded yet")),
                legend(chart, attrs.series ?? []));
        },
    };
}
