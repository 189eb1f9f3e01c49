// SPDX-License-Identifier: Apache-2.0
/*
 * What the browser tests share: TAP lines, the browser, and an ear for what a page must never do: log an error, break its
 * Content-Security-Policy, ask another host, open an alert, load itself again.
 *
 * PLAYWRIGHT is the module that drives the browser, CHROMIUM the program; test_browser.py sets both.
 */
export const WAIT_MS = 30000;

let count = 0, failed = 0;

/* One test; what it throws fails it. A page, if given, is shown as text then: it is the page of a story, whose later
 * tests stand on the earlier ones and are not tried after one has failed. */
export async function test(name, body, page = null) {
    count++;
    if (page && failed > 0) {
        console.log(`not ok ${count} - ${name}\n# not reached`);
        return;
    }
    try {
        await body();
        console.log(`ok ${count} - ${name}`);
    } catch (error) {
        failed++;
        console.log(`not ok ${count} - ${name}`);
        console.log(String(error.stack ?? error).replace(/^/gm, "# "));
        const text = await page?.locator("body").innerText({ timeout: 2000 }).catch(() => "");
        if (text) console.log(`# the page: ${page.url()}\n${text.slice(0, 3000).replace(/^/gm, "#   ")}`);
    }
}

export const done = () => { console.log(`1..${count}`); process.exitCode = failed > 0 ? 1 : 0; };

export async function browser() {
    const { chromium } = await import(process.env.PLAYWRIGHT);
    const args = process.getuid?.() === 0 ? ["--no-sandbox"] : [];
    return chromium.launch({ executablePath: process.env.CHROMIUM, args: [...args, "--disable-dev-shm-usage"], timeout: WAIT_MS });
}

/*
 * A page and what it did: {page, heard}. heard.wrong: what it must not do; heard.bytes: what came over the network, by
 * path. A reply that is an error by intent is named in `expected`: [[status, pattern of the path]].
 */
export async function open(chrome, base, options = {}, expected = []) {
    const context = await chrome.newContext({ viewport: { width: 1280, height: 800 }, colorScheme: "light", acceptDownloads: true, ...options });
    context.setDefaultTimeout(WAIT_MS);
    const page = await context.newPage();
    const heard = { wrong: [], bytes: new Map(), loads: 0 };
    const intended = (status, url) => expected.some(([s, path]) => s === status && path.test(new URL(url).pathname + new URL(url).search));
    page.on("console", (message) => {
        const status = /the server responded with a status of (\d+)/.exec(message.text());
        if (status && intended(Number(status[1]), message.location().url)) return;
        if (["error", "warning"].includes(message.type())) heard.wrong.push(`console: ${message.text()} ${message.location().url}`);
    });
    page.on("pageerror", (error) => heard.wrong.push(`error: ${error.stack}`));
    page.on("dialog", (dialog) => { heard.wrong.push(`dialog: ${dialog.message()}`); dialog.dismiss(); });
    page.on("request", (request) => {
        if (!request.url().startsWith(base) && !request.url().startsWith("blob:")) heard.wrong.push(`asked another host: ${request.url()}`);
        if (request.isNavigationRequest()) heard.loads++;
    });
    page.on("requestfinished", async (request) => {
        const size = await request.sizes().catch(() => null);
        if (size) heard.bytes.set(new URL(request.url()).pathname, size.responseBodySize + size.responseHeadersSize);
    });
    await page.addInitScript(() => {
        window.broken = [];
        addEventListener("securitypolicyviolation", (event) => window.broken.push(`${event.violatedDirective}: ${event.blockedURI} ${event.sourceFile}:${event.lineNumber}`));
    });
    return { page, heard, context };
}

export async function blameless({ page, heard }) {
    const broken = await page.evaluate(() => window.broken);
    const wrong = [...heard.wrong, ...broken.map((b) => `policy: ${b}`)];
    if (wrong.length > 0) throw new Error(wrong.join("\n"));
}
