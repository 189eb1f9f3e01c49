// SPDX-License-Identifier: Apache-2.0
/*
 * A new experiment: the definition's text with an editor that knows the schema, the common fields as controls beside it,
 * both of the same text. The server checks it while it is written (dry_run). What is written is kept in this browser.
 */
import { ApiError, api, ask, words } from "../api.js";
import { refusal } from "../me.js";
import { Problem, say } from "../ui.js";
import { editor, load, located, style } from "../editor.js";
import * as fields from "../fields.js";
import * as format from "../format.js";
import { find, pathOf, pretty, scan, lineOf } from "../jsontext.js";
import { Schema } from "../schema.js";

await style("forms.css");

const DRAFT = "tetrad.draft", CHECK_MS = 400, SYNTAX_MS = 900, FIRST = "sal-strokes.json";
const storage = (act) => { try { return act(localStorage); } catch { return null; } };

export default function New() {
    const known = { datasets: [], rules: [] };
    let examples = [], schema = null, problem = null, edits = null, text = "", tree = scan("");
    let field = null, timer = 0, control = null;
    let check = { state: "none", faults: [], result: null, error: null };
    let sending = false, key = null;

    async function begin(dom) {
        try {
            const reading = readDatasets();
            const [document, rules, all] = await Promise.all([api.get("/v1/schema", { headers: { Accept: "application/schema+json" } }),
                api.get("/v1/rules"), api.maybe("/v1/examples"), load()]);
            reading.catch(say);
            schema = new Schema(document);
            known.rules = rules.rules;
            examples = all?.examples ?? [];
            const at = await origin();
            if (!dom.isConnected) return;
            edits = editor(dom.querySelector(".editor"), at, schema, known, { change: changed, cursor: (now) => { field = now; m.redraw(); }, submit });
            changed(at);
        } catch (error) {
            problem = error;
        }
        m.redraw();
    }

    /* Not waited for: the server may have to read large files first. */
    async function readDatasets() {
        known.datasets = (await api.get("/v1/datasets")).datasets;
        m.redraw();
    }

    /* Another experiment's definition (?from=3), a first one for a dataset (?dataset=mine), the draft, or an example. */
    async function origin() {
        const from = m.route.param("from");
        if (/^\d+$/.test(from ?? "")) {
            const { definition } = await api.get(`/v1/experiments/${from}`);
            return pretty(definition);
        }
        const dataset = m.route.param("dataset");
        if (dataset) return pretty({ name: `SAL and backpropagation on ${dataset}`, dataset: { name: dataset }, network: { layers: [{ units: 128 }] }, rule: { name: "sal" },
            optimizer: { lr: 0.05, decay: 0.001 }, training: { epochs: 10 }, record: { every: 20 }, sweep: { "rule.name": ["sal", "bp"], "training.seed": [1, 2, 3] } });
        const draft = storage((s) => s.getItem(DRAFT));
        const example = examples.find((e) => e.file === FIRST) ?? examples[0];
        return draft ?? (example ? pretty(example.definition) : "{}");
    }

    /* ---- checking ---- */

    function changed(now) {
        text = now;
        tree = scan(text);
        key = null; // another text is another submission
        storage((s) => s.setItem(DRAFT, text));
        clearTimeout(timer);
        control?.abort();
        if (tree.error) { // said once the hands rest: every text is wrong while it is written
            show({ ...check, state: "waiting", faults: [] });
            timer = setTimeout(() => { show({ state: "syntax", faults: [], result: null, error: null }); m.redraw(); }, SYNTAX_MS);
        } else {
            show({ ...check, state: "waiting", faults: check.faults.filter(({ raw }) => still(raw)) });
            timer = setTimeout(dryRun, CHECK_MS);
        }
        m.redraw();
    }

    /* Whether a fault of the last check is still there to be mended. */
    function still(raw) {
        const found = find(tree, pathOf(raw.pointer ?? ""));
        return JSON.stringify(found?.node?.value ?? null) === JSON.stringify(raw.found ?? null);
    }

    function show(next) {
        const raw = next.faults.map((f) => f.raw ?? f);
        next.faults = raw.map((fault) => ({ ...located(schema, text, tree, fault), raw: fault }));
        check = next;
        const shown = check.state === "syntax" ? [{ from: tree.error.at, to: tree.error.at + 1, line: lineOf(text, tree.error.at), text: tree.error.message }] : check.faults;
        edits?.faults(shown);
    }

    async function post(suffix, headers = {}, signal = undefined) {
        const response = await ask(`/v1/experiments${suffix}`, { method: "POST", body: text, signal, headers: { "Content-Type": "application/json", ...headers } });
        return response.json();
    }

    async function dryRun() {
        if (refusal() !== null) return void show({ state: "none", faults: [], result: null, error: null });
        const mine = control = new AbortController();
        try {
            const result = await post("?dry_run=1", {}, mine.signal);
            if (control === mine) show({ state: "good", faults: [], result, error: null });
        } catch (error) {
            if (error.name === "AbortError" || control !== mine) return;
            refused(error);
        }
        m.redraw();
    }

    function refused(error) {
        const faults = error instanceof ApiError ? error.details.filter((d) => d.pointer !== undefined) : [];
        show({ state: "bad", faults, result: null, error: faults.length === 0 ? error : null });
    }

    async function submit() {
        if (refusal() !== null) return say(refusal());
        if (sending || tree.error) return tree.error && edits.goTo(tree.error.at);
        sending = true;
        key ??= `form-${Array.from(crypto.getRandomValues(new Uint8Array(12)), (b) => b.toString(16).padStart(2, "0")).join("")}`;
        m.redraw();
        try {
            const made = await post("", { "Idempotency-Key": key });
            storage((s) => s.removeItem(DRAFT));
            say(`submitted: ${format.count(made.run_count)} ${made.run_count === 1 ? "run" : "runs"}`);
            m.route.set(`/experiments/${made.id}`);
        } catch (error) {
            refused(error);
            if (check.faults[0]) edits.goTo(check.faults[0].from);
            else say(error);
        }
        sending = false;
        m.redraw();
    }

    /* ---- controls ---- */

    function put(next) {
        edits.apply(fields.difference(text, next));
    }

    /* An input's text while it is typed, which no drawing may take away; what cannot be read stays, and is marked. */
    const typed = new Map();

    function entry(id, value, commit) {
        const bad = typed.get(id)?.bad ?? false;
        return {
            id, value: typed.get(id)?.text ?? value, "aria-invalid": bad ? "true" : false,
            oninput: ({ target }) => { typed.set(id, { text: target.value, bad: false }); },
            onchange: ({ target }) => {
                const next = commit(target);
                if (next === null) return void typed.set(id, { text: target.value, bad: true });
                typed.delete(id);
                put(next);
            },
            onblur: () => { if (!typed.get(id)?.bad) typed.delete(id); },
        };
    }

    const note = (id, why) => why && m("small.why", { id: `${id}-why` }, why);
    const row = (id, label, control_, why) => m("div.field", m("label", { for: id }, label), control_, note(id, why));

    function numberField(path, label, attrs) {
        const id = `f-${path.replace(/\W/g, "-")}`;
        const { value, why } = fields.single(tree.root?.value, path);
        const [rules] = schema.at(path.split("."), tree.root?.value);
        return row(id, label, m("input", {
            type: "number", step: "any", disabled: why !== undefined || tree.error !== null, placeholder: rules?.default ?? "", ...attrs,
            title: rules?.description, "aria-describedby": why ? `${id}-why` : false,
            ...entry(id, typeof value === "number" ? value : "", (target) => target.value === "" ? fields.setSingle(text, path, undefined)
                : Number.isFinite(target.valueAsNumber) ? fields.setSingle(text, path, target.valueAsNumber) : null),
        }), why);
    }

    /* A list of whole numbers as text; set makes the new text of it, or null where it cannot be read. */
    function listField(id, label, { values, why }, set, title) {
        return row(id, label, m("input", {
            type: "text", inputmode: "numeric", title, disabled: why !== undefined || tree.error !== null, "aria-describedby": why ? `${id}-why` : false,
            ...entry(id, values, (target) => set(target.value)),
        }), why);
    }

    function datasetField() {
        const { value, why } = fields.single(tree.root?.value, "dataset.name");
        const there = known.datasets.some((d) => d.name === value);
        return row("f-dataset", "Dataset", m("select", { id: "f-dataset", disabled: why !== undefined || tree.error !== null, value: value ?? "",
            onchange: ({ target }) => put(fields.setSingle(text, "dataset.name", target.value)) },
            !there && m("option", { value: value ?? "" }, typeof value === "string" ? `${value}${known.datasets.length > 0 ? " (not here)" : ""}` : "choose"),
            known.datasets.map((d) => m("option", { value: d.name, disabled: Boolean(d.error) }, d.name))), why);
    }

    function rulesField() {
        const { values, why } = fields.several(tree.root?.value, "rule.name");
        const turn = (name) => {
            const next = known.rules.map((r) => r.name).filter((r) => (r === name) !== values.includes(r));
            if (next.length > 0) put(fields.setSeveral(text, "rule.name", next));
            else say("a definition has at least one rule");
        };
        return m("fieldset.field.rules", m("legend", "Rules"), known.rules.map((r) => m("label.check", { title: r.title },
            m("input", { type: "checkbox", checked: values.includes(r.name), disabled: why !== undefined || tree.error !== null, onchange: () => turn(r.name) }), r.name)), why && m("small.why", why));
    }

    function controls() {
        const definition = tree.root?.value;
        const name = fields.single(definition, "name");
        const seeds = fields.several(definition, "training.seed"), widths = fields.layers(definition);
        const whole = seeds.values.every(Number.isSafeInteger);
        return m("form.controls", { "aria-label": "Common fields", onsubmit: (event) => event.preventDefault() },
            row("f-name", "Name", m("input", { type: "text", maxlength: 200, disabled: tree.error !== null,
                ...entry("f-name", typeof name.value === "string" ? name.value : "", (target) => fields.setSingle(text, "name", target.value || undefined)) })),
            datasetField(), rulesField(),
            listField("f-layers", "Hidden layers", { values: widths.units.join(", "), why: widths.why },
                (given) => given.trim() === "" ? fields.setLayers(text, []) : parsed(given.split(/[\s,]+/).filter(Boolean), (units) => fields.setLayers(text, units)), "Neurons of each, from the input up: 256, 256"),
            listField("f-seeds", "Seeds", { values: whole ? fields.formatList(seeds.values) : "", why: seeds.why },
                (given) => { const list = fields.parseList(given); return list && fields.setSeveral(text, "training.seed", list); }, "One run for each: 1-5, or 1, 2, 7"),
            numberField("training.epochs", "Epochs", { min: 1, step: 1 }), numberField("optimizer.lr", "Learning rate", { min: 0 }),
            numberField("optimizer.decay", "Weight decay", { min: 0 }), numberField("training.batch", "Mini-batch", { min: 1, step: 1 }));
    }

    function parsed(parts, use) {
        const units = parts.map(Number);
        return units.every((n) => Number.isSafeInteger(n) && n > 0) ? use(units) : null;
    }

    function example(file) {
        const chosen = examples.find((e) => e.file === file);
        if (!chosen) return;
        edits.set(pretty(chosen.definition)); // undo brings back what was there
        edits.focus();
    }

    /* ---- what is shown ---- */

    const fact = (label, value) => m("div", m("dt", label), m("dd", value));

    function verdict() {
        if (refusal() !== null) return m("p.verdict", `${refusal()} The server neither checks nor takes a definition from you.`);
        if (tree.error && check.state === "syntax") {
            return m("p.verdict.bad", "Line ", lineOf(text, tree.error.at) + 1, ": ", tree.error.message, ". ",
                m("button.mend", { type: "button", onclick: () => edits.goTo(tree.error.at) }, "Go there"));
        }
        if (check.error) return m("p.verdict.bad", words(check.error));
        if (check.faults.length > 0) {
            return [m("p.verdict.bad", check.faults.length === 1 ? "1 fault" : `${check.faults.length} faults`),
                m("ul.faults", check.faults.map((f) => m("li", { key: f.pointer }, m("button.mend", { type: "button", onclick: () => edits.goTo(f.from) }, `line ${f.line + 1}`),
                    " ", m("code", f.pointer || "/"), " ", f.text)))];
        }
        return check.state === "good" ? m("p.verdict.good", "✓ ready to run") : m("p.verdict", "checking …");
    }

    function summary() {
        const r = check.result;
        return m("dl.facts", { class: check.state === "good" ? "" : "stale" }, fact("runs", format.count(r?.run_count)), fact("steps", format.count(r?.steps)),
            fact("memory, at most", format.bytes(r?.memory_bytes)), fact("time, about", r && r.estimated_seconds === null ? "not known before a first run" : format.duration(r?.estimated_seconds)));
    }

    function help() {
        if (!field) return m("section.help", m("h2", "Help"), m("p", "Put the cursor on a field, or the mouse: what it means is written here. Ctrl-Space completes, Ctrl-Enter submits."));
        return m("section.help", m("h2", m("code", field.name)), m("p.allowed", field.allowed, field.fallback && [" · default ", m("code", field.fallback)]),
            field.description.split("\n").slice(0, 6).map((line) => m("p", line)));
    }

    return {
        oncreate: ({ dom }) => begin(dom),
        onremove: () => { clearTimeout(timer); control?.abort(); edits?.close(); },
        view: () => m("div.new-page",
            m("header.page-head", m("h1", "New experiment"),
                examples.length > 0 && m("label.start", "Start from ", m("select", { value: "", disabled: !edits, onchange: ({ target }) => { example(target.value); target.value = ""; } },
                    m("option", { value: "" }, "an example …"), examples.map((e) => m("option", { value: e.file }, e.name)))),
                m("span.spring"),
                m("button.primary", { type: "button", disabled: !edits || sending || tree.error !== null || refusal() !== null, title: refusal() ?? "Ctrl-Enter", onclick: submit }, sending ? "Submitting …" : "Submit")),
            problem && m(Problem, { error: problem, again: () => location.reload() }),
            m("div.new-columns", m("aside.left", edits ? controls() : !problem && m("p.soft", "Reading …")), m("div.editor"),
                m("aside.right", m("div", { role: "status", "aria-live": "polite" }, edits && verdict()), edits && summary(), edits && help()))),
    };
}
