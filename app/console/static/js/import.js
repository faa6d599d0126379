// One import: where it is, what came of it, and what can be done about it.

import { actions } from "./actions.js";
import { channel } from "./channel.js";
import { byId, facts, fill, h, note, say } from "./dom.js";
import { between, bytes, count, duration, percent, plural, when } from "./format.js";
import { goesOn, watcher } from "./watch.js";
import { POLICY, STATUS } from "./words.js";

const STEP_TOLD = 25;

let one = facts();
const state = h("span", { class: "flow-state" });
const share = h("span", { class: "flow-percent" });
const figures = h("p", { class: "flow-facts" });
const race = channel("Progress of the import");
const notes = h("div", { class: "stack" });
const gauges = h("dl", { class: "gauges" });
const does = actions(one.id, (next) => { show(next); watch.follow(); });
const watch = watcher(one.id, show);
let told = null;

byId("import").append(
  h("section", { class: "flow", "aria-label": "Progress" },
    h("div", { class: "flow-line" }, state, share), race.element, figures),
  gauges, notes, does.element);
show(one);
if (goesOn(one)) watch.follow();

function show(next) {
  one = next;
  const undoing = one.undo?.status === "running";
  state.textContent = undoing ? "Undoing" : titleOf(one);
  const undone = one.undo?.status === "succeeded";
  share.textContent = one.status === "queued" || undoing || undone ? "" : percent(one.progress.percent);
  race.set(one.status === "queued" ? null : undone ? 0 : undoing ? leftToUndo(one) : one.progress.percent);
  race.mood({ flows: one.status === "running" || undoing, back: undoing, still: one.status === "failed" || one.status === "cancelled" });
  fill(figures, figuresOf(one).filter(Boolean).map((text) => h("span", {}, text)));
  gauges.replaceChildren(...gaugesOf(one));
  notes.replaceChildren(...notesOf(one));
  does.show(one);
  document.title = `${one.status === "running" ? `${Math.floor(one.progress.percent)} % ` : ""}${one.filename} · Millrace`;
  tell();
}

/** In percent: the channel runs dry. */
function leftToUndo({ undo, counts }) {
  const written = counts.inserted + counts.updated;
  return written ? 100 - (100 * (undo.removed + undo.restored + undo.kept)) / written : 0;
}

function titleOf({ status, dry_run: dry, undo }) {
  if (undo?.status === "succeeded") return "Undone";
  if (dry && status === "succeeded") return "Dry run done";
  return dry && status === "running" ? "Dry run" : STATUS[status];
}

function figuresOf({ progress, started_at: start, finished_at: end, target, policy, created_at: made, status }) {
  const rate = progress.rows_per_second;
  const left = progress.seconds_left;
  const running = status === "running";
  return [
    `${plural(progress.rows_done, "row")} done`,
    running && rate && `${count(Math.round(rate))} rows/s`,
    running && (left === null || left === undefined ? "time left not known yet" : `about ${duration(left)} left`),
    end && start && `took ${between(start, end)}`,
    `started ${when(start ?? made)}`,
    bytes(progress.bytes_total),
    `into ${target}, ${POLICY[policy]?.[0].toLowerCase() ?? policy}`,
  ];
}

function gaugesOf({ counts, dry_run: dry }) {
  const words = dry
    ? ["Rows read", "Would be new", "Would change", "Would stay", "Would be rejected"]
    : ["Rows", "New", "Changed", "Same", "Rejected"];
  const parts = [["", counts.total], ["insert", counts.inserted], ["update", counts.updated], ["", counts.unchanged], ["reject", counts.rejected]];
  return parts.map(([kind, number], index) => h("div", { class: kind && number ? `some-${kind}` : null },
    h("dt", {}, words[index]), h("dd", {}, count(number))));
}

function notesOf({ id, error, undo, retry_of: parent, dry_run: dry, status }) {
  const made = [];
  if (error) made.push(note("bad", status === "cancelled" ? "Cancelled" : "It failed", error.message));
  if (dry) made.push(note("", "Dry run", "Nothing was written. ", status === "succeeded" ? h("a", { href: `/v1/imports/${id}/changes.csv`, download: true }, "What would change, row by row (CSV)") : null));
  if (parent) made.push(note("", "A retry", "Takes the rows that were rejected in ", h("a", { href: `/console/imports/${parent}` }, "the import before"), "."));
  if (undo) made.push(undoNote(id, undo));
  return made;
}

function undoNote(id, undo) {
  const words = `${plural(undo.removed, "new row")} removed, ${plural(undo.restored, "changed row")} put back.`;
  const kept = undo.kept
    ? [` ${plural(undo.kept, "row was", "rows were")} changed since by someone else and stayed as they are: `,
      h("a", { href: `/v1/imports/${id}/undo.csv`, download: true }, "which ones, and why (CSV)"), "."]
    : [];
  const title = { running: "Undo is under way", succeeded: "Undone" }[undo.status] ?? "Undo stopped half-way; start it again to go on";
  return note(undo.kept || !["running", "succeeded"].includes(undo.status) ? "look" : "", title, words, ...kept);
}

/** Screen readers hear of each state and of each quarter, not of every row. */
function tell() {
  const quarter = Math.floor(one.progress.percent / STEP_TOLD) * STEP_TOLD;
  const now = `${state.textContent}${one.status === "running" && quarter ? `, ${quarter} percent` : ""}`;
  if (now === told) return;
  if (told !== null) say(goesOn(one) ? now : `${now}. ${gauges.textContent.replace(/([a-z])(\d)/g, "$1 $2").replace(/(\d)([A-Z])/g, "$1, $2")}`);
  told = now;
}
