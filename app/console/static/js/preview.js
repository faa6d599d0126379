// The first rows, and what would happen to each.

import { h, newId, say } from "./dom.js";
import { count, plural } from "./format.js";
import { FATE, capital } from "./words.js";

const ALL = "all";

/** Draw the rows of `preview`, filtered by what would happen to them. */
export function showPreview(container, preview) {
  const body = h("tbody", {});
  const draw = (fate) => {
    const rows = preview.rows.filter((row) => fate === ALL || row.action === fate);
    body.replaceChildren(...rows.flatMap((row) => rowOf(row, preview)));
    if (!rows.length) body.append(h("tr", {}, h("td", { colspan: preview.columns.length + 2, class: "quiet" }, "No such row among these.")));
    return rows.length;
  };
  draw(ALL);
  container.replaceChildren(
    filters(preview, (fate) => say(`${plural(draw(fate), "row")} shown`)),
    h("div", { class: "sheet", tabindex: 0, role: "region", "aria-label": "First rows" },
      h("table", { class: "rows" },
        h("caption", {}, captionOf(preview)),
        h("thead", {}, h("tr", {},
          h("th", { scope: "col", class: "rownum" }, "Row"),
          h("th", { scope: "col" }, "Would be"),
          preview.columns.map((column, index) => h("th", { scope: "col" },
            column.name || `column ${index + 1}`,
            h("small", {}, column.field ? `→ ${capital(preview.labels[column.field])}` : column.goesTo))))),
        body)));
}

function captionOf(preview) {
  const rows = plural(preview.rows.length, "row");
  return preview.isWhole ? `All of the file: ${rows}` : `The first ${rows} of the file`;
}

function filters(preview, choose) {
  const group = newId("fate");
  const tally = { [ALL]: preview.rows.length };
  for (const row of preview.rows) tally[row.action] = (tally[row.action] ?? 0) + 1;
  const one = (value, name) => h("label", {},
    h("input", { type: "radio", name: group, value, checked: value === ALL, onchange: () => choose(value) }),
    value === ALL ? name : h("span", { class: `fate fate-${value}` }, name),
    h("b", {}, count(tally[value] ?? 0)));
  return h("fieldset", { class: "filters" },
    h("legend", { class: "unseen" }, "Show rows that would be"),
    one(ALL, "All"), Object.entries(FATE).map(([value, name]) => one(value, name)));
}

function rowOf(row, preview) {
  const number = (spans) => h("th", { scope: "row", class: "rownum", rowspan: spans }, row.row);
  const fate = (spans) => h("td", { rowspan: spans }, h("span", { class: `fate fate-${row.action}` }, FATE[row.action] ?? row.action));
  const kind = { class: `is-${row.action}` };
  const cells = preview.columns.map((column, index) => cellOf(row, column, index));
  if (row.action !== "reject") return [h("tr", kind, number(null), fate(null), cells)];
  const why = h("td", { class: "why", colspan: Math.max(1, preview.columns.length) }, h("span", {}, row.message));
  return [h("tr", kind, number(2), fate(2), cells), h("tr", kind, why)];
}

function cellOf(row, column, index) {
  const atFault = row.action === "reject" && row.column !== null && row.column === column.name;
  const attributes = { class: atFault ? "cell at-fault" : "cell" };
  const raw = row.cells[index] ?? "";
  if (row.action === "reject") return h("td", attributes, raw);
  const change = row.action === "update" ? row.changes[column.field || `attributes.${column.name}`] : null;
  if (!change) return h("td", attributes, column.field ? text(row.values[column.field]) : raw);
  const [before, after] = change.map(text);
  return h("td", attributes, before ? [h("del", {}, before), " "] : null, h("ins", {}, after));
}

const text = (value) => (value === null || value === undefined ? "" : String(value));
