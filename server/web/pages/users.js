// SPDX-License-Identifier: Apache-2.0
/* Users, tokens and the audit log: for administrators. Others see who they are. */
import { api, query } from "../api.js";
import { Action, Dialog, Problem, Time, copy, say, sure } from "../ui.js";
import { style } from "../editor.js";
import { known, me } from "../me.js";
import * as format from "../format.js";

await style("forms.css");

const ROLES = { viewer: "reads everything", member: "submits, and changes what is theirs", admin: "may do everything" };
const LOG_PAGE = 50;

function head(names, numbers = []) {
    return m("thead", m("tr", names.map((t) => m("th", { scope: "col", class: numbers.includes(t) ? "n" : "" }, t || m("span.offscreen", "actions")))));
}

/* ---- users ---- */

function EditUser() {
    let weight, cap;
    return {
        oninit: ({ attrs: { user } }) => { weight = String(user.weight); cap = user.cap === null ? "" : String(user.cap); },
        view: ({ attrs: { user, close, saved } }) => m(Dialog, { title: `Share of ${user.name}`, close }, m("form", {
            onsubmit: async (event) => {
                event.preventDefault();
                try {
                    await api.put(`/v1/users/${encodeURIComponent(user.name)}`, { weight: Number(weight), cap: cap.trim() === "" ? null : Number(cap) });
                    say(`saved ${user.name}`);
                    saved();
                } catch (error) { say(error); }
            },
        },
        m("label", "Weight: who has twice the weight gets twice the workers", m("input", { type: "number", min: 0, step: "any", required: true, autofocus: true, value: weight, oninput: ({ target }) => { weight = target.value; } })),
        m("label", "At most so many runs at once; empty: no cap", m("input", { type: "number", min: 0, step: 1, value: cap, oninput: ({ target }) => { cap = target.value; } })),
        m("footer", m("button", { type: "button", onclick: close }, "Cancel"), m("button.primary", { type: "submit" }, "Save")))),
    };
}

function users(state) {
    return m("section", m("h2", "Users"), m("div.scroll", m("table", m("caption.offscreen", "Users"),
        head(["Name", "Weight", "At once", "Running", "Queued", "Lately used", "Tokens", "Last seen", ""], ["Weight", "At once", "Running", "Queued", "Lately used", "Tokens"]),
        m("tbody", state.users.map((u) => m("tr", { key: u.name }, m("th", { scope: "row" }, u.name), m("td.n", format.number(u.weight)), m("td.n", u.cap === null ? "no cap" : `at most ${u.cap}`),
            m("td.n", format.count(u.running)), m("td.n", format.count(u.queued)), m("td.n", format.duration(u.recent_seconds)), m("td.n", format.count(u.tokens)), m("td", m(Time, { at: u.last_seen_at })),
            m("td", m("button", { type: "button", "data-row": true, onclick: () => { state.edited = u; } }, "Edit"))))))));
}

/* ---- tokens ---- */

function NewToken() {
    let user = "", role = "member", note = "", days = "";
    const day = 86400000;
    return {
        view: ({ attrs: { close, made } }) => m(Dialog, { title: "New token", close }, m("form", {
            onsubmit: async (event) => {
                event.preventDefault();
                const ends = days === "" ? undefined : new Date(Date.now() + Number(days) * day).toISOString();
                try {
                    made(await api.post("/v1/tokens", { user: user.trim(), role, ...(note.trim() ? { note: note.trim() } : {}), ...(ends ? { expires_at: ends } : {}) }));
                } catch (error) { say(error); }
            },
        },
        m("label", "For whom", m("input", { type: "text", required: true, autofocus: true, spellcheck: false, maxlength: 63, value: user, oninput: ({ target }) => { user = target.value; } })),
        m("label", "Role", m("select", { value: role, onchange: ({ target }) => { role = target.value; } }, Object.entries(ROLES).map(([name, text]) => m("option", { value: name }, `${name}: ${text}`)))),
        m("label", "What it is for", m("input", { type: "text", maxlength: 200, value: note, oninput: ({ target }) => { note = target.value; } })),
        m("label", "Good for so many days; empty: until it is revoked", m("input", { type: "number", min: 1, max: 3650, step: 1, value: days, oninput: ({ target }) => { days = target.value; } })),
        m("footer", m("button", { type: "button", onclick: close }, "Cancel"), m("button.primary", { type: "submit" }, "Make token")))),
    };
}

function secret(state) {
    const { token, user } = state.made;
    return m("div.secret", { role: "status" }, m("strong", `The token of ${user}:`), m("code", token), m("button", { type: "button", onclick: () => copy(token, "token copied") }, "Copy"),
        m("span", "It is shown once: the server keeps only its hash."), m("button.quiet", { type: "button", onclick: () => { state.made = null; } }, "Done"));
}

function tokens(state, read) {
    const over = (t) => t.revoked_at !== null || (t.expires_at !== null && Date.parse(t.expires_at) < Date.now());
    const list = state.all ? state.tokens : state.tokens.filter((t) => !over(t));
    return m("section", m("header.page-head", m("h2", "Tokens"), m("button", { type: "button", onclick: () => { state.asking = true; } }, "New token …"),
        m("label.check", m("input", { type: "checkbox", checked: state.all, onchange: ({ target }) => { state.all = target.checked; } }), "also those that have ended")),
    state.made && secret(state),
    state.tokens.length === 0 ? m("p.empty", "There is no token: whoever reaches this server, from this machine alone, is an administrator.") : m("div.scroll", m("table", m("caption.offscreen", "Tokens"),
        head(["Id", "User", "Role", "For", "Made", "Ends", "Last used", ""], ["Id"]),
        m("tbody", list.map((t) => m("tr", { key: t.id, class: over(t) ? "gone" : "" }, m("td.n", t.id), m("td.text", t.user), m("td", t.role), m("td.text", t.note ?? ""), m("td", m(Time, { at: t.created_at })),
            m("td", t.revoked_at ? ["revoked ", m(Time, { at: t.revoked_at })] : t.expires_at ? m(Time, { at: t.expires_at }) : "never"), m("td", m(Time, { at: t.last_used_at })),
            m("td", !over(t) && m(Action, { class: "danger", act: async () => {
                const own = t.id === me.token ? " It is the one that you are using now." : "";
                if (!await sure(`Revoke token ${t.id}?`, `${t.user} can no longer use it, from now on.${own}`, "Revoke")) return;
                await api.del(`/v1/tokens/${t.id}`);
                say(`revoked token ${t.id}`);
                await read();
            } }, "Revoke"))))))));
}

/* ---- the audit log ---- */

/* {"status": 201} as "status 201". */
function detail(value) {
    if (value === null || typeof value !== "object") return value === null || value === undefined ? "" : String(value);
    return Object.entries(value).map(([key, inner]) => `${key.replace(/_/g, " ")} ${format.brief(inner)}`).join(", ");
}

function log(state, read) {
    return m("section", m("header.page-head", m("h2", "Who did what"),
        m("input", { type: "search", placeholder: "user", "aria-label": "Only this user", "data-filter": true, value: state.typed, oninput: ({ target }) => { state.typed = target.value; }, onchange: () => { state.who = state.typed.trim(); read(); } })),
    state.entries.length === 0 ? m("p.empty", "Nothing yet.") : m("div.scroll", m("table", m("caption.offscreen", "Audit log"), head(["When", "User", "Token", "Did", "To", "Detail"], ["Token"]),
        m("tbody", state.entries.map((e) => m("tr", { key: e.id }, m("td", m(Time, { at: e.at })), m("td.text", e.user), m("td.n", e.token ?? "–"), m("td", e.action), m("td.text", e.object), m("td.text", detail(e.detail))))))),
    state.next && m("p", m(Action, { act: () => read(true) }, "Earlier")));
}

export default function Users() {
    const state = { users: null, tokens: [], entries: [], next: null, who: "", typed: "", edited: null, asking: false, made: null, all: false };
    let error = null, denied = false, absent = false;

    async function readLog(earlier = false) {
        try {
            const part = await api.maybe(`/v1/audit${query({ user: state.who, limit: LOG_PAGE, cursor: earlier ? state.next : undefined })}`);
            state.entries = earlier ? [...state.entries, ...(part?.entries ?? [])] : part?.entries ?? [];
            state.next = part?.next ?? null;
        } catch (fault) { say(fault); }
        m.redraw();
    }

    async function read() {
        await known;
        denied = me.role !== null && me.role !== "admin";
        if (denied) return m.redraw();
        try {
            const found = await api.maybe("/v1/users");
            if (found === null) {
                absent = true;
            } else {
                state.users = found.users;
                state.tokens = (await api.maybe("/v1/tokens"))?.tokens ?? [];
                await readLog();
            }
            error = null;
        } catch (fault) {
            denied = fault.status === 403;
            error = denied ? null : fault;
        }
        m.redraw();
    }

    return {
        oninit: read,
        view: () => [
            m("header.page-head", m("h1", "Users"), me.user && m("span.soft", `You are ${me.user}. Your role is ${me.role}${ROLES[me.role] ? `: it ${ROLES[me.role]}` : ""}.`)),
            error && m(Problem, { error, again: read }),
            absent && m("p.empty", "This server has no users: whoever reaches it may do everything."),
            denied && m("p.empty", "Users, tokens and the log are for administrators. What everybody's share is, the queue tells."),
            state.users && m("div.queue-grid", users(state), tokens(state, read), log(state, readLog)),
            state.edited && m(EditUser, { user: state.edited, close: () => { state.edited = null; }, saved: () => { state.edited = null; read(); } }),
            state.asking && m(NewToken, { close: () => { state.asking = false; }, made: (made) => { state.asking = false; state.made = made; read(); } }),
        ],
    };
}
