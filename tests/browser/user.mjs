// SPDX-License-Identifier: Apache-2.0
/*
 * What a new user does, in one page that is never loaded again: begins from an example, breaks the definition and mends
 * it, submits, watches curves move, opens a run, downloads weights, compares SAL with BP, cancels a second experiment.
 * BASE is the daemon's address, FOLDER where the downloaded weights go (weights.npz: test_browser.py reads them).
 */
import assert from "node:assert/strict";
import path from "node:path";
import { WAIT_MS, blameless, browser, done, open, test } from "./harness.mjs";
import { HOSTILE } from "./mock.mjs";

const [base, folder] = process.argv.slice(2);
const FIRST_LOAD = 300 * 1024;

const chrome = await browser();
const routes = (await (await fetch(`${base}/v1`)).json()).routes.map((r) => r.path.replace(/\{[^}]+\}/g, "[^/?]+"));
const document_ = await (await fetch(`${base}/openapi.json`)).json();
const absent = (path_) => !routes.some((r) => new RegExp(`^${r}(\\?|$)`).test(path_));
// A fault that the form shows is a 422. A server may lack what its contract does not have, and the page does without.
const expected = [[422, /^\/v1\/experiments\?dry_run=1$/], [404, { test: absent }], [405, { test: absent }]];
if (!JSON.stringify(document_.paths["/v1/runs/{id}/metrics"]).includes("points")) expected.push([400, /^\/v1\/runs\/\d+\/metrics\?points=/]);
const opened = await open(chrome, base, {}, expected);
const { page, heard } = opened;
const step = (name, body) => test(name, body, page);
const cm = () => page.locator(".CodeMirror");
const textNow = () => page.evaluate(() => document.querySelector(".CodeMirror").CodeMirror.getValue());
const write = (text) => page.evaluate((t) => document.querySelector(".CodeMirror").CodeMirror.setValue(t), text);
/* Until what has changed is drawn: that happens in an animation frame. */
const drawn = () => page.evaluate(() => { m.redraw(); return new Promise((done_) => requestAnimationFrame(() => requestAnimationFrame(done_))); });
const ready = async () => { await drawn(); await page.getByText("ready to run").waitFor(); };

/* Presses Tab until what has the focus answers to `wanted`, a function of the element. */
async function tabTo(wanted, most = 60) {
    for (let i = 0; i < most; i++) {
        await page.keyboard.press("Tab");
        if (await page.evaluate(wanted)) return;
    }
    throw new Error(`Tab does not lead to ${wanted}`);
}

await step("first_load_is_small_and_strict", async () => {
    const reply = await page.goto(base);
    await page.getByRole("heading", { level: 1 }).waitFor();
    await page.waitForLoadState("networkidle");
    await page.evaluate(() => { window.neverLoadedAgain = true; });
    const total = [...heard.bytes.values()].reduce((a, b) => a + b, 0);
    console.log(`# first load: ${total} bytes in ${heard.bytes.size} requests`);
    assert.ok(total > 0 && total < FIRST_LOAD, `${total} bytes: ${JSON.stringify([...heard.bytes])}`);
    const policy = reply.headers()["content-security-policy"];
    assert.match(policy, /default-src 'none'/);
    assert.doesNotMatch(policy, /unsafe|\*|https?:/);
});

await step("keyboard_leads_to_the_form_and_through_it", async () => {
    await tabTo(() => document.activeElement.textContent.trim() === "New");
    await page.keyboard.press("Enter");
    await page.getByRole("heading", { name: "New experiment" }).waitFor();
    await ready();
    await tabTo(() => document.activeElement.id === "f-name");
    await page.keyboard.press("Control+A");
    await page.keyboard.type("typed");
    await tabTo(() => document.activeElement.closest(".CodeMirror") !== null);
    assert.match(await textNow(), /"name": "typed"/);
    await tabTo(() => document.activeElement.closest(".CodeMirror") === null, 1); // and out again
});

await step("an_example_is_a_start", async () => {
    await page.getByLabel("Start from").selectOption({ label: "SAL on strokes" });
    await ready();
    assert.deepEqual(JSON.parse(await textNow()).rule, { name: "sal" });
});

await step("controls_and_text_are_one", async () => {
    const commit = async (label, value) => { await page.getByLabel(label, { exact: true }).fill(value); await page.keyboard.press("Enter"); await page.keyboard.press("Tab"); };
    await commit("Name", HOSTILE);
    await page.getByLabel("bp", { exact: true }).check();
    await commit("Seeds", "1-2");
    await commit("Epochs", "120");
    const layers = page.getByLabel("Hidden layers");
    await layers.fill("wide"); // no number: marked, kept, and the text untouched
    await page.keyboard.press("Tab");
    await drawn();
    assert.deepEqual([await layers.inputValue(), await layers.getAttribute("aria-invalid")], ["wide", "true"]);
    await layers.fill("128");
    await drawn(); // nothing that is drawn takes away what is being typed
    assert.equal(await layers.inputValue(), "128");
    await page.keyboard.press("Tab");
    await drawn();
    assert.equal(await layers.getAttribute("aria-invalid"), null);
    const definition = JSON.parse(await textNow());
    assert.equal(definition.name, HOSTILE);
    assert.deepEqual(definition.sweep, { "rule.name": ["bp", "sal"], "training.seed": [1, 2] });
    assert.equal(definition.training.epochs, 120);
    await ready();
    assert.equal(await page.locator("dl.facts dd").first().innerText(), "4");
    await write((await textNow()).replace('"epochs": 120', '"epochs": 121'));
    await drawn();
    assert.equal(await page.getByLabel("Epochs").inputValue(), "121");
});

await step("completion_offers_what_the_schema_has", async () => {
    const before = await textNow();
    await page.evaluate(() => { const e = document.querySelector(".CodeMirror").CodeMirror; e.setCursor(e.posFromIndex(e.getValue().indexOf('"epochs"'))); e.focus(); });
    await page.keyboard.press("Control+Space");
    await page.locator(".CodeMirror-hint", { hasText: "early_stopping" }).first().waitFor();
    await page.keyboard.type('"thr');
    await page.locator(".CodeMirror-hint", { hasText: "threads" }).first().waitFor();
    await page.keyboard.press("Enter");
    await page.getByText("Threads that train one run together").waitFor(); // the help beside it
    await page.keyboard.type("1");
    await ready();
    assert.equal(JSON.parse(await textNow()).training.threads, 1);
    await write(before);
    await ready();
});

await step("a_fault_is_shown_at_its_line_and_mended", async () => {
    const good = await textNow();
    await write(good.replace('"rule": {"name": "sal"}', '"rule": {"name": "sal", "gat": true}'));
    const line = cm().locator(".fault-line", { hasText: '"gat" is not known here' });
    await line.waitFor();
    const at = await line.evaluate((e) => e.closest(".CodeMirror-linewidget").parentElement.querySelector("pre.CodeMirror-line").innerText);
    assert.equal(at.trim(), '"rule": {"name": "sal", "gat": true},');
    await line.getByRole("button", { name: 'use "gate"' }).click();
    await ready();
    assert.deepEqual(JSON.parse(await textNow()).rule, { name: "sal", gate: true });
    await write(good.replace('"record": {', '"record": '));
    await page.getByText(/^Line \d+: /).waitFor();
    assert.ok(await page.getByRole("button", { name: "Submit" }).isDisabled());
    await write(good);
    await ready();
});

await step("ctrl_enter_submits", async () => {
    await page.evaluate(() => document.querySelector(".CodeMirror").CodeMirror.focus());
    await page.keyboard.press("Control+Enter");
    await page.waitForURL(/#!\/experiments\/1$/);
    await page.getByRole("heading", { level: 1, name: HOSTILE }).waitFor();
    assert.equal(await page.locator("img[src=x]").count(), 0);
});

await step("curves_move", async () => {
    await page.locator("figure.chart canvas").first().waitFor();
    const grown = page.evaluate((most) => new Promise((resolve, reject) => {
        const draw = window.Dygraph.prototype.updateOptions;
        const seen = new Map();
        setTimeout(() => reject(new Error(`points in charts: ${JSON.stringify([...seen.values()])}`)), most);
        window.Dygraph.prototype.updateOptions = function (options, ...rest) {
            if (options.file) {
                if (!seen.has(this)) seen.set(this, []);
                seen.get(this).push(options.file.length);
                if (seen.get(this).some((n, i, all) => n > all[0])) {
                    window.Dygraph.prototype.updateOptions = draw;
                    resolve(seen.get(this));
                }
            }
            return draw.call(this, options, ...rest);
        };
    }), WAIT_MS);
    console.log(`# points drawn: ${(await grown).join(", ")}`);
});

await step("a_run_is_opened", async () => {
    await page.locator("main tbody a[href*='#!/runs/']").first().click();
    await page.waitForURL(/#!\/runs\/\d+/);
    await page.locator("figure.chart canvas").first().waitFor();
    await page.locator(".state.is-succeeded").first().waitFor({ timeout: 4 * WAIT_MS });
    assert.equal(await page.locator("img[src=x]").count(), 0);
});

await step("weights_are_downloaded", async () => {
    const [download] = await Promise.all([page.waitForEvent("download"), page.getByRole("button", { name: /npz/i }).first().click()]);
    await download.saveAs(path.join(folder, "weights.npz"));
});

await step("sal_is_compared_with_bp", async () => {
    await page.evaluate(() => { location.hash = "#!/experiments/1"; });
    await page.getByRole("button", { name: "Compare all" }).click();
    await page.getByRole("link", { name: /^Compare 4/ }).click();
    await page.waitForURL(/#!\/compare/);
    await page.getByRole("heading", { level: 1, name: "Compare" }).waitFor();
    const chart = page.locator("figure.chart", { has: page.locator("canvas") }).first();
    for (const rule of [/\bsal\b/, /\bbp\b/]) await chart.locator(".legend button", { hasText: rule }).first().waitFor();
    await page.getByRole("row", { name: /^rule\.name.*\bbp\b.*\bsal\b/ }).waitFor();
});

await step("a_second_experiment_is_cancelled", async () => {
    await page.getByRole("link", { name: "New", exact: true }).click();
    await ready();
    await page.getByLabel("Epochs", { exact: true }).fill("5000");
    await page.keyboard.press("Tab");
    await ready();
    await page.getByRole("button", { name: "Submit" }).click();
    await page.waitForURL(/#!\/experiments\/2$/);
    await page.locator(".state.is-running").first().waitFor();
    await page.getByRole("button", { name: "Cancel" }).first().click();
    const agree = page.getByRole("dialog").locator("button.danger");
    await Promise.race([agree.waitFor().then(() => agree.click()), page.locator(".state.is-cancelled").first().waitFor()]);
    await page.locator(".state.is-cancelled").first().waitFor();
});

await step("dark_and_light", async () => {
    const paper = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
    await page.emulateMedia({ colorScheme: "dark" });
    const dark = await paper();
    await page.emulateMedia({ colorScheme: "light" });
    assert.notEqual(await paper(), dark);
    await page.getByRole("button", { name: "Dark or light" }).click();
    await drawn();
    assert.equal(await paper(), dark);
    assert.equal(await page.locator("nav [aria-current]").count(), 1); // the page that it is, not those that were
});

await step("nothing_was_loaded_again_and_nothing_went_wrong", async () => {
    assert.equal(await page.evaluate(() => window.neverLoadedAgain), true);
    assert.equal(heard.loads, 1);
    await blameless(opened);
});

await chrome.close();
done();
