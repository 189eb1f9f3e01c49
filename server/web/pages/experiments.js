// SPDX-License-Identifier: Apache-2.0
import { api } from "../api.js";
import { Problem, link } from "../ui.js";

export default function Experiments() {
    let list = [], error = null;
    api.get("/v1/experiments").then((page) => { list = page.experiments; m.redraw(); }, (e) => { error = e; m.redraw(); });
    return {
        view: () => [m("h1", "Experiments"), error && m(Problem, { error }),
            m("ul", list.map((e) => m("li", link(`/experiments/${e.id}`, { "data-row": "" }, e.name))))],
    };
}
