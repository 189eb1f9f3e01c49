// SPDX-License-Identifier: Apache-2.0
/*
 * The server, as the pages see it: requests with the token, errors in words, events.
 *
 * The token is sent in the Authorization header alone and kept by the browser's storage: for this tab, or, by choice,
 * for this browser. There are no cookies, so no other site can speak for its reader. Where the server asks who it is
 * (401), `login.ask` is set, the request waits, and goes on when somebody has signed in.
 */

const KEY = "tetrad.token";

function stored(storage) {
    try { return storage().getItem(KEY); } catch { return null; }
}

let token = stored(() => sessionStorage) ?? stored(() => localStorage);

/* What the sign-in box shows: null, or {refused, done(token, keep)}. app.js draws it. */
export const login = { ask: null };

let signedIn = null; // a promise while somebody is asked

export function setToken(value, keep) {
    token = value || null;
    try {
        sessionStorage.removeItem(KEY);
        localStorage.removeItem(KEY);
        if (token) (keep ? localStorage : sessionStorage).setItem(KEY, token);
    } catch { /* storage is off: the token lasts as long as the page */ }
}

export const hasToken = () => token !== null;
export const bearer = () => (token ? { Authorization: `Bearer ${token}` } : {}); // for what fetch cannot do

function askForToken(refused) {
    signedIn ??= new Promise((resolve) => {
        login.ask = {
            refused,
            done(value, keep) {
                setToken(value, keep);
                login.ask = null;
                signedIn = null;
                resolve();
                m.redraw();
            },
        };
        m.redraw();
    });
    return signedIn;
}

/* An error of the server's, or of the way to it (status 0). details: [{pointer, message, found, allowed, ...}]. */
export class ApiError extends Error {
    constructor(status, code, message, details = []) {
        super(message);
        Object.assign(this, { status, code, details: Array.isArray(details) ? details : [] });
    }
    /* The server (an older one, perhaps) has no such route: a page then leaves something out. */
    get isAbsent() { return this.status === 404 || this.status === 405 || this.status === 501; }
}

async function errorOf(response) {
    let error = {};
    try { error = (await response.json()).error ?? {}; } catch { /* not from Tetrad */ }
    return new ApiError(response.status, error.code ?? "http", error.message ?? `the server answered ${response.status}`,
                        error.details);
}

/* An error as one sentence for people. */
export function words(error) {
    if (!(error instanceof ApiError)) return String(error?.message ?? error);
    const after = error.details.slice(0, 3).map((d) => {
        const text = d.message ?? [d.found !== undefined && `found ${JSON.stringify(d.found)}`,
                                   d.allowed && `allowed: ${d.allowed}`].filter(Boolean).join(", ");
        return d.pointer !== undefined ? `${d.pointer || "/"}: ${text}` : text;
    });
    return [error.message, ...after].filter(Boolean).join("; ");
}

/* fetch() with the token; answers 401 by asking. Rejects with an ApiError; an AbortError as fetch does. */
export async function ask(path, options = {}) {
    for (let refused = false; ; refused = true) {
        const sent = token;
        const headers = { Accept: "application/json", ...options.headers };
        if (sent) headers.Authorization = `Bearer ${sent}`;
        let response;
        try {
            response = await fetch(path, { ...options, headers, credentials: "omit", cache: options.cache ?? "no-cache" });
        } catch (error) {
            if (error.name === "AbortError") throw error;
            throw new ApiError(0, "unreachable", "the server cannot be reached");
        }
        if (response.ok) return response;
        if (response.status !== 401) throw await errorOf(response);
        if (token === sent) await askForToken(refused || sent !== null);
    }
}

async function json(path, options) {
    const response = await ask(path, options);
    return response.status === 204 ? null : response.json();
}

const withBody = (method) => (path, body, options = {}) => json(path, {
    ...options, method, headers: { "Content-Type": "application/json", ...options.headers },
    body: body === undefined ? undefined : JSON.stringify(body),
});

/* query({a: 1, b: undefined, c: [2, 3]}) is "?a=1&c=2&c=3": what is undefined, null or "" is left out. */
export function query(values) {
    const parts = new URLSearchParams();
    for (const [key, value] of Object.entries(values)) {
        for (const one of Array.isArray(value) ? value : [value])
            if (one !== undefined && one !== null && one !== "") parts.append(key, one);
    }
    const text = parts.toString().replace(/\+/g, "%20"); // as the page's own address needs it, too
    return text ? `?${text}` : "";
}

export const api = {
    get: (path, options) => json(path, options),
    post: withBody("POST"),
    put: withBody("PUT"),
    del: (path, options) => json(path, { ...options, method: "DELETE" }),
    blob: async (path, options) => (await ask(path, { ...options, headers: { Accept: "*/*", ...options?.headers } })).blob(),
    /* What somebody else's program might not have: null where there is no such route or thing. */
    maybe: async (path, options) => {
        try {
            return await json(path, options);
        } catch (error) {
            if (error.isAbsent) return null;
            throw error;
        }
    },
};

/* Saves a blob under a name. */
export function save(blob, name) {
    const url = URL.createObjectURL(blob);
    const link = document.createElement("a");
    link.href = url;
    link.download = name;
    document.body.append(link);
    link.click();
    link.remove();
    setTimeout(() => URL.revokeObjectURL(url), 60000);
}

export const download = async (path, name, accept = "*/*") => save(await api.blob(path, { headers: { Accept: accept } }), name);

/* ---- events ---- */

/* Takes server-sent events apart: feed() text as it comes, `got` is called with {id, event, data}. */
export function eventParser(got) {
    let rest = "", event = {};
    const line = (text) => {
        if (text === "") {
            if (event.data !== undefined) got(event);
            event = {};
            return;
        }
        const at = text.indexOf(":");
        if (at === 0) return; // a comment: the heartbeat
        const key = at < 0 ? text : text.slice(0, at), value = at < 0 ? "" : text.slice(at + 1).replace(/^ /, "");
        if (key === "data") event.data = event.data === undefined ? value : `${event.data}\n${value}`;
        else if (key === "id" || key === "event") event[key] = value;
    };
    return {
        feed(text) {
            rest += text;
            for (let end; (end = rest.search(/\r\n|\n|\r(?!$)/)) >= 0;) {
                line(rest.slice(0, end));
                rest = rest.slice(end + (rest.startsWith("\r\n", end) ? 2 : 1));
            }
        },
    };
}

const POLL_MS = 2000, SILENT_MS = 40000, HIDDEN_MS = 30000, BACK_OFF_MS = [500, 1000, 2000, 5000, 10000, 30000];

/* How the page is connected, for the mark in the header: "live", "poll", "lost" or "". */
export const connection = { state: "" };

function connected(state) {
    if (connection.state === state) return;
    connection.state = state;
    queueMicrotask(m.redraw); // not at once: pages stop to listen while they are taken away, in the midst of a drawing
}

/*
 * listen(path, handlers) reads events until the function that it returns is called.
 *   handlers.state/progress/metrics/changed: called with an event's data
 *   handlers.again: read everything anew: after events were missed, and every 2 s where the server has no events
 * Nothing is read while the page is hidden for long.
 */
export function listen(path, handlers) {
    let stopped = false, last = null, failures = 0, control = null, timer = null, hiddenTimer = null, polls = false;
    const later = (ms, f) => { clearTimeout(timer); timer = setTimeout(f, ms); };

    function got({ id, event = "message", data }) {
        if (id !== undefined) last = id;
        failures = 0;
        if (event === "missed") return handlers.again?.();
        let value;
        try { value = JSON.parse(data); } catch { return; }
        handlers[event]?.(value);
        m.redraw();
    }

    async function pollOnce() {
        if (stopped || document.hidden) return;
        try {
            await handlers.again?.();
            connected("poll");
        } catch { connected("lost"); }
        if (!stopped) later(POLL_MS, pollOnce);
    }

    async function stream() {
        if (stopped || document.hidden) return;
        control = new AbortController();
        const mine = control;
        let silent = null;
        const alive = () => { clearTimeout(silent); silent = setTimeout(() => mine.abort(), SILENT_MS); };
        const resumed = last !== null;
        try {
            alive();
            const headers = { Accept: "text/event-stream", ...(resumed ? { "Last-Event-ID": last } : {}) };
            const response = await ask(path, { signal: mine.signal, headers, cache: "no-store" });
            connected("live");
            if (!resumed) Promise.resolve(handlers.again?.()).catch(() => {}); // what happened before it was open
            const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
            const parser = eventParser(got);
            for (;;) {
                const { done, value } = await reader.read();
                if (done) break;
                alive();
                parser.feed(value);
            }
        } catch (error) {
            if (error.isAbsent || error.status === 406 || error.status === 400) {
                polls = true;
                clearTimeout(silent);
                return void pollOnce();
            }
        }
        clearTimeout(silent);
        if (stopped || control !== mine || document.hidden) return;
        connected("lost");
        later(BACK_OFF_MS[Math.min(failures++, BACK_OFF_MS.length - 1)] * (0.75 + Math.random() / 2), stream);
    }

    function visibility() {
        clearTimeout(hiddenTimer);
        if (document.hidden) {
            hiddenTimer = setTimeout(() => { clearTimeout(timer); control?.abort(); control = null; }, HIDDEN_MS);
        } else if (polls) {
            later(0, pollOnce);
        } else if (control === null || control.signal.aborted) {
            later(0, stream);
        }
    }

    document.addEventListener("visibilitychange", visibility);
    stream();
    return () => {
        stopped = true;
        clearTimeout(timer);
        clearTimeout(hiddenTimer);
        document.removeEventListener("visibilitychange", visibility);
        control?.abort();
        control = null;
        connected("");
    };
}
