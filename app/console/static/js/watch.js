// An import, followed by server-sent events for as long as it changes.

import { Problem, ask } from "./api.js";

const AGAIN_MS = 3000;

/** Call `show(import)` at each change until it ends. Calling it again while it follows does nothing. */
export function watcher(id, show) {
  let source = null;
  const stop = () => {
    source?.close();
    source = null;
  };

  async function again() {
    stop();
    try {
      const one = await ask(`/v1/imports/${id}`);
      show(one);
      if (!goesOn(one)) return;
    } catch (error) {
      if (!(error instanceof Problem) || error.status === 401 || error.status === 404) throw error;
    }
    setTimeout(follow, AGAIN_MS);
  }

  function follow() {
    if (source) return;
    source = new EventSource(`/v1/imports/${id}/events`);
    source.addEventListener("import", (event) => show(JSON.parse(event.data)));
    source.addEventListener("end", stop);
    // It connects again by itself, unless the answer was no stream of events: the server is away, say.
    source.addEventListener("error", () => { if (source?.readyState === EventSource.CLOSED) again(); });
  }
  return { follow };
}

/** Whether the import, or its undo, is under way. */
export const goesOn = (one) => one.status === "queued" || one.status === "running" || one.undo?.status === "running";
