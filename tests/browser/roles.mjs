// SPDX-License-Identifier: Apache-2.0
/*
 * A server with tokens, as a member, a viewer and an administrator see it: they sign in, and what they may not do is
 * disabled, with the reason, so that nothing is refused after a click. TOKENS: {user: token} as JSON, of ana and ben
 * (members), vera (viewer) and chief (administrator).
 */
import assert from "node:assert/strict";
import { blameless, browser, done, open, test } from "./harness.mjs";

const [base, tokens] = [process.argv[2], JSON.parse(process.env.TOKENS)];
const chrome = await browser();
const unknown = [[401, /^\/v1\//]]; // before one has signed in

async function signIn(page, token) {
    const box = page.getByRole("dialog", { name: "Sign in" });
    await box.getByLabel("Token").fill(token);
    await box.getByRole("button", { name: "Sign in" }).click();
}

/* A page at a route, signed in; its body may do nothing that the server refuses. */
async function as(user, route, body) {
    const opened = await open(chrome, base, {}, unknown);
    try {
        await opened.page.goto(`${base}/#!${route}`);
        await signIn(opened.page, tokens[user]);
        await opened.page.locator("header .me", { hasText: user }).waitFor();
        await body(opened.page);
        await blameless(opened);
    } finally {
        await opened.context.close();
    }
}

const made = await fetch(`${base}/v1/experiments`, {
    method: "POST", headers: { "Content-Type": "application/json", Authorization: `Bearer ${tokens.ben}` },
    body: JSON.stringify({ name: "ben's", dataset: { name: "strokes", train: 640, test: 100 }, network: { layers: [{ units: 32 }] }, rule: { name: "sal" }, training: { epochs: 2 } }),
});
const { id, first_run: run } = await made.json();

await test("a_wrong_token_is_refused_in_words", async () => {
    const opened = await open(chrome, base, {}, unknown);
    const { page } = opened;
    await page.goto(`${base}/#!/experiments`);
    await signIn(page, "tet_wrong");
    await page.getByText("The server refuses this token").waitFor();
    await signIn(page, tokens.ana);
    await page.getByRole("link", { name: "ben's" }).waitFor();
    await blameless(opened);
    await page.getByRole("button", { name: "Sign out" }).click();
    await page.getByText("This server wants to know who you are").waitFor();
    await opened.context.close();
});

await test("members_change_what_is_theirs", () => as("ana", `/experiments/${id}`, async (page) => {
    await page.locator(".page-head .state.is-succeeded").waitFor();
    await page.getByText("This is ben's: only ben or an administrator may change it.").waitFor();
    assert.ok(await page.getByRole("button", { name: "Delete" }).isDisabled());
    assert.ok(await page.getByRole("link", { name: "Run again" }).isVisible());
    await page.evaluate((to) => { location.hash = to; }, `#!/runs/${run}`);
    await page.getByRole("button", { name: "Rerun" }).waitFor();
    assert.ok(await page.getByRole("button", { name: "Rerun" }).isEnabled()); // a run of her own comes of it
    await page.getByRole("link", { name: "Users", exact: true }).click();
    await page.getByText("are for administrators").waitFor();
}));

await test("viewers_read", () => as("vera", "/new", async (page) => {
    await page.getByText("Your token is for reading").waitFor();
    await page.locator(".CodeMirror").waitFor();
    assert.ok(await page.getByRole("button", { name: "Submit" }).isDisabled());
    await page.getByRole("link", { name: "Datasets", exact: true }).click();
    await page.getByText("Your token is for reading").waitFor();
    assert.ok(await page.getByRole("button", { name: "Upload" }).isDisabled());
    await page.evaluate((to) => { location.hash = to; }, `#!/runs/${run}`);
    await page.locator("figure.chart canvas").first().waitFor();
    assert.ok(await page.getByRole("button", { name: "Rerun" }).isDisabled());
    assert.ok(await page.getByRole("button", { name: "weights.npz" }).isEnabled());
    await page.getByRole("link", { name: "Experiments", exact: true }).click();
    await page.getByLabel("Select all that are shown").check();
    assert.ok(await page.getByRole("group", { name: "Selected experiments" }).getByRole("button", { name: "Cancel" }).isDisabled());
}));

await test("administrators_change_everything", () => as("chief", "/users", async (page) => {
    await page.getByRole("table", { name: "Users" }).getByRole("row", { name: /^ana/ }).getByRole("button", { name: "Edit" }).click();
    const dialog = page.getByRole("dialog");
    await dialog.getByLabel(/Weight/).fill("3");
    await dialog.getByRole("button", { name: "Save" }).click();
    await page.getByRole("table", { name: "Users" }).getByRole("row", { name: /^ana 3 / }).waitFor();
    await page.getByRole("table", { name: "Audit log" }).getByRole("row", { name: /chief.*PUT/ }).first().waitFor();
    await page.evaluate((to) => { location.hash = to; }, `#!/experiments/${id}`);
    await page.getByRole("button", { name: "Delete" }).click();
    await page.getByRole("dialog").locator("button.danger").click();
    await page.getByText(/^experiment \d+ deleted, /).waitFor();
}));

await chrome.close();
done();
