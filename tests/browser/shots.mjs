// SPDX-License-Identifier: Apache-2.0
/*
 * Pictures of the dashboard. BASE is a daemon that may be given work, FOLDER where the pictures go.
 *   node shots.mjs BASE FOLDER           every page at three sizes in both themes: to be looked at
 *   node shots.mjs BASE FOLDER readme    the README's: experiment, run and form, light and dark
 */
import path from "node:path";
import { WAIT_MS, browser, done, open, test } from "./harness.mjs";
import { answer, everything } from "./mock.mjs";

const [base, folder, readme] = process.argv.slice(2);
const SIZES = readme ? { "": [1280, 860] } : { phone: [390, 844], desk: [1280, 800], wall: [2560, 1440] };
const ENOUGH_MS = 120000;

async function request(method, path_, body) {
    const reply = await fetch(base + path_, { method, headers: { "Content-Type": "application/json" }, body: body && JSON.stringify(body) });
    if (!reply.ok) throw new Error(`${method} ${path_}: ${reply.status} ${await reply.text()}`);
    return reply.json();
}

const layers = [{ units: 128 }, { units: 64 }];
const small = { dataset: { name: "strokes", train: 5000, test: 1000 }, network: { layers }, record: { every: 20, assembly: true } };

/* SAL against BP and KP, done; and one that goes on for long, with its interventions. */
async function work() {
    const first = await request("POST", "/v1/experiments", {
        ...small, name: "SAL against backpropagation and Kolen-Pollack", tags: ["strokes", "rules"], rule: { name: "sal" },
        optimizer: { lr: 0.05, decay: 0.001, schedule: { type: "cosine", factor: 0.05 } }, training: { epochs: 12 },
        sweep: { "rule.name": ["sal", "kp", "bp"], "training.seed": [1, 2, 3] },
    });
    const end = Date.now() + ENOUGH_MS;
    while ((await request("GET", `/v1/experiments/${first.id}`)).state !== "succeeded") {
        if (Date.now() > end) throw new Error("the runs are not done in time");
        await new Promise((resolve) => setTimeout(resolve, 500));
    }
    const second = await request("POST", "/v1/experiments", {
        ...small, name: "Lesion of the laterals and recovery", tags: ["lesion"], rule: { name: "sal" }, optimizer: { lr: 0.02, decay: 0.001 },
        training: { epochs: 4000 }, interventions: [{ epoch: 8, type: "lesion", group: "V", fraction: 0.5 }],
        sweep: { "interventions.0.fraction": [0.25, 0.5, 0.9], "training.seed": [1, 2] },
    });
    const { runs } = await request("GET", `/v1/experiments/${first.id}`);
    return { first: first.id, second: second.id, runs: runs.map((run) => run.id), sal: runs.find((run) => run.parameters["rule.name"] === "sal").id };
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

function pages({ first, second, runs, sal }) {
    const real = [["experiment", `/experiments/${first}`, charts], ["run", `/runs/${sal}`, charts], ["new", "/new", faulty]];
    if (readme) return real;
    return [...real, ["experiments", "/experiments"], ["running", `/experiments/${second}`, charts], ["compare", `/compare?runs=${[runs[0], runs.at(-1)].join(",")}`],
        ["queue", "/queue", null, everything], ["users", "/users", null, everything], ["datasets", "/datasets"]];
}

const chrome = await browser();
let made = null;
await test("work_to_be_shown", async () => { made = await work(); });
for (const [size, [width, height]] of made ? Object.entries(SIZES) : []) {
    for (const colorScheme of ["light", "dark"]) {
        await test(`shots_${size || "readme"}_${colorScheme}`, async () => {
            for (const [name, route, prepare, replies] of pages(made)) {
                const high = readme && name === "new" ? 660 : height;
                const { page, context } = await open(chrome, base, { viewport: { width, height: high }, colorScheme });
                if (replies) await answer(page, replies);
                await page.goto(`${base}/#!${route}`);
                await page.getByRole("heading", { level: 1 }).waitFor({ timeout: WAIT_MS });
                await prepare?.(page);
                await page.waitForTimeout(1200); // pictures and charts are drawn in frames
                await page.screenshot({ path: path.join(folder, `${[readme && "dashboard", name, size, colorScheme].filter(Boolean).join("-")}.png`), fullPage: !readme && size === "desk" });
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
