// SPDX-License-Identifier: Apache-2.0
/*
 * The matrices of a run as pictures that the server draws: receptive fields of the first layer, W, B, V and U, and the
 * products that turn towards each other, side by side, at any kept checkpoint.
 *
 * What should align (feedback): what arrives, V_l B_{l+1}, with the gradient's matrix, W_{l+1}' V_{l+1}; without laterals
 * B_{l+1} with W_{l+1}'. Lateral: W_l W_l' with V_l V_l', B_{l+1} B_{l+1}' with U_l U_l'; and U_l with V_l'.
 */
import { api, query } from "./api.js";
import * as format from "./format.js";

/* What a pair means, by its kind. */
const MEANING = {
    feedback: "What carries the signal down, and what would carry the gradient. The more they look alike, the better the layer is taught.",
    lateral: "How the ascending neurons overlap in what they see, and how the laterals to them mix the signal.",
    lateral_descending: "The same for the descending neurons and the laterals to those.",
    laterals: "The laterals of one direction, and those of the other turned round.",
};

/*
 * Pairs of products for each hidden layer: [{layer, kind, title, left, right}]; kind: of the series with their cosine.
 * kernels: names of convolutions' arrays, which are no matrices and have no products.
 */
export function pairsOf(names, kernels = []) {
    const has = (name) => names.includes(name), pairs = [];
    for (let l = 1; has(`W${l + 1}`); l++) {
        const w = `W${l + 1}`, b = `B${l + 1}`, v = `V${l}`, u = `U${l}`, above = `V${l + 1}`;
        const pair = (kind, title, left, right) => {
            if (!`${left}.${right}`.split(".").some((factor) => kernels.includes(factor))) pairs.push({ layer: l, kind, title, left, right });
        };
        if (has(v) && has(b)) pair("feedback", "Feedback", `${v}.${b}`, has(above) ? `${w}.T.${above}` : `${w}.T`);
        else if (has(b)) pair("feedback", "Feedback", b, `${w}.T`);
        if (has(v)) pair("lateral", "Lateral", `W${l}.W${l}.T`, `${v}.${v}.T`);
        if (has(u) && has(b)) pair("lateral_descending", "Lateral, descending", `${b}.${b}.T`, `${u}.${u}.T`);
        if (has(u) && has(v)) pair("laterals", "The laterals", u, `${v}.T`);
    }
    return pairs;
}

/* "W2.T.V2" as "W2ᵀ V2". */
export const formula = (name) => name.replace(/\.T/g, "ᵀ").replace(/\./g, " ");

/* The shape of a product of matrices: the rows of its first factor, the columns of its last. shapes: by name. */
export function shapeOf(product, shapes) {
    const factors = [];
    for (const part of product.split(".")) {
        if (part === "T") factors.push([...factors.pop()].reverse());
        else factors.push(shapes.get(part) ?? [1, 1]);
    }
    return [factors[0][0], factors.at(-1)[1]];
}

/* Whole pixels for each number of a matrix that is to stand beside another: about 12 em wide, 18 high. */
function scaleFor([rows, columns]) {
    const em = parseFloat(getComputedStyle(document.documentElement).fontSize);
    return Math.max(1, Math.min(16, Math.floor(12 * em / columns), Math.floor(18 * em / rows)));
}

/* The cosine that the run recorded for a pair, last before the step. */
function cosine(series, { kind, layer }, step) {
    const s = series?.[`alignment/${kind}/${layer}`], i = s ? s.steps.findLastIndex((at) => at <= step) : -1;
    return i >= 0 ? ` · cosine ${format.number(s.values[i], 3)}` : "";
}

/* Two pictures at a time: that many the server draws at once, for everybody. It may be busy with others'. */
let drawing = 0;
const waiting = [];
async function draw(path, options) {
    if (drawing >= 2) await new Promise((turn) => waiting.push(turn));
    drawing++;
    try {
        for (let tries = 10; ; tries--) {
            try {
                return await api.blob(path, options);
            } catch (error) {
                if (error.status !== 503 || tries === 0) throw error;
            }
            await new Promise((later) => setTimeout(later, 1000));
        }
    } finally {
        drawing--;
        waiting.shift()?.();
    }
}

/* A picture that needs the token: fetched, shown as a blob. The old one stays until the new one is there. */
export function Picture() {
    let url = null, path = null, problem = null, control = null;
    async function show(next) {
        if (next === path) return;
        path = next;
        control?.abort();
        control = new AbortController();
        try {
            const blob = await draw(next, { signal: control.signal, headers: { Accept: "image/png" } });
            if (path !== next) return;
            if (url) URL.revokeObjectURL(url);
            url = URL.createObjectURL(blob);
            problem = null;
        } catch (error) {
            if (error.name === "AbortError" || path !== next) return;
            problem = error.isAbsent && url ? null : error; // a run that goes on no longer keeps that checkpoint: the next is on its way
        }
        m.redraw();
    }
    return {
        oninit: ({ attrs }) => { show(attrs.src); },
        onupdate: ({ attrs }) => { show(attrs.src); },
        onremove() { control?.abort(); if (url) URL.revokeObjectURL(url); },
        view: ({ attrs: { alt, caption } }) => m("figure.picture", problem ? m("p.soft.nothing", problem.isAbsent ? "this checkpoint is no longer kept" : problem.message)
            : url ? m("img", { src: url, alt }) : m("p.soft.nothing", "…"), m("figcaption", caption)),
    };
}

export function Matrices() {
    let at = null, group = null, layer = 1;
    const tab = (now, key, text) => m("button", { type: "button", "aria-pressed": String(now === key), onclick: () => { group = key; } }, text);
    return {
        view({ attrs: { run, arrays, checkpoints, series, moved } }) {
            const last = checkpoints.length - 1, index = at === null ? last : Math.min(at, last), step = checkpoints[index];
            const names = arrays.filter(({ shape }) => shape.length >= 2).map(({ name }) => name), shapes = new Map(arrays.map((a) => [a.name, a.shape]));
            const src = (name, layout, scale) => `/v1/runs/${run}/weights/${encodeURIComponent(name)}.png${query({ step, layout, scale })}`;
            const picture = (name, caption, layout, scale) => m(Picture, { key: `${name} ${layout ?? ""}`, src: src(name, layout, scale), alt: `${formula(name)} at step ${step}`, caption });
            const product = (name) => { const shape = shapeOf(name, shapes); return picture(name, `${formula(name)}: ${shape.map(format.count).join(" × ")}`, undefined, scaleFor(shape)); };
            const pairs = pairsOf(names, names.filter((name) => shapes.get(name).length > 2)), layers = [...new Set(pairs.map((p) => p.layer))];
            const shown = group ?? (pairs.length > 0 ? "products" : "fields"), layerNow = layers.includes(layer) ? layer : layers[0];
            const [neurons, ...field] = shapes.get("W1") ?? [0, 0], side = field.length > 1 ? field.at(-1) : Math.sqrt(field[0]);
            return m("section", { "aria-label": "Weights" }, m("div.row.wide", m("h2.part", "Weights"),
                m("div.row", { role: "group", "aria-label": "Which" }, pairs.length > 0 && tab(shown, "products", "What should align"), tab(shown, "fields", "Receptive fields"), ["W", "B", "V", "U"].filter((g) => names.some((n) => n.startsWith(g))).map((g) => tab(shown, g, g))),
                shown === "products" && layers.length > 1 && m("label.inline", "Layer", m("select", { onchange: (event) => { layer = Number(event.target.value); } }, layers.map((l) => m("option", { value: l, selected: l === layerNow }, l)))),
                m("label.inline.checkpoint", "Checkpoint", m("input", { type: "range", min: 0, max: last, step: 1, value: index, disabled: last === 0, "aria-valuetext": `step ${step}`,
                    oninput: (event) => { at = Number(event.target.value) === last ? null : Number(event.target.value); moved?.(at === null ? null : checkpoints[at]); } }),
                m("output", `step ${format.count(step)}`))),
            m("p.soft", shown === "fields" ? "Each square is what one neuron of the first layer has learned to see: its weights from the inputs, laid out as the inputs are. "
                : shown === "products" ? "Beside each other: two matrices that learning should make alike, up to a factor. " : "",
            "Blue is negative, white 0, red positive; each picture has its own symmetric scale."),
            shown === "fields" ? m("div.pictures.fields", [picture("W1", `W1: one field for each of ${format.count(neurons)} ${field.length > 1 ? "channels" : "neurons"}`, "fields", Math.max(2, Math.min(16, Math.round(56 / side))))])
            : shown === "products" ? m("div.grid", pairs.filter((p) => p.layer === layerNow).map((p) => m("div.pair.card", { key: p.kind + p.layer },
                m("h3", `${p.title}, layer ${p.layer}`, m("span.soft", cosine(series, p, step))), m("p.explains", MEANING[p.kind]),
                m("div.pictures", [product(p.left), m("span.beside", { key: "beside", "aria-hidden": "true" }, "∥"), product(p.right)]))))
            : m("div.pictures", names.filter((n) => n.startsWith(shown)).map((n) => picture(n, `${n}: ${shapes.get(n).map(format.count).join(" × ")}`))));
        },
    };
}
