// The API's preview, in the form that the page draws.

import { delimiterName } from "./words.js";

const SURE = 0.75;
const MOST_ROWS = 100; // with so many there may be more

/** The answer, with what follows from it for the page. */
export function readPreview(answer) {
  return {
    ...answer,
    sheets: answer.sheets ?? [],
    labels: Object.fromEntries(answer.target.fields.map((field) => [field.name, field.label])),
    columns: answer.columns.map((column) => ({
      ...column,
      isUnsure: column.field !== "" && column.confidence < SURE,
      goesTo: column.field || (column.ignored || !answer.target.attributes ? "left out" : "attribute"),
    })),
    isRunnable: answer.problem === null,
    isWhole: answer.complete && answer.rows.length < MOST_ROWS,
  };
}

/** "CSV, UTF-8, semicolons, column names in row 3" */
export function describe(layout) {
  const container = { plain: "", gzip: ", gzip", zip: `, ${layout.member ?? ""} in a zip` }[layout.container] ?? "";
  const head = layout.header_rows.length
    ? `column names in row ${layout.header_rows.join(" and ")}`
    : "no column names";
  return layout.kind === "xlsx"
    ? `Excel, sheet “${layout.sheet}”, ${head}`
    : `CSV, ${layout.encoding}${container}, ${delimiterName(layout.delimiter)} between the cells, ${head}`;
}
