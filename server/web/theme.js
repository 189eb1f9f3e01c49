// SPDX-License-Identifier: Apache-2.0
// The theme and the wall mode that were chosen, set before anything is drawn. Runs in the page's head.
"use strict";
{
    const root = document.documentElement;
    const keep = (key, value) => {
        try {
            if (value === null) localStorage.removeItem(key);
            else localStorage.setItem(key, value);
        } catch { /* storage is off: the choice lasts as long as the page */ }
    };
    const kept = (key) => {
        try { return localStorage.getItem(key); } catch { return null; }
    };
    if (["dark", "light"].includes(kept("tetrad.theme"))) root.dataset.theme = kept("tetrad.theme");
    if (kept("tetrad.wall") === "on") root.dataset.wall = "on";
    window.tetradLook = {
        dark: () => root.dataset.theme ? root.dataset.theme === "dark"
                                       : matchMedia("(prefers-color-scheme: dark)").matches,
        turn() {
            const next = this.dark() ? "light" : "dark";
            root.dataset.theme = next;
            keep("tetrad.theme", next);
            dispatchEvent(new Event("tetrad-look"));
        },
        wall() {
            if (root.dataset.wall) delete root.dataset.wall;
            else root.dataset.wall = "on";
            keep("tetrad.wall", root.dataset.wall ?? null);
            dispatchEvent(new Event("tetrad-look"));
        },
    };
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => dispatchEvent(new Event("tetrad-look")));
}
