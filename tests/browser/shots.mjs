// SPDX-License-Identifier: Apache-2.0
/*
 * Pictures of the dashboard. BASE is a daemon that may be given work, FOLDER where the pictures go.
 *   node shots.mjs BASE FOLDER           every page at three sizes in both themes: to be looked at
 *   node shots.mjs BASE FOLDER readme    the README's: light and dark an experiment (on a desk, a phone and a wall), a run and
 *                                        the form; light alone weights (of MNIST where it is there), results, two runs
 */
import path from "node:path";
import { WAIT_MS, browser, done, open, test } from "./harness.mjs";
import { answer, everything } from "./mock.mjs";

const [base, folder, readme] = process.argv.slice(2);
const SIZES = { phone: [390, 844], desk: [1280, 800], wall: [2560, 1440] };
const ENOUGH_MS = 300000;

async function request(method, path_, body) {
    const reply = await fetch(base + path_, { method, headers: { "Content-Type": "application/json" }, body: body && JSON.stringify(body) });
    if (!reply.ok) throw new Error(`${method} ${path_}: ${reply.status} ${await reply.text()}`);
    return reply.json();
}

const layers = [{ units: 128 }, { units: 64 }];
const small = { dataset: { name: "strokes", train: 5000, test: 1000 }, network: { layers }, record: { every: 20, assembly: true } };

async function finished(id) {
    const end = Date.now() + ENOUGH_MS;
    while ((await request("GET", `/v1/experiments/${id}`)).state !== "succeeded") {
        if (Date.now() > end) throw new Error("the runs are not done in time");
        await new Promise((resolve) => setTimeout(resolve, 500));
    }
}

/* SAL on MNIST where the server has it: the run whose weights are shown, or null. */
async function digits() {
    const { datasets } = await request("GET", "/v1/datasets");
    if (!datasets.some((d) => d.name === "mnist" && !d.error)) return null;
    const made = await request("POST", "/v1/experiments", {
        name: "SAL on MNIST", tags: ["mnist"], dataset: { name: "mnist" }, network: { layers: [{ units: 128 }, { units: 128 }] }, rule: { name: "sal" },
        optimizer: { lr: 0.1, decay: 0.001, schedule: { type: "cosine", factor: 0.05 } }, training: { epochs: 8 }, record: { every: 100 },
    });
    await finished(made.id);
    return made.first_run;
}

/* SAL against BP, done; and one that goes on for long, with its interventions. */
async function work() {
    const first = await request("POST", "/v1/experiments", {
        ...small, name: "SAL against backpropagation", tags: ["strokes", "rules"], rule: { name: "sal" },
        dataset: { name: "strokes", train: 10000, test: 2000 }, optimizer: { lr: 0.05, decay: 0.001, schedule: { type: "cosine", factor: 0.05 } },
        training: { epochs: 10 }, sweep: { "rule.name": ["sal", "bp"], "training.seed": [1, 2, 3, 4, 5] },
    });
    await finished(first.id);
    const shown = await digits();
    const second = await request("POST", "/v1/experiments", {
        ...small, name: "Lesion of the laterals and recovery", tags: ["lesion"], rule: { name: "sal" }, optimizer: { lr: 0.02, decay: 0.001 },
        training: { epochs: 4000 }, interventions: [{ epoch: 8, type: "lesion", group: "V", fraction: 0.5 }],
        sweep: { "interventions.0.fraction": [0.25, 0.5, 0.9], "training.seed": [1, 2] },
    });
    const { runs } = await request("GET", `/v1/experiments/${first.id}`);
    const byRule = (name) => runs.find((run) => run.parameters["rule.name"] === name);
    return { first: first.id, second: second.id, sal: byRule("sal").id, bp: byRule("bp").id, digits: shown };
}

async function faulty(page) {
    await page.getByLabel("Start from").selectOption({ label: "SAL on strokes" });
    await page.evaluate(() => {
        const e = document.querySelector(".CodeMirror").CodeMirror;
        e.setValue(e.getValue().replace('"decay": 0.001}', '"decay": 0.001, "momentun": 0.9}').replace('"name": "sal"}', '"name": "sall"}'));
        e.setCursor(e.posFromIndex(e.getValue().indexOf("0.001")));
    });
    await page.locator(".fault-line").nth(1).waitFor();
}

const charts = (page) => page.locator("figure.chart canvas").first().waitFor();

/* The part of a run's page that shows its weights, alone. */
const weights = (tab) => async (page) => {
    const section = page.locator("section[aria-label='Weights']");
    await section.getByRole("button", { name: tab }).click();
    await section.locator("img").first().waitFor();
    await page.waitForTimeout(800);
    return section;
};

const results = async (page) => {
    const section = page.locator("section[aria-label='Results']");
    await section.getByRole("row").nth(2).waitFor();
    return section;
};

/* [name, route, what is done before it is shown, replies in place of the server's]. What is done may return the part to show. */
function pages({ first, second, sal, bp, digits: mnist }, size, scheme) {
    const real = [["experiment", `/experiments/${first}`, charts], ["run", `/runs/${sal}`, charts], ["new", "/new", faulty]];
    const compare = ["compare", `/compare?runs=${sal},${bp}`, charts];
    if (readme && size !== "desk") return [real[0]];
    if (readme && scheme === "dark") return real;
    if (readme) return [...real, compare, ["results", `/experiments/${first}`, results], ["matrices", `/runs/${mnist ?? sal}`, weights("What should align")], ["fields", `/runs/${mnist ?? sal}`, weights("Receptive fields")]];
    return [...real, compare, ["experiments", "/experiments"], ["running", `/experiments/${second}`, charts],
        ["queue", "/queue", null, everything], ["users", "/users", null, everything], ["datasets", "/datasets"]];
}

const chrome = await browser();
let made = null;
await test("work_to_be_shown", async () => { made = await work(); });
for (const [size, [width, height]] of made ? Object.entries(SIZES) : []) {
    for (const colorScheme of ["light", "dark"]) {
        await test(`shots_${size}_${colorScheme}`, async () => {
            for (const [name, route, prepare, replies] of pages(made, size, colorScheme)) {
                const high = !readme || size !== "desk" ? height : name === "new" ? 640 : 1000;
                const { page, context } = await open(chrome, base, { viewport: { width, height: high }, colorScheme });
                if (replies) await answer(page, replies);
                await page.goto(`${base}/#!${route}`);
                await page.getByRole("heading", { level: 1 }).waitFor({ timeout: WAIT_MS });
                const part = await prepare?.(page);
                await page.waitForTimeout(1200); // pictures and charts are drawn in frames
                const file = path.join(folder, `${[readme && "dashboard", name, !(readme && size === "desk") && size, colorScheme].filter(Boolean).join("-")}.png`);
                if (part) await part.screenshot({ path: file });
                else await page.screenshot({ path: file, fullPage: !readme && size === "desk" });
                const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
                if (wide > 1) throw new Error(`${name} is ${wide} pixels wider than the screen`);
                await context.close();
            }
        });
    }
}
if (made) await request("POST", `/v1/experiments/${made.second}/cancel`);
await chrome.close();
done();
