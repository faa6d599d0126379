// The public API, asked with the session's cookie; changes carry the session's CSRF token.

const fromPage = (name) => document.querySelector(`meta[name="${name}"]`).content;
const tenant = fromPage("tenant");
let token = fromPage("csrf");

/** An answer that says no. `message` is a sentence for people, `code` is stable. */
export class Problem extends Error {
  constructor(status, body) {
    super(messageOf(status, body));
    this.status = status;
    this.code = String(body?.type ?? "").split(":").pop();
  }
}

function messageOf(status, body) {
  if (status === 0) return "The server can't be reached. Check the connection and try again.";
  if (status === 401) return "The session is over. Sign in again in another tab, then try again here.";
  const fields = (body?.errors ?? []).map((error) => `${error.field}: ${error.message}`).join("; ");
  return [body?.detail ?? `The server answered ${status}.`, fields].filter(Boolean).join(" ");
}

export const isAborted = (error) => error?.name === "AbortError";

/** The answer's JSON. Throws Problem, and AbortError when `signal` says so. */
export async function ask(path, { method = "GET", json, body, signal, headers = {} } = {}) {
  const send = () => fetch(path, {
    method,
    signal,
    body: json === undefined ? body : JSON.stringify(json),
    headers: {
      Accept: "application/json",
      ...(json === undefined ? {} : { "Content-Type": "application/json" }),
      ...(method === "GET" ? {} : { "X-CSRF-Token": token }),
      ...headers,
    },
  });
  const answer = await tried(send);
  if (answer.status === 403 && await renewToken()) return read(await tried(send));
  return read(answer);
}

async function tried(send) {
  try {
    return await send();
  } catch (error) {
    if (isAborted(error)) throw error;
    throw new Problem(0, null);
  }
}

async function read(answer) {
  const text = await answer.text();
  let body = null;
  try {
    body = text ? JSON.parse(text) : null;
  } catch { /* not ours: a proxy's page, say */ }
  if (!answer.ok) throw new Problem(answer.status, body);
  return body;
}

/** Someone may have signed in anew in another tab, to the same tenant: whether there is a new token. */
async function renewToken() {
  const answer = await fetch("/console/session").catch(() => null);
  const session = answer?.ok ? await answer.json() : null;
  const isNew = session?.tenant === tenant && session.csrf !== token;
  if (isNew) token = session.csrf;
  return isNew;
}

/** As `ask` with POST, telling how many bytes have gone: `onProgress(sent, total)`. */
export async function post(path, body, { headers = {}, onProgress, signal } = {}) {
  const once = () => transfer("POST", path, body, { headers: { Accept: "application/json", "X-CSRF-Token": token, ...headers }, onProgress, signal });
  let { status, text } = await once();
  if (status === 403 && await renewToken()) ({ status, text } = await once());
  let answer = null;
  try {
    answer = text ? JSON.parse(text) : null;
  } catch { /* as above */ }
  if (status < 200 || status > 299) throw new Problem(status, answer);
  return answer;
}

/** One request by XMLHttpRequest, which alone tells how far an upload is. Status 0: it didn't get there. */
export function transfer(method, url, body, { headers = {}, onProgress, signal } = {}) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open(method, url);
    for (const [name, value] of Object.entries(headers)) request.setRequestHeader(name, value);
    request.upload.addEventListener("progress", (event) => onProgress?.(event.loaded, event.total));
    request.addEventListener("loadend", () => resolve({ status: request.status, text: request.responseText }));
    const abort = () => {
      request.abort();
      reject(new DOMException("given up", "AbortError"));
    };
    if (signal?.aborted) return abort();
    signal?.addEventListener("abort", abort, { once: true });
    request.send(body);
    return undefined;
  });
}

/** For `Idempotency-Key`: the same request may then be sent again. */
export function newKey() {
  const random = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(random, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
