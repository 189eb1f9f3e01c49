// SPDX-License-Identifier: Apache-2.0
/*
 * The form's controls and the definition's text: what each control shows of a definition, and the changes in place
 * that a control makes. Where the text says more than a control can show, the control says so and leaves it alone.
 */
import { apply, change, find, scan } from "./jsontext.js";

const isObject = (v) => v !== null && typeof v === "object" && !Array.isArray(v);
const grids = (definition) => Array.isArray(definition?.sweep) ? definition.sweep.filter(isObject) : isObject(definition?.sweep) ? [definition.sweep] : [];

/* Applies several changes one after the other: [[path, value]]; the new text. */
export function edit(text, changes) {
    return changes.reduce((now, [path, value]) => apply(now, change(now, scan(now), path, value)), text);
}

/* The one change that makes `before` into `after`, so that undo takes one step: {from, to, insert} or null. */
export function difference(before, after) {
    if (before === after) return null;
    let from = 0, end = 0;
    while (from < Math.min(before.length, after.length) && before[from] === after[from]) from++;
    while (end < Math.min(before.length, after.length) - from && before.at(-1 - end) === after.at(-1 - end)) end++;
    return { from, to: before.length - end, insert: after.slice(from, after.length - end) };
}

/* "1-3, 7" as [1, 2, 3, 7]; null where it is no such list, or a longer one than `most`. */
export function parseList(text, most = 1000) {
    const values = [];
    for (const part of text.split(/[,\s]+/).filter(Boolean)) {
        const range = /^(\d{1,16})(?:(?:-|–|\.\.)(\d{1,16}))?$/.exec(part);
        if (!range) return null;
        const first = Number(range[1]), last = Number(range[2] ?? range[1]);
        if (last < first || last - first >= most || !Number.isSafeInteger(last)) return null;
        for (let n = first; n <= last; n++) if (!values.includes(n)) values.push(n);
        if (values.length > most) return null;
    }
    return values.length > 0 ? values : null;
}

/* [1, 2, 3, 7] as "1-3, 7". */
export function formatList(values) {
    const parts = [];
    for (let i = 0; i < values.length;) {
        let j = i;
        while (values[j + 1] === values[j] + 1) j++;
        if (j - i >= 2) parts.push(`${values[i]}-${values[j]}`);
        else for (let k = i; k <= j; k++) parts.push(String(values[k]));
        i = j + 1;
    }
    return parts.join(", ");
}

/* Where a sweep sets a path: the grids with it; elsewhere: it is in a list or drawn at random. */
function swept(definition, path) {
    const inGrid = grids(definition).filter((grid) => Array.isArray(grid[path]));
    const elsewhere = grids(definition).some((grid) => (Array.isArray(grid.list) && grid.list.some((p) => isObject(p) && path in p)) ||
        (isObject(grid.random?.values) && path in grid.random.values));
    return { inGrid, elsewhere };
}

/* A field with one value: {value, why}; why: it is set by the sweep. */
export function single(definition, path) {
    const value = path.split(".").reduce((v, part) => v?.[part], definition);
    const { inGrid, elsewhere } = swept(definition, path);
    if (elsewhere) return { value: undefined, why: "set by the sweep" };
    if (inGrid.length > 0) return { value: undefined, why: `set by the sweep: ${[...new Set(inGrid.flatMap((g) => g[path]))].slice(0, 6).join(", ")}` };
    return { value };
}

export const setSingle = (text, path, value) => edit(text, [[path.split("."), value]]);

/* A field with one or several values, several by the sweep: {values, why}. */
export function several(definition, path) {
    const { inGrid, elsewhere } = swept(definition, path);
    const all = [...new Set(inGrid.flatMap((grid) => grid[path]))];
    if (elsewhere) return { values: [], why: "set by the sweep" };
    if (Array.isArray(definition?.sweep) && inGrid.length > 0 && inGrid.some((grid) => JSON.stringify(grid[path]) !== JSON.stringify(all))) {
        return { values: all, why: "set by the sweep's grids, each in its own way" };
    }
    if (inGrid.length > 0) return { values: all };
    const value = path.split(".").reduce((v, part) => v?.[part], definition);
    return { values: value === undefined ? [] : [value] };
}

/* One value goes to the field, several to the sweep, into every grid that there is. */
export function setSeveral(text, path, values) {
    const definition = scan(text).root?.value;
    const field = path.split(".");
    const list = Array.isArray(definition?.sweep);
    const places = list ? definition.sweep.map((_, i) => ["sweep", i, path]) : [["sweep", path]];
    if (values.length > 1) return edit(text, [...places.map((place) => [place, values]), ...(find(scan(text), field) ? [] : [[field, values[0]]])]);
    if (list) return edit(text, [...places.filter((p) => find(scan(text), p)).map((place) => [place, values]), [field, values[0]]]);
    const emptied = isObject(definition?.sweep) && Object.keys(definition.sweep).every((key) => key === path);
    return edit(text, [[field, values[0]], [emptied ? ["sweep"] : places[0], undefined]]);
}

/* Hidden layers where all are dense: {units, why}. */
export function layers(definition) {
    const all = definition?.network?.layers ?? [];
    const dense = Array.isArray(all) && all.every((layer) => isObject(layer) && (layer.type ?? "dense") === "dense");
    if (!dense) return { units: [], why: "not only dense ones: see the text" };
    const inSweep = grids(definition).some((grid) => Object.keys(grid).some((key) => key.startsWith("network.layers")));
    return inSweep ? { units: all.map((l) => l.units), why: "set by the sweep" } : { units: all.map((l) => l.units) };
}

/* As many layers as units; what else a layer says stays. */
export function setLayers(text, units) {
    const all = scan(text).root?.value?.network?.layers ?? [];
    const { descending_units: _, ...last } = all.at(-1) ?? {};
    const next = units.map((n, i) => ({ ...(all[i] ?? last), units: n }));
    return edit(text, [[["network", "layers"], next]]);
}
