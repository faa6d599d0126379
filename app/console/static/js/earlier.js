// The list of earlier imports; rows of imports that go on are looked at again every few seconds.

import { Problem, ask } from "./api.js";
import { h, note } from "./dom.js";
import { between, count, percent, when } from "./format.js";
import { STATUS } from "./words.js";

const AGAIN_MS = 3000;
const isOpen = (one) => one.status === "queued" || one.status === "running";

/** Draw the first page, and go on from there. */
export function showEarlier(container, page) {
  if (!page.items.length) {
    container.replaceChildren(h("p", { class: "quiet" }, "None yet. The first one appears here."));
    return;
  }
  const rows = new Map();
  const body = h("tbody", {});
  const add = (items) => items.forEach((one) => {
    rows.set(one.id, { one, row: body.appendChild(rowOf(one)) });
  });
  add(page.items);
  container.replaceChildren(
    h("div", { class: "sheet long" },
      h("table", { class: "stacks" },
        h("caption", { class: "unseen" }, "Earlier imports, newest first"),
        h("thead", {}, h("tr", {},
          h("th", { scope: "col" }, "File"), h("th", { scope: "col" }, "State"), h("th", { scope: "col" }, "Started"),
          ["Rows", "New", "Changed", "Same", "Rejected"].map((text) => h("th", { scope: "col", class: "num" }, text)),
          h("th", { scope: "col", class: "num" }, "Took"))),
        body)),
    more(page.next_cursor, add));
  follow(rows);
}

function more(cursor, add) {
  const box = h("p", { class: "row", hidden: !cursor });
  const button = h("button", {
    onclick: async () => {
      button.disabled = true;
      try {
        const page = await ask(`/v1/imports?limit=50&cursor=${encodeURIComponent(cursor)}`);
        add(page.items);
        cursor = page.next_cursor;
        box.hidden = !cursor;
      } catch (error) {
        box.append(note("bad", null, error.message));
      }
      button.disabled = false;
    },
  }, "Show older ones");
  box.append(button);
  return box;
}

function rowOf(one) {
  const number = (label, value) => h("td", { class: "num", "data-label": label }, count(value));
  const { counts } = one;
  const state = one.status === "running" ? `${STATUS.running}, ${percent(one.progress.percent)}` : STATUS[one.status];
  return h("tr", {},
    h("th", { scope: "row", class: "name-cell" }, h("a", { href: `/console/imports/${one.id}` }, one.filename), remark(one)),
    h("td", { class: `status status-${one.status}` }, state),
    h("td", { "data-label": "Started" }, when(one.started_at ?? one.created_at)),
    number("Rows", counts.total), number("New", counts.inserted), number("Changed", counts.updated),
    number("Same", counts.unchanged), number("Rejected", counts.rejected),
    h("td", { class: "num", "data-label": "Took" }, between(one.started_at, one.finished_at) ?? ""));
}

function remark(one) {
  const words = [
    one.target && one.target !== "contacts" ? one.target : null,
    one.dry_run ? "dry run" : null,
    one.retry_of ? "retry" : null,
    one.undo ? `undo ${one.undo.status === "succeeded" ? "done" : one.undo.status}` : null,
  ].filter(Boolean);
  return words.length ? h("span", { class: "quiet small" }, ` ${words.join(", ")}`) : null;
}

/** Until all have ended, and only while somebody looks. */
function follow(rows) {
  const open = [...rows.values()].filter(({ one }) => isOpen(one));
  if (!open.length) return;
  setTimeout(async () => {
    if (!document.hidden) await Promise.all(open.map(({ one }) => refresh(rows, one.id)));
    follow(rows);
  }, AGAIN_MS);
}

async function refresh(rows, id) {
  try {
    const one = await ask(`/v1/imports/${id}`);
    const row = rowOf(one);
    rows.get(id).row.replaceWith(row);
    rows.set(id, { one, row });
  } catch (error) {
    if (!(error instanceof Problem)) throw error; // the next round asks again
  }
}
