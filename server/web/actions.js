// SPDX-License-Identifier: Apache-2.0
/* What can be done with experiments and runs: buttons that several pages have. */
import { api, ask, save } from "./api.js";
import { refusal } from "./me.js";
import { Action, Dialog, say, sure } from "./ui.js";
import * as format from "./format.js";

export const ENDED = ["succeeded", "diverged", "failed", "cancelled"];
export const hasEnded = (state) => ENDED.includes(state);

const DONE = { cancel: "cancelled", pause: "paused", resume: "resumed" };

const canDo = {
    cancel: (state) => !hasEnded(state),
    pause: (state) => state === "queued" || state === "running",
    resume: (state) => state === "paused",
};

const many = (n, what) => `${format.count(n)} ${what}${n === 1 ? "" : "s"}`;

async function act(kind, id, action) {
    if (action === "cancel" && !await sure(`Cancel ${kind} ${id}?`, "What has been recorded is kept; a cancelled run cannot go on.", "Cancel it")) return;
    await api.post(`/v1/${kind}s/${id}/${action}`);
    say(`${kind} ${id}: ${DONE[action]}`);
}

/* Buttons to cancel, pause, resume and give priority; to others than the owner disabled, with the reason beside them.
 * kind: "run" or "experiment"; object: as the server shows it. */
export function Buttons() {
    return {
        view({ attrs: { kind, object, changed } }) {
            const { id, state } = object, why = refusal(object.owner);
            const active = Object.values(object.counts ?? { [state]: 1 }), states = object.counts ? Object.keys(object.counts).filter((_, i) => active[i] > 0) : [state];
            const actions = Object.keys(canDo).filter((action) => states.some(canDo[action]));
            return [actions.map((action) =>
                m(Action, { key: action, class: action === "cancel" ? "danger" : "", disabled: why !== null, title: why ?? "", act: async () => { await act(kind, id, action); await changed?.(); } },
                    action[0].toUpperCase() + action.slice(1))),
            states.includes("queued") && m("span", m(Priority, { kind, id, value: object.priority, why, changed })), actions.length > 0 && why && m("small.why", why)];
        },
    };
}

function Priority() {
    let typed = null; // which no drawing may take away
    return {
        view: ({ attrs: { kind, id, value, why, changed } }) => m("label.inline", { title: why ?? "From -100 to 100, within your own work: more goes first" }, "Priority", m("input", {
            type: "number", min: -100, max: 100, step: 1, value: typed ?? value ?? 0, class: "short", disabled: why !== null,
            oninput: (event) => { typed = event.target.value; },
            onchange: async (event) => {
                try {
                    await api.post(`/v1/${kind}s/${id}/priority`, { priority: Number(event.target.value) });
                    say(`priority ${event.target.value}`);
                    await changed?.();
                } catch (error) { say(error); }
                typed = null;
                m.redraw();
            },
        })),
    };
}

export async function remove(id) {
    if (!await sure(`Delete experiment ${id}?`, "Its runs, series and weights are gone for good.", "Delete it")) return false;
    const gone = await api.del(`/v1/experiments/${id}`);
    say(`experiment ${id} deleted, ${format.bytes(gone?.freed_bytes ?? 0)} freed`);
    return true;
}

/* Many at once. select: {ids} or a filter. Asks first, with the server's own count. */
export async function bulk(action, select) {
    const preview = await api.post("/v1/actions", { action, select, dry_run: true });
    const refused = preview.refused ? ` ${many(preview.refused, "experiment")} of somebody else ${preview.refused === 1 ? "is" : "are"} left alone.` : "";
    if (!await sure(`${action[0].toUpperCase() + action.slice(1)} ${many(preview.experiments, "experiment")}?`, `That is ${many(preview.runs, "run")}.${refused}`, "Yes")) return false;
    const done = await api.post("/v1/actions", { action, select });
    say(`${action}: ${many(done.experiments, "experiment")}, ${many(done.runs, "run")}`);
    return true;
}

export const saveText = (text, name, type = "text/plain") => save(new Blob([text], { type }), name);

/* A row of cells as CSV (RFC 4180). A text that a spreadsheet would run is led in by an apostrophe. */
export function csv(rows) {
    const cell = (value) => {
        if (value === null || value === undefined) return "";
        let text = typeof value === "object" ? JSON.stringify(value) : String(value);
        if (typeof value === "string" && /^[=+\-@\t\r]/.test(text)) text = `'${text}`;
        return /[",\r\n]/.test(text) ? `"${text.replace(/"/g, '""')}"` : text;
    };
    return rows.map((row) => row.map(cell).join(",")).join("\r\n") + "\r\n";
}

/* All the records of a run as CSV: by the server, or, where it has no CSV, from its JSON. */
export async function metricsCsv(run, all) {
    try {
        const response = await ask(`/v1/runs/${run}/metrics?format=csv`, { headers: { Accept: "text/csv" } });
        if (response.headers.get("Content-Type")?.startsWith("text/csv")) return save(await response.blob(), `run-${run}-metrics.csv`);
    } catch (error) {
        if (error.status !== 400 && error.status !== 406) throw error;
    }
    const rows = Object.entries(await all()).flatMap(([name, s]) => s.steps.map((step, i) => [name, step, s.values[i]]));
    return saveText(csv([["series", "step", "value"], ...rows]), `run-${run}-metrics.csv`, "text/csv");
}

/* The dialog of a fork: from which checkpoint, and what is different from there on. */
export function Fork() {
    let step = null, text = '{\n  "optimizer.lr": 0.01\n}', error = null;
    return {
        oninit: ({ attrs }) => { step = attrs.step ?? attrs.checkpoints.at(-1); },
        view: ({ attrs: { run, checkpoints, close } }) => m(Dialog, { title: `Fork run ${run}`, close }, m("form", {
            onsubmit: async (event) => {
                event.preventDefault();
                error = null;
                try {
                    const made = await api.post(`/v1/runs/${run}/fork`, { step: Number(step), changes: JSON.parse(text || "{}") });
                    close();
                    m.route.set(`/runs/${made.first_run}`);
                } catch (e) { error = e; }
                m.redraw();
            },
        },
        m("p.soft", "A new run begins with the weights of a kept checkpoint and goes on with what is changed here."),
        m("label", "Checkpoint", m("select", { onchange: (event) => { step = event.target.value; } },
            checkpoints.map((s) => m("option", { value: s, selected: String(s) === String(step) }, `step ${format.count(s)}`)))),
        m("label", "Changes: dotted paths and their values (JSON)", m("textarea.mono", { rows: 7, spellcheck: false, value: text, oninput: (event) => { text = event.target.value; } })),
        error && m("p.problem", { role: "alert" }, error.message, (error.details ?? []).map((d) => m("div", `${d.pointer || "/"}: found ${JSON.stringify(d.found)}, allowed ${d.allowed ?? ""}`))),
        m("footer", m("button", { type: "button", onclick: close }, "Close"), m("button.primary", { type: "submit" }, "Fork")))),
    };
}

/* ---- runs that are to be compared, kept while the page is open ---- */

const basket = new Set();

export const compared = {
    has: (run) => basket.has(run),
    toggle: (run) => { if (!basket.delete(run)) basket.add(run); },
    add: (runs) => runs.forEach((run) => basket.add(run)),
    clear: () => basket.clear(),
    get list() { return [...basket].sort((a, b) => a - b); },
    get href() { return `/compare?runs=${this.list.join(",")}`; },
};
