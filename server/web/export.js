// SPDX-License-Identifier: Apache-2.0
/* A chart as an SVG text, and that as a PNG: axes, lines, bands, marks and a legend. */
import * as format from "./format.js";

const W = 720, H = 420, LEFT = 64, RIGHT = 16, TOP = 34, BOTTOM = 44, ROW = 17;

const escape = (text) => String(text).replace(/[\u0000-\u0008\u000b\u000c\u000e-\u001f]/g, "").replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`);
const px = (value) => Number(value.toFixed(2));

/* About n round numbers between low and high. */
export function ticks(low, high, n = 6) {
    const rough = (high - low) / n;
    if (!(rough > 0)) return [low];
    const power = 10 ** Math.floor(Math.log10(rough));
    const step = power * [1, 2, 5, 10].find((k) => k * power >= rough * 0.999);
    const list = [];
    for (let k = Math.ceil(low / step); k * step <= high * (1 + 1e-12) + 1e-300 && list.length < 50; k++) list.push(k * step);
    return list;
}

/* At most n numbers for a logarithmic axis: 1, 2 and 5 of each decade, decades, every so many decades; round numbers where
 * it spans less than those. */
export function logTicks(low, high, n = 12) {
    if (!(low > 0) || !(high > low)) return [low];
    const list = [];
    for (let e = Math.floor(Math.log10(low)); e <= Math.ceil(Math.log10(high)); e++) {
        for (const k of [1, 2, 5]) if (k * 10 ** e >= low && k * 10 ** e <= high) list.push(k * 10 ** e);
    }
    if (list.length < 2) return ticks(low, high, Math.min(n, 6));
    const decades = list.filter((v) => Math.abs(Math.log10(v) - Math.round(Math.log10(v))) < 1e-9);
    if (list.length <= n || decades.length < 2) return list.length <= n ? list : decades;
    const each = Math.ceil(decades.length / n);
    return decades.filter((v) => Math.round(Math.log10(v)) % each === 0);
}

/* Stretches of finite points as lists of [x, y]. */
function stretches(xs, ys, x, y) {
    const all = [];
    let now = null;
    xs.forEach((at, i) => {
        if (ys[i] === null || ys[i] === undefined) return;
        if (!Number.isFinite(ys[i])) { now = null; return; }
        if (now === null) all.push(now = []);
        now.push(`${px(x(at))} ${px(y(ys[i]))}`);
    });
    return all;
}

function lines(c, x, y) {
    const parts = [];
    for (const s of c.series) {
        if (s.low) {
            const up = stretches(s.x, s.high, x, y).flat(), down = stretches(s.x, s.low, x, y).flat().reverse();
            if (up.length > 1) parts.push(`<path d="M${[...up, ...down].join("L")}Z" fill="${s.stroke}" fill-opacity="0.16"/>`);
        }
        for (const points of stretches(s.x, s.y, x, y))
            parts.push(`<path d="M${points.join("L")}" fill="none" stroke="${s.stroke}" stroke-width="${c.series.length > 40 ? 0.8 : 1.6}" stroke-linejoin="round"${s.dashes ? ` stroke-dasharray="${s.dashes.join(" ")}"` : ""}/>`);
    }
    return parts.join("");
}

export function drawSvg(c) {
    const [x0, x1] = c.xRange, [y0, y1] = c.yRange;
    const columns = 3, rows = Math.ceil(Math.min(c.series.length, 60) / columns), height = H + rows * ROW;
    const x = (v) => LEFT + (v - x0) / ((x1 - x0) || 1) * (W - LEFT - RIGHT);
    const scale = c.log ? Math.log10 : (v) => v;
    const y = (v) => H - BOTTOM - (scale(v) - scale(y0)) / ((scale(y1) - scale(y0)) || 1) * (H - BOTTOM - TOP);
    const out = [`<svg xmlns="http://www.w3.org/2000/svg" width="${W}" height="${height}" viewBox="0 0 ${W} ${height}" font-family="sans-serif" font-size="12" fill="${c.ink}">`,
        `<title>${escape(c.title)}</title><rect width="${W}" height="${height}" fill="${c.paper}"/>`,
        `<clipPath id="area"><rect x="${LEFT}" y="${TOP}" width="${W - LEFT - RIGHT}" height="${H - TOP - BOTTOM}"/></clipPath>`,
        `<text x="${LEFT}" y="20" font-size="14" font-weight="600">${escape(c.title)}</text>`];
    for (const v of c.log ? logTicks(y0, y1) : ticks(y0, y1))
        out.push(`<path d="M${LEFT} ${px(y(v))}H${W - RIGHT}" stroke="${c.grid}"/><text x="${LEFT - 6}" y="${px(y(v) + 4)}" text-anchor="end" fill="${c.soft}">${escape(c.percent ? format.tickPercent(v) : format.tick(v))}</text>`);
    for (const v of ticks(x0, x1, 8))
        out.push(`<path d="M${px(x(v))} ${H - BOTTOM}v4" stroke="${c.soft}"/><text x="${px(x(v))}" y="${H - BOTTOM + 17}" text-anchor="middle" fill="${c.soft}">${escape(format.tick(v))}</text>`);
    out.push(`<path d="M${LEFT} ${TOP}V${H - BOTTOM}H${W - RIGHT}" fill="none" stroke="${c.soft}"/>`,
        `<text x="${(LEFT + W - RIGHT) / 2}" y="${H - BOTTOM + 34}" text-anchor="middle" fill="${c.soft}">step</text>`,
        `<text transform="translate(14 ${(H - BOTTOM + TOP) / 2}) rotate(-90)" text-anchor="middle" fill="${c.soft}">${escape(c.yLabel)}</text>`);
    for (const mark of c.marks) {
        if (mark.x < x0 || mark.x > x1) continue;
        out.push(`<path d="M${px(x(mark.x))} ${TOP}V${H - BOTTOM}" stroke="${c.soft}" stroke-dasharray="3 3"/><text x="${px(x(mark.x) + 3)}" y="${TOP + 11}" font-size="10" fill="${c.soft}">${escape(mark.text)}</text>`);
    }
    out.push(`<g clip-path="url(#area)">${lines(c, x, y)}</g>`);
    c.series.slice(0, 60).forEach((s, i) => {
        const left = LEFT + (i % columns) * ((W - LEFT - RIGHT) / columns), top = H + Math.floor(i / columns) * ROW;
        out.push(`<path d="M${left} ${top}h20" stroke="${s.stroke}" stroke-width="2.5"${s.dashes ? ` stroke-dasharray="${s.dashes.join(" ")}"` : ""}/><text x="${left + 25}" y="${top + 4}">${escape(s.label.length > 30 ? `${s.label.slice(0, 29)}…` : s.label)}</text>`);
    });
    return `${out.join("\n")}\n</svg>\n`;
}

/* A PNG blob of the SVG, `scale` pixels for each of its own. */
export async function rasterize(svg, scale) {
    const url = URL.createObjectURL(new Blob([svg], { type: "image/svg+xml" }));
    try {
        const image = new Image();
        image.src = url;
        await image.decode();
        const canvas = Object.assign(document.createElement("canvas"), { width: image.width * scale, height: image.height * scale });
        canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
        return await new Promise((resolve, reject) => canvas.toBlob((blob) => blob ? resolve(blob) : reject(new Error("the picture cannot be made")), "image/png"));
    } finally {
        URL.revokeObjectURL(url);
    }
}
