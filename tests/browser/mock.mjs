// SPDX-License-Identifier: Apache-2.0
/*
 * Replies of a busy server with many users, for the pages whose content one test's daemon cannot have. Names are
 * hostile: they must come out as text. The shapes are those of schema/openapi.json.
 */
export const HOSTILE = "<img src=x onerror=alert(1)>";

const ago = (s) => new Date(Date.now() - 1000 * s).toISOString();
const ahead = (s) => new Date(Date.now() + 1000 * s).toISOString();

export const queue = {
    length: 5, workers: 4, half_life_s: 86400, next: null,
    running: [
        { run: 7, experiment: 3, owner: "ana", worker: 0, started_at: ago(310), eta_s: 95 },
        { run: 8, experiment: 3, owner: "ana", worker: 1, started_at: ago(200), eta_s: 205 },
        { run: 12, experiment: 5, owner: HOSTILE, worker: 2, started_at: ago(20), eta_s: null },
    ],
    queued: [1, 2, 3, 4, 5].map((position) => ({
        position, run: 20 + position, experiment: 6, owner: position % 2 ? "ben" : HOSTILE, priority: position === 1 ? 10 : 0,
        estimated_start_at: ahead(100 * position), estimated_end_at: ahead(100 * position + 300),
    })),
    shares: [
        { user: "ana", weight: 3, cap: 2, running: 2, queued: 0, recent_seconds: 7300, share: 0.62 },
        { user: "ben", weight: 1, cap: null, running: 0, queued: 3, recent_seconds: 2800, share: 0.24 },
        { user: HOSTILE, weight: 1, cap: null, running: 1, queued: 2, recent_seconds: 1600, share: 0.14 },
    ],
};

export const users = {
    users: queue.shares.map(({ user, share: _, ...rest }, i) => ({ name: user, ...rest, tokens: i + 1, created_at: ago(9e6), last_seen_at: i === 1 ? null : ago(50) })),
};

export const tokens = {
    tokens: [
        { id: 1, user: "ana", role: "admin", note: "laptop", created_at: ago(9e6), expires_at: null, last_used_at: ago(4), revoked_at: null },
        { id: 2, user: HOSTILE, role: "member", note: HOSTILE, created_at: ago(8e6), expires_at: ahead(8e6), last_used_at: null, revoked_at: null },
        { id: 3, user: "ben", role: "viewer", note: null, created_at: ago(8e6), expires_at: null, last_used_at: null, revoked_at: ago(7e5) },
    ],
};

export const audit = {
    entries: [
        { id: 3, at: ago(40), user: "ana", token: 1, action: "experiment.submit", object: "experiment 5", detail: { runs: 6 } },
        { id: 2, at: ago(4000), user: HOSTILE, token: 2, action: "experiment.cancel", object: HOSTILE, detail: HOSTILE },
    ],
    next: null,
};

export const datasets = {
    datasets: [
        { name: "strokes", kind: "builtin", source: "builtin", owner: null, in_use: 2, inputs: 784, outputs: 10, channels: 1, rows: 28, columns: 28, train: 20000, test: 5000, labels: true, bytes: 19700000, sha256: null, error: null },
        { name: "mine", kind: "npz", source: "upload", owner: "ana", in_use: 0, inputs: 64, outputs: 3, channels: 1, rows: 8, columns: 8, train: 900, test: 100, labels: true, bytes: 260000, sha256: `sha256:${"0123456789abcdef".repeat(4)}`, error: null },
        { name: "broken", error: `data/broken: not a dataset ${HOSTILE}` },
    ],
};

/* Answers for the routes of `replies` ({path: value}) in place of the server. */
export async function answer(page, replies) {
    for (const [path, value] of Object.entries(replies)) {
        await page.route((url) => url.pathname === path, (route) => route.fulfill({ json: typeof value === "function" ? value(route.request()) : value }));
    }
}

export const everything = { "/v1/queue": queue, "/v1/users": users, "/v1/tokens": tokens, "/v1/audit": audit, "/v1/datasets": datasets, "/v1/me": { user: "ana", role: "admin", token: 1 } };
