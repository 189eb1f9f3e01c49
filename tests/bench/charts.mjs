// SPDX-License-Identifier: Apache-2.0
/*
 * How smoothly the dashboard's charts run: CHARTS charts of SERIES series, POINTS points each at the start, one more point
 * for every series 20 times a second, through charts.js in Chromium. Prints one line of JSON: frames in a second (an idle
 * page's first), the frames' times in ms (median, 95 %, 99 %, longest), and how often each chart was drawn in a second.
 *
 *     PLAYWRIGHT=.../playwright-core/index.mjs CHROMIUM=/usr/bin/chromium node tests/bench/charts.mjs URL [CHARTS SERIES POINTS SECONDS]
 *
 * URL: of a running daemon that asks for no token.
 */
const [url, charts = 4, series = 50, points = 500, seconds = 10] = process.argv.slice(2).map((v, i) => i === 0 ? v : Number(v));
const { chromium } = await import(process.env.PLAYWRIGHT);
const browser = await chromium.launch({ executablePath: process.env.CHROMIUM, args: process.getuid?.() === 0 ? ["--no-sandbox"] : [] });
const page = await browser.newPage({ viewport: { width: 1280, height: 800 } });
await page.goto(`${url}/`);
await page.waitForSelector("main");

const result = await page.evaluate(async ([nCharts, nSeries, nPoints, nSeconds]) => {
    const { Chart, load } = await import("/assets/charts.js");
    const Dygraph = await load();
    const host = document.createElement("div");
    host.className = "grid";
    document.body.replaceChildren(host);

    const curve = (c, s) => ({ label: `${c} ${s}`, colour: s, x: Array.from({ length: nPoints }, (_, i) => i * 10), y: Array.from({ length: nPoints }, (_, i) => Math.sin(i / 40 + s) + Math.random() / 10) });
    const data = Array.from({ length: nCharts }, (_, c) => Array.from({ length: nSeries }, (_, s) => curve(c, s)));
    let version = 0, draws = 0;
    m.mount(host, { view: () => data.map((all, c) => m(Chart, { key: c, title: `chart ${c}`, series: all, version })) });
    const { updateOptions } = Dygraph.prototype;
    Dygraph.prototype.updateOptions = function (...given) { draws++; return updateOptions.apply(this, given); };

    const watch = (ms) => new Promise((resolve) => {
        const begun = performance.now(), frames = [];
        let last = begun;
        requestAnimationFrame(function frame() {
            const now = performance.now();
            frames.push(now - last);
            last = now;
            if (now - begun < ms) requestAnimationFrame(frame);
            else resolve(frames.sort((a, b) => a - b));
        });
    });
    await new Promise((resolve) => setTimeout(resolve, 1500));
    const idle = await watch(2000);
    const timer = setInterval(() => {
        version++;
        for (const all of data) for (const s of all) { s.x.push(s.x.at(-1) + 10); s.y.push(Math.sin(version / 10) + Math.random()); }
        m.redraw();
    }, 50);
    draws = 0;
    const frames = await watch(nSeconds * 1000);
    clearInterval(timer);
    const at = (share) => Number(frames[Math.min(frames.length - 1, Math.floor(share * frames.length))].toFixed(1));
    return { charts: nCharts, series: nCharts * nSeries, updates_per_s: version / nSeconds, idle_fps: idle.length / 2, fps: frames.length / nSeconds,
        median_ms: at(0.5), p95_ms: at(0.95), p99_ms: at(0.99), longest_ms: at(1), draws_per_chart_per_s: draws / nCharts / nSeconds };
}, [charts, series, points, seconds]);
console.log(JSON.stringify(result));
await browser.close();
