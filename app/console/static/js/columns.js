// Which column fills which field: what the server proposes, and what the person decides.

import { h, newId, note, select } from "./dom.js";
import { capital } from "./words.js";

const KEPT = "";

/** Draw the columns of `preview`. `onChange(mapping)` gets {column: field} for the columns that a person
    has decided about; the server finds places for the others. */
export function showColumns(container, preview, mapping, onChange) {
  const { target, columns } = preview;
  const rows = columns.map((column, index) => mappingRow(preview, column, index, (to) => {
    const others = Object.entries(mapping ?? {}).map(([name, taken]) => [name, to !== KEPT && taken === to ? KEPT : taken]);
    onChange({ ...Object.fromEntries(others), [column.name]: to });
  }));
  container.replaceChildren(
    missing(preview),
    h("div", { class: "sheet long" },
      h("table", { class: "mapping stacks" },
        h("caption", { class: "unseen" }, `Columns of the file and fields of ${target.name}`),
        h("thead", {}, h("tr", {},
          ["Column in the file", "First values", "Goes to", "Because"].map((text) => h("th", { scope: "col" }, text)))),
        h("tbody", {}, rows))));
}

function mappingRow({ target }, column, index, choose) {
  const name = column.name || `column ${index + 1}`;
  const fields = [...target.fields.map((one) => [one.name, one.required ? `${capital(one.label)} (needed)` : capital(one.label)]),
    [KEPT, column.ignored || !target.attributes ? "Left out" : "Kept as an attribute"]];
  const id = newId("because");
  const picker = select(fields, column.field, {
    "aria-label": `${name} goes to`, "aria-describedby": id, "data-column": column.name,
    onchange: (event) => choose(event.target.value),
  });
  return h("tr", { class: column.field ? null : "kept" },
    h("th", { scope: "row" }, name),
    h("td", {}, samples(column)),
    h("td", { class: "mapping-to" }, picker),
    h("td", { id, class: column.isUnsure ? "sure sure-unsure" : "sure quiet" }, column.reason));
}

function samples({ samples: values }) {
  if (!values.length) return h("span", { class: "blank" }, "empty in the first rows");
  return h("div", { class: "samples" }, values.slice(0, 3).map((value) => h("span", { title: value }, value)));
}

/** What has to be filled and isn't. */
function missing({ target, columns, problem }) {
  if (!problem) return h("span", { hidden: true });
  const filled = new Set(columns.map((column) => column.field));
  const lacking = target.fields.filter((one) => one.required && !filled.has(one.name));
  if (!lacking.length) return h("div", { class: "notes" }, note("bad", null, problem.message));
  const names = lacking.map((one) => capital(one.label)).join(", ");
  return h("div", { class: "notes" }, note("bad", `No column goes to: ${names}`, "Choose one below."));
}
