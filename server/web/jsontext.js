// SPDX-License-Identifier: Apache-2.0
/*
 * JSON as text that a person is writing: where every value stands, what stands at the cursor, and
 * changes in place that leave the rest of the text alone.
 *
 * A text that is not yet JSON is read as far as it makes sense, so that help goes on while one types.
 */

const DEPTH = 200;

/* What JSON Pointer makes of a path: ["network", "layers", 0] is "/network/layers/0". */
export const pointerOf = (path) =>
    path.map((p) => "/" + String(p).replaceAll("~", "~0").replaceAll("/", "~1")).join("");

export const pathOf = (pointer) =>
    pointer === "" ? [] : pointer.slice(1).split("/").map((p) => p.replaceAll("~1", "/").replaceAll("~0", "~"));

/*
 * The text's tree: {root, error}. A node is {type, start, end, value, members} with offsets into the
 * text, end after its last character; members of an object or array are {key, keyStart, keyEnd, node},
 * key being a name or an index. type is object, array, string, number, literal or missing.
 * error: null or {at, message}, the first place that is not JSON.
 */
export function scan(text) {
    let at = 0;
    let error = null;
    const fault = (where, message) => {
        if (error === null) error = { at: Math.min(where, text.length), message };
    };
    const blank = () => {
        while (at < text.length && " \t\r\n".includes(text[at])) at++;
    };

    function string() {
        const start = at++;
        while (at < text.length && text[at] !== '"' && text[at] !== "\n") at += text[at] === "\\" ? 2 : 1;
        at = Math.min(at, text.length);
        let value = text.slice(start + 1, at);
        if (text[at] === '"') at++;
        else fault(start, "this string has no end on its line");
        try {
            value = JSON.parse(text.slice(start, at));
        } catch {
            fault(start, "this string has a character that JSON does not allow in one");
        }
        return { type: "string", start, end: at, value, members: [] };
    }

    function word() {
        const start = at;
        while (at < text.length && !' \t\r\n,:{}[]"'.includes(text[at])) at++;
        const raw = text.slice(start, at);
        try {
            const value = JSON.parse(raw);
            return { type: typeof value === "number" ? "number" : "literal", start, end: at, value, members: [] };
        } catch {
            fault(start, raw === "" ? "a value is missing here" : `found ${raw}: words need quotes, "${raw}"`);
            return { type: raw === "" ? "missing" : "literal", start, end: at, value: undefined, members: [] };
        }
    }

    /* What an object and an array have in common; one() reads a member, or says that it could not. */
    function group(type, close, one) {
        const node = { type, start: at++, end: 0, value: undefined, members: [] };
        let comma = -1;
        for (blank(); at < text.length && text[at] !== close; blank()) {
            if ("}]".includes(text[at])) break;
            const before = at;
            if (node.members.length > 0 && comma < 0) fault(at, "a comma is missing before this");
            comma = -1;
            one(node);
            blank();
            if (text[at] === ",") comma = at++;
            else if (at === before) at++;
        }
        if (comma >= 0) fault(comma, "no comma after the last one");
        if (text[at] === close) at++;
        else fault(at, `${close} is missing, for the ${node.start === 0 ? "first " : ""}${text[node.start]} on line ${lineOf(text, node.start) + 1}`);
        node.end = at;
        return node;
    }

    function member(node, depth) {
        if (text[at] !== '"') {
            const start = at;
            while (at < text.length && !' \t\r\n,:{}[]"'.includes(text[at])) at++;
            const raw = text.slice(start, at);
            fault(start, raw === "" ? `found ${text[start]}, where a "name" should be` : `found ${raw}: names need quotes, "${raw}"`);
            if (raw === "" && text[at] !== ":") return;
            node.members.push({ key: raw, keyStart: start, keyEnd: at, node: null });
        } else {
            const name = string();
            if (node.members.some((m) => m.key === name.value)) fault(name.start, `"${name.value}" is there twice`);
            node.members.push({ key: name.value, keyStart: name.start, keyEnd: name.end, node: null });
        }
        const last = node.members.at(-1);
        blank();
        if (text[at] === ":") {
            at++;
            last.colon = at;
        } else {
            fault(last.keyEnd, `a colon and a value are missing after "${last.key}"`);
            return;
        }
        blank();
        last.node = value(depth + 1);
    }

    function value(depth) {
        if (depth > DEPTH) {
            fault(at, "this is nested too deeply");
            at = text.length;
            return { type: "missing", start: at, end: at, value: undefined, members: [] };
        }
        if (text[at] === "{") {
            const node = group("object", "}", (n) => member(n, depth));
            node.value = Object.create(null);
            for (const m of node.members) if (m.node) node.value[m.key] = m.node.value;
            return node;
        }
        if (text[at] === "[") {
            const node = group("array", "]", (n) => {
                n.members.push({ key: n.members.length, keyStart: at, keyEnd: at, node: value(depth + 1) });
            });
            node.value = node.members.map((m) => m.node.value);
            return node;
        }
        return text[at] === '"' ? string() : word();
    }

    blank();
    if (at === text.length) fault(0, "a definition begins with {");
    const root = at < text.length ? value(0) : null;
    blank();
    if (at < text.length) fault(at, "there is something after the end");
    return { root, error };
}

/* The line of an offset, counted from 0, and the other way round: {line, ch} as the editor has it. */
export function lineOf(text, offset) {
    let line = 0;
    for (let i = text.indexOf("\n"); i >= 0 && i < offset; i = text.indexOf("\n", i + 1)) line++;
    return line;
}

/* The member that a path leads to, or null: {key, keyStart, keyEnd, node}; the root has no key. */
export function find(tree, path) {
    let here = tree.root ? { key: "", keyStart: tree.root.start, keyEnd: tree.root.start, node: tree.root } : null;
    for (const part of path) {
        if (!here || !here.node) return null;
        here = here.node.members.find((m) => String(m.key) === String(part)) ?? null;
    }
    return here;
}

/*
 * Where a fault is shown: {from, to, missing}. A value that is not there is shown at the nearest
 * thing around it: at its name, or where it opens.
 */
export function place(tree, pointer) {
    const path = pathOf(pointer);
    for (let n = path.length; n >= 0; n--) {
        const found = find(tree, path.slice(0, n));
        if (!found) continue;
        const missing = n < path.length;
        const node = found.node;
        if (missing || (node && node.type === "object") || !node) {
            const named = found.keyEnd > found.keyStart;
            const from = named ? found.keyStart : node ? node.start : 0;
            return { from, to: named ? found.keyEnd : from + 1, missing };
        }
        return { from: node.start, to: Math.max(node.end, node.start + 1), missing };
    }
    return { from: 0, to: 1, missing: true };
}

/*
 * What stands at an offset: {path, at, from, to, word, quoted, object}. at: "key" inside an object where
 * a name is or could be, else "value". path leads to the object for a key, to the value for a value.
 * from..to is the word that a completion replaces, with its quotes.
 */
export function context(text, tree, offset) {
    let path = [];
    let node = tree.root;
    let result = { path, at: "value", from: offset, to: offset, word: "", object: null };
    while (node) {
        const inside = node.members.find((m) => {
            const end = m.node ? Math.max(m.node.end, m.colon ?? 0) : m.keyEnd;
            return offset >= m.keyStart && offset <= end;
        });
        if (node.type === "object" && (!inside || (inside.keyEnd >= offset && inside.keyStart <= offset))) {
            const free = offset > node.start && (offset < node.end || text[node.end - 1] !== "}");
            if (!free) break;
            const open = node.members.filter((m) => m.colon !== undefined && m.colon <= offset).at(-1);
            // After a colon with nothing behind it, a value is due.
            if (!inside && open && /^\s*$/.test(text.slice(open.colon, offset))) {
                return { ...result, path: [...path, open.key], object: node };
            }
            return {
                path, at: "key", object: node, from: inside ? inside.keyStart : offset, to: inside ? inside.keyEnd : offset,
                word: inside ? text.slice(inside.keyStart, offset).replace(/^"/, "") : "", given: inside?.key,
            };
        }
        if (!inside) {
            if (node.type === "array" && offset > node.start && offset < node.end) path = [...path, node.members.length];
            break;
        }
        path = [...path, inside.key];
        node = inside.node;
        result = { path, at: "value", from: offset, to: offset, word: "", object: null };
    }
    if (node && !["object", "array"].includes(node.type) && offset >= node.start && offset <= node.end) {
        result = { ...result, from: node.start, to: node.end, word: text.slice(node.start, offset).replace(/^"/, "") };
    }
    return { ...result, path };
}

/* JSON as people write it: what fits into a line of `width` stands in one. */
export function pretty(value, indent = "", room = 100) {
    const line = flat(value);
    if (value === null || typeof value !== "object" || (line.length <= room && (indent !== "" || line.length < 40))) return line;
    const list = Array.isArray(value);
    const inner = indent + "  ";
    const parts = list ? value.map((v) => pretty(v, inner, room - 2))
        : Object.entries(value).map(([k, v]) => `${JSON.stringify(k)}: ${pretty(v, inner, room - k.length - 6)}`);
    const [open, close] = list ? "[]" : "{}";
    return `${open}\n${parts.map((p) => inner + p).join(",\n")}\n${indent}${close}`;
}

function flat(value) {
    if (Array.isArray(value)) return `[${value.map(flat).join(", ")}]`;
    if (value === null || typeof value !== "object") return JSON.stringify(value);
    return `{${Object.entries(value).map(([k, v]) => `${JSON.stringify(k)}: ${flat(v)}`).join(", ")}}`;
}

/* The blank that a line begins with. */
function indentAt(text, offset) {
    const start = text.lastIndexOf("\n", offset - 1) + 1;
    return /^[ \t]*/.exec(text.slice(start))[0];
}

/*
 * The change that gives the path a value (undefined: takes it away): {from, to, insert}, or null where
 * there is nothing to do or no object to put it into. Objects on the way are made.
 */
export function change(text, tree, path, value) {
    const there = find(tree, path);
    if (value === undefined) return there ? removal(text, tree, path) : null;
    if (there && there.node) {
        const { start, end } = there.node;
        const insert = pretty(value, indentAt(text, start), 88);
        return text.slice(start, end) === insert ? null : { from: start, to: end, insert };
    }
    let n = path.length - 1;
    while (n > 0 && !find(tree, path.slice(0, n))) n--;
    for (let i = path.length - 1; i > n; i--) value = { [path[i]]: value };
    const parent = find(tree, path.slice(0, n))?.node;
    if (!parent || !["object", "array"].includes(parent.type)) return null;
    return insertion(text, parent, path[n], value);
}

function insertion(text, parent, key, value) {
    const last = parent.members.at(-1);
    const many = text.slice(parent.start, parent.end).includes("\n");
    const indent = indentAt(text, parent.start) + "  ";
    const named = (parent.type === "object" ? `${JSON.stringify(key)}: ` : "") + pretty(value, many ? indent : "  ", 88);
    if (!last) return { from: parent.start + 1, to: parent.start + 1, insert: many ? `\n${indent}${named}` : named };
    const end = last.node ? last.node.end : last.keyEnd;
    return { from: end, to: end, insert: many ? `,\n${indent}${named}` : `, ${named}` };
}

function removal(text, tree, path) {
    const parent = find(tree, path.slice(0, -1))?.node;
    if (!parent) return null;
    const i = parent.members.findIndex((m) => String(m.key) === String(path.at(-1)));
    const end = (m) => (m.node ? m.node.end : m.keyEnd);
    const { members } = parent;
    if (members.length === 1) return { from: parent.start + 1, to: parent.end - 1, insert: "" };
    return i > 0 ? { from: end(members[i - 1]), to: end(members[i]), insert: "" }
                              : { from: members[0].keyStart, to: members[1].keyStart, insert: "" };
}

/* The change that gives a name another: what a fault's nearest known name is put in by. */
export function renaming(tree, path, name) {
    const found = find(tree, path);
    return found && found.keyEnd > found.keyStart ? { from: found.keyStart, to: found.keyEnd, insert: JSON.stringify(name) } : null;
}

export const apply = (text, c) => (c ? text.slice(0, c.from) + c.insert + text.slice(c.to) : text);
