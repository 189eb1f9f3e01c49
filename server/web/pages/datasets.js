// SPDX-License-Identifier: Apache-2.0
/* Datasets: what there is, with sample images; uploading, with progress; deleting. */
import { ApiError, api, ask, bearer, words } from "../api.js";
import { Action, Problem, link, say, sure } from "../ui.js";
import { style } from "../editor.js";
import { refusal } from "../me.js";
import * as format from "../format.js";

await style("forms.css");

const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/;
const SAMPLES = 36; // six by six

/* A picture that needs the token: fetched, not linked. */
function Picture() {
    let url = null, gone = false;
    return {
        oncreate: async ({ attrs: { path } }) => {
            try {
                const response = await ask(path, { headers: { Accept: "image/png" } });
                const blob = await response.blob();
                if (!gone) url = URL.createObjectURL(blob);
            } catch { /* no images, or a server without the route: no picture */ }
            m.redraw();
        },
        onremove: () => { gone = true; if (url) URL.revokeObjectURL(url); },
        view: ({ attrs: { alt } }) => url && m("img.samples", { src: url, alt }),
    };
}

const isImage = (d) => d.rows > 1 && d.columns > 1;

function shape(d) {
    if (!isImage(d)) return `${format.count(d.inputs)} inputs`;
    return `${d.rows} × ${d.columns}${d.channels > 1 ? ` × ${d.channels} channels` : ""} (${format.count(d.inputs)} inputs)`;
}

const fact = (label, value) => m("div", m("dt", label), m("dd", value));

/* Why it cannot be deleted now, or null. */
const kept = (d) => refusal(d.owner) ?? (d.in_use > 0 ? "Runs wait for it or use it." : null);

function Set() {
    return {
        view: ({ attrs: { d, deleted } }) => m("article.card.set", { "aria-label": d.name },
            m("h2", d.name, m("span.tag", d.source ?? d.kind ?? "file"), d.in_use > 0 && m("span.tag", `in use by ${d.in_use} ${d.in_use === 1 ? "run" : "runs"}`)),
            d.error ? m("p.problem", d.error) : [
                isImage(d) && m(Picture, { path: `/v1/datasets/${encodeURIComponent(d.name)}/samples.png?part=train&first=0&n=${SAMPLES}`, alt: `The first images of ${d.name}` }),
                m("dl.facts", fact("an example", shape(d)), fact(d.labels ? "classes" : "targets", format.count(d.outputs)),
                    fact("to train", format.count(d.train)), fact("to test", format.count(d.test)), fact("size", format.bytes(d.bytes)),
                    d.kind && d.kind !== (d.source ?? d.kind) && fact("kind", d.kind), d.owner && fact("owner", d.owner),
                    d.sha256 && fact("content", m("span.sha", { title: d.sha256 }, `${d.sha256.slice(0, 19)}…`)))],
            !d.error && m("p.actions", link(`/new?dataset=${encodeURIComponent(d.name)}`, { class: "button" }, "Train on it"), d.source === "upload" && [m(Action, { class: "danger", disabled: kept(d) !== null, title: kept(d) ?? "", act: async () => {
                if (!await sure(`Delete ${d.name}?`, "The files are removed from the server. Results of runs that used it stay.", "Delete")) return;
                await api.del(`/v1/datasets/${encodeURIComponent(d.name)}`);
                say(`deleted ${d.name}`);
                deleted();
            } }, "Delete"), kept(d) && m("small.why", kept(d))])),
    };
}

/* ---- uploading ---- */

/* What is sent for the chosen files: {type, body}, or {wrong: why}. */
export function payload(files) {
    const [first] = files;
    if (!first) return { wrong: "choose files, or drop them here" };
    if (files.length === 1 && /\.npz$/i.test(first.name)) return { type: "application/zip", body: first };
    if (files.length === 1 && /\.csv$/i.test(first.name)) return { type: "text/csv", body: first };
    const odd = files.find((f) => /\.(npz|csv)$/i.test(f.name));
    if (odd) return { wrong: `${odd.name} is a dataset by itself: send it alone` };
    const form = new FormData();
    files.forEach((file) => form.append("file", file, file.name));
    return { body: form };
}

/* PUT by XMLHttpRequest, which alone tells how far an upload is. */
function put(path, { type, body }, progress, started) {
    return new Promise((resolve, reject) => {
        const xhr = new XMLHttpRequest();
        xhr.open("PUT", path);
        if (type) xhr.setRequestHeader("Content-Type", type);
        for (const [key, value] of Object.entries(bearer())) xhr.setRequestHeader(key, value);
        xhr.upload.onprogress = (event) => { progress(event.loaded, event.total); m.redraw(); };
        xhr.onload = () => {
            let reply = {};
            try { reply = JSON.parse(xhr.responseText); } catch { /* not from Tetrad */ }
            if (xhr.status < 300) resolve(reply);
            else reject(new ApiError(xhr.status, reply.error?.code, reply.error?.message ?? `the server answered ${xhr.status}`, reply.error?.details));
        };
        xhr.onerror = () => reject(new ApiError(0, "cut", "the connection was cut; the server may have refused the upload"));
        xhr.onabort = () => reject(new DOMException("cancelled", "AbortError"));
        started(xhr);
        xhr.send(body);
    });
}

function Upload() {
    let files = [], name = "", over = false, sent = null, request = null, error = null;
    const blocked = () => sent !== null || refusal() !== null;

    function choose(list) {
        if (blocked()) return;
        files = [...list];
        error = null;
        if (name === "" && files[0]) name = files[0].name.replace(/\.(npz|csv|gz|bin)$/gi, "").replace(/[^A-Za-z0-9._-]+/g, "-").replace(/^[^A-Za-z0-9]+/, "").slice(0, 63);
    }

    async function send(done) {
        const what = payload(files);
        error = what.wrong ? new Error(what.wrong) : NAME.test(name) ? null : new Error("a name has letters, digits, dots, dashes and underscores, at most 63");
        if (error) return;
        sent = { loaded: 0, total: 0 };
        try {
            const set = await put(`/v1/datasets/${encodeURIComponent(name)}`, what, (loaded, total) => { sent = { loaded, total }; }, (xhr) => { request = xhr; });
            say(`uploaded ${set.name ?? name}`);
            [files, name] = [[], ""];
            done();
        } catch (fault) {
            if (fault.name !== "AbortError") error = fault.isAbsent ? new Error("this server takes no uploads") : fault;
        }
        sent = request = null;
        m.redraw();
    }

    return {
        onremove: () => request?.abort(),
        view: ({ attrs: { done } }) => m("form.drop", {
            class: over ? "over" : "", "aria-label": "Upload a dataset",
            onsubmit: (event) => { event.preventDefault(); send(done); },
            ondragover: (event) => { event.preventDefault(); over = true; }, ondragleave: () => { over = false; },
            ondrop: (event) => { event.preventDefault(); over = false; choose(event.dataTransfer.files); },
        },
            m("label", "Files", m("input", { type: "file", multiple: true, disabled: blocked(), onchange: ({ target }) => choose(target.files) })),
            m("label", "Name", m("input", { type: "text", maxlength: 63, spellcheck: false, value: name, disabled: blocked(), oninput: ({ target }) => { name = target.value; } })),
            sent ? [m("progress", { value: sent.loaded, max: sent.total || 1, "aria-label": "upload" }),
                m("span", sent.total > 0 && sent.loaded === sent.total ? "being checked …" : `${format.bytes(sent.loaded)} of ${format.bytes(sent.total)}`),
                m("button", { type: "button", onclick: () => request?.abort() }, "Cancel")]
                : m("button.primary", { type: "submit", disabled: refusal() !== null, title: refusal() ?? "" }, "Upload"),
            files.length > 0 && !sent && m("span.soft", files.map((f) => f.name).join(", "), `, ${format.bytes(files.reduce((n, f) => n + f.size, 0))}`),
            m("p.hint", refusal() && m("strong.why", refusal(), " "), "One .npz (arrays x and t), one .csv, or the files of MNIST (IDX, also .gz) or CIFAR (binary), chosen together or dropped here."),
            error && m("p.problem", { role: "alert" }, words(error))),
    };
}

export default function Datasets() {
    let list = null, error = null, filter = "";
    const read = async () => {
        try {
            list = (await api.get("/v1/datasets")).datasets;
            error = null;
        } catch (fault) { error = fault; }
        m.redraw();
    };
    return {
        oninit: read,
        view() {
            const shown = (list ?? []).filter((d) => d.name.toLowerCase().includes(filter.toLowerCase()));
            return [
                m("header.page-head", m("h1", "Datasets"), list && m("span.soft", format.count(list.length)),
                    m("input", { type: "search", placeholder: "filter", "aria-label": "Filter by name", "data-filter": true, value: filter, oninput: ({ target }) => { filter = target.value; } })),
                m(Upload, { done: read }),
                error && m(Problem, { error, again: read }),
                list === null && !error && m("p.soft", "Reading …"),
                m("div.sets", shown.map((d) => m(Set, { key: d.name, d, deleted: read }))),
                list && shown.length === 0 && m("p.empty", "No dataset of that name."),
            ];
        },
    };
}
