// A new import, step by step: file, columns, rules, preview, run. Each change asks the server again what
// would happen, so that what is shown is what it would do.

import { ask, isAborted } from "./api.js";
import { channel } from "./channel.js";
import { showColumns } from "./columns.js";
import { hasBegun } from "./direct.js";
import { alarm, byId, facts, field, fill, h, note, say, select } from "./dom.js";
import { dropZone } from "./drop.js";
import { showEarlier } from "./earlier.js";
import { bytes, duration, plural } from "./format.js";
import { showOptions } from "./options.js";
import { showPreview } from "./preview.js";
import { describe, readPreview } from "./reading.js";
import { look, send } from "./upload.js";
import { POLICY, capital } from "./words.js";

const page = facts();
const steps = Object.fromEntries(["file", "columns", "options", "preview", "run"].map((name) => [name, byId(`step-${name}`)]));
let targets = [];
let file = null;
let mapping = null;
let options = {};
let asking = null;
let preview = null;

showEarlier(byId("earlier"), page.earlier);
dropZone(byId("drop"), byId("file"), begin);
ask("/v1/targets").then((answer) => { targets = answer.items ?? answer; if (file && preview) showFile(); }).catch(() => null);

function begin(chosen) {
  file = chosen;
  mapping = null;
  options = options.target ? { target: options.target } : {};
  preview = null;
  reveal("file");
  byId("drop").classList.add("is-taken");
  document.querySelector('label[for="file"]').textContent = "Choose another file";
  if (file.size > page.largest) {
    problem(`The file is ${bytes(file.size)}; at most ${bytes(page.largest)} are taken. Split it and import the parts.`);
    return;
  }
  refresh();
}

/** Ask what would happen, and show it. A newer question takes the place of one that is under way. */
async function refresh() {
  asking?.abort();
  const mine = asking = new AbortController();
  const focus = remember();
  busy(true);
  if (!preview) byId("chosen").replaceChildren(fileLine(), waiting());
  byId("chosen").hidden = false;
  try {
    preview = readPreview(await look(file, mapping, options, { signal: mine.signal }), options);
    show();
    focus();
    say(`${describe(preview.layout)}. ${plural(preview.columns.length, "column")}.`);
  } catch (error) {
    if (isAborted(error)) return;
    problem(error.message);
    if (error.code === "too_large_to_preview") unseen();
  } finally {
    if (mine === asking) busy(false);
  }
}

function show() {
  showFile();
  showColumns(byId("columns"), preview, mapping, (to) => { mapping = to; refresh(); });
  showOptions(byId("options"), preview, options, (to) => { options = to; refresh(); });
  showPreview(byId("preview"), preview);
  showRun();
  reveal("run");
}

function problem(message) {
  byId("chosen").hidden = false;
  fill(byId("chosen"), fileLine(), h("div", { class: "notes" }, note("bad", "This can't be imported like that", message)),
    Object.keys(options).length || mapping ? h("p", { class: "notes" }, h("button", { onclick: () => { options = {}; mapping = null; refresh(); } }, "Start again with what was found")) : null);
  if (!preview) reveal("file");
  alarm(message);
}

/** Too large to look into beforehand; the server finds the columns all the same. */
function unseen() {
  byId("chosen").append(h("div", { class: "row notes" },
    h("button", { class: "primary", onclick: () => { options = { ...options, dry_run: true }; run(); } }, "Start a dry run"),
    h("button", { onclick: run }, "Run the import")));
}

function fileLine() {
  return h("dl", { class: "facts" },
    h("div", {}, h("dt", {}, "File"), h("dd", { class: "filename" }, file.name)),
    h("div", {}, h("dt", {}, "Size"), h("dd", {}, bytes(file.size))),
    preview ? h("div", {}, h("dt", {}, "Read as"), h("dd", {}, describe(preview.layout))) : null);
}

function waiting() {
  return h("p", { class: "quiet notes" }, "Looking into it …");
}

function showFile() {
  const { doubts } = preview.layout;
  const choice = targets.length > 1
    ? h("div", { class: "notes narrow" }, field("Its rows become", select(targets.map((one) => [one.name, capital(one.name)]), preview.target.name, {
      "data-option": "target", onchange: (event) => { options = { ...options, target: event.target.value }; mapping = null; refresh(); },
    })))
    : null;
  fill(byId("chosen"), fileLine(),
    doubts.length ? h("div", { class: "notes" }, note("look", "Please look at this", h("ul", {}, doubts.map((one) => h("li", {}, one.message))))) : null,
    hasBegun(file) ? h("div", { class: "notes" }, note("", null, "A part of this file has been sent before; it goes on from there if the columns and rules are the same.")) : null,
    choice);
}

function showRun() {
  const dry = options.dry_run;
  const button = h("button", { class: "primary", onclick: run }, dry ? "Start the dry run" : "Run the import");
  button.disabled = !preview.isRunnable;
  byId("run").replaceChildren(h("p", { class: "quiet" }, summary()), h("p", { class: "notes" }, button));
}

function summary() {
  if (!preview.isRunnable) return "Some field still lacks its column.";
  const rule = POLICY[options.policy ?? "upsert"][0].toLowerCase();
  const rows = preview.isWhole ? plural(preview.counts.total, "row") : `All rows of ${bytes(file.size)}`;
  return `${rows} into ${preview.target.name}, ${rule}${options.all_or_nothing ? ", all or nothing" : ""}${options.dry_run ? ", as a dry run: nothing is written" : ""}.`;
}

async function run() {
  const stop = new AbortController();
  const bar = channel("Upload", { thin: true });
  const line = h("span", {}, `Sending ${bytes(file.size)} …`);
  const began = performance.now();
  let first = null;
  byId("run").replaceChildren(h("div", { class: "flow" },
    h("div", { class: "flow-line" }, line, h("button", { class: "plain", onclick: () => stop.abort() }, "Stop sending")), bar.element));
  steps.run.hidden = false;
  bar.set(0);
  bar.mood({ flows: true });
  say("Sending the file");
  const onProgress = (sent, total) => {
    first ??= sent;
    const rate = (sent - first) / ((performance.now() - began) / 1000);
    bar.set((100 * sent) / total);
    line.textContent = sent < total
      ? `${bytes(sent)} of ${bytes(total)} sent${rate > 0 ? `, about ${duration((total - sent) / rate)} left` : ""}`
      : "Sent. The server looks at it …";
  };
  try {
    lock(true);
    const made = await send(file, mapping, options, { directAbove: page.direct_above, onProgress, signal: stop.signal });
    location.assign(`/console/imports/${made.id}`);
  } catch (error) {
    lock(false);
    if (preview) showRun();
    else byId("run").replaceChildren();
    if (isAborted(error)) {
      say("Stopped");
      return;
    }
    byId("run").prepend(note("bad", "The import could not be started", error.message));
    alarm(error.message);
  }
}

function lock(on) {
  for (const name of ["file", "columns", "options"]) steps[name].inert = on;
}

/** While the server is asked, what is shown is the answer before. */
function busy(on) {
  byId("preview").ariaBusy = on;
  steps.preview.classList.toggle("is-busy", on);
}

/** Show the steps up to `last`; the water stands at the first that isn't done. */
function reveal(last) {
  const names = Object.keys(steps);
  const upTo = names.indexOf(last);
  names.forEach((name, index) => {
    steps[name].hidden = index > upTo;
    steps[name].dataset.state = index < upTo ? "done" : "open";
  });
}

/** What is drawn anew loses the focus: give it back to the control that has the same name. */
function remember() {
  const active = document.activeElement;
  const marks = ["data-column", "data-option", "aria-label"];
  const mark = marks.find((name) => active?.hasAttribute(name));
  const radio = active?.matches("input") && !mark ? document.querySelector(`label[for="${active.id}"]`)?.textContent : null;
  return () => {
    if (mark) document.querySelector(`[${mark}="${CSS.escape(active.getAttribute(mark))}"]`)?.focus();
    else if (radio) [...document.querySelectorAll("label")].find((label) => label.textContent === radio)?.control?.focus();
  };
}
