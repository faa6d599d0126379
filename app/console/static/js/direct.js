// A large file goes to the object store in parts, straight from the browser, and can be gone on with.
// Only the upload's id is kept here, by the file's name, size and date; what has arrived, the server knows.

import { Problem, ask, newKey, transfer } from "./api.js";

const AT_ONCE = 3;
const TRIES = 4;
const PAUSE_MS = 700;
const KEY = "millrace-upload";

/** The store can't be reached from this page, by the store's own rules or the network's. */
export class StoreRefuses extends Error {}

/** Send the file; resolves to the import. `onProgress(sent, total)`. Throws Problem, StoreRefuses, AbortError. */
export async function sendDirect(file, mapping, options, { onProgress, signal }) {
  const wish = await fingerprint(file, mapping, options);
  const upload = await resumed(wish, signal) ?? await announced(file, mapping, options, wish, signal);
  await sendParts(file, upload, { onProgress, signal });
  const made = await ask(`/v1/uploads/${upload.id}/complete`, { method: "POST", json: {}, signal });
  forget();
  return made;
}

/** Give up the upload that was begun; nothing of it stays in the store. */
export async function giveUp() {
  const kept = recall();
  forget();
  if (kept) await ask(`/v1/uploads/${kept.id}`, { method: "DELETE" }).catch(() => null);
}

/** Whether an upload of this file was begun here. */
export const hasBegun = (file) => recall()?.wish.startsWith(fileMark(file)) ?? false;

async function announced(file, mapping, options, wish, signal) {
  const json = { filename: file.name, size: file.size, mapping, options };
  const upload = await ask("/v1/uploads", { method: "POST", json, signal, headers: { "Idempotency-Key": newKey() } });
  remember({ id: upload.id, wish });
  return upload;
}

async function resumed(wish, signal) {
  const kept = recall();
  if (kept === null) return null;
  if (kept.wish === wish) {
    try {
      const upload = await ask(`/v1/uploads/${kept.id}`, { signal });
      if (upload.status === "open") return upload;
    } catch (error) {
      if (!(error instanceof Problem) || error.status === 0 || error.status >= 500) throw error;
    }
    forget();
    return null;
  }
  await giveUp(); // another file, or the same with other rules
  return null;
}

async function sendParts(file, upload, { onProgress, signal }) {
  const missing = [...upload.parts];
  upload.isReached = upload.received.length > 0;
  const sent = new Map();
  let arrived = file.size - missing.reduce((sum, part) => sum + part.size, 0);
  const tell = () => onProgress?.(arrived + [...sent.values()].reduce((sum, bytes) => sum + bytes, 0), file.size);
  const stop = new AbortController();
  signal?.addEventListener("abort", () => stop.abort(), { once: true });
  const sender = async () => {
    for (let part = missing.shift(); part; part = missing.shift()) {
      await sendPart(file, upload, part, stop.signal, (bytes) => { sent.set(part.number, bytes); tell(); });
      sent.delete(part.number);
      arrived += part.size;
      tell();
    }
  };
  tell();
  try {
    await Promise.all(Array.from({ length: AT_ONCE }, sender));
  } catch (error) {
    stop.abort();
    throw error;
  }
}

async function sendPart(file, upload, part, signal, onSent) {
  const start = (part.number - 1) * upload.part_bytes;
  const slice = file.slice(start, start + part.size);
  let { url } = part;
  for (let attempt = 1; ; attempt += 1) {
    const onProgress = (bytes) => {
      upload.isReached ||= bytes > 0; // nothing goes out where the store doesn't let the page in
      onSent(bytes);
    };
    const { status } = await transfer("PUT", url, slice, { signal, onProgress });
    if (status >= 200 && status < 300) return;
    if (attempt === TRIES) {
      if (status === 0) throw upload.isReached ? new Problem(0, null) : new StoreRefuses();
      throw new Problem(status, { detail: `The object store answered ${status} to part ${part.number}.` });
    }
    onSent(0);
    await new Promise((resolve) => { setTimeout(resolve, PAUSE_MS * attempt); });
    if (status === 403) url = await freshUrl(upload, part, signal) ?? url;
  }
}

/** An hour may have passed. */
async function freshUrl(upload, part, signal) {
  const again = await ask(`/v1/uploads/${upload.id}`, { signal });
  return again.parts.find((one) => one.number === part.number)?.url;
}

const fileMark = (file) => `${JSON.stringify([file.name, file.size, file.lastModified])}\n`;
const fingerprint = async (file, mapping, options) => fileMark(file) + JSON.stringify([mapping, options]);

function recall() {
  try {
    return JSON.parse(localStorage.getItem(KEY));
  } catch {
    return null;
  }
}
function remember(kept) {
  try {
    localStorage.setItem(KEY, JSON.stringify(kept));
  } catch { /* then it can't be gone on with later */ }
}
function forget() {
  try {
    localStorage.removeItem(KEY);
  } catch { /* nothing was kept */ }
}
