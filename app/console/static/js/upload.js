// The file on its way: through the API, or for a large one straight to the object store.

import { ask, newKey, post } from "./api.js";
import { StoreRefuses, giveUp, sendDirect } from "./direct.js";

// A little beyond what the server reads, so that it knows that there is more.
const TEXT_BYTES = 1024 * 1024 + 4096;
const PACKED_BYTES = 64 * 1024 * 1024 + 4096;
const PACKED = [[0x50, 0x4b], [0x1f, 0x8b], [0xd0, 0xcf]]; // zip and XLSX, gzip, XLS

/** Send the file; resolves to the import. Throws Problem, and AbortError when `signal` says so. */
export async function send(file, mapping, options, { directAbove, onProgress, signal }) {
  if (file.size > directAbove) {
    try {
      return await sendDirect(file, mapping, options, { onProgress, signal });
    } catch (error) {
      if (!(error instanceof StoreRefuses)) throw error;
      await giveUp();
    }
  }
  return post("/v1/imports", formOf(file, mapping, options), { onProgress, signal, headers: { "Idempotency-Key": newKey() } });
}

/** What is in the file, and what would happen to its first rows. Throws Problem, AbortError. */
export async function look(file, mapping, options, { signal }) {
  const body = formOf(await beginning(file), mapping, options);
  return ask("/v1/imports/preview", { method: "POST", body, signal });
}

/** As much as the server looks at: of what is packed it needs all, up to its limit. */
async function beginning(file) {
  const first = new Uint8Array(await file.slice(0, 2).arrayBuffer());
  const isPacked = PACKED.some((bytes) => bytes.every((byte, index) => first[index] === byte));
  const most = isPacked ? PACKED_BYTES : TEXT_BYTES;
  return file.size > most ? new File([file.slice(0, most)], file.name) : file;
}

/** The corrected rejects. */
export function sendCorrected(importId, file, { onProgress, signal } = {}) {
  return post(`/v1/imports/${importId}/retry`, formOf(file, null, {}), { onProgress, signal, headers: { "Idempotency-Key": newKey() } });
}

/** The file comes last: what is to be done with it is known by then. */
function formOf(file, mapping, options) {
  const form = new FormData();
  if (mapping) form.append("mapping", JSON.stringify(mapping));
  if (Object.keys(options).length) form.append("options", JSON.stringify(options));
  form.append("file", file, file.name);
  return form;
}
