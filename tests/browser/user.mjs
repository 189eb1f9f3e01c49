// SPDX-License-Identifier: Apache-2.0
/*
 * What a new user does, in one page that is never loaded again: begins from an example, breaks the definition and mends
 * it, submits, watches curves move, opens a run, looks at its matrices, downloads weights, compares SAL with BP, pauses,
 * resumes and cancels; then uploads a dataset, trains on it, runs that again and finds the digests agree; deletes.
 * BASE is the daemon's address, FOLDER where the downloaded weights go (weights.npz: test_browser.py reads them).
 */
import assert from "node:assert/strict";
import path from "node:path";
import { WAIT_MS, blameless, browser, done, open, test } from "./harness.mjs";
import { HOSTILE } from "./mock.mjs";

const [base, folder] = process.argv.slice(2);
const FIRST_LOAD = 300 * 1024;

const chrome = await browser();
// A fault that the form shows is a 422; a checkpoint of a run that goes on may be gone when its picture is asked for.
const opened = await open(chrome, base, {}, [[422, /^\/v1\/experiments\?dry_run=1$/], [404, /^\/v1\/runs\/\d+\/weights\/[^/]+\.png\?step=/]]);
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
    await page.getByRole("status").getByText("live", { exact: true }).waitFor(); // events come; that request never ends
    await page.getByText("Submit the first experiment").waitFor();
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

/* Until a chart has got more points than it had: how many, drawing by drawing. */
async function growth() {
    await page.locator("figure.chart canvas").first().waitFor();
    const grown = await page.evaluate((most) => new Promise((resolve, reject) => {
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
    return grown.join(", ");
}

await step("curves_move", async () => {
    console.log(`# points drawn: ${await growth()}`);
});

await step("a_run_is_opened_and_moves_by_events_alone", async () => {
    await page.getByRole("row", { name: /running/ }).getByRole("link").first().click();
    await page.waitForURL(/#!\/runs\/\d+/);
    await growth(); // what there was, and the first events
    const asked = [];
    const ear = (request) => { if (/^\/v1\/runs\/\d+\/metrics/.test(new URL(request.url()).pathname)) asked.push(request.url()); };
    page.on("request", ear);
    console.log(`# points drawn: ${await growth()}`);
    page.off("request", ear);
    assert.deepEqual(asked, []);
    assert.equal(await page.locator("img[src=x]").count(), 0);
});

await step("what_should_align_is_shown_side_by_side", async () => {
    await page.evaluate(() => { location.hash = "#!/experiments/1"; });
    await page.getByRole("row", { name: /\bsal\b.*seed 1/ }).getByRole("link").click();
    await page.locator(".state.is-succeeded").first().waitFor({ timeout: 4 * WAIT_MS });
    const pair = page.locator(".pair", { hasText: "Feedback, layer 1" });
    await pair.locator("img").nth(1).waitFor();
    await pair.getByText(/cosine 0\.\d+/).waitFor();
    const sizes = await pair.locator("img").evaluateAll((all) => all.map((image) => [image.alt, image.naturalWidth > 0]));
    const step_ = /at step \d+$/.exec(sizes[0][0])[0];
    assert.deepEqual(sizes, [[`V1 B2 ${step_}`, true], [`W2ᵀ ${step_}`, true]]);
    await page.getByRole("button", { name: "Receptive fields" }).click();
    const fields = page.locator(".pictures img[alt^='W1 at step']");
    await fields.waitFor();
    assert.ok(await fields.evaluate((image) => image.naturalWidth > 28 && image.naturalHeight > 28));
    const slider = page.getByLabel("Checkpoint");
    if (await slider.isEnabled()) { // an older checkpoint is another picture
        const before = await fields.getAttribute("src");
        await slider.focus();
        await page.keyboard.press("ArrowLeft");
        await page.waitForFunction((src) => document.querySelector(".pictures img").src !== src, before);
        await page.keyboard.press("ArrowRight");
        await page.locator("output", { hasText: step_.slice(3).replace(/\d+/, (n) => Number(n).toLocaleString("en-GB")) }).waitFor();
    }
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

const agree = () => page.getByRole("dialog").locator("button.danger").click();
const headState = (state) => page.locator(`.page-head .state.is-${state}`).waitFor();

await step("an_experiment_is_paused_resumed_and_cancelled", async () => {
    await page.getByRole("link", { name: "New", exact: true }).click();
    await ready();
    await page.getByLabel("Epochs", { exact: true }).fill("5000");
    await page.keyboard.press("Tab");
    await ready();
    await page.getByRole("button", { name: "Submit" }).click();
    await page.waitForURL(/#!\/experiments\/2$/);
    await page.getByLabel("Priority").fill("5"); // before what waits of the first one
    await page.keyboard.press("Tab");
    await page.getByText("priority 5").waitFor();
    await page.getByRole("button", { name: "Pause" }).click();
    await headState("paused");
    await page.getByRole("button", { name: "Resume" }).click();
    await page.locator(".page-head .state:is(.is-queued, .is-running)").waitFor();
    await page.getByRole("link", { name: "Queue", exact: true }).click();
    await page.getByRole("heading", { name: /^Running, 1 of 1 worker/ }).waitFor();
    await page.locator("main a", { hasText: /^experiment 2$/ }).first().click();
    await page.getByRole("button", { name: "Cancel" }).click();
    await agree();
    await headState("cancelled");
});

await step("many_are_cancelled_at_once", async () => {
    await page.getByRole("link", { name: "Experiments", exact: true }).click();
    await page.getByLabel("Select all that are shown").check();
    await page.getByRole("group", { name: "Selected experiments" }).getByRole("button", { name: "Cancel" }).click();
    await agree();
    await page.getByText(/^cancel: \d experiment/).waitFor();
    await page.locator("tbody tr", { has: page.locator("a[href='#!/experiments/1']") }).locator(".state:is(.is-cancelled, .is-succeeded)").waitFor();
});

await step("a_dataset_is_uploaded_and_trained_on", async () => {
    const rows = Array.from({ length: 200 }, (_, i) => `${Math.sin(i)},${i % 2 ? 1 : -1},${Math.cos(i * i)},${i % 2}`);
    await page.getByRole("link", { name: "Datasets", exact: true }).click();
    await page.getByLabel("Files").setInputFiles({ name: "odd or even.csv", mimeType: "text/csv", buffer: Buffer.from(`a,b,c,label\n${rows.join("\n")}\n`) });
    await drawn();
    assert.equal(await page.getByLabel("Name", { exact: true }).inputValue(), "odd-or-even");
    await page.getByRole("button", { name: "Upload" }).click();
    await page.getByText("uploaded odd-or-even").waitFor();
    const card = page.getByRole("article", { name: "odd-or-even" });
    assert.match(await card.innerText(), /3 inputs[^]*200/);
    await page.locator("article img.samples").first().waitFor(); // those of strokes
    await card.getByRole("link", { name: "Train on it" }).click();
    await ready();
    assert.equal(await page.getByLabel("Dataset").inputValue(), "odd-or-even");
    await page.getByRole("button", { name: "Submit" }).click();
    await page.waitForURL(/#!\/experiments\/3$/);
    await headState("succeeded");
    await page.getByRole("table", { name: /over the seeds/ }).getByRole("row", { name: /\bsal\b/ }).waitFor(); // the paired difference
});

await step("a_run_is_run_again_to_the_bit", async () => {
    await page.locator("main tbody a[href*='#!/runs/']").first().click();
    await page.getByRole("button", { name: "Rerun" }).click();
    await page.getByText("the digests agree, to the bit").waitFor();
});

await step("an_experiment_is_deleted", async () => {
    await page.evaluate(() => { location.hash = "#!/experiments/2"; });
    await page.getByRole("button", { name: "Delete" }).click();
    await agree();
    await page.getByText(/^experiment 2 deleted, /).waitFor();
    await page.waitForURL(/#!\/experiments$/);
    await page.locator("a[href='#!/experiments/1']").waitFor();
    assert.equal(await page.locator("a[href='#!/experiments/2']").count(), 0);
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
