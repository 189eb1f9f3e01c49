// SPDX-License-Identifier: Apache-2.0
/* One run: live curves, alignment, norms, its matrices at any kept checkpoint, what happened to it, downloads. */
import { Buttons, Fork, compared, csv, hasEnded, metricsCsv, saveText } from "../actions.js";
import { api, download, listen } from "../api.js";
import { Chart } from "../charts.js";
import * as format from "../format.js";
import { Matrices } from "../matrices.js";
import { refusal } from "../me.js";
import { RunSeries } from "../series.js";
import { Action, Problem, Progress, State, Time, copy, link, say } from "../ui.js";

/* Groups of charts, in their order, and what a reader who sees them for the first time should know. */
const GROUPS = [
    ["Learning", "Loss and accuracy by training step, on the examples that are trained on and on those that are not."],
    ["Alignment", "How well the circuit has assembled itself, layer by layer: 1 is perfect, at 0 it carries nothing of the gradient."],
    ["Norms", "How large the matrices are. What grows without bound will diverge; what decays to 0 no longer teaches."],
    ["Others", ""],
];
const COSINE = { group: "Alignment", within: [0, 1] };
/* The charts, in their order: [title, which series, options]. Names that none of them takes get charts of their own. */
const CHARTS = [
    ["Loss", /^(train|validation|test)\/loss$/, { group: "Learning", log: true }],
    ["Accuracy", /^(train|validation|test)\/accuracy$/, { group: "Learning", percent: true }],
    ["Modulation", /^alignment\/modulation\/\d+$/, { ...COSINE, explains: "Cosine of the signal that teaches the layer with the gradient." }],
    ["Feedback", /^alignment\/feedback\/\d+$/, { ...COSINE, explains: "Cosine of V B with Wᵀ V (without laterals of B with Wᵀ)." }],
    ["Lateral", /^alignment\/lateral(_descending)?\/\d+$/, { ...COSINE, explains: "Cosine of W Wᵀ with V Vᵀ; descending: of B Bᵀ with U Uᵀ." }],
    ["Angle of the modulation", /^alignment\/modulation_angle\/\d+$/, { group: "Alignment", explains: "Between the modulation and the gradient: 90° is chance, 0° perfect." }],
    ["Neurons that agree", /^alignment\/consistency\/\d+$/, { group: "Alignment", percent: true, explains: "Share of neurons whose modulation has the sign of their gradient, over a mini-batch." }],
    ["Neurons' mean correlation", /^alignment\/consistency_mean\/\d+$/, { ...COSINE, explains: "Of a neuron's modulation with its gradient, over a mini-batch." }],
    ["Norms of W and B", /^norm\/[WB]\/\d+$/, { group: "Norms", log: true }],
    ["Norms of V and U", /^norm\/[VU]\/\d+$/, { group: "Norms", log: true }],
    ["B against W", /^norm\/ratio\/\d+$/, { group: "Norms" }],
];
/* The columns of a protocol's table: title, member of a row, how it is written. */
const PROTOCOL = [["Stimulated", "condition"], ["Synapses", "synapses"], ["n", "n", format.count], ["Driven change", "driven_relative", format.number], ["Mean driven change", "driven_mean", format.number],
    ["Potentiated", "potentiated", format.percent], ["Depressed", "depressed", format.percent], ["Unchanged", "unchanged", format.percent], ["Whole change", "change_relative", format.number]];
const PARTS = ["train", "validation", "test"];

/* "alignment/lateral_descending/2" among its kind: "descending 2". */
const shortName = (name) => name.replace(/^(alignment\/(modulation(_angle)?|feedback|consistency(_mean)?)|norm\/ratio)\//, "layer ").replace(/^alignment\/lateral\//, "layer ")
    .replace(/^alignment\/lateral_descending\//, "descending ").replace(/^norm\/(\w+)\/(\d+)$/, "$1$2").replace(/\/(loss|accuracy)$/, "");

/* The series' names in charts: those above, then one for each kind of the others. */
export function chartsOf(names) {
    const left = new Set(names), charts = [];
    for (const [title, pattern, options] of CHARTS) {
        const own = names.filter((name) => pattern.test(name));
        own.forEach((name) => left.delete(name));
        own.sort((a, b) => a.includes("_descending") - b.includes("_descending"));
        if (title === "Loss" || title === "Accuracy") own.sort((a, b) => PARTS.indexOf(a.split("/")[0]) - PARTS.indexOf(b.split("/")[0]));
        if (own.length > 0) charts.push({ title, names: own, yLabel: format.measure(own[0]), ...options });
    }
    const others = new Map();
    for (const name of left) {
        const kind = name.replace(/\/\d+$/, "");
        others.set(kind, [...(others.get(kind) ?? []), name]);
    }
    return [...charts, ...[...others].map(([title, own]) => ({ title, names: own, yLabel: format.measure(own[0]), group: "Others" }))];
}

function whatHappened(event) {
    const d = event.detail ?? {};
    const more = d.reason ?? Object.entries(d).sort(([a], [b]) => (b === "type") - (a === "type")).map(([key, value]) => `${key} ${format.brief(value)}`).join(", ");
    return [event.event, more];
}

/* "lesion W1" */
const markText = ({ event, detail: d }) => d?.type ? [d.type, d.group ? `${d.group}${d.layer ?? ""}` : ""].join(" ").trim().replace(/_/g, " ") : event;

const isIntervention = (event) => !["queued", "started", "resumed", "paused", "stopped", "succeeded", "diverged", "failed", "cancelled", "interrupted", "killed", "requeued"].includes(event.event);

function rerunText(rerun) {
    if (rerun.agrees === null) return "not known yet";
    if (rerun.agrees) return m("span.is-succeeded", "✓ the digests agree, to the bit");
    const where = rerun.first_differing_step !== null ? ` first at step ${format.count(rerun.first_differing_step)}${rerun.first_differing_series ? `, ${rerun.first_differing_series}` : ""}` : "";
    return m("span.is-failed", `✕ they differ${where}`);
}

export default function Run({ attrs: { id } }) {
    let run = null, error = null, stop = null, fork = false, arrays = null, soonTimer = null, shownStep = null;
    const series = new RunSeries(id);

    async function load() {
        try {
            run = await api.get(`/v1/runs/${id}`);
            error = null;
        } catch (why) {
            error = why;
            if (why.isAbsent) stop?.(); // never was, or was deleted
            m.redraw();
            return;
        }
        document.title = `Run ${id} · Tetrad`;
        m.redraw();
    }

    async function readArrays() {
        const weights = await api.maybe(`/v1/runs/${id}/weights`);
        arrays = weights?.arrays ?? arrays;
        m.redraw();
    }

    async function again() {
        if (run && hasEnded(run.state) && series.next > 0) return;
        const kept = run?.checkpoints.length;
        await Promise.all([load(), series.more(series.next === 0)]);
        if (run?.checkpoints.length > 0 && (arrays === null || run.checkpoints.length !== kept)) await readArrays().catch(say);
    }

    const soon = () => { soonTimer ??= setTimeout(() => { soonTimer = null; again().catch(say); }, 700); };

    function progress({ runs }) {
        const mine = runs.find((p) => p.run === Number(id));
        if (mine && run) Object.assign(run.progress, mine);
    }

    function head() {
        const rerun = async () => {
            const made = await api.post(`/v1/runs/${id}/rerun`);
            say("submitted again: the digests will be compared");
            m.route.set(`/runs/${made.first_run ?? made.runs[0]}`);
        };
        const more = run.checkpoints.length > 0, why = refusal();
        return m("div.page-head", m("h1", `Run ${run.id}`), m("span.soft", format.parameters(run.parameters)), m(State, { state: run.state, reason: run.reason }),
            m("span.actions", m(Buttons, { kind: "run", object: run, changed: load }),
                more && m("button", { type: "button", disabled: why !== null, title: why ?? "A new run that begins at a checkpoint of this one", onclick: () => { fork = true; } }, "Fork …"),
                hasEnded(run.state) && m(Action, { act: rerun, disabled: why !== null, title: why ?? "The same definition again; the digests are compared" }, "Rerun"),
                m("button", { type: "button", "aria-pressed": String(compared.has(run.id)), title: "Put it beside other runs", onclick: () => compared.toggle(run.id) }, compared.has(run.id) ? "In the comparison" : "Compare"),
                compared.list.length > 1 && link(compared.href, { class: "button primary" }, `Compare ${compared.list.length}`)));
    }

    function facts() {
        const p = run.progress;
        const fact = (name, ...value) => m("div", m("dt", name), m("dd", value));
        return m("div.card", m(Progress, { value: p.step, max: p.steps, state: run.state, label: "progress" }), m("dl.facts",
            fact("Step", `${format.count(p.step)} of ${format.count(p.steps)}`), fact("Epoch", `${format.count(p.epoch)} of ${format.count(p.epochs)}`),
            run.state === "running" && fact("Left", format.duration(p.eta_s)),
            fact("Speed", p.samples_per_s ? `${format.count(Math.round(p.samples_per_s))} samples/s` : "–"),
            fact("Trained for", format.duration(run.train_seconds)), fact("Memory", format.bytes(run.memory_bytes)),
            fact("Started", m(Time, { at: run.started_at })), fact("Ended", m(Time, { at: run.ended_at })),
            fact("Experiment", link(`/experiments/${run.experiment}`, {}, `${run.experiment}`)), run.owner && fact("Owner", run.owner),
            run.queue_position != null && fact("Place in the queue", run.queue_position),
            ["test/accuracy", "validation/accuracy", "train/loss"].filter((name) => run.final?.[name] !== undefined).map((name) => fact(name, m("strong", format.metric(name, run.final[name])))),
            run.digest && fact("Digest of the weights", m("button.hash.mono", { type: "button", title: `${run.digest}: copy`, onclick: () => copy(run.digest, "digest copied") }, run.digest.slice(0, 19), "…")),
            run.rerun && fact("Against run ", link(`/runs/${run.rerun.of}`, {}, run.rerun.of), ": ", rerunText(run.rerun))));
    }

    function divergence() {
        const d = run.divergence;
        return d && m("section.problem", { "aria-label": "Divergence" }, m("h2", "It diverged"), m("p", run.reason),
            m("p", `Last finite: step ${format.count(d.last_step)}, loss ${format.number(d.last_loss)}. Norms before it: `,
                Object.entries(d.norms ?? {}).filter(([name]) => !name.startsWith("norm/ratio/")).map(([name, value]) => `${shortName(name)} ${format.number(value, 3)}`).join(", ")));
    }

    function charts() {
        const names = Object.keys(series.series).sort((a, b) => a.localeCompare(b, "en", { numeric: true }));
        const marks = run.timeline.filter(isIntervention).map((event) => ({ x: event.step, text: markText(event) }));
        const version = `${series.version} ${marks.length}`;
        const all = chartsOf(names), groups = GROUPS.map(([name, text]) => [name, text, all.filter((c) => c.group === name)]).filter(([, , list]) => list.length > 0);
        return m("section", { "aria-label": "Curves" }, groups.map(([name, text, list]) => m("section", { key: name, "aria-label": name }, m("h2.part", name), text && m("p.soft", text),
            m("div.grid", list.map(({ names: own, group: _, ...c }) => m(Chart, {
                ...c, key: c.title, marks, version,
                series: own.map((of, i) => ({ label: shortName(of), colour: i, x: series.series[of].steps, y: series.series[of].values })),
            }))))), names.length === 0 && !run.protocol && m("p.soft", { key: "none" }, hasEnded(run.state) ? "Nothing was recorded." : "Nothing is recorded yet."));
    }

    function downloads() {
        return m("section", m("h2.part", "Downloads"), m("div.row",
            arrays && [m(Action, { act: () => download(`/v1/runs/${id}/weights.npz${shownStep ? `?step=${shownStep}` : ""}`, `run-${id}${shownStep ? `-step-${shownStep}` : ""}.npz`) }, "weights.npz"),
                arrays.length <= 40 && arrays.map(({ name, shape }) => m(Action, { class: "quiet", title: shape.join(" × "), act: () => download(`/v1/runs/${id}/weights/${name}.npy${shownStep ? `?step=${shownStep}` : ""}`, `run-${id}-${name}.npy`) }, `${name}.npy`))],
            m(Action, { act: () => metricsCsv(id, async () => { await series.more(); return series.series; }) }, "metrics.csv"),
            m("button", { type: "button", onclick: () => saveText(JSON.stringify(run.definition, null, 2), `run-${id}.json`, "application/json") }, "definition.json")));
    }

    function timeline() {
        return m("section", m("h2.part", "Timeline"), m("div.scroll.high", m("table", m("caption.offscreen", "Timeline"), m("thead", m("tr",
            m("th", { scope: "col" }, "When"), m("th.n", { scope: "col" }, "Step"), m("th", { scope: "col" }, "What"))),
        m("tbody", run.timeline.map((event, i) => {
            const [what, more] = whatHappened(event);
            return m("tr", { key: i, class: isIntervention(event) ? "chosen" : "" }, m("td", m(Time, { at: event.at })), m("td.n", format.count(event.step)), m("td.text", what, more && m("span.soft", `: ${more}`)));
        })))));
    }

    function protocol() {
        const rows = run.protocol?.rows;
        if (!rows || rows.length === 0) return null;
        const columns = Object.keys(rows[0]), save = () => saveText(csv([columns, ...rows.map((row) => columns.map((c) => row[c]))]), `run-${id}-protocol.csv`, "text/csv");
        return m("section", m("div.row.wide", m("h2.part", "Protocol"), m("button", { type: "button", onclick: save }, "Save as CSV")),
            m("p.soft", "Which synapses changed when these afferents were active. A driven change is what differs from the same weight when neither stream is stimulated and only decay acts; it is relative to the norm of the weights."),
            m("div.scroll", m("table", m("caption.offscreen", "What the protocol ended with"), m("thead", m("tr", PROTOCOL.map(([title, , kind]) => m("th", { scope: "col", class: kind ? "n" : "" }, title)))),
                m("tbody", rows.map((row, i) => m("tr", { key: i, class: row.driven_relative > 0 ? "chosen" : "" }, PROTOCOL.map(([, of, kind]) => kind ? m("td.n", kind(row[of])) : m("td", row[of]))))))));
    }

    return {
        oninit() {
            again().catch(say);
            stop = listen(`/v1/runs/${id}/events`, {
                state: soon, changed: soon, again, progress,
                metrics: (event) => { if (series.next > 0) series.append(event.series); else soon(); },
            });
        },
        onremove() { stop(); clearTimeout(soonTimer); },
        view() {
            if (run === null) return m("div", m("h1", `Run ${id}`), error ? m(Problem, { error, again: load }) : m("p.soft", "Reading …"));
            const text = JSON.stringify(run.definition, null, 2);
            return m("div.stack", head(), error && m(Problem, { error }), facts(), divergence(), charts(), protocol(),
                arrays && run.checkpoints.length > 0 && m(Matrices, { run: id, arrays, checkpoints: run.checkpoints, series: series.series, moved: (step) => { shownStep = step; } }),
                m("div.grid", timeline(), m("section", m("div.row.wide", m("h2.part", "Definition"), m("button", { type: "button", onclick: () => copy(text, "definition copied") }, "Copy")),
                    m("pre", { tabindex: 0, "aria-label": "Definition" }, text))),
                downloads(), fork && m(Fork, { run: id, checkpoints: run.checkpoints, step: shownStep, close: () => { fork = false; } }));
        },
    };
}
