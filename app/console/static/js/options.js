// The rules of an import: what to do with rows that are there, and how the file and its values are read.

import { field, h, newId, select } from "./dom.js";
import { POLICY, delimiterName } from "./words.js";

const FOUND = "";
const DATE_ORDERS = [["dmy", "Day, month, year"], ["mdy", "Month, day, year"], ["ymd", "Year, month, day"]];
const DECIMALS = [[".", "Point: 1,234.50"], [",", "Comma: 1.234,50"]];
const ENCODINGS = ["utf-8", "cp1252", "iso8859-15", "cp1250", "cp1251", "cp437", "mac-roman", "utf-16", "shift_jis", "gb18030"];

/** Draw the rules. `onChange(options)` gets all that differ from what the server would choose. */
export function showOptions(container, preview, options, onChange) {
  const change = (name, value) => {
    const next = { ...options, [name]: value };
    if (value === FOUND || value === null || value === false) delete next[name];
    onChange(next);
  };
  container.replaceChildren(
    h("div", { class: "choices" },
      policies(options, change),
      h("fieldset", {},
        h("legend", {}, "How carefully"),
        check("Dry run", "Reads the whole file and says what would happen. Writes nothing.", options.dry_run, (on) => change("dry_run", on)),
        check("All or nothing", "One rejected row, and no row is imported.", options.all_or_nothing, (on) => change("all_or_nothing", on)))),
    reading(preview, options, change));
}

function policies(options, change) {
  const group = newId("policy");
  return h("fieldset", {},
    h("legend", {}, "Rows that are there already"),
    Object.entries(POLICY).map(([value, [name, hint]]) => choice("radio", name, hint,
      { name: group, value, checked: (options.policy ?? "upsert") === value, onchange: () => change("policy", value) })));
}

const check = (name, hint, checked, set) =>
  choice("checkbox", name, hint, { checked: Boolean(checked), onchange: (event) => set(event.target.checked) });

function choice(type, name, hint, attributes) {
  const hintId = newId("hint");
  const id = newId("choice");
  return h("div", { class: "choice" },
    h("input", { ...attributes, id, type, "aria-describedby": hintId }),
    h("span", {}, h("label", { for: id }, name), h("span", { class: "hint", id: hintId }, hint)));
}

function reading({ layout, sheets, options: settled }, options, change) {
  const isText = layout.kind === "csv";
  const pick = (label, name, choices, hint) =>
    field(label, select(choices, options[name] ?? FOUND, { "data-option": name, onchange: (event) => change(name, event.target.value) }), hint);
  const delimiters = [[FOUND, `As found: ${delimiterName(layout.delimiter)}`],
    ...[",", ";", "\t", "|", " "].map((one) => [one, delimiterName(one)])];
  const encodings = [[FOUND, `As found: ${layout.encoding}`], ...ENCODINGS.map((one) => [one, one])];
  return h("details", { open: layout.doubts.length > 0 },
    h("summary", {}, "How the file is read"),
    h("div", { class: "fields" },
      isText ? pick("Between the cells", "delimiter", delimiters) : null,
      isText ? pick("Encoding", "encoding", encodings) : null,
      sheets.length > 1 ? pick("Sheet", "sheet", sheets.map((one) => [one === layout.sheet ? FOUND : one, one])) : null,
      headerRow(layout, options, change),
      pick("Dates like 03/04/2026", "date_order", withFound(DATE_ORDERS, options.date_order ? null : settled.date_order)),
      pick("Decimals", "decimal", withFound(DECIMALS, options.decimal ? null : settled.decimal)),
      phoneRegion(options, change),
      pick("Rows with too few cells", "short_rows", [[FOUND, "Reject them"], ["pad", "Fill up with empty cells"]])));
}

/** What the values themselves have decided comes first. */
function withFound(choices, found) {
  const name = choices.find(([value]) => value === found)?.[1];
  return [[FOUND, name ? `As found: ${name.toLowerCase()}` : "As found"], ...choices];
}

function headerRow(layout, options, change) {
  const found = layout.header_rows.length ? layout.header_rows.join(" and ") : "none";
  const input = h("input", {
    type: "number", min: 0, max: 100000, step: 1, inputmode: "numeric", "data-option": "header_row", value: options.header_row ?? "",
    placeholder: `as found: ${found}`,
    onchange: (event) => change("header_row", event.target.value === "" ? null : Number(event.target.value)),
  });
  return field("Row with the column names", input, "0 when there is none");
}

function phoneRegion(options, change) {
  const input = h("input", {
    type: "text", maxlength: 2, autocapitalize: "characters", spellcheck: "false", "data-option": "phone_region",
    value: options.phone_region ?? "", placeholder: "as they stand",
    onchange: (event) => change("phone_region", event.target.value.trim().toUpperCase() || null),
  });
  return field("Phone numbers without + are from", input, "Two letters: DE, GB, US");
}
