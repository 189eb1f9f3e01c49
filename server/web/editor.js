// SPDX-License-Identifier: Apache-2.0
/*
 * The editor of the form: CodeMirror (loaded here and nowhere else) that knows a definition's schema. It completes names
 * and values, says which field the cursor is in, and shows faults under their lines with a button that mends them where
 * it is known how.
 */
import { change, context, find, lineOf, pathOf, place, renaming, scan } from "./jsontext.js";
import { words } from "./schema.js";

const SCRIPTS = ["codemirror.js", "javascript.js", "matchbrackets.js", "closebrackets.js", "show-hint.js"];
const STYLES = ["codemirror.css", "show-hint.css"];
const FOUND_LENGTH = 60;

let loaded = null;

function element(name, attributes) {
    return new Promise((resolve, reject) => {
        const made = Object.assign(document.createElement(name), attributes);
        made.onload = resolve;
        made.onerror = () => reject(new Error(`${made.src || made.href} cannot be loaded`));
        document.head.append(made);
    });
}

export const style = (name) => document.querySelector(`link[href="/assets/${name}"]`) ? Promise.resolve()
    : element("link", { rel: "stylesheet", href: `/assets/${name}` });

/* CodeMirror, once. */
export function load() {
    loaded ??= (async () => {
        await Promise.all(STYLES.map(style));
        for (const name of SCRIPTS) await element("script", { src: `/assets/${name}` });
    })().catch((error) => { loaded = null; throw error; });
    return loaded;
}

/* ---- what is at a place ---- */

/* The field at an offset: {name, path, allowed, fallback, description, many}, or null at the top. */
export function fieldAt(schema, text, offset) {
    const tree = scan(text);
    const here = context(text, tree, offset);
    const path = here.at === "key" && here.given !== undefined ? [...here.path, here.given] : here.path;
    for (let n = path.length; n > 0; n--) {
        const found = schema.at(path.slice(0, n), tree.root?.value);
        if (found.length > 0) return described(path.slice(0, n), found);
    }
    return null;
}

function described(path, schemas) {
    const [first] = schemas;
    return {
        name: path.filter((part) => part !== "sweep" || path.length === 1).join("."),
        allowed: schemas.length > 1 ? `one of ${schemas.length} kinds` : words(first),
        fallback: first.default === undefined ? "" : JSON.stringify(first.default),
        description: schemas.map((s) => s.description).filter(Boolean).join("\n"),
    };
}

/* ---- completion ---- */

/* Names and values for the place of the cursor: [{text, shown, note, help, caret}]. known: {datasets, rules}. */
export function completions(schema, known, text, offset) {
    const tree = scan(text);
    const here = context(text, tree, offset);
    const items = here.at === "key" ? keysFor(schema, text, tree, here) : valuesFor(schema, known, tree, here);
    const typed = here.word.toLowerCase();
    const rank = (item) => { const at = item.shown.toLowerCase().indexOf(typed); return at < 0 ? Infinity : at === 0 ? 0 : 1; };
    return { from: here.from, to: here.to, items: items.filter((i) => rank(i) < Infinity).sort((a, b) => rank(a) - rank(b)) };
}

function keysFor(schema, text, tree, here) {
    const taken = new Set((here.object?.members ?? []).map((m) => m.key).filter((key) => key !== here.given));
    const colon = /^\s*:/.test(text.slice(here.to));
    const comma = /^\s*"/.test(text.slice(here.to)) ? ", " : "";
    const before = text.slice(0, here.from).trimEnd().at(-1);
    const lead = before === "{" || before === "," ? "" : ", ";
    const paths = schema.takesPaths(here.path);
    return schema.fields(here.path, tree.root?.value).filter((f) => !taken.has(f.name)).map(({ name, schema: field, required }) => {
        const [open, close] = paths && name !== "random" ? ["[", "]"] : start(schema, field);
        const key = `${lead}${JSON.stringify(name)}`;
        return {
            shown: name, help: described([...here.path, name], [field]), again: true,
            note: required ? "required" : field.default !== undefined ? JSON.stringify(field.default) : "",
            text: colon ? key : `${key}: ${open}${close}${comma}`,
            caret: colon ? key.length : key.length + 2 + open.length,
        };
    });
}

/* What a field's value begins and ends with, the cursor between. */
function start(schema, field) {
    const [first] = schema.choices(field);
    if (first.type === "object") return ["{", "}"];
    if (first.type === "array") return ["[", "]"];
    if (first.type === "string" || (first.enum ?? []).some((v) => typeof v === "string")) return ['"', '"'];
    return ["", ""];
}

function valuesFor(schema, known, tree, here) {
    const path = here.path.map(String);
    const help = schema.at(here.path, tree.root?.value);
    const item = (value, note) => {
        const text = JSON.stringify(value);
        return { text, caret: text.length, shown: typeof value === "string" ? value : text, note, help: help.length > 0 ? described(here.path, help) : null };
    };
    const field = path[0] === "sweep" ? path.find((p) => p.includes(".")) : path.join(".");
    const names = field === "dataset.name" ? known.datasets.map((d) => [d.name, d.error ? "cannot be used" : d.kind])
        : field === "rule.name" ? known.rules.map((r) => [r.name, r.title]) : [];
    if (names.length > 0) return names.map(([value, note]) => item(value, note ?? ""));
    return schema.values(here.path, tree.root?.value).map(({ value, note }) => item(value, note.length > 40 ? "" : note));
}

/* ---- faults ---- */

function clip(value) {
    const text = JSON.stringify(value) ?? "nothing";
    return text.length > FOUND_LENGTH ? `${text.slice(0, FOUND_LENGTH)} …` : text;
}

/* A fault of the server's with its place in the text and what would mend it: {line, from, to, pointer, text, fix}. */
export function located(schema, text, tree, fault) {
    const path = pathOf(fault.pointer ?? "");
    const name = path.at(-1) ?? "";
    let where = place(tree, fault.pointer ?? "");
    let said = `found ${clip(fault.found)}; allowed: ${fault.allowed ?? ""}`;
    if (where.missing) {
        said = `${name}: ${fault.allowed ?? ""}`;
    } else if (path.length > 0 && schema.at(path, tree.root?.value).length === 0) {
        const { keyStart, keyEnd } = find(tree, path);
        if (keyEnd > keyStart) where = { from: keyStart, to: keyEnd, missing: false };
        said = `${JSON.stringify(name)} is not known here; allowed: ${fault.allowed ?? ""}`;
    }
    return { ...where, pointer: fault.pointer ?? "", line: lineOf(text, where.from), text: said, fix: remedy(schema, text, tree, fault, where) };
}

/* {words, change} or null. */
function remedy(schema, text, tree, fault, where) {
    const path = pathOf(fault.pointer ?? "");
    const known = path.length > 0 ? schema.at(path, tree.root?.value) : [];
    if (where.missing && known.length > 0 && !fault.hint) {
        const added = change(text, tree, path, schema.example(known[0]));
        return added && { words: `add ${path.at(-1)}`, change: added };
    }
    if (!fault.hint) return null;
    const siblings = find(tree, path.slice(0, -1))?.node?.members ?? [];
    if (known.length > 0) return { words: `use ${JSON.stringify(fault.hint)}`, change: change(text, tree, path, fault.hint) };
    if (siblings.some((m) => m.key === fault.hint)) return { words: `take it away`, change: change(text, tree, path, undefined) };
    const renamed = renaming(tree, path, fault.hint);
    return renamed && { words: `use ${JSON.stringify(fault.hint)}`, change: renamed };
}

/* ---- the editor ---- */

/*
 * An editor in `host`. on: {change(text), cursor(field or null), submit()}; known: {datasets, rules}, filled later
 * perhaps. Returns {text, set, apply, faults, goTo, focus, close}.
 */
export function editor(host, value, schema, known, on) {
    const cm = window.CodeMirror(host, {
        value, mode: { name: "javascript", json: true }, lineNumbers: true, matchBrackets: true, autoCloseBrackets: true,
        tabSize: 2, indentUnit: 2, viewportMargin: Infinity, lineWrapping: true, screenReaderLabel: "Definition of the experiment, as JSON",
        extraKeys: {
            "Ctrl-Space": complete, "Ctrl-Enter": () => on.submit(), "Cmd-Enter": () => on.submit(),
            Tab: false, "Shift-Tab": false, // the keyboard gets out again
        },
    });
    let shown = []; // marks and widgets of faults
    let hover = 0;

    function hints() {
        const { from, to, items } = completions(schema, known, cm.getValue(), cm.indexFromPos(cm.getCursor()));
        const data = {
            from: cm.posFromIndex(from), to: cm.posFromIndex(to),
            list: items.map((item) => ({ ...item, displayText: item.shown, render: (row) => draw(row, item), hint: () => put(from, to, item) })),
        };
        window.CodeMirror.on(data, "select", (item) => on.cursor(item.help));
        return data;
    }

    function draw(row, item) {
        const name = document.createElement("span"), note = document.createElement("span");
        name.textContent = item.shown;
        note.textContent = item.note;
        note.className = "hint-note";
        row.append(name, note);
    }

    function put(from, to, item) {
        cm.replaceRange(item.text, cm.posFromIndex(from), cm.posFromIndex(to), "complete");
        cm.setCursor(cm.posFromIndex(from + item.caret));
        if (item.again) setTimeout(complete, 0);
    }

    function complete() {
        cm.showHint({ hint: hints, completeSingle: false, closeOnUnfocus: true });
    }

    function tell(offset) {
        on.cursor(fieldAt(schema, cm.getValue(), offset));
    }

    cm.on("change", () => on.change(cm.getValue()));
    cm.on("inputRead", (_, input) => { if (/^["\w.]$/.test(input.text[0] ?? "") && !cm.state.completionActive) complete(); });
    cm.on("cursorActivity", () => tell(cm.indexFromPos(cm.getCursor())));
    cm.getWrapperElement().addEventListener("mousemove", (event) => {
        clearTimeout(hover);
        hover = setTimeout(() => tell(cm.indexFromPos(cm.coordsChar({ left: event.clientX, top: event.clientY }, "window"))), 150);
    });
    cm.getWrapperElement().addEventListener("mouseleave", () => { clearTimeout(hover); tell(cm.indexFromPos(cm.getCursor())); });

    function widget(fault) {
        const line = document.createElement("div"), said = document.createElement("span");
        line.className = "fault-line";
        said.textContent = fault.text;
        line.append(said);
        if (fault.fix?.change) {
            const button = document.createElement("button");
            button.type = "button";
            button.className = "mend";
            button.textContent = fault.fix.words;
            button.onclick = () => { apply(fault.fix.change); cm.focus(); };
            line.append(" ", button);
        }
        return line;
    }

    function apply(c) {
        if (c) cm.replaceRange(c.insert, cm.posFromIndex(c.from), cm.posFromIndex(c.to), "+form");
    }

    return {
        text: () => cm.getValue(),
        set: (text) => cm.setValue(text),
        apply,
        /* Shows faults: [{line, from, to, text, fix}]. */
        faults(list) {
            cm.operation(() => {
                shown.forEach((one) => one.clear());
                shown = list.flatMap((fault) => [
                    cm.markText(cm.posFromIndex(fault.from), cm.posFromIndex(fault.to), { className: "fault-text" }),
                    cm.addLineWidget(fault.line, widget(fault), { handleMouseEvents: false }),
                ]);
            });
        },
        goTo(offset) {
            cm.setCursor(cm.posFromIndex(offset));
            cm.focus();
        },
        focus: () => cm.focus(),
        close() {
            clearTimeout(hover);
            cm.closeHint?.();
        },
    };
}
