// SPDX-License-Identifier: Apache-2.0
/*
 * The frame of the dashboard: the header, the routes, the keys, the sign-in box.
 *
 * A page is a module pages/NAME.js whose default export is a Mithril component; it is loaded when it is first needed.
 * Its attrs are the parts of the route ({id}). Rows that j and k walk over carry data-row, the filter that / goes to
 * carries data-filter.
 */
import { api, connection, hasToken, login, setToken } from "./api.js";
import { introduce, me } from "./me.js";
import { Dialog, Messages, Problem, Question, link, say } from "./ui.js";

/*
 * Mithril 1.1 draws within m.redraw() itself where the last drawing is 16 ms ago: from a component that goes away, that
 * would be in the middle of another drawing. Here it waits for the next frame, always.
 */
const drawNow = m.redraw;
let drawing = null;
m.redraw = () => {
    drawing ??= requestAnimationFrame(() => {
        drawing = null;
        drawNow();
    });
};

/* route, module, title; a title that the page knows better is set by the page (document.title). */
const PAGES = [
    ["/experiments", "experiments", "Experiments"],
    ["/experiments/:id", "experiment", "Experiment"],
    ["/runs/:id", "run", "Run"],
    ["/compare", "compare", "Compare"],
    ["/new", "new", "New experiment"],
    ["/datasets", "datasets", "Datasets"],
    ["/queue", "queue", "Queue"],
    ["/users", "users", "Users"],
];
const NAV = [["/experiments", "Experiments"], ["/compare", "Compare"], ["/datasets", "Datasets"], ["/queue", "Queue"], ["/users", "Users"]];

let help = false;
let storage = { storage: "ok", message: null }; // as /healthz says

function lookAtStorage() {
    return api.get("/healthz").then((now) => { storage = now; m.redraw(); }).catch(() => { /* the mark of the connection says so */ });
}

/* A disk that is full or fails: nobody should have to find out by what is refused. */
function markOfStorage() {
    if (storage.storage === "ok" || !storage.message) return null;
    return m("p.problem.storage", { role: "alert" }, storage.message[0].toUpperCase() + storage.message.slice(1));
}

function markOfConnection() {
    const text = { live: "live", poll: "every 2 s", lost: "no connection" }[connection.state];
    return text && m("span.connection", { class: `is-${connection.state}`, role: "status" }, text);
}

function header() {
    const here = m.route.get() ?? "";
    return m("header.top",
        m("a.skip", { href: "#main", onclick: (event) => { event.preventDefault(); document.getElementById("main")?.focus(); } }, "Skip to content"),
        link("/experiments", { class: "brand" }, m("img", { src: "/assets/icon.svg", alt: "", width: 20, height: 20 }), "Tetrad"),
        m("nav", { "aria-label": "Main" }, NAV.map(([to, text]) =>
            link(to, { class: here.startsWith(to) ? "here" : "", "aria-current": here.startsWith(to) ? "page" : false }, text))),
        m("span.tools", markOfConnection(),
            link("/new", { class: "button primary" }, "New"),
            m("button.quiet", { type: "button", onclick: () => tetradLook.turn(), title: "Dark or light (t)" }, tetradLook.dark() ? "☀" : "☾",
                m("span.offscreen", "Dark or light")),
            m("button.quiet.desk", { type: "button", onclick: () => tetradLook.wall(), title: "Large, for a wall screen (w)" }, m("svg", { width: 14, height: 14, viewBox: "0 0 14 14", fill: "none", stroke: "currentColor", "stroke-width": 1.6, "aria-hidden": "true" }, m("path", { d: "M1 5V1h4M9 1h4v4M13 9v4H9M5 13H1V9" })),
                m("span.offscreen", "Large, for a wall screen")),
            m("button.quiet.desk", { type: "button", onclick: () => { help = true; }, title: "Keys (?)" }, "?", m("span.offscreen", "Keys")),
            me.user && m("span.me", { title: me.role ? `${me.user}, ${me.role}` : me.user }, me.user),
            hasToken() && m("button.quiet", { type: "button", onclick: () => { setToken(null); location.reload(); } }, "Sign out")));
}

function signIn() {
    let value = "", keep = false;
    return {
        view: () => m(Dialog, { title: "Sign in" }, m("form", {
            onsubmit: (event) => { event.preventDefault(); if (value) login.ask?.done(value.trim(), keep); },
        },
            m("p", login.ask?.refused ? "The server refuses this token: it is wrong, has expired or was revoked."
                                      : "This server wants to know who you are. An administrator gives out tokens (tetrad token create)."),
            m("label", "Token", m("input", { type: "password", autocomplete: "off", autofocus: true, spellcheck: false, "aria-invalid": login.ask?.refused ? "true" : false,
                oninput: (event) => { value = event.target.value; } })),
            m("label.check", m("input", { type: "checkbox", onchange: (event) => { keep = event.target.checked; } }), "Remember it in this browser"),
            m("footer", m("button.primary", { type: "submit" }, "Sign in")))),
    };
}

const KEYS = [["j, k", "next and previous row"], ["Enter", "open it"], ["x", "select it, where rows can be selected"], ["/", "filter"], ["n", "new experiment"],
    ["e, c, d, q", "experiments, compare, datasets, queue"], ["t", "dark or light"], ["w", "large, for a wall screen"], ["?", "this list"]];

const Help = {
    view: () => m(Dialog, { title: "Keys", close: () => { help = false; } }, m("table.keys", m("caption.offscreen", "Keys"),
        m("tbody", KEYS.map(([key, text]) => m("tr", m("th", { scope: "row" }, m("kbd", key)), m("td", text)))))),
};

const Frame = {
    view: ({ children }) => m("div.frame-of-all", header(), markOfStorage(), m("main#main", { tabindex: -1 }, children), m(Messages), m(Question),
        login.ask && m(signInBox), help && m(Help)),
};
const signInBox = signIn;

/* ---- keys ---- */

const GO = { e: "/experiments", c: "/compare", d: "/datasets", q: "/queue", n: "/new" };

function step(by) {
    const rows = [...document.querySelectorAll("[data-row]")];
    const now = rows.findIndex((row) => row === document.activeElement || row.closest("tr")?.contains(document.activeElement));
    const next = rows[now < 0 ? (by > 0 ? 0 : rows.length - 1) : Math.max(0, Math.min(rows.length - 1, now + by))];
    next?.focus();
    next?.scrollIntoView({ block: "nearest" });
}

function key(event) {
    const at = event.target;
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented || document.querySelector("dialog[open]") ||
        at.closest?.("input, textarea, select, [contenteditable], .CodeMirror")) return;
    if (event.key === "j" || event.key === "k") step(event.key === "j" ? 1 : -1);
    else if (event.key === "x") at.closest?.("tr")?.querySelector("input[type=checkbox]")?.click();
    else if (event.key === "/") document.querySelector("[data-filter]")?.focus();
    else if (event.key === "?") help = true;
    else if (event.key === "t") tetradLook.turn();
    else if (event.key === "w") tetradLook.wall();
    else if (GO[event.key]) m.route.set(GO[event.key]);
    else return;
    event.preventDefault();
    m.redraw();
}

/* ---- routes ---- */

function failed(error) {
    return { view: () => m(Problem, { error: new Error(`this page cannot be loaded: ${error.message}`), again: () => location.reload() }) };
}

/*
 * A page of its own for each path, so that another id begins anew, while a change of the query alone keeps the page.
 * By another component rather than by a key: Mithril 1.1 recycles the nodes of keyed lists.
 */
function resolver([, module, title]) {
    let shown = null, page = null;
    return {
        onmatch: async (args, requested) => {
            const path = requested.split("?")[0];
            if (shown === path && page !== null && m.route.get()?.split("?")[0] === path) return page;
            let made;
            try {
                made = (await import(`./pages/${module}.js`)).default;
            } catch (error) {
                made = failed(error);
            }
            shown = path;
            page = typeof made === "function" ? (vnode) => made(vnode) : { ...made };
            document.title = `${title} · Tetrad`;
            window.scrollTo(0, 0);
            if (document.activeElement !== document.body) requestAnimationFrame(() => document.getElementById("main")?.focus({ preventScroll: true }));
            return page;
        },
        render: (vnode) => m(Frame, vnode),
    };
}

function start() {
    document.addEventListener("keydown", key);
    addEventListener("tetrad-look", () => m.redraw());
    m.route(document.getElementById("app"), "/experiments", Object.fromEntries(PAGES.map((page) => [page[0], resolver(page)])));
    setInterval(() => { if (!document.hidden) lookAtStorage().then(m.redraw); }, 10000); // "3 min ago"
    lookAtStorage();
    api.maybe("/v1/me").then((who) => { introduce(who); m.redraw(); }).catch(say);
}

start();
