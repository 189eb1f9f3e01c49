// SPDX-License-Identifier: Apache-2.0
/* The queue: who runs what, who is next and when, and how the machine is shared. */
import { api, listen } from "../api.js";
import { Problem, Time, link } from "../ui.js";
import { style } from "../editor.js";
import * as format from "../format.js";

await style("forms.css");

const PAGE = 100, READ_MS = 1000;

const runLink = (run) => link(`/runs/${run}`, { "data-row": true }, `run ${run}`);
/* A time to come, more exactly than "in 12 min": many runs of a queue end within a minute. */
function ahead(at) {
    const seconds = (Date.parse(at) - Date.now()) / 1000;
    return Number.isNaN(seconds) ? m("span.none", "–") : m("time", { datetime: at, title: format.absolute(at) }, seconds < 1 ? "now" : `in ${format.duration(seconds)}`);
}

const experimentLink = (id) => link(`/experiments/${id}`, {}, `experiment ${id}`);

function shares(queue) {
    const total = queue.shares.reduce((sum, s) => sum + s.weight, 0);
    const allowed = (s) => (total > 0 ? s.weight / total : 0);
    return m("section", m("h2", "Shares"), m("p.hint", "What everybody has had of the machine lately, beside what their weight gives them. Who has had less than that comes first. ",
        `Use counts half after ${format.duration(queue.half_life_s)}.`),
    m("div.scroll", m("table.shares", m("caption.offscreen", "Shares of the machine"),
        m("thead", m("tr", ["User", "Had lately", "", "By weight", "Weight", "At once", "Running", "Queued", "Lately used"].map((t, i) => m("th", { scope: "col", class: i === 0 || i === 2 ? "" : "n" }, t || m("span.offscreen", "bar"))))),
        m("tbody", queue.shares.map((s) => m("tr", { key: s.user }, m("th", { scope: "row" }, s.user), m("td.n", format.percent(s.share)),
            m("td.bar", m("progress", { value: s.share, max: 1, "aria-label": `share of ${s.user}` })), m("td.n", format.percent(allowed(s))), m("td.n", format.number(s.weight)),
            m("td.n", s.cap === null || s.cap === undefined ? "no cap" : `at most ${s.cap}`), m("td.n", format.count(s.running)), m("td.n", format.count(s.queued)), m("td.n", format.duration(s.recent_seconds))))))));
}

function running(queue) {
    return m("section", m("h2", `Running, ${queue.running.length} of ${queue.workers} ${queue.workers === 1 ? "worker" : "workers"}`),
        queue.running.length === 0 ? m("p.empty", "Nothing is being trained.") : m("div.scroll", m("table", m("caption.offscreen", "Running"),
            m("thead", m("tr", ["Run", "Experiment", "Owner", "Worker", "Since", "Ends in"].map((t, i) => m("th", { scope: "col", class: i === 3 || i === 5 ? "n" : "" }, t)))),
            m("tbody", queue.running.map((r) => m("tr", { key: r.run }, m("td", runLink(r.run)), m("td", experimentLink(r.experiment)), m("td.text", r.owner), m("td.n", r.worker),
                m("td", m(Time, { at: r.started_at })), m("td.n", format.duration(r.eta_s))))))));
}

function waiting(queue, more) {
    return m("section", m("h2", `Waiting, ${format.count(queue.length)}`),
        queue.queued.length === 0 ? m("p.empty", "Nothing waits.") : m("div.scroll", m("table", m("caption.offscreen", "Waiting"),
            m("thead", m("tr", ["Position", "Run", "Experiment", "Owner", "Priority", "Starts", "Ends"].map((t, i) => m("th", { scope: "col", class: i === 0 || i === 4 ? "n" : "" }, t)))),
            m("tbody", queue.queued.map((r) => m("tr", { key: r.run }, m("td.n", format.count(r.position)), m("td", runLink(r.run)), m("td", experimentLink(r.experiment)), m("td.text", r.owner),
                m("td.n", r.priority), m("td", ahead(r.estimated_start_at)), m("td", ahead(r.estimated_end_at))))))),
        queue.next && m("p", m("button", { type: "button", onclick: more }, "More")));
}

export default function Queue() {
    let queue = null, absent = false, error = null, pages = 1, stop = null, timer = null, busy = false;

    async function read() {
        if (busy) return;
        busy = true;
        try {
            let all = null, cursor;
            for (let i = 0; i < pages; i++) {
                const part = await api.maybe(`/v1/queue?limit=${PAGE}${cursor ? `&cursor=${encodeURIComponent(cursor)}` : ""}`);
                if (part === null) { absent = true; break; }
                all = all ? { ...part, queued: [...all.queued, ...part.queued] } : part;
                cursor = part.next;
                if (!cursor) break;
            }
            queue = all;
            error = null;
        } catch (fault) { error = fault; }
        busy = false;
        m.redraw();
    }

    /* Many things may happen in a second: it is read once. */
    function soon() {
        timer ??= setTimeout(() => { timer = null; read(); }, READ_MS);
    }

    return {
        oninit() {
            read();
            stop = listen("/v1/events?types=state,progress", { state: soon, changed: soon, progress: soon, again: read });
        },
        onremove: () => { stop(); clearTimeout(timer); },
        view: () => [
            m("header.page-head", m("h1", "Queue")),
            error && m(Problem, { error, again: read }),
            absent && m("p.empty", "This server does not tell about its queue."),
            queue === null && !absent && !error && m("p.soft", "Reading …"),
            queue && m("div.queue-grid", shares(queue), running(queue), waiting(queue, () => { pages++; return read(); })),
        ],
    };
}
