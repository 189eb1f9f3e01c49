// SPDX-License-Identifier: Apache-2.0
/* One experiment: curves of its sweep points, alignment, what they ended with, its runs, its definition, live. */
import { Buttons, compared, csv, hasEnded, remove, saveText } from "../actions.js";
import { api, download, listen, query } from "../api.js";
import { Chart } from "../charts.js";
import * as format from "../format.js";
import { refusal } from "../me.js";
import { RunSeries, meanAndBand } from "../series.js";
import { Action, Problem, Progress, State, Time, copy, link, say } from "../ui.js";

const SEED = "training.seed", MOST_RUNS = 300, MOST_EVENTS = 100, AT_ONCE = 6;
const PREFERRED = ["test/accuracy", "validation/accuracy", "train/accuracy", "test/loss", "train/loss"];
const KINDS = [["modulation", "Modulation"], ["feedback", "Feedback"], ["lateral", "Lateral"]];
const BANDS = { interval: ["mean, 95 % interval", "Each line is the mean over the seeds of one sweep point, its band the 95 % interval of that mean (Student's t)."],
    range: ["mean, least to greatest", "Each line is the mean over the seeds of one sweep point, its band reaches from the least to the greatest."], each: ["each run", "Each line is one run."] };
/* What a metric can be: intervals are not drawn beyond. */
const limits = (name) => name.startsWith("alignment/") ? [-1, 1] : name.endsWith("/accuracy") ? [0, 1] : [-Infinity, Infinity];

/* Runs by what the sweep gave them, seeds apart: [{key, label, parameters, runs}]. */
function pointsOf(runs) {
    const points = new Map();
    for (const run of runs) {
        const { [SEED]: seed, ...rest } = run.parameters ?? {};
        const key = JSON.stringify(rest);
        if (!points.has(key)) points.set(key, { key, label: format.parameters(rest) || "all runs", parameters: rest, runs: [] });
        points.get(key).runs.push(run);
    }
    return [...points.values()];
}

async function each(list, n, act) {
    const rest = [...list];
    await Promise.all(Array.from({ length: n }, async () => { while (rest.length > 0) await act(rest.shift()); }));
}

function summaryTable(s, points, baseline, choose) {
    const interval = (range, name) => range ? `${format.metric(name, range[0])} … ${format.metric(name, range[1])}` : "–";
    const name = s.metric, unit = format.isAccuracy(name) ? ", points" : "";
    return m("div.scroll", m("table.summary", m("caption.offscreen", `${name} over the seeds of each sweep point`), m("thead", m("tr",
        m("th", { scope: "col" }, "Sweep point"), m("th.n", { scope: "col", title: "runs that succeeded" }, "n"), m("th.n", { scope: "col" }, "Mean"),
        m("th.n", { scope: "col", title: "standard deviation" }, "SD"), m("th.n", { scope: "col" }, "95 % interval"), m("th.n", { scope: "col" }, "Least … greatest"),
        m("th.n", { scope: "col", title: "paired by seed" }, `Less the baseline${unit}`), m("th.n", { scope: "col" }, "95 % interval"),
        m("th.n", { scope: "col", title: "Wilcoxon's signed ranks, adjusted for all comparisons by Holm" }, "p (Holm)"), m("th", { scope: "col" }, "Baseline"))),
    m("tbody", s.points.map((p, i) => {
        const d = p.difference, own = points.find((q) => q.key === JSON.stringify(p.parameters));
        const isBase = d === null && s.baseline !== null && Object.entries(s.baseline).every(([k, v]) => JSON.stringify(p.parameters[k]) === JSON.stringify(v));
        const broken = p.runs.failed + p.runs.diverged;
        return m("tr", { class: isBase ? "chosen" : "" },
            m("th", { scope: "row" }, own && m("svg.swatch", { width: 14, height: 8, "aria-hidden": "true", class: `c${points.indexOf(own) % 8}` }, m("line", { x1: 0, x2: 14, y1: 4, y2: 4, "stroke-width": 3 })),
                format.parameters(p.parameters) || "all runs", broken > 0 && m("small.is-failed", ` ${broken} without a result`)),
            m("td.n", p.n), m("td.n", m("strong", format.metric(name, p.mean))), m("td.n", format.metric(name, p.sd)), m("td.n", interval(p.interval, name)),
            m("td.n", p.n > 0 ? `${format.metric(name, p.min)} … ${format.metric(name, p.max)}` : "–"),
            m("td.n", d ? [format.difference(name, d.mean), m("small", ` n ${d.n}`)] : isBase ? m("small", "baseline") : "–"),
            m("td.n", d ? d.interval ? `${format.difference(name, d.interval[0])} … ${format.difference(name, d.interval[1])}` : "–" : ""), m("td.n", d ? m("span", { title: d.wilcoxon ? `Wilcoxon p ${format.number(d.wilcoxon.p)}; with ${d.wilcoxon.n} pairs it can be no less than ${format.number(d.wilcoxon.p_min)}` : "" }, format.number(d.p_holm, 3)) : ""),
            m("td", m("input", { type: "radio", name: "baseline", checked: baseline ? baseline === JSON.stringify(p.parameters) : isBase, "aria-label": `Compare with ${format.parameters(p.parameters)}`,
                onchange: () => choose(i, p) })));
    }))));
}

/* How to read the table of results. */
function whatResultsMean(s) {
    if (s.points.every((p) => p.n === 0)) return "No run has succeeded with this metric yet: only those count.";
    const pairs = Math.max(0, ...s.points.map((p) => p.difference?.wilcoxon?.n ?? 0)), least = s.points.find((p) => p.difference?.wilcoxon?.n === pairs)?.difference.wilcoxon.p_min;
    return ["n: runs that succeeded, one for each seed. Intervals are of the mean, 95 %, by Student's t. ",
        s.points.length > 1 && [s.baseline === null ? "Choose a baseline at the right to see what the others differ by. " : "",
            "Less the baseline: the mean of the differences seed by seed, for runs with one seed begin with the same weights and see the same mini-batches. "],
        s.points.length > 1 && s.baseline !== null && "p: Wilcoxon's signed ranks, two-sided, adjusted by Holm for all comparisons of this table. ",
        pairs > 0 && least > 0.05 && `With ${pairs} pairs that test cannot say less than p = ${format.number(least, 2)}: more seeds can.`];
}

export default function Experiment({ attrs: { id } }) {
    let e = null, error = null, stop = null, summary = null, summaryError = null, baseline = null, baselineQuery = null, points = [], metric = null, band = "interval", layer = "all";
    let reading = null, ended = null, version = 0;
    const series = new Map(), events = [], live = new Map(), rates = { list: [] };

    const names = () => [...new Set(e.runs.flatMap((run) => Object.keys(run.final ?? {})))].sort();
    const curves = () => {
        const rows = new Set(rates.list);
        for (const s of series.values()) Object.keys(s.series).forEach((name) => rows.add(name));
        return [...rows].filter((name) => !name.startsWith("alignment/") && !name.startsWith("norm/")).sort();
    };

    function wanted() {
        const all = rates.list;
        return all.filter((name) => name === metric || name === "train/loss" || KINDS.some(([kind]) => name.startsWith(`alignment/${kind}/`)));
    }

    async function readSeries(anew = false) {
        if (reading) return reading;
        const runs = e.runs.slice(0, MOST_RUNS).filter((run) => run.state !== "queued"), list = wanted();
        reading = each(runs, AT_ONCE, async (run) => {
            let s = series.get(run.id);
            if (s && s.whole && !anew) return;
            if (!s) series.set(run.id, s = new RunSeries(run.id));
            const over = hasEnded(run.state);
            await (anew || s.names === null || list.some((name) => !s.names.includes(name)) ? s.load(list) : s.more());
            s.whole = over;
            version++;
            m.redraw();
        }).catch(say).finally(() => { reading = null; });
        return reading;
    }

    async function readSummary() {
        try {
            summary = await api.get(`/v1/experiments/${id}/summary${query({ metric, baseline: baselineQuery })}`);
            summaryError = null;
        } catch (why) { summaryError = why; }
    }

    async function load() {
        try {
            e = await api.get(`/v1/experiments/${id}`);
            error = null;
        } catch (why) {
            error = why;
            if (why.isAbsent) stop?.(); // never was, or was deleted
            m.redraw();
            return;
        }
        document.title = `${e.name} · Tetrad`;
        points = pointsOf(e.runs);
        rates.list = names();
        metric ??= PREFERRED.find((name) => rates.list.includes(name)) ?? null;
        const over = e.runs.filter((run) => hasEnded(run.state)).length;
        if (over !== ended) { ended = over; await readSummary(); }
        m.redraw();
        await readSeries();
        m.redraw();
    }

    let soonTimer = null;
    const soon = () => { soonTimer ??= setTimeout(() => { soonTimer = null; load(); }, 800); };

    function state(event) {
        if (event.experiment !== Number(id)) return;
        const run = e?.runs.find((r) => r.id === event.run);
        events.unshift(event);
        events.length = Math.min(events.length, MOST_EVENTS);
        if (run) Object.assign(run, { state: event.state, reason: event.reason });
        soon();
    }

    function metrics(event) {
        const s = series.get(event.run);
        if (event.experiment !== Number(id)) return;
        if (!s || s.names === null || wanted().length === 0) return soon();
        s.append(event.series);
        version++;
    }

    /* One line for a point: the mean over seeds, or each seed. */
    function linesOf(name) {
        return points.flatMap((p, i) => {
            const runs = p.runs.map((run) => [run, series.get(run.id)?.series[name]]).filter(([, s]) => s && s.steps.length > 0);
            if (runs.length === 0) return [];
            if (band === "each") return runs.map(([run, s], k) => ({ label: `${p.label}, run ${run.id}`, colour: i, dash: k % 4, thin: true, x: s.steps, y: s.values }));
            const mean = meanAndBand(runs.map(([, s]) => s), band), [least, most] = limits(name);
            return [{ label: p.label, colour: i, ...mean, low: mean.low.map((v) => Math.max(v, least)), high: mean.high.map((v) => Math.min(v, most)) }];
        });
    }

    function head() {
        const counts = Object.entries(e.counts).filter(([, n]) => n > 0).map(([state, n]) => `${n} ${state}`).join(", ");
        const isOver = e.runs.every((run) => hasEnded(run.state)), why = refusal(e.owner), no = refusal();
        return [m("div.page-head", m("h1", e.name || `Experiment ${e.id}`), m(State, { state: e.state }), e.tags.map((tag) => link(`/experiments${query({ tag })}`, { class: "tag" }, tag)),
            m("span.actions", m(Buttons, { kind: "experiment", object: e, changed: load }),
                no ? m("button", { type: "button", disabled: true, title: no }, "Run again") : link(`/new?from=${e.id}`, { class: "button", title: "A new experiment that begins with this definition" }, "Run again"),
                m("button", { type: "button", title: "The results of all runs as CSV", onclick: exportRuns }, "Export CSV"),
                isOver && m(Action, { class: "danger", disabled: why !== null, title: why ?? "", act: async () => { if (await remove(id)) m.route.set("/experiments"); } }, "Delete"), isOver && why && m("small.why", why))),
        m("p.soft.facts-line", `experiment ${e.id} · ${e.owner} · submitted `, m(Time, { at: e.created_at }), ` · ${counts} · `,
            m("button.hash.mono", { type: "button", title: `${e.hash}: copy`, onclick: () => copy(e.hash, "hash copied") }, e.hash.slice(0, 19), "…"))];
    }

    function exportRuns() {
        const keys = [...new Set(e.runs.flatMap((run) => Object.keys(run.parameters)))], finals = names();
        saveText(csv([["run", "state", ...keys, "step", "digest", ...finals],
            ...e.runs.map((run) => [run.id, run.state, ...keys.map((k) => run.parameters[k]), run.progress.step, run.digest, ...finals.map((k) => run.final?.[k])])]),
        `experiment-${e.id}.csv`, "text/csv");
    }

    function charts() {
        const list = curves();
        const layers = [...new Set(rates.list.map((name) => /^alignment\/modulation\/(\d+)$/.exec(name)?.[1]).filter(Boolean))].map(Number).sort((a, b) => a - b);
        const some = layer === "all" && layers.length > 4 ? [layers[0], layers.at(-1)] : layer === "all" ? layers : [Number(layer)];
        const aligned = KINDS.flatMap(([kind, title]) => some.map((l) => ({ title: `${title}, layer ${l}`, name: `alignment/${kind}/${l}` }))).filter(({ name }) => rates.list.includes(name));
        const v = `${version} ${band} ${metric}`;
        return m("section", { "aria-label": "Curves" }, m("div.row.wide.controls",
            m("label.inline", "Metric", m("select", { onchange: async (event) => { metric = event.target.value; await Promise.all([readSummary(), readSeries(true)]); m.redraw(); } },
                list.map((name) => m("option", { value: name, selected: name === metric }, name)))),
            m("label.inline", "Over seeds", m("select", { onchange: (event) => { band = event.target.value; } },
                Object.entries(BANDS).map(([value, [text]]) => m("option", { value, selected: band === value }, text)))),
            layers.length > 1 && m("label.inline", "Layer", m("select", { onchange: (event) => { layer = event.target.value; } },
                m("option", { value: "all" }, layers.length > 4 ? "first and last" : "all"), layers.map((l) => m("option", { value: l, selected: layer === String(l) }, l)))),
            e.runs.length > MOST_RUNS && m("span.soft", `the first ${MOST_RUNS} runs are drawn`)),
        list.length > 0 && m("p.soft", BANDS[band][1]),
        list.length === 0 && m("p.empty", e.runs.some((run) => run.protocol) || e.definition.type === "protocol" ? "A protocol records no curves: what it found stands with each run below."
            : hasEnded(e.state) ? "Nothing was recorded." : "Curves come with the first records."),
        m("div.grid",
            metric && m(Chart, { key: `m ${metric}`, title: metric, yLabel: format.measure(metric), percent: format.isAccuracy(metric), version: v, series: linesOf(metric) }),
            list.includes("train/loss") && metric !== "train/loss" && m(Chart, { key: "loss", title: "train/loss", yLabel: "loss", version: v, series: linesOf("train/loss"), log: true })),
        aligned.length > 0 && [m("h2.part", "Alignment"), m("p.soft", "Cosines by training step: at 1 the circuit has assembled itself and carries the gradient, at 0 nothing of it. Modulation: the signal that teaches the layer, with the backpropagated one. Feedback: V B with Wᵀ V (without laterals B with Wᵀ). Lateral: W Wᵀ with V Vᵀ."),
            m("div.grid", aligned.map(({ title, name }) => m(Chart, { key: name, title, yLabel: "cosine", within: [0, 1], version: v, series: linesOf(name) })))]);
    }

    function results() {
        if (metric === null && summary === null) return null;
        const save = () => download(`/v1/experiments/${id}/summary${query({ metric, baseline: baselineQuery, format: "csv" })}`, `experiment-${id}-summary.csv`, "text/csv");
        return m("section", { "aria-label": "Results" }, m("div.row.wide", m("h2.part", `Results: ${summary?.metric ?? metric ?? ""}`), summary?.points.length > 0 && m(Action, { act: save }, "Save as CSV")),
            summaryError ? summaryError.isAbsent ? m("p.soft", "This server makes no summary of it.") : m(Problem, { error: summaryError })
            : summary ? [summary.points.length > 0 ? summaryTable(summary, points, baseline, (i, p) => {
                baseline = JSON.stringify(p.parameters);
                baselineQuery = Object.entries(p.parameters).map(([k, v]) => `${k}:${typeof v === "string" ? v : JSON.stringify(v)}`).join(",");
                readSummary().then(m.redraw);
            }) : null, m("p.soft", whatResultsMean(summary))] : m("p.soft", "Reading …"));
    }

    function runRow(run, finals) {
        const p = live.get(run.id) ?? run.progress;
        return m("tr", { key: run.id, class: compared.has(run.id) ? "chosen" : "" },
            m("td", m("input", { type: "checkbox", checked: compared.has(run.id), onchange: () => compared.toggle(run.id), "aria-label": `Compare run ${run.id}` })),
            m("td.n", link(`/runs/${run.id}`, { "data-row": "" }, run.id)), m("td", m(State, { state: run.state, reason: run.reason })),
            m("td.text", format.parameters(run.parameters)), m("td.bar", m(Progress, { value: p.step, max: p.steps, state: run.state, label: `run ${run.id}: progress` })),
            m("td.n", format.count(p.step)), m("td.n", run.state === "running" ? format.duration(p.eta_s) : run.queue_position != null ? `place ${run.queue_position}` : "–"),
            finals.map((name) => m("td.n", format.metric(name, run.final?.[name]))));
    }

    function runs() {
        const all = names(), finals = [...new Set([metric, "test/accuracy", "train/loss", "alignment/modulation/1"])].filter((name) => all.includes(name));
        const groups = compared.list.length;
        return m("section", { "aria-label": "Runs" }, m("div.row.wide", m("h2.part", `Runs (${e.runs.length})`),
            m("button", { type: "button", onclick: () => compared.add(e.runs.slice(0, 50).map((run) => run.id)) }, "Compare all"),
            groups > 0 && [link(compared.href, { class: "button primary" }, `Compare ${groups} run${groups > 1 ? "s" : ""}`), m("button.quiet", { type: "button", onclick: () => compared.clear() }, "None")]),
        m("div.scroll.high", m("table", m("caption.offscreen", "Runs"), m("thead", m("tr", m("th", { scope: "col" }, m("span.offscreen", "Compare")), m("th.n", { scope: "col" }, "Run"), m("th", { scope: "col" }, "State"),
            m("th", { scope: "col" }, "Parameters"), m("th", { scope: "col" }, "Progress"), m("th.n", { scope: "col" }, "Step"), m("th.n", { scope: "col" }, "Left"),
            finals.map((name) => m("th.n", { scope: "col" }, name)))), m("tbody", e.runs.slice(0, 1000).map((run) => runRow(run, finals))))));
    }

    function rest() {
        const text = JSON.stringify(e.definition, null, 2);
        const quiet = events.length === 0 && e.runs.every((run) => hasEnded(run.state));
        return m("div", { class: quiet ? "" : "grid" }, m("section", m("div.row.wide", m("h2.part", "Definition"),
            m("button", { type: "button", onclick: () => copy(text, "definition copied") }, "Copy"),
            m("button", { type: "button", onclick: () => saveText(text, `experiment-${e.id}.json`, "application/json") }, "Save")), m("pre", { tabindex: 0, "aria-label": "Definition" }, text)),
        !quiet && m("section", m("h2.part", "Events"), events.length === 0 ? m("p.soft", "Nothing has happened since this page was opened.")
            : m("ul.events", { "aria-live": "off" }, events.map((event) => m("li", { key: `${event.run} ${event.at} ${event.state}` }, m(Time, { at: event.at }), " run ", link(`/runs/${event.run}`, {}, event.run), " ",
                m(State, { state: event.state }), event.step > 0 && ` at step ${format.count(event.step)}`, event.reason && m("span.soft", ` ${event.reason}`))))));
    }

    /* Where there are no events: what has changed between two readings. */
    async function again() {
        const before = new Map(e?.runs.map((run) => [run.id, run.state]));
        if (e && e.runs.every((run) => hasEnded(run.state)) && series.size > 0) return;
        live.clear();
        await load();
        for (const run of e?.runs ?? []) {
            if (before.size > 0 && before.get(run.id) !== run.state)
                events.unshift({ run: run.id, state: run.state, reason: run.reason, step: run.progress.step, at: new Date().toISOString() });
        }
        events.length = Math.min(events.length, MOST_EVENTS);
    }

    return {
        oninit() {
            load();
            stop = listen(`/v1/events${query({ types: "state,progress,metrics", experiment: id })}`, {
                state, metrics, changed: (event) => { if (event.experiments.includes(Number(id))) soon(); }, again,
                progress: (event) => event.runs.forEach((p) => live.set(p.run, p)),
            });
        },
        onremove() { stop(); clearTimeout(soonTimer); },
        view: () => error && e === null ? m("div", m("h1", `Experiment ${id}`), m(Problem, { error, again: load }))
            : e === null ? m("div", m("p.soft", "Reading …")) : m("div.stack", head(), error && m(Problem, { error }), charts(), results(), runs(), rest()),
    };
}
