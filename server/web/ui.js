// SPDX-License-Identifier: Apache-2.0
/*
 * Pieces that several pages draw. Everything that a user has written goes through m() as text: nothing here or in the
 * pages uses m.trust or innerHTML.
 */
import { words } from "./api.js";
import * as format from "./format.js";

/* ---- messages: one line at the bottom, read out by screen readers ---- */

export const messages = { list: [] };

/* say("copied"), say(error): an error stays until it is closed. */
export function say(what) {
    const wrong = what instanceof Error;
    if (wrong && what.name === "AbortError") return;
    const message = { text: wrong ? words(what) : what, wrong };
    messages.list = [...messages.list.filter((other) => other.text !== message.text), message].slice(-3);
    if (!wrong) setTimeout(() => { close(message); m.redraw(); }, 4000);
    m.redraw();
}

function close(message) {
    messages.list = messages.list.filter((other) => other !== message);
}

export const Messages = {
    view: () => m("div.messages", { role: "status", "aria-live": "polite" }, messages.list.map((message) =>
        m("p.message", { class: message.wrong ? "wrong" : "", role: message.wrong ? "alert" : undefined },
          message.text, message.wrong && m("button.quiet", { type: "button", onclick: () => close(message), "aria-label": "Close" }, "×")))),
};

/* ---- small things ---- */

export const link = (href, attrs, ...children) => m("a", { href: `#!${href}`, ...attrs }, children);

export const Time = {
    view: ({ attrs: { at } }) => at ? m("time", { datetime: at, title: format.absolute(at) }, format.ago(at)) : m("span.none", "–"),
};

const MARKS = { diverged: "↯", queued: "○", running: "▶", paused: "Ⅱ", succeeded: "✓", failed: "✕", cancelled: "⊘" };

/* A state: a sign, a colour and a word, so that nobody needs the colour. */
export const State = {
    view: ({ attrs: { state, reason } }) => m("span.state", { class: `is-${state}`, title: reason ?? "" },
        m("span", { "aria-hidden": "true" }, MARKS[state] ?? "•"), " ", state),
};

export const Progress = {
    view: ({ attrs: { value, max, label, state } }) => m("progress", {
        class: state ? `is-${state}` : "", value: max > 0 ? Math.min(value, max) : 0, max: max > 0 ? max : 1, "aria-label": label ?? "progress",
        title: max > 0 ? format.percent(value / max) : "",
    }),
};

/* A problem in place of what could not be read. */
export const Problem = {
    view: ({ attrs: { error, again } }) => m("p.problem", { role: "alert" }, words(error),
        again && [" ", m("button", { type: "button", onclick: again }, "Try again")]),
};

/* A button whose promise is waited for; an error is said. */
export function Action() {
    let busy = false;
    const run = async (act) => {
        busy = true;
        try { await act(); } catch (error) { say(error); }
        busy = false;
        m.redraw();
    };
    return {
        view: ({ attrs: { act, disabled, title, class: style, key }, children }) => m("button", {
            type: "button", title, class: style, disabled: disabled || busy, "aria-busy": busy ? "true" : false,
            onclick: () => run(act),
        }, children),
    };
}

export async function copy(text, what = "copied") {
    try {
        await navigator.clipboard.writeText(text);
    } catch { // no permission, or not a secure context
        const area = document.createElement("textarea");
        area.value = text;
        area.className = "offscreen";
        document.body.append(area);
        area.select();
        document.execCommand("copy");
        area.remove();
    }
    say(what);
}

/* A modal dialog: m(Dialog, {title, close}, ...). Escape and the button call close. */
export const Dialog = {
    oncreate: ({ dom }) => dom.showModal(),
    onremove: ({ dom }) => dom.close?.(),
    view: ({ attrs: { title, close: shut }, children }) => m("dialog", {
        "aria-label": title,
        oncancel: (event) => { event.preventDefault(); shut?.(); m.redraw(); },
    }, m("header", m("h2", title), shut && m("button.quiet", { type: "button", onclick: shut, "aria-label": "Close" }, "×")), children),
};

/* confirm() that is part of the page. Resolves to whether it was agreed to. */
export const question = { open: null };

export function sure(title, text, yes = "Yes") {
    return new Promise((resolve) => {
        question.open = { title, text, yes, answer: (value) => { question.open = null; resolve(value); m.redraw(); } };
        m.redraw();
    });
}

export const Question = {
    view() {
        const q = question.open;
        return q && m(Dialog, { title: q.title, close: () => q.answer(false) }, m("p", q.text), m("footer",
            m("button", { type: "button", onclick: () => q.answer(false) }, "No"),
            m("button.danger", { type: "button", onclick: () => q.answer(true) }, q.yes)));
    },
};
