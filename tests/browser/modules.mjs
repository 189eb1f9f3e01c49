// SPDX-License-Identifier: Apache-2.0
/*
 * The form's modules without a browser: reading unfinished JSON, what the schema says of a place, controls and text.
 * JSON.parse and the files of schema/ are what they are held against.
 */
import assert from "node:assert/strict";
import fs from "node:fs";
import { done, test } from "./harness.mjs";
import { apply, change, context, find, lineOf, pathOf, place, pointerOf, pretty, scan } from "../../server/web/jsontext.js";
import { Schema, words } from "../../server/web/schema.js";
import { completions, fieldAt, located } from "../../server/web/editor.js";
import * as fields from "../../server/web/fields.js";

const root = new URL("../../schema/", import.meta.url);
const schema = new Schema(JSON.parse(fs.readFileSync(new URL("experiment.schema.json", root))));
const examples = fs.readdirSync(new URL("examples/", root)).filter((f) => f.endsWith(".json"))
    .map((f) => fs.readFileSync(new URL(`examples/${f}`, root), "utf8"));
const known = { datasets: [{ name: "strokes", kind: "builtin" }], rules: [{ name: "sal", title: "four" }, { name: "bp", title: "one" }] };
const plain = (value) => JSON.parse(JSON.stringify(value));

/* A text with ^ at the cursor. */
function cursor(marked) {
    const at = marked.indexOf("^");
    return [marked.replace("^", ""), at];
}
const offered = (marked) => completions(schema, known, ...cursor(marked)).items.map((i) => i.shown);

await test("scan_agrees_with_parse", () => {
    for (const text of [...examples, '{"a": [1, -2.5e3, "x\\n\\u00e9", true, null, {}, []]}', " [ ] ", "7"]) {
        const { root: tree, error } = scan(text);
        assert.equal(error, null);
        assert.deepEqual(plain(tree.value), JSON.parse(text));
    }
    let judged = 0;
    for (let i = 0; i < examples[0].length; i++) { // one character is lost, or doubled
        for (const text of [examples[0].slice(0, i) + examples[0].slice(i + 1), examples[0].slice(0, i) + examples[0].slice(i - 1)]) {
            let good = true;
            try { JSON.parse(text); } catch { good = false; }
            judged += good ? 0 : 1;
            assert.ok(good || scan(text).error !== null, `taken for JSON: ${text}`);
        }
    }
    assert.ok(judged > 100);
});

await test("scan_says_where", () => {
    const at = (text) => { const { error } = scan(text); return [lineOf(text, error.at), error.message]; };
    assert.deepEqual(at('{\n "a": 1,\n}'), [1, "no comma after the last one"]);
    assert.deepEqual(at('{\n "a": 1\n "b": 2}'), [2, "a comma is missing before this"]);
    assert.deepEqual(at('{\n "a": yes}'), [1, 'found yes: words need quotes, "yes"']);
    assert.deepEqual(at('{\n "a": 1,\n "a": 2}'), [2, '"a" is there twice']);
    assert.match(at('{\n "a": {')[1], /is missing/);
    assert.match(at("[".repeat(5000))[1], /nested too deeply/);
    assert.equal(at("")[1], "a definition begins with {");
});

await test("pointers", () => {
    for (const path of [[], ["a/b", "~x", "0"], ["sweep", "rule.name", "1"]]) assert.deepEqual(pathOf(pointerOf(path)), path);
    const text = '{\n  "network": {\n    "layers": [{"unitz": 3}]\n  }\n}', tree = scan(text);
    assert.equal(lineOf(text, place(tree, "/network/layers/0/unitz").from), 2);
    assert.equal(text[place(tree, "/network/layers/0/units").from], "{");
    assert.ok(place(tree, "/network/layers/0/units").missing);
    assert.equal(place(tree, "/rule").from, 0);
});

await test("context_at_every_place", () => {
    const where = (marked) => { const [text, at] = cursor(marked); const c = context(text, scan(text), at); return [c.at, pointerOf(c.path)]; };
    assert.deepEqual(where('{"a":^}'), ["value", "/a"]);
    assert.deepEqual(where('{"a": {"b": [1, {^}]}}'), ["key", "/a/b/1"]);
    assert.deepEqual(where('{"a": {"b": [1, ^]}}'), ["value", "/a/b/1"]);
    assert.deepEqual(where('{"a": {"b^'), ["key", "/a"]);
    assert.deepEqual(where('{"a": "x^y"}'), ["value", "/a"]);
    for (const text of examples) for (let i = 0; i <= text.length; i++) context(text.slice(0, i), scan(text.slice(0, i)), i); // never throws
});

await test("completion_of_names_and_values", () => {
    assert.deepEqual(offered('{"rule": {"name": "^"}}'), ["sal", "bp"]);
    assert.deepEqual(offered('{"rule": {"name": "b^"}}'), ["bp"]);
    assert.deepEqual(offered('{"dataset": {"name": ^}}'), ["strokes"]);
    assert.ok(offered('{"sweep": {"rule.name": [^]}}').includes("sal"));
    assert.deepEqual(offered('{"optimizer": {"schedule": {"type": "cosine", ^}}}'), ["factor"]);
    assert.ok(offered('{"network": {"layers": [{"type": "conv2d", ^}]}}').includes("kernel"));
    assert.ok(!offered('{"network": {"layers": [{"units": 3, ^}]}}').includes("kernel"));
    assert.ok(offered('{"network": {"layers": [{"units": 3}]}, "sweep": {"^"}}').includes("network.layers.0.units"));
    assert.deepEqual(offered('{"training": {"test": "^"}}'), ["every_epoch", "end"]);
    assert.ok(!offered('{"training": {"epochs": 3, ^}}').includes("epochs"));
    // What is taken is right: a name with what its value begins with, and a comma where one is due.
    const [text, at] = cursor('{"dataset": {"name": "strokes"}, "^" "rule": {"name": "sal"}}');
    const { from, to, items } = completions(schema, known, text, at);
    const after = text.slice(0, from) + items.find((i) => i.shown === "network").text + text.slice(to);
    assert.deepEqual(JSON.parse(after), { dataset: { name: "strokes" }, network: {}, rule: { name: "sal" } });
});

await test("every_field_is_explained", () => {
    const leaves = schema.leaves({ network: { layers: [{ units: 1 }] } });
    assert.ok(leaves.size > 60);
    for (const [path, field] of leaves) {
        assert.ok(schema.at(path.split("."), {}).length > 0, path);
        assert.ok(words(field).length > 0, path);
    }
    const help = fieldAt(schema, ...cursor('{"training": {"epochs": 1^0}}'));
    assert.deepEqual([help.name, help.allowed, help.fallback], ["training.epochs", "integer from 1 to 100000", "10"]);
    assert.match(help.description, /Passes/);
});

await test("faults_at_their_lines_with_remedies", () => {
    const text = '{\n  "dataset": {"name": "strokes"},\n  "network": {"layers": [{"unitz": 3}]},\n  "rule": {"name": "sall"}\n}';
    const mend = (fault) => { const f = located(schema, text, scan(text), fault); return [f.line, plain(scan(apply(text, f.fix.change)).root.value)]; };
    const [line, renamed] = mend({ pointer: "/network/layers/0/unitz", found: 3, allowed: "one of ...", hint: "units" });
    assert.deepEqual([line, renamed.network], [2, { layers: [{ units: 3 }] }]);
    const [row, named] = mend({ pointer: "/rule/name", found: "sall", allowed: "one of ...", hint: "sal" });
    assert.deepEqual([row, named.rule], [3, { name: "sal" }]);
    assert.equal(mend({ pointer: "/network/layers/0/units", found: null, allowed: "required" })[1].network.layers[0].units, 1);
    const odd = located(schema, text, scan(text), { pointer: "/network/layers/7/~0<b>", found: "<b>", allowed: "<i>" });
    assert.ok(odd.line === 2 && odd.fix === null);
});

await test("changes_leave_the_rest_alone", () => {
    for (const text of examples) {
        assert.deepEqual(JSON.parse(pretty(JSON.parse(text))), JSON.parse(text));
        const next = fields.setSingle(text, "training.epochs", 77);
        assert.deepEqual(JSON.parse(next), (() => { const d = JSON.parse(text); d.training = { ...d.training, epochs: 77 }; return d; })());
        const c = fields.difference(text, next);
        assert.equal(apply(text, c), next);
        assert.equal(fields.setSingle(next, "training.epochs", 77), next);
        const gone = JSON.parse(fields.setSingle(next, "training.epochs", undefined));
        assert.ok(!("epochs" in gone.training));
    }
    assert.deepEqual(JSON.parse(fields.setSingle("{}", "optimizer.groups.V.lr", 0.5)), { optimizer: { groups: { V: { lr: 0.5 } } } });
});

await test("controls_and_text_agree", () => {
    const start = '{"rule": {"name": "sal"}, "training": {"seed": 1}}';
    const two = fields.setSeveral(start, "rule.name", ["bp", "sal"]);
    assert.deepEqual(JSON.parse(two).sweep, { "rule.name": ["bp", "sal"] });
    const seeds = fields.setSeveral(two, "training.seed", [1, 2, 3]);
    assert.deepEqual(fields.several(scan(seeds).root.value, "training.seed"), { values: [1, 2, 3] });
    const back = fields.setSeveral(fields.setSeveral(seeds, "rule.name", ["kp"]), "training.seed", [4]);
    assert.deepEqual(JSON.parse(back), { rule: { name: "kp" }, training: { seed: 4 } });
    const demo = examples.find((e) => e.includes('"Demo'));
    const more = JSON.parse(fields.setSeveral(demo, "training.seed", [1, 2]));
    assert.deepEqual(more.sweep.map((g) => g["training.seed"]), [[1, 2], [1, 2]]);
    assert.ok(fields.several(JSON.parse(demo), "rule.name").why);
    assert.deepEqual(fields.layers(JSON.parse(demo)), { units: [256, 256] });
    assert.deepEqual(JSON.parse(fields.setLayers(demo, [8, 9, 10])).network.layers.map((l) => l.units), [8, 9, 10]);
    assert.ok(fields.layers({ network: { layers: [{ type: "conv2d" }] } }).why);
    assert.deepEqual(fields.layers({ network: { layers: "x" } }).units, []);
});

await test("lists_of_seeds", () => {
    assert.deepEqual(fields.parseList("1-3, 7 9..10"), [1, 2, 3, 7, 9, 10]);
    assert.equal(fields.formatList([1, 2, 3, 7, 9, 10]), "1-3, 7, 9, 10");
    for (const bad of ["", "x", "3-1", "1-99999999", "-1", "1.5", "99999999999999999999"]) assert.equal(fields.parseList(bad), null, bad);
});

done();
