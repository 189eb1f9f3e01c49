// SPDX-License-Identifier: Apache-2.0
/* Who is asking, and what they may not do: a page shows that as disabled, with the reason, before the server refuses it. */

/* What GET /v1/me says; null until then, and where the server does not say. */
export const me = { user: null, role: null, token: null };

let tell;
export const known = new Promise((resolve) => { tell = resolve; }); // kept once the server has said who it is

export function introduce(who) {
    Object.assign(me, who ?? {});
    tell();
}

/* Why this user may not change what is `owner`'s (nobody's: make something new), as a sentence; null: they may. */
export function refusal(owner) {
    if (me.role === "viewer") return "Your token is for reading: you are a viewer.";
    if (me.role === "member" && owner !== undefined && owner !== me.user)
        return owner === null ? "Only an administrator may change this." : `This is ${owner}'s: only ${owner} or an administrator may change it.`;
    return null;
}
