// SPDX-License-Identifier: Apache-2.0
/* Runs side by side: their curves over each other, what is different in their definitions, what they ended with. */
import { compared, csv, hasEnded, saveText } from "../actions.js";
import { api, listen } from "../api.js";
import { Chart } from "../charts.js";
import * as format from "../format.js";
import { RunSeries } from "../series.js";
import { Problem, State, link, say } from "../ui.js";

const MOST = 200, FIRST = ["test/accuracy", "validation/accuracy", "train/loss", "alignment/modulation/1", "alignment/feedback/1"];

/* {"a.b.0": value} of a nested value. */
function flat(value, path = "", into = {}) {
    if (value !== null && typeof value === "object" && Object.keys(value).length > 0)
        for (const [key, inner] of Object.entries(value)) flat(inner, path ? `${path}.${key}` : key, into);
    else into[path] = value;
    return into;
}

/* [path, values of each] where not all are the same. */
export function differences(definitions) {
    const all = definitions.map((d) => flat(d)), paths = [...new Set(all.flatMap(Object.keys))].sort();
    return paths.filter((path) => new Set(all.map((d) => JSON.stringify(d[path]))).size > 1).map((path) => [path, all.map((d) => d[path])]);
}

const readIds = (text) => [...new Set((text ?? "").split(/[\s,]+/).filter((part) => /^[1-9]\d{0,15}$/.test(part)).map(Number))].slice(0, MOST);

export default function Compare() {
    let runs = [], error = null, stop = null, names = null, text = null, version = 0, shownFor = null;
    const series = new Map(), chosen = new Set();
    const ids = () => readIds(m.route.param("runs"));

    const label = (run) => `${run.id}: ${format.parameters(run.parameters) || run.definition?.rule?.name || "run"}`;

    async function readOne(run) {
        let s = series.get(run.id);
        if (!s) {
            series.set(run.id, s = new RunSeries(run.id));
            await s.load();
        } else if (!s.whole) {
            await s.more();
        }
        s.whole = hasEnded(run.state);
        version++;
    }

    async function load() {
        const wanted = ids();
        shownFor = wanted.join(",");
        try {
            const known = new Map(runs.map((run) => [run.id, run]));
            const fresh = await Promise.all(wanted.map((id) => known.has(id) && hasEnded(known.get(id).state) ? known.get(id) : api.get(`/v1/runs/${id}`)));
            if (shownFor !== wanted.join(",")) return;
            runs = fresh;
            error = null;
            await Promise.all(runs.map(readOne));
        } catch (why) { error = why; }
        names = [...new Set([...series.values()].flatMap((s) => Object.keys(s.series)))].sort((a, b) => a.localeCompare(b, "en", { numeric: true }));
        if (chosen.size === 0) FIRST.filter((name) => names.includes(name)).forEach((name) => chosen.add(name));
        m.redraw();
    }

    function go(list) {
        text = null;
        m.route.set(`/compare?runs=${list.join(",")}`, null, { replace: true });
    }

    function chooser() {
        return m("form.filter", { onsubmit: (event) => { event.preventDefault(); go(readIds(text ?? ids().join(","))); } },
            m("label", "Runs, by their numbers", m("input", { type: "text", inputmode: "numeric", "data-filter": "", value: text ?? ids().join(", "), placeholder: "7, 8, 12", oninput: (event) => { text = event.target.value; } })),
            m("button.primary", { type: "submit" }, "Compare"),
            compared.list.length > 0 && compared.list.join() !== ids().join() && m("button", { type: "button", onclick: () => go(compared.list) }, `The ${compared.list.length} selected`));
    }

    function curves() {
        return m("section", { "aria-label": "Curves" }, m("details.series", m("summary", `Series (${chosen.size} of ${names.length})`),
            m("div.row.wide", names.map((name) => m("label.check", m("input", { type: "checkbox", checked: chosen.has(name), onchange: () => { if (!chosen.delete(name)) chosen.add(name); } }), name)))),
        m("div.grid", [...FIRST, ...names.filter((name) => !FIRST.includes(name))].filter((name) => chosen.has(name)).map((name) => m(Chart, {
            key: name, title: name, yLabel: format.measure(name), percent: format.isAccuracy(name), log: name.endsWith("/loss"), within: format.measure(name) === "cosine" ? [0, 1] : undefined, version: `${version} ${shownFor}`,
            series: runs.flatMap((run, i) => {
                const s = series.get(run.id)?.series[name];
                return s ? [{ label: label(run), colour: i, x: s.steps, y: s.values }] : [];
            }),
        }))));
    }

    function columns(caption, rows, cell) {
        return m("div.scroll", m("table.columns", m("caption", caption), m("thead", m("tr", m("th", { scope: "col" }, ""), runs.map((run) => m("th.n", { scope: "col" }, link(`/runs/${run.id}`, {}, `run ${run.id}`), m("small.of", format.parameters(run.parameters)))))),
            m("tbody", rows.map((row) => cell(row)))));
    }

    function definitions() {
        const rows = differences(runs.map(({ definition: { name, tags, ...rest } }) => rest));
        if (runs.length < 2) return null;
        return m("section", rows.length === 0 ? m("p.soft", "Their definitions are the same but for name and tags.") : columns("What is different in their definitions", rows, ([path, list]) =>
            m("tr", { key: path }, m("th.mono", { scope: "row" }, path), list.map((value) => m("td.n", format.brief(value))))));
    }

    function finals() {
        const place = (name) => (FIRST.indexOf(name) + FIRST.length + 1) % (FIRST.length + 1);
        const rows = [...new Set(runs.flatMap((run) => Object.keys(run.final ?? {})))].sort((a, b) => place(a) - place(b) || a.localeCompare(b, "en", { numeric: true }));
        const save = () => saveText(csv([["", ...runs.map((run) => `run ${run.id}`)], ...rows.map((name) => [name, ...runs.map((run) => run.final?.[name])])]), "compare.csv", "text/csv");
        return m("section", columns("What they ended with", [null, ...rows], (name) => name === null
            ? m("tr", { key: "state" }, m("th", { scope: "row" }, "state"), runs.map((run) => m("td.n", m(State, { state: run.state, reason: run.reason }))))
            : m("tr", { key: name }, m("th", { scope: "row" }, name), runs.map((run) => m("td.n", format.metric(name, run.final?.[name]))))),
        m("p.after", m("button", { type: "button", onclick: save }, "Save as CSV")));
    }

    const again = async () => { if (shownFor !== null && runs.some((run) => !hasEnded(run.state))) await load(); };

    return {
        oninit() {
            load();
            const soon = () => again().catch(say);
            stop = listen("/v1/events?types=state,metrics", {
                state: (event) => { if (ids().includes(event.run)) soon(); }, again,
                metrics: (event) => { const s = series.get(event.run); if (s && s.next > 0) { s.append(event.series); version++; } },
            });
        },
        onupdate() { if (ids().join(",") !== shownFor) load(); },
        onremove() { stop(); },
        view: () => m("div", m("div.page-head", m("h1", "Compare"), runs.length > 0 && m("span.soft", `${runs.length} runs`)), chooser(),
            error && m(Problem, { error, again: load }),
            ids().length === 0 ? m("p.empty", "Type the numbers of runs, or tick runs on an experiment's page and come back.")
            : names && runs.length > 0 ? m("div.stack", curves(), definitions(), finals()) : !error && m("p.soft", "Reading …")),
    };
}
