// SPDX-License-Identifier: Apache-2.0
/* Series of runs, kept and carried on as records come; and what is made of them for a chart. */
import { api, query } from "./api.js";

const POINTS = 500; // per series at the first load: minima and maxima of what there is

let canThin = true; // the server knows ?points

/* Two ascending series as one; where both have a step, the first counts. */
function merged(a, b) {
    const steps = [], values = [];
    for (let i = 0, k = 0; i < a.steps.length || k < b.steps.length;) {
        const first = k >= b.steps.length || a.steps[i] <= b.steps[k];
        if (first && a.steps[i] === b.steps[k]) k++;
        steps.push(first ? a.steps[i] : b.steps[k]);
        values.push(first ? a.values[i++] : b.values[k++] ?? NaN);
    }
    return { steps, values };
}

/* One run's series: {name: {steps, values}}, next: the last step read. version grows with every change. */
export class RunSeries {
    constructor(run) {
        Object.assign(this, { run, series: {}, next: 0, version: 0, names: null, busy: null });
    }

    /* Takes records, in whatever order readings and events bring them; those that are here already are left out. */
    append(series) {
        for (const [name, given] of Object.entries(series)) {
            if (this.names !== null && !this.names.includes(name)) continue;
            const mine = this.series[name] ??= { steps: [], values: [] };
            if (given.steps.length > 0 && given.steps[0] <= (mine.steps.at(-1) ?? -1)) {
                this.series[name] = merged(mine, given);
                continue;
            }
            for (let i = 0; i < given.steps.length; i++) {
                mine.steps.push(given.steps[i]);
                mine.values.push(given.values[i] ?? NaN); // null: not finite
            }
        }
        this.version++;
    }

    /* Reads these series anew, or (names null) all. */
    async load(names = null) {
        this.names = names;
        this.series = {};
        this.next = 0;
        await this.more(true);
    }

    /* Reads on from where the last reading ended. */
    more(first = false) {
        this.busy ??= this.read(first).finally(() => { this.busy = null; });
        return this.busy;
    }

    async read(first) {
        for (;;) {
            const values = { name: this.names?.join(","), after: this.next || undefined, points: first && canThin ? POINTS : undefined };
            let page;
            try {
                page = await api.get(`/v1/runs/${this.run}/metrics${query(values)}`);
            } catch (error) {
                if (!values.points || error.status !== 400) throw error;
                canThin = false;
                continue;
            }
            if (Object.keys(page.series).length > 0) this.append(page.series);
            this.next = Math.max(this.next, page.next ?? 0);
            if (!page.more) return;
        }
    }
}

/* Student's t, two-sided 95 %, by degrees of freedom; beyond 30 the normal's. */
const T95 = [NaN, 12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.16, 2.145, 2.131, 2.12, 2.11, 2.101, 2.093,
    2.086, 2.08, 2.074, 2.069, 2.064, 2.06, 2.056, 2.052, 2.048, 2.045, 2.042];

/*
 * The mean over replicates at the steps that all of them have, with a band: the 95 % interval of the mean by Student's t,
 * or the smallest and largest value ("range"). One replicate has no band. Replicates that ended early count up to there.
 */
export function meanAndBand(replicates, kind = "interval") {
    const at = new Map();
    for (const { steps, values } of replicates) {
        for (let i = 0; i < steps.length; i++) {
            if (!Number.isFinite(values[i])) continue;
            const list = at.get(steps[i]);
            if (list) list.push(values[i]);
            else at.set(steps[i], [values[i]]);
        }
    }
    const most = Math.max(0, ...[...at.values()].map((list) => list.length));
    const x = [], y = [], low = [], high = [];
    for (const step of [...at.keys()].sort((a, b) => a - b)) {
        const list = at.get(step), n = list.length;
        if (n < Math.min(most, replicates.length) && n < 2 && most > 1) continue;
        const mean = list.reduce((sum, v) => sum + v, 0) / n;
        let half = 0;
        if (n > 1) {
            const sd = Math.sqrt(list.reduce((sum, v) => sum + (v - mean) ** 2, 0) / (n - 1));
            half = (T95[n - 1] ?? 1.96) * sd / Math.sqrt(n);
        }
        x.push(step);
        y.push(mean);
        low.push(kind === "range" ? Math.min(...list) : mean - half);
        high.push(kind === "range" ? Math.max(...list) : mean + half);
    }
    return { x, y, low, high, n: most };
}
