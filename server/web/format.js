// SPDX-License-Identifier: Apache-2.0
/* Numbers, times and states as text. Pure functions. */

const NONE = "–"; // an en dash: there is no value

const isNumber = (value) => typeof value === "number" && Number.isFinite(value);

/* 4 significant digits; no exponent between 1e-3 and 1e6. */
export function number(value, digits = 4) {
    if (!isNumber(value)) return NONE;
    if (value === 0) return "0";
    const size = Math.abs(value);
    if (size < 1e-3 || size >= 1e6) return value.toExponential(Math.max(0, digits - 2)).replace(/-/g, "−");
    const places = Math.max(0, Math.min(6, digits - 1 - Math.floor(Math.log10(Number(size.toPrecision(digits))))));
    return (Number.isInteger(value) ? String(value) : value.toFixed(places)).replace("-", "−");
}

/* A number at an axis: without zeros at its end. */
export const tick = (value) => {
    const text = String(Number(value.toPrecision(6)));
    return (Math.abs(value) >= 1e6 || text.length > 7 ? value.toExponential(value === 0 ? 0 : 1).replace(".0e", "e").replace("e+", "e") : text).replace(/-/g, "−");
};

/* A share at an axis, in per cent. */
export const tickPercent = (value) => `${tick(100 * value)} %`;

export const count = (value) => isNumber(value) ? value.toLocaleString("en-GB") : NONE;
export const percent = (value, places = 1) => isNumber(value) ? `${(100 * value).toFixed(places)} %` : NONE;

export const isAccuracy = (name) => /(^|\/)accuracy$/.test(name ?? "");

/* What a series is measured in: the title of its axis. */
export function measure(name) {
    if (isAccuracy(name)) return "accuracy";
    if (/(^|\/)loss$/.test(name)) return "loss";
    if (/^alignment\/modulation_angle\//.test(name)) return "angle, degrees";
    if (/^alignment\/consistency\//.test(name)) return "share of neurons";
    if (/^alignment\/consistency_mean\//.test(name)) return "correlation";
    if (/^alignment\//.test(name)) return "cosine";
    return /^norm\/ratio\//.test(name) ? "norm of B / norm of W" : /^norm\//.test(name) ? "Frobenius norm" : name.split("/")[0];
}

/* A metric's value: accuracies in per cent, the rest as numbers. */
export const metric = (name, value) => isAccuracy(name) ? percent(value, 2).replace("-", "−") : number(value);

/* A difference of a metric's values, with its sign: of accuracies in points, which are per cent of the whole. */
export function difference(name, value) {
    if (!isNumber(value)) return NONE;
    const text = isAccuracy(name) ? (100 * value).toFixed(2).replace("-", "−") : number(value);
    return value > 0 ? `+${text}` : text;
}

export function bytes(value) {
    if (!isNumber(value)) return NONE;
    const units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let k = 0;
    for (; value >= 1024 && k < units.length - 1; k++) value /= 1024;
    return `${k === 0 ? value : value.toFixed(value < 10 ? 1 : 0)} ${units[k]}`;
}

/* Seconds as the two largest units: "1 h 05 min"; days without hours where there are none. */
export function duration(seconds) {
    if (!isNumber(seconds)) return NONE;
    const s = Math.max(0, Math.round(seconds));
    if (seconds > 0 && seconds < 1) return `${Math.max(1, Math.round(seconds * 1000))} ms`;
    if (s < 60) return `${s} s`;
    const two = (n) => String(n).padStart(2, "0");
    if (s < 3600) return `${Math.floor(s / 60)} min ${two(s % 60)} s`;
    if (s < 86400) return `${Math.floor(s / 3600)} h ${two(Math.floor(s / 60) % 60)} min`;
    const hours = Math.floor(s / 3600) % 24;
    return `${Math.floor(s / 86400)} d${hours > 0 ? ` ${hours} h` : ""}`;
}

/* "3 min ago", "in 2 h". */
export function ago(time, now = Date.now()) {
    const at = Date.parse(time);
    if (Number.isNaN(at)) return NONE;
    const s = Math.round((now - at) / 1000), size = Math.abs(s);
    const text = size < 5 ? "" : size < 60 ? `${size} s` : size < 3600 ? `${Math.round(size / 60)} min`
               : size < 86400 ? `${Math.round(size / 3600)} h` : `${Math.round(size / 86400)} d`;
    return text === "" ? "now" : s > 0 ? `${text} ago` : `in ${text}`;
}

export function absolute(time) {
    const at = new Date(time);
    return Number.isNaN(at.getTime()) ? "" : at.toLocaleString("en-GB", { dateStyle: "medium", timeStyle: "medium" });
}

/* Any JSON value in few characters. */
export function brief(value) {
    if (value === undefined) return NONE;
    if (typeof value === "number") return String(Number(value.toPrecision(8))).replace("-", "−");
    return typeof value === "string" ? value : JSON.stringify(value);
}

/* {"rule.name": "sal", "training.seed": 1} as "sal · seed 1"; without: keys that are left out. */
export function parameters(values, without = []) {
    const parts = Object.entries(values ?? {}).filter(([key]) => !without.includes(key)).map(([key, value]) =>
        key === "rule.name" ? brief(value) : `${key.split(".").at(-1).replace(/_/g, " ")} ${brief(value)}`);
    return parts.length > 0 ? parts.join(" · ") : "";
}
