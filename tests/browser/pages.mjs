// SPDX-License-Identifier: Apache-2.0
/*
 * Queue, users and datasets against replies that a busy server would give (mock.mjs); the page itself comes from the
 * daemon at BASE.
 */
import assert from "node:assert/strict";
import { blameless, browser, done, open, test } from "./harness.mjs";
import { HOSTILE, answer, everything, queue, tokens } from "./mock.mjs";

const base = process.argv[2];
const chrome = await browser();
const quiet = [[404, /^\/v1\/(events|datasets\/[^/]+\/samples\.png)/], [403, /^\/v1\/users/], [422, /^\/v1\/datasets/]];

async function at(route, replies = everything) {
    const opened = await open(chrome, base, {}, quiet);
    await answer(opened.page, { ...everything, ...replies });
    await opened.page.route((url) => url.pathname.startsWith("/v1/events"), (route_) => route_.fulfill({ status: 404, json: { error: { code: "not_found", message: "no" } } }));
    await opened.page.goto(`${base}/#!${route}`);
    await opened.page.getByRole("heading", { level: 1 }).waitFor();
    return opened;
}

async function textOnly({ page }) {
    await page.getByText(HOSTILE).first().waitFor();
    assert.equal(await page.locator("main img[src=x]").count(), 0);
}

async function closing(opened, body) {
    try {
        await body(opened);
        await blameless(opened);
    } finally {
        await opened.context.close();
    }
}

await test("queue_shows_who_runs_what_and_shares", () => at("/queue").then((o) => closing(o, async () => {
    const { page } = o;
    await page.getByRole("heading", { name: "Running, 3 of 4 workers" }).waitFor();
    await textOnly(o);
    const ana = page.getByRole("table", { name: "Shares" }).getByRole("row", { name: /^ana/ });
    assert.match(await ana.innerText(), /62\.0 %.*60\.0 %.*at most 2/s);
    assert.equal(await ana.getByRole("progressbar").getAttribute("value"), "0.62");
    const waiting = page.getByRole("table", { name: "Waiting" }).getByRole("row");
    assert.equal(await waiting.count(), 1 + queue.queued.length);
    assert.equal(await page.getByRole("link", { name: "run 21" }).getAttribute("href"), "#!/runs/21");
})));

await test("queue_is_read_again", () => {
    let reads = 0;
    const moving = () => ({ ...queue, running: ++reads > 1 ? [] : queue.running });
    return at("/queue", { "/v1/queue": moving }).then((o) => closing(o, () => o.page.getByText("Nothing is being trained.").waitFor()));
});

await test("administrators_edit_users", () => at("/users").then((o) => closing(o, async () => {
    const { page } = o;
    await textOnly(o);
    let sent = null;
    await page.route((url) => url.pathname === "/v1/users/ben", (route) => { sent = [route.request().method(), route.request().postDataJSON()]; return route.fulfill({ json: {} }); });
    await page.getByRole("row", { name: /^ben/ }).getByRole("button", { name: "Edit" }).click();
    const dialog = page.getByRole("dialog");
    await dialog.getByLabel(/Weight/).fill("3");
    await dialog.getByLabel(/at once/).fill("2");
    await dialog.getByRole("button", { name: "Save" }).click();
    await dialog.waitFor({ state: "detached" });
    assert.deepEqual(sent, ["PUT", { weight: 3, cap: 2 }]);
})));

await test("a_token_is_shown_once_and_revoked", () => {
    let sent = null;
    const replies = { "/v1/tokens": (request) => {
        if (request.method() !== "POST") return tokens;
        sent = request.postDataJSON();
        return { id: 9, user: sent.user, role: sent.role, token: "tet_0123456789" };
    } };
    return at("/users", replies).then((o) => closing(o, async () => {
        const { page } = o;
        await page.getByRole("button", { name: "New token" }).click();
        const dialog = page.getByRole("dialog");
        await dialog.getByLabel("For whom").fill("cleo");
        await dialog.getByLabel("Role").selectOption("viewer");
        await dialog.getByRole("button", { name: "Make token" }).click();
        await page.getByText("tet_0123456789").waitFor();
        assert.deepEqual(sent, { user: "cleo", role: "viewer" });
        await page.getByRole("button", { name: "Copy" }).click();
        await page.getByText("token copied").waitFor();
        await page.getByRole("button", { name: "Done" }).click();
        await page.getByText("tet_0123456789").waitFor({ state: "detached" });
        let revoked = null;
        await page.route((url) => url.pathname === "/v1/tokens/2", (route) => { revoked = route.request().method(); return route.fulfill({ status: 204 }); });
        await page.getByRole("table", { name: "Tokens" }).getByRole("row", { name: /^2/ }).getByRole("button", { name: "Revoke" }).click();
        await page.getByRole("dialog").getByRole("button", { name: "Revoke" }).click();
        await page.getByText("revoked token 2").waitFor();
        assert.equal(revoked, "DELETE");
    }));
});

await test("members_see_no_users", async () => {
    const o = await open(chrome, base, {}, quiet);
    await answer(o.page, { ...everything, "/v1/me": { user: "ben", role: "member", token: 2 } });
    await o.page.route((url) => ["/v1/users", "/v1/tokens", "/v1/audit"].includes(url.pathname),
        (route) => route.fulfill({ status: 403, json: { error: { code: "forbidden", message: "for administrators" } } }));
    await o.page.goto(`${base}/#!/users`);
    await closing(o, async ({ page }) => {
        await page.getByText("are for administrators").waitFor();
        assert.equal(await page.getByRole("button", { name: "New token" }).count(), 0);
    });
});

await test("datasets_are_listed_uploaded_deleted", () => at("/datasets").then((o) => closing(o, async () => {
    const { page } = o;
    await textOnly(o);
    assert.equal(await page.getByRole("article", { name: "strokes" }).getByRole("button", { name: "Delete" }).count(), 0);
    const sent = [];
    await page.route((url) => url.pathname === "/v1/datasets/mine", (route) => {
        sent.push([route.request().method(), route.request().headers()["content-type"]]);
        return route.request().method() === "DELETE" ? route.fulfill({ status: 204 })
            : route.fulfill(sent.length === 1 ? { status: 422, json: { error: { code: "bad_dataset", message: "x: found 3 axes", details: [] } } } : { status: 201, json: { name: "mine" } });
    });
    const send = async (files) => {
        await page.getByLabel("Files").setInputFiles(files.map((name) => ({ name, mimeType: "", buffer: Buffer.from("x") })));
        await page.getByRole("button", { name: "Upload" }).click();
    };
    await send(["mine.npz", "other.csv"]);
    await page.getByText("send it alone").waitFor();
    await send(["mine.npz"]);
    await page.getByText("x: found 3 axes").waitFor();
    await send(["train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"]);
    await page.getByText("uploaded mine").waitFor();
    assert.deepEqual(sent.map(([method, type]) => [method, type.split(";")[0]]), [["PUT", "application/zip"], ["PUT", "multipart/form-data"]]);
    await page.getByRole("article", { name: "mine" }).getByRole("button", { name: "Delete" }).click();
    await page.getByRole("dialog").getByRole("button", { name: "Delete" }).click();
    await page.getByText("deleted mine").waitFor();
})));

await test("a_draft_is_kept_until_it_is_submitted", async () => {
    const o = await open(chrome, base, {}, [...quiet, [404, /^\/v1\/me$/], [503, /^\/v1\/experiments$/]]);
    const text = () => o.page.evaluate(() => document.querySelector(".CodeMirror").CodeMirror.getValue());
    await closing(o, async ({ page }) => {
        await page.goto(`${base}/#!/new`);
        await page.getByLabel("Name", { exact: true }).fill(HOSTILE);
        await page.keyboard.press("Tab");
        await page.getByText("ready to run").waitFor();
        const before = await text();
        assert.equal(JSON.parse(before).name, HOSTILE);
        await page.reload();
        await page.getByText("ready to run").waitFor();
        assert.equal(await text(), before);
        // A server that dies on the way is said, and the text stays.
        await page.route((url) => url.pathname === "/v1/experiments", (route) => route.request().method() === "POST" ? route.fulfill({ status: 503, json: { error: { code: "busy", message: "the queue is full" } } }) : route.continue());
        await page.getByRole("button", { name: "Submit" }).click();
        await page.getByText("the queue is full").first().waitFor();
        assert.equal(await text(), before);
    });
});

await test("a_full_disk_is_said_on_every_page", () => at("/queue", {
    ...everything, "/healthz": { status: "ok", storage: "full", message: `the disk of ${HOSTILE} is full: 7 bytes are free, 9 are needed` },
}).then((o) => closing(o, async () => {
    await o.page.getByRole("alert").getByText("is full: 7 bytes are free, 9 are needed").waitFor();
    assert.equal(await o.page.locator("img[src=x]").count(), 0);
})));

await chrome.close();
done();
