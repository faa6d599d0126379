// What can be done about an import: stop it, fetch its rejects, retry them, undo it.

import { ask, newKey } from "./api.js";
import { alarm, confirm, h, newId, note } from "./dom.js";
import { plural } from "./format.js";
import { sendCorrected } from "./upload.js";
import { goesOn } from "./watch.js";

/** The buttons of one import. `onChange(import)` gets it as it is after an action. */
export function actions(id, onChange) {
  const trouble = h("div", {});
  const attempt = async (button, work) => {
    if (button.ariaDisabled === "true") return;
    trouble.replaceChildren();
    button.ariaDisabled = "true"; // a disabled button would lose the focus
    try {
      await work();
    } catch (error) {
      trouble.replaceChildren(note("bad", "That didn't work", error.message));
      alarm(error.message);
    }
    button.ariaDisabled = null;
  };
  const act = (name) => ask(`/v1/imports/${id}/${name}`, { method: "POST", headers: { "Idempotency-Key": newKey() } });
  const parts = [cancelling(attempt, act, onChange), rejects(id, attempt, act), undoing(attempt, act, onChange)];
  return {
    element: h("div", {}, trouble, h("div", { class: "after" }, parts.map((part) => part.element))),
    show: (one) => parts.forEach((part) => part.show(one)),
  };
}

function section(title, ...content) {
  const id = newId("part");
  return h("section", { "aria-labelledby": id, hidden: true }, h("h2", { id }, title), ...content);
}

function cancelling(attempt, act, onChange) {
  const button = h("button", {
    class: "danger",
    onclick: () => attempt(button, async () => {
      const yes = await confirm({ title: "Cancel the import?", text: "Rows that are in stay in; you can undo them afterwards.", yes: "Cancel the import", danger: true });
      if (yes) onChange(await act("cancel"));
    }),
  }, "Cancel the import");
  const element = section("Stop", h("p", { class: "quiet" }, "What is written so far stays, and can be undone."), button);
  return { element, show: (one) => { element.hidden = !["queued", "running"].includes(one.status); } };
}

function rejects(id, attempt, act) {
  const words = h("p", {});
  const link = h("a", { class: "button", href: `/v1/imports/${id}/rejected.csv`, download: true }, "Rejected rows (CSV)");
  const open = (made) => location.assign(`/console/imports/${made.id}`);
  const input = h("input", {
    type: "file", class: "unseen", accept: ".csv,.txt,.tsv,.xlsx,.gz,.zip", id: newId("corrected"),
    onchange: () => attempt(again, async () => {
      const [file] = input.files;
      input.value = "";
      if (file) open(await sendCorrected(id, file));
    }),
  });
  const again = h("button", { onclick: () => attempt(again, async () => open(await act("retry"))) }, "Retry them as they are");
  const retry = h("div", { class: "stack" },
    h("p", { class: "quiet" }, "Correct the rows in that file and send it back: only these rows are touched. Leave the column _row as it is."),
    h("div", { class: "row" }, input, h("label", { class: "button primary", for: input.id }, "Send the corrected file"), again));
  const element = section("Rejected rows", words, link, retry);
  return {
    element,
    show: (one) => {
      element.hidden = one.counts.rejected === 0;
      words.textContent = `${plural(one.counts.rejected, "row")} of the file as sent, with row number, the column at fault and the reason.`;
      retry.hidden = goesOn(one) || one.dry_run;
    },
  };
}

function undoing(attempt, act, onChange) {
  const button = h("button", {
    class: "danger",
    onclick: () => attempt(button, async () => {
      const yes = await confirm({ title: "Undo the import?", text: "New rows are removed and changed rows go back to what they were. Rows that someone changed since are left alone and listed.", yes: "Undo the import", danger: true });
      if (yes) onChange(await act("undo"));
    }),
  }, "Undo the import");
  const element = section("Undo", h("p", { class: "quiet" }, "Rows return to what they were before, except where someone changed them since."), button);
  return {
    element,
    show: (one) => {
      const wrote = one.counts.inserted + one.counts.updated > 0;
      element.hidden = goesOn(one) || one.dry_run || !wrote || one.undo?.status === "succeeded";
    },
  };
}
