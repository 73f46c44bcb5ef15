// The native API as the page asks it. Whoever signed in has their token in the session storage of this tab, and every request
// carries the token in a header: a page of another site cannot send such a request.

/** @typedef {Record<string, string | number | boolean | string[] | undefined>} Parameters */

const tokenKey = "rollcall.token";

export const token = {
  get: () => sessionStorage.getItem(tokenKey) ?? "",
  /** @param {string} text */
  set(text) {
    if (text) sessionStorage.setItem(tokenKey, text);
    else sessionStorage.removeItem(tokenKey);
  },
};

/** A refusal of the API (RFC 9457), or a server that cannot be reached (status 0). */
export class Problem extends Error {
  /**
   * @param {number} status
   * @param {{title?: string, detail?: string, [more: string]: any}} body
   */
  constructor(status, body) {
    super(said(status, body));
    this.status = status;
    this.body = body;
  }
}

/**
 * What a refusal says to a person: what they may do about it, and not what their browser should have sent.
 * @param {number} status
 * @param {{title?: string, detail?: string, [more: string]: any}} body
 */
function said(status, body) {
  if (status === 401) return token.get() ? "You are not signed in any more." : "You are not signed in.";
  if (status === 403 && body.verb) return `You have no right to this: ${body.detail}.`;
  if (body.field && body.detail) return body.detail;
  return [body.title, body.detail].filter(Boolean).join(": ") || `the registry answered with ${status}`;
}

/**
 * The text of any error that a request may end with.
 * @param {unknown} err
 */
export function words(err) {
  return err instanceof Error ? err.message : String(err);
}

/** @param {unknown} err */
export const aborted = (err) => err instanceof DOMException && err.name === "AbortError";

/** @param {unknown} err */
export const refused = (err) => err instanceof Problem && (err.status === 401 || err.status === 403);

/** Whether an error may be gone when it is tried again. @param {unknown} err */
export const passing = (err) => err instanceof Problem && (err.status === 0 || err.status === 429 || err.status >= 500);

/**
 * @param {string} path
 * @param {Parameters} [parameters]
 */
export function address(path, parameters = {}) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) {
    for (const one of Array.isArray(value) ? value : [value]) if (one !== undefined && one !== "") query.append(name, String(one));
  }
  const text = query.toString();
  return text ? `${path}?${text}` : path;
}

/** @param {{namespace: string, service: string, id?: string}} of */
export function instancePath(of) {
  const service = `/v1/services/${encodeURIComponent(of.service)}`;
  return of.id === undefined ? service : `${service}/instances/${encodeURIComponent(of.id)}`;
}

/**
 * Sends a request. The event "rollcall-unauthorized" tells that the registry does not know the caller, and whether somebody acted.
 * @param {string} url
 * @param {RequestInit} init
 */
async function send(url, init) {
  /** @type {Record<string, string>} */
  const headers = { ...(/** @type {Record<string, string>} */ (init.headers)) };
  if (token.get()) headers.Authorization = `Bearer ${token.get()}`;
  let response;
  try {
    response = await fetch(url, { ...init, headers, credentials: "omit", cache: "no-store" });
  } catch (err) {
    if (aborted(err)) throw err;
    throw new Problem(0, { title: "The registry cannot be reached" });
  }
  if (response.ok) return response;
  const problem = new Problem(response.status, await response.json().catch(() => ({})));
  if (response.status === 401) dispatchEvent(new CustomEvent("rollcall-unauthorized", { detail: { acted: init.method !== undefined } }));
  throw problem;
}

/**
 * @param {string} path
 * @param {Parameters} [parameters]
 * @param {AbortSignal} [signal]
 * @returns {Promise<any>}
 */
export async function get(path, parameters, signal) {
  return (await send(address(path, parameters), { signal })).json();
}

/**
 * @param {string} path
 * @param {Parameters} [parameters]
 */
export async function getText(path, parameters) {
  return (await send(address(path, parameters), {})).text();
}

/**
 * Sends a command. The result is the body of the reply, if there is one, and the id of the request, which its event has.
 * @param {"PUT" | "POST" | "DELETE"} method
 * @param {string} path
 * @param {Parameters} parameters
 * @param {object} [body]
 * @returns {Promise<any>}
 */
export async function command(method, path, parameters, body) {
  const init = body ? { method, body: JSON.stringify(body), headers: { "Content-Type": "application/json" } } : { method };
  const reply = await send(address(path, parameters), init);
  const text = await reply.text();
  return { ...(text ? JSON.parse(text) : {}), request_id: reply.headers.get("X-Request-Id") ?? "" };
}

/** A stream that is silent for so many ms is broken: the registry sends a comment every 15 s. */
const silence = 25_000;

/**
 * Reads a stream of server-sent events until it ends. EventSource cannot send a token, so that the page reads streams itself.
 * @param {string} path
 * @param {Parameters} parameters
 * @param {string} lastID "": from the beginning
 * @param {AbortSignal} signal
 * @param {{open: () => void, event: (name: string, data: any, id: string) => void}} on
 */
export async function stream(path, parameters, lastID, signal, on) {
  /** @type {Record<string, string>} */
  const headers = { Accept: "text/event-stream" };
  if (lastID) headers["Last-Event-ID"] = lastID;
  const response = await send(address(path, parameters), { headers, signal });
  const reader = /** @type {ReadableStream<Uint8Array>} */ (response.body).getReader();
  on.open();
  const decoder = new TextDecoder();
  /** @type {string[]} */
  let pieces = []; // of the event that is not complete yet
  for (;;) {
    let timer = 0;
    const silent = new Promise((_, fail) => {
      timer = setTimeout(() => fail(new Problem(0, { title: "The registry is silent" })), silence);
    });
    /** @type {ReadableStreamReadResult<Uint8Array>} */
    let read;
    try {
      read = await Promise.race([reader.read(), silent]);
    } catch (err) {
      reader.cancel().catch(() => {});
      throw err;
    } finally {
      clearTimeout(timer);
    }
    if (read.done) return;
    const text = decoder.decode(read.value, { stream: true });
    if (!text.includes("\n")) {
      pieces.push(text);
      continue;
    }
    const events = (pieces.join("") + text).split("\n\n");
    pieces = [events.pop() ?? ""];
    for (const event of events) {
      let name = "", data = "", id = "";
      for (const line of event.split("\n")) {
        if (line.startsWith("event: ")) name = line.slice(7);
        else if (line.startsWith("data: ")) data = line.slice(6);
        else if (line.startsWith("id: ")) id = line.slice(4);
      }
      if (name) on.event(name, JSON.parse(data), id);
    }
  }
}
