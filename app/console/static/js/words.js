// What the codes of the API are called.

export const STATUS = {
  queued: "Waiting", running: "Running", succeeded: "Done", failed: "Failed", cancelled: "Cancelled",
};
export const FATE = { insert: "new", update: "changed", unchanged: "same", reject: "rejected" };
export const POLICY = {
  upsert: ["Insert and update", "New rows are added; rows that are there get what the file says."],
  insert: ["Only insert", "Rows that are there already are rejected."],
  update: ["Only update", "Rows that aren't there yet are rejected."],
};
export const DELIMITER = { ",": "comma", ";": "semicolon", "\t": "tab", "|": "pipe", " ": "space" };

export const delimiterName = (delimiter) => DELIMITER[delimiter] ?? `“${delimiter}”`;

export const capital = (words) => words.charAt(0).toUpperCase() + words.slice(1);
