// The race, lying: how far something is.

import { h } from "./dom.js";

/** A progress bar. `set(percent)`; null while nobody knows. `mood({flows, still, back})`. */
export function channel(label, { thin = false } = {}) {
  const water = h("div", { class: "water" });
  const bar = h("div", {
    class: thin ? "channel thin" : "channel", role: "progressbar",
    "aria-label": label, "aria-valuemin": 0, "aria-valuemax": 100,
  }, water);
  return {
    element: bar,
    set(percent) {
      bar.classList.toggle("waits", percent === null);
      bar.classList.toggle("full", percent === null || percent >= 100);
      if (percent === null) {
        bar.removeAttribute("aria-valuenow");
        return;
      }
      bar.setAttribute("aria-valuenow", Math.floor(percent));
      bar.style.setProperty("--done", Math.min(100, percent));
    },
    mood(moods) {
      for (const [name, on] of Object.entries(moods)) bar.classList.toggle(name, on);
    },
  };
}
