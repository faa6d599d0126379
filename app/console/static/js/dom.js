// Elements from code. Text only ever becomes text: there is no way in here from a string to markup.

/** h("td", { class: "num", onclick }, "text", element, null, [more]) */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === "function") element.addEventListener(name.slice(2), value);
    else if (name === "value" || name === "checked") element[name] = value;
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** In the place of what is in `parent`; what is null or false is left out. */
export function fill(parent, ...children) {
  parent.replaceChildren(...children.flat(Infinity).filter(Boolean));
}

export const byId = (id) => document.getElementById(id);

/** What the server put into the page. */
export const facts = () => JSON.parse(byId("facts").textContent);

/** Tell screen readers, when they are done with what they say. */
export function say(text) {
  byId("polite").textContent = text;
}

/** Tell screen readers at once. */
export function alarm(text) {
  byId("urgent").textContent = "";
  requestAnimationFrame(() => { byId("urgent").textContent = text; });
}

let lastId = 0;
export const newId = (stem) => `${stem}-${++lastId}`;

/** A labelled control with an optional hint. */
export function field(label, control, hint) {
  control.id ||= newId("control");
  const hintId = `${control.id}-hint`;
  if (hint) control.setAttribute("aria-describedby", hintId);
  return h("div", { class: "field" },
    h("label", { for: control.id }, label),
    control,
    hint ? h("span", { class: "hint", id: hintId }, hint) : null);
}

/** A select of [value, name] pairs. */
export function select(options, chosen, attributes = {}) {
  return h("select", attributes,
    options.map(([value, name]) => h("option", { value, selected: value === chosen }, name)));
}

/** A note, in the manner of `look` (needs a look) or `bad`. */
export function note(kind, title, ...content) {
  return h("div", { class: kind ? `note note-${kind}` : "note" }, title ? h("strong", {}, title) : null, ...content);
}

/** Ask before something that can't be taken back; resolves to whether the answer was yes. */
export function confirm({ title, text, yes, danger = false }) {
  const id = newId("dialog");
  const dialog = h("dialog", { "aria-labelledby": id },
    h("form", { method: "dialog" },
      h("h2", { id }, title),
      h("p", {}, text),
      h("div", { class: "row" },
        h("button", { value: "no" }, "Go back"),
        h("button", { value: "yes", class: danger ? "danger" : "primary" }, yes))));
  document.body.append(dialog);
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue === "yes");
    });
  });
}
