// SPDX-License-Identifier: Apache-2.0
/* The list of experiments: newest first, filtered by what the address says, live. */
import { bulk } from "../actions.js";
import { api, listen, query } from "../api.js";
import * as format from "../format.js";
import { refusal } from "../me.js";
import { Action, Problem, Progress, State, Time, link } from "../ui.js";

const STATES = ["queued", "running", "paused", "succeeded", "diverged", "failed", "cancelled"];
const PAGE = 50, MOST = 500, RELOAD_MS = 700;

const over = (counts) => counts.succeeded + counts.diverged + counts.failed + counts.cancelled;
const total = (counts) => Object.values(counts).reduce((sum, n) => sum + n, 0);

function countsText(counts) {
    const parts = STATES.filter((state) => counts[state] > 0).map((state) => `${format.count(counts[state])} ${state}`);
    return parts.join(", ") || "no runs";
}

export default function Experiments() {
    let list = null, next = null, error = null, stop = null, timer = null, typed = null, shownFor = null;
    const chosen = new Set(), running = new Map(), begun = new Map(); // running: run -> progress; begun: experiment -> {at, part}
    const drafts = {}; // of the filter: typed, and not yet in the address

    const filter = () => {
        const { state, owner, tag, q } = m.route.param();
        return { state, owner, tag, q };
    };

    async function load() {
        const asked = shownFor = JSON.stringify(filter());
        try {
            const page = await api.get(`/v1/experiments${query({ ...filter(), limit: Math.min(MOST, Math.max(PAGE, list?.length ?? 0)) })}`);
            if (asked !== shownFor) return; // another filter by now
            const older = list !== null && page.next !== null && list.length > page.experiments.length ? list.slice(page.experiments.length) : [];
            list = [...page.experiments, ...older];
            if (older.length === 0) next = page.next;
            error = null;
        } catch (e) { error = e; }
        m.redraw();
    }

    async function more() {
        const page = await api.get(`/v1/experiments${query({ ...filter(), limit: PAGE, cursor: next })}`);
        const known = new Set(list.map((e) => e.id));
        list = [...list, ...page.experiments.filter((e) => !known.has(e.id))];
        next = page.next;
    }

    const soon = () => { timer ??= setTimeout(() => { timer = null; load(); }, RELOAD_MS); };

    function set(changes) {
        const values = { ...filter(), ...changes };
        m.route.set(`/experiments${query(values)}`, null, { replace: true }); // read by onupdate
    }

    /* The address may have got another filter, by the form above or by a link. */
    function follow() {
        if (shownFor === null || shownFor === JSON.stringify(filter())) return;
        for (const [key, value] of Object.entries(filter())) if (drafts[key] === (value ?? "")) delete drafts[key];
        list = null;
        next = null;
        chosen.clear();
        load();
    }

    /* How much of it is done, 0 to 1, and when the rest will be at the pace seen since the page was opened. */
    function part(e) {
        const all = total(e.counts);
        let done = over(e.counts);
        for (const p of running.values()) if (p.experiment === e.id && p.steps > 0) done += Math.min(1, p.step / p.steps);
        return all > 0 ? Math.min(1, done / all) : 0;
    }

    function eta(e) {
        if (e.counts.running === 0) return null;
        const now = part(e), at = performance.now();
        const own = [...running.values()].filter((p) => p.experiment === e.id && p.eta_s !== null);
        if (e.counts.queued === 0 && own.length >= e.counts.running) return Math.max(...own.map((p) => p.eta_s));
        if (!begun.has(e.id)) begun.set(e.id, { at, part: now });
        const since = begun.get(e.id), gained = now - since.part;
        return gained > 0.005 ? (1 - now) / gained * (at - since.at) / 1000 : null;
    }

    function filters() {
        const f = filter();
        const field = (key, label, attrs) => m("label", label, m("input", {
            type: "search", value: drafts[key] ?? f[key] ?? "", ...attrs,
            oninput: (event) => { drafts[key] = event.target.value; clearTimeout(typed); typed = setTimeout(() => set(drafts), 300); },
        }));
        return m("form.filter", { role: "search", onsubmit: (event) => event.preventDefault() },
            field("q", "Text", { "data-filter": "", placeholder: "in the name" }),
            m("label", "State", m("select", { onchange: (event) => set({ state: event.target.value }) },
                m("option", { value: "" }, "any"), STATES.map((state) => m("option", { value: state, selected: f.state === state }, state)))),
            field("owner", "Owner"), field("tag", "Tag"),
            Object.values(f).some(Boolean) && m("button", { type: "button", onclick: () => { Object.keys(drafts).forEach((key) => delete drafts[key]); m.route.set("/experiments", null, { replace: true }); } }, "Show all"));
    }

    function selection() {
        if (chosen.size === 0) return null;
        const act = (action, select) => async () => { if (await bulk(action, select)) { chosen.clear(); await load(); } };
        const ids = { ids: [...chosen] }, why = refusal();
        const f = Object.fromEntries(Object.entries(filter()).filter(([, value]) => value));
        return m("div.selection", { role: "group", "aria-label": "Selected experiments" },
            m("strong", `${chosen.size} selected`),
            ["cancel", "pause", "resume", "delete"].map((action) => m(Action, { class: action === "cancel" || action === "delete" ? "danger" : "", disabled: why !== null, title: why ?? "", act: act(action, ids) },
                action[0].toUpperCase() + action.slice(1))),
            Object.keys(f).length > 0 && next !== null && m(Action, { class: "danger", act: act("cancel", f), disabled: why !== null, title: why ?? "Also those further down" }, "Cancel all that match"),
            m("button.quiet", { type: "button", onclick: () => chosen.clear() }, "None"), why && m("small.why", why));
    }

    function row(e) {
        const all = total(e.counts), left = eta(e);
        const toggle = () => { if (!chosen.delete(e.id)) chosen.add(e.id); };
        return m("tr", { key: e.id, class: chosen.has(e.id) ? "chosen" : "" },
            m("td", m("input", { type: "checkbox", checked: chosen.has(e.id), onchange: toggle, "aria-label": `Select experiment ${e.id}` })),
            m("td.n.soft.wide-only", e.id),
            m("td.name", link(`/experiments/${e.id}`, { "data-row": "" }, e.name || `experiment ${e.id}`), " ",
                e.tags.map((tag) => m("button.tag", { type: "button", title: `Only with the tag ${tag}`, onclick: () => set({ tag }) }, tag))),
            m("td", m(State, { state: e.state })),
            m("td.bar", m(Progress, { value: part(e), max: 1, state: e.state, label: `${e.name}: progress` })),
            m("td.n", { title: countsText(e.counts) }, `${format.count(over(e.counts))}/${format.count(all)}`,
                e.counts.failed + e.counts.diverged > 0 && m("span.is-failed", { title: countsText(e.counts) }, ` ${format.count(e.counts.failed + e.counts.diverged)} ✕`)),
            m("td.n.wide-only", left === null ? m("span.none", "–") : format.duration(left)),
            m("td.wide-only", e.owner), m("td.n.wide-only", m(Time, { at: e.created_at })));
    }

    function table() {
        const all = list.every((e) => chosen.has(e.id));
        return m("div.scroll", m("table.list", m("caption.offscreen", "Experiments, newest first"), m("thead", m("tr",
            m("th", { scope: "col" }, m("input", { type: "checkbox", checked: all, "aria-label": "Select all that are shown",
                onchange: () => list.forEach((e) => all ? chosen.delete(e.id) : chosen.add(e.id)) })),
            m("th.n", { scope: "col" }, "Id"), m("th", { scope: "col" }, "Name"), m("th", { scope: "col" }, "State"), m("th", { scope: "col" }, "Progress"),
            m("th.n", { scope: "col" }, "Runs"), m("th.n", { scope: "col" }, "Left"), m("th", { scope: "col" }, "Owner"), m("th.n", { scope: "col" }, "Submitted"))),
        m("tbody", list.map(row))));
    }

    return {
        oninit() {
            load();
            stop = listen("/v1/events?types=state,progress", {
                state: (e) => { if (e.state !== "running") running.delete(e.run); soon(); },
                progress: (e) => e.runs.forEach((p) => running.set(p.run, p)),
                changed: soon, again: load,
            });
        },
        onupdate: follow,
        onremove() { stop(); clearTimeout(timer); clearTimeout(typed); },
        view: () => m("div",
            m("div.page-head", m("h1", "Experiments"), list && m("span.soft", `${list.length}${next !== null ? " newest" : ""}`)),
            filters(), selection(), error && m(Problem, { error, again: load }),
            list === null ? !error && m("p.soft", "Reading …")
            : list.length === 0 ? m("p.empty", Object.values(filter()).some(Boolean) ? "No experiment is like that." : ["Nothing here yet. ", link("/new", {}, "Submit the first experiment"), "."])
            : table(),
            next !== null && list && m("p.more", m(Action, { act: more }, "Show older ones"))),
    };
}
