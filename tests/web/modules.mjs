// SPDX-License-Identifier: Apache-2.0
/* The dashboard's modules without a browser: events, series, charts' data, pictures of charts, what is compared. */
import assert from "node:assert/strict";

/* What the modules touch of a browser when they are loaded. */
const storage = { getItem: () => null, setItem() {}, removeItem() {} };
Object.assign(globalThis, { m: { redraw() {}, route: { param: () => ({}) } }, sessionStorage: storage, localStorage: storage, addEventListener() {} });

const { ApiError, api, eventParser, query, words } = await import("../../server/web/api.js");
const { RunSeries, meanAndBand } = await import("../../server/web/series.js");
const { thin } = await import("../../server/web/charts.js");
const { drawSvg, logTicks, ticks } = await import("../../server/web/export.js");
const { csv } = await import("../../server/web/actions.js");
const { formula, pairsOf, shapeOf } = await import("../../server/web/matrices.js");
const { differences } = await import("../../server/web/pages/compare.js");
const { chartsOf } = await import("../../server/web/pages/run.js");
const { introduce, known, me, refusal } = await import("../../server/web/me.js");
const format = await import("../../server/web/format.js");

let count = 0;
async function test(name, body) {
    count++;
    try {
        await body();
        console.log(`ok ${count} - ${name}`);
    } catch (error) {
        console.log(`not ok ${count} - ${name}\n${String(error.stack ?? error).replace(/^/gm, "# ")}`);
        process.exitCode = 1;
    }
}

/* ---- events ---- */

await test("events_are_the_same_however_they_are_cut", () => {
    const text = ": tetrad\nretry: 2000\nid: 7\n\nevent: state\nid: 8\ndata: {\"run\":1}\n\n:beat\r\nevent:progress\r\ndata: a\r\ndata:b\r\n\r\ndata\n\n";
    const whole = [];
    eventParser((e) => whole.push({ ...e })).feed(text);
    assert.deepEqual(whole, [{ event: "state", id: "8", data: '{"run":1}' }, { event: "progress", data: "a\nb" }, { data: "" }]);
    for (let size = 1; size < 9; size++) {
        const cut = [], parser = eventParser((e) => cut.push({ ...e }));
        for (let at = 0; at < text.length; at += size) parser.feed(text.slice(at, at + size));
        assert.deepEqual(cut, whole, `pieces of ${size}`);
    }
});

/* ---- requests ---- */

await test("query_leaves_out_what_is_not_there", () => {
    assert.equal(query({ a: 1, b: undefined, c: ["x y", "&"], g: "+", d: "", e: null, f: 0 }), "?a=1&c=x%20y&c=%26&g=%2B&f=0");
    assert.equal(query({}), "");
});

await test("errors_are_said_in_words", async () => {
    globalThis.fetch = async () => new Response(JSON.stringify({ error: { code: "bad_definition", message: "1 fault", details: [{ pointer: "/a", found: -1, allowed: "> 0" }] } }), { status: 422 });
    const error = await api.get("/v1/x").catch((e) => e);
    assert.ok(error instanceof ApiError && !error.isAbsent);
    assert.equal(words(error), "1 fault; /a: found -1, allowed: > 0");
    globalThis.fetch = async () => new Response("<h1>proxy</h1>", { status: 404 });
    assert.equal(await api.maybe("/v1/x"), null);
    globalThis.fetch = async () => { throw new TypeError("failed"); };
    assert.equal(words(await api.get("/v1/x").catch((e) => e)), "the server cannot be reached");
});

/* ---- series ---- */

await test("records_come_in_any_order_and_twice", () => {
    const s = new RunSeries(1), value = (step) => step * step;
    const give = (...steps) => s.append({ a: { steps, values: steps.map(value) } });
    give(5, 6, 7);
    give(1, 2, 6);
    give(3, 9);
    give();
    give(7, 8, 9);
    assert.deepEqual(s.series.a.steps, [1, 2, 3, 5, 6, 7, 8, 9]);
    assert.deepEqual(s.series.a.values, s.series.a.steps.map(value));
    s.append({ a: { steps: [10], values: [null] } });
    assert.ok(Number.isNaN(s.series.a.values.at(-1)));
});

await test("reading_goes_on_where_it_ended", async () => {
    const asked = [];
    const pages = { 0: { series: { a: { steps: [1, 2], values: [1, 2] } }, next: 2, more: true }, 2: { series: { a: { steps: [3], values: [3] } }, next: 3, more: false }, 3: { series: {}, next: 3, more: false } };
    globalThis.fetch = async (path) => {
        const url = new URL(path, "http://x");
        asked.push(url.search);
        if (url.searchParams.has("points")) return new Response("{}", { status: 400 }); // a server that does not know it
        return new Response(JSON.stringify(pages[url.searchParams.get("after") ?? 0]));
    };
    const s = new RunSeries(4);
    await s.load();
    await s.more();
    assert.deepEqual(s.series.a, { steps: [1, 2, 3], values: [1, 2, 3] });
    assert.deepEqual(asked, ["?points=500", "", "?after=2", "?after=3"]);
});

await test("the_band_is_the_interval_of_students_t", () => {
    /* By hand: 1, 2, 6: mean 3, s = sqrt(7), t(2) = 4.303; half = 4.303 sqrt(7 / 3) = 6.573. */
    const runs = [1, 2, 6].map((v) => ({ steps: [10, 20], values: [v, v === 6 ? NaN : 4] }));
    const mean = meanAndBand(runs);
    assert.deepEqual(mean.x, [10, 20]);
    assert.equal(mean.y[0], 3);
    assert.ok(Math.abs(mean.high[0] - 3 - 6.573) < 1e-3 && Math.abs(mean.low[0] - 3 + 6.573) < 1e-3);
    assert.deepEqual([mean.y[1], mean.low[1], mean.high[1]], [4, 4, 4]); // two that agree; NaN is left out
    const range = meanAndBand(runs, "range");
    assert.deepEqual([range.low[0], range.high[0]], [1, 6]);
    const one = meanAndBand(runs.slice(0, 1));
    assert.deepEqual(one.low, one.y);
});

await test("thinning_keeps_every_spike_and_shares_its_steps", () => {
    const x = Array.from({ length: 5000 }, (_, i) => i), y = x.map(() => 0), z = x.map((i) => i);
    y[1234] = 9;
    y[4321] = -9;
    const [a, b] = thin([{ x, y }, { x: x.slice(2000), y: z.slice(2000) }], 200);
    assert.ok(a.x.length <= 220 && a.x === b.x);
    assert.deepEqual(a.x, [...a.x].sort((p, q) => p - q));
    assert.equal(Math.max(...a.y), 9);
    assert.equal(Math.min(...a.y), -9);
    const seen = b.y.filter((v) => v !== null);
    assert.deepEqual(seen, [...seen].sort((p, q) => p - q)); // least and greatest in their order
    assert.equal(seen.at(-1), 4999);
    assert.equal(b.y[0], null); // it begins later
    const longer = thin([{ x: [...x, 5000], y: [...y, 0] }], 200)[0];
    assert.deepEqual(longer.x.slice(0, 100), a.x.slice(0, 100)); // stretches stay where they are
});

/* ---- charts as pictures ---- */

const picture = (more) => drawSvg({ title: "t", yLabel: "", marks: [], log: false, xRange: [0, 10], yRange: [0, 1], ink: "#000", soft: "#555", grid: "#ddd", paper: "#fff",
    series: [{ label: "a", x: [0, 5, 10], y: [0, NaN, 1], stroke: "#07b" }], ...more });

await test("names_cannot_become_markup_in_a_picture", () => {
    const evil = `<script>alert(1)</script>"'&\u0007`;
    const svg = picture({ title: evil, yLabel: evil, marks: [{ x: 3, text: evil }], series: [{ label: evil, x: [1], y: [1], stroke: "#07b" }] });
    assert.ok(!svg.includes("<script") && !svg.includes("\u0007"));
    assert.ok(svg.includes("&#60;script&#62;"));
});

await test("a_gap_is_a_gap_in_a_picture", () => {
    assert.ok(!/NaN|undefined|Infinity/.test(picture({})));
    const lines = (y) => picture({ series: [{ label: "a", x: [0, 2, 4, 6], y, stroke: "#123456" }] }).match(/<path d="M[^"]*" fill="none" stroke="#123456"/g).length;
    assert.equal(lines([0, 1, 0, 1]), 1);
    assert.equal(lines([0, 1, NaN, 1]), 2);
    assert.equal(lines([0, null, 0, 1]), 1); // null: passed over
});

await test("ticks_are_round_and_inside", () => {
    for (const [low, high] of [[0, 1], [-3, 7], [0.001, 0.0042], [1e6, 9e6], [5, 5]]) {
        const list = ticks(low, high);
        assert.ok(list.length >= 1 && list.length <= 12 && list.every((v) => v >= low - 1e-12 && v <= high + 1e-9), `${low} ${high}: ${list}`);
    }
    assert.deepEqual(ticks(0, 10, 5), [0, 2, 4, 6, 8, 10]);
    for (const [low, high] of [[1e-9, 1e9], [0.04, 2], [5.6, 12], [1.01, 1.02], [3, 3], [0.9, 1100]]) {
        const list = logTicks(low, high, 6);
        assert.ok(list.length >= 1 && list.length <= 7 && list.every((v) => v >= low * 0.999999 && v <= high * 1.000001), `${low} ${high}: ${list}`);
    }
    assert.deepEqual(logTicks(0.04, 2, 6).map(format.tick), ["0.05", "0.1", "0.2", "0.5", "1", "2"]);
    assert.deepEqual(logTicks(0.5, 2000, 6), [1, 10, 100, 1000]);
});

/* ---- files ---- */

await test("csv_is_quoted_and_runs_nothing", () => {
    assert.equal(csv([["a,b", 'say "x"', null, 1.5, true], ["=1+1", "@x", -2, "line\nbreak", { k: 1 }]]),
        '"a,b","say ""x""",,1.5,true\r\n\'=1+1,\'@x,-2,"line\nbreak","{""k"":1}"\r\n');
});

/* ---- which matrices should align ---- */

await test("pairs_are_those_of_the_circuit", () => {
    const sal = pairsOf(["W1", "W2", "W3", "B2", "B3", "V1", "V2", "U1", "U2"]).map((p) => `${p.kind} ${p.layer}: ${p.left} | ${p.right}`);
    assert.deepEqual(sal, ["feedback 1: V1.B2 | W2.T.V2", "lateral 1: W1.W1.T | V1.V1.T", "lateral_descending 1: B2.B2.T | U1.U1.T", "laterals 1: U1 | V1.T",
        "feedback 2: V2.B3 | W3.T", "lateral 2: W2.W2.T | V2.V2.T", "lateral_descending 2: B3.B3.T | U2.U2.T", "laterals 2: U2 | V2.T"]);
    assert.deepEqual(pairsOf(["W1", "W2", "B2"]).map((p) => [p.left, p.right]), [["B2", "W2.T"]]); // Kolen-Pollack
    const mixed = pairsOf(["W1", "W2", "W3", "B2", "B3", "V1", "V2", "U1", "U2"], ["W1", "W2", "B2"]).map((p) => `${p.left} | ${p.right}`);
    assert.deepEqual(mixed, ["U1 | V1.T", "V2.B3 | W3.T", "B3.B3.T | U2.U2.T", "U2 | V2.T"]); // kernels of convolutions have no products
    const shapes = new Map([["W2", [64, 128]], ["V2", [64, 32]], ["V1", [128, 96]]]);
    assert.deepEqual([shapeOf("W2.T.V2", shapes), shapeOf("V1.V1.T", shapes), shapeOf("V1.T", shapes), shapeOf("W2", shapes)], [[128, 32], [128, 128], [96, 128], [64, 128]]);
    assert.deepEqual(pairsOf(["W1", "W2"]), []); // backpropagation has nothing to align
    assert.equal(formula("W2.T.V2"), "W2ᵀ V2");
});

await test("what_is_not_allowed_has_a_reason", async () => {
    assert.equal(refusal("ben"), null); // before the server has said who asks
    introduce({ user: "ana", role: "member", token: 2 });
    await known;
    assert.deepEqual([me.user, refusal(), refusal("ana")], ["ana", null, null]);
    assert.match(refusal("ben"), /ben's/);
    assert.match(refusal(null), /administrator/);
    introduce({ user: "ana", role: "viewer" });
    assert.match(refusal(), /viewer/);
    introduce({ user: "ana", role: "admin" });
    assert.deepEqual([refusal(), refusal("ben"), refusal(null)], [null, null, null]);
});

await test("every_series_has_a_chart", () => {
    const names = ["train/loss", "test/loss", "test/accuracy", "alignment/modulation/1", "alignment/lateral_descending/1", "alignment/lateral/1", "norm/W/1", "norm/U/1", "norm/ratio/2", "spectrum/W/1", "odd"];
    const charts = chartsOf(names);
    assert.deepEqual(charts.flatMap((c) => c.names).sort(), [...names].sort());
    assert.deepEqual(charts[0].names, ["train/loss", "test/loss"]);
    assert.equal(new Set(charts.map((c) => c.title)).size, charts.length);
    assert.ok(charts.every((c) => c.group && c.yLabel), JSON.stringify(charts));
});

await test("definitions_differ_where_they_do", () => {
    assert.deepEqual(differences([{ a: { b: 1, c: [1, 2] }, d: "x" }, { a: { b: 1, c: [1, 3] }, e: null }]), [["a.c.1", [2, 3]], ["d", ["x", undefined]], ["e", [undefined, null]]]);
});

/* ---- numbers ---- */

await test("numbers_are_short_and_right", () => {
    const pairs = [[format.number(0.12345678), "0.1235"], [format.number(-3), "−3"], [format.number(1234567.8), "1.23e+6"], [format.number(0.0001234), "1.23e−4"], [format.number(null), "–"], [format.number(NaN), "–"],
        [format.percent(0.98234, 2), "98.23 %"], [format.metric("test/accuracy", 0.5), "50.00 %"], [format.metric("train/loss", 0.5), "0.5000"], [format.bytes(1536), "1.5 KiB"], [format.bytes(17), "17 B"],
        [format.duration(65), "1 min 05 s"], [format.duration(3700), "1 h 01 min"], [format.duration(0.25), "250 ms"], [format.duration(86400), "1 d"], [format.duration(90000), "1 d 1 h"], [format.number(0.99999), "1.000"], [format.number(-6.86e-4), "−6.86e−4"],
        [format.difference("test/accuracy", 0.0075), "+0.75"], [format.difference("test/accuracy", -0.5), "−50.00"], [format.difference("train/loss", 0.5), "+0.5000"], [format.difference("x", null), "–"], [format.tickPercent(0.55), "55 %"],
        [format.measure("alignment/modulation_angle/1"), "angle, degrees"], [format.measure("alignment/feedback/2"), "cosine"], [format.measure("spectrum/W/1"), "spectrum"], [format.tick(0.30000000000000004), "0.3"], [format.tick(0), "0"], [format.tick(2e-7), "2e−7"],
        [format.brief(0.02), "0.02"], [format.parameters({ "rule.name": "sal", "training.seed": 2 }), "sal · seed 2"],
        [format.ago("2026-01-01T00:00:00Z", Date.parse("2026-01-01T00:03:10Z")), "3 min ago"], [format.ago("x"), "–"]];
    for (const [found, wanted] of pairs) assert.equal(found, wanted);
});

console.log(`1..${count}`);
