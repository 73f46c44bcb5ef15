// Verifies in the browser that an event is in the log whose head the registry signed (RFC 6962, signed notes).
import { get, getText } from "./api.js";

/**
 * @typedef {{ok: boolean | null, says: string, steps: string[], event: string}} Verdict
 * ok is null where nothing can be said; event is the event's canonical JSON, "" where there is none
 */

const pinned = "rollcall.key."; // and the name of the log: the key with which it was signed when this browser saw it first

/** @param {string} text */
function fromBase64(text) {
  return Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
}

/**
 * @param {...Uint8Array} parts
 */
function joined(...parts) {
  const all = new Uint8Array(parts.reduce((n, p) => n + p.length, 0));
  let at = 0;
  for (const p of parts) {
    all.set(p, at);
    at += p.length;
  }
  return all;
}

/** @param {...Uint8Array} parts */
async function sha256(...parts) {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", joined(...parts)));
}

/**
 * @param {Uint8Array} a
 * @param {Uint8Array} b
 */
const same = (a, b) => a.length === b.length && a.every((byte, i) => byte === b[i]);

/**
 * The text of a member of an object in JSON, byte for byte: a parser would change large numbers and escapes.
 * @param {string} text
 * @param {string} name
 */
export function member(text, name) {
  let depth = 0, from = -1, key = "";
  for (let i = 0; i < text.length; i++) {
    const c = text[i];
    if (c === '"') {
      let end = i + 1;
      while (text[end] !== '"') end += text[end] === "\\" ? 2 : 1;
      if (depth === 1 && from < 0) key = text.slice(i + 1, end);
      i = end;
    } else if (c === "{" || c === "[") depth++;
    else if (c === "}" || c === "]") depth--;
    if (depth === 1 && c === ":" && from < 0) from = i + 1;
    if (from >= 0 && ((depth === 1 && c === ",") || depth === 0)) {
      if (key === name) return text.slice(from, i).trim();
      from = -1;
    }
  }
  return "";
}

/**
 * Opens a signed checkpoint: its name, size and root, if the key signed it.
 * @param {string} signed
 * @param {string} verifier the key, in the notation of signed notes
 */
async function open(signed, verifier) {
  const [name, hash, encoded] = split(verifier.trim());
  const key = fromBase64(encoded);
  if (key[0] !== 1 || key.length !== 33) throw new Error("the key is of an unknown kind");
  const id = (await sha256(new TextEncoder().encode(`${name}\n`), key)).slice(0, 4);
  if ([...id].map((b) => b.toString(16).padStart(2, "0")).join("") !== hash) throw new Error("the key's own checksum is wrong");
  const end = signed.indexOf("\n\n");
  const text = signed.slice(0, end + 1);
  const line = signed.slice(end + 2).split("\n").find((l) => l.startsWith(`— ${name} `));
  if (end < 0 || !line) throw new Error("the checkpoint is not signed with the key");
  const signature = fromBase64(line.slice(name.length + 3));
  if (!same(signature.slice(0, 4), id)) throw new Error("the checkpoint is signed with another key");
  const subtle = await crypto.subtle.importKey("raw", key.slice(1), { name: "Ed25519" }, false, ["verify"]);
  if (!(await crypto.subtle.verify({ name: "Ed25519" }, subtle, signature.slice(4), new TextEncoder().encode(text)))) throw new Error("the checkpoint's signature is wrong");
  const [origin, size, root] = text.split("\n");
  if (origin !== name) throw new Error("the checkpoint is of another log");
  return { name, size: Number(size), root: fromBase64(root) };
}

/** @param {string} verifier @returns {[string, string, string]} */
function split(verifier) {
  const parts = verifier.split("+");
  return [parts[0], parts[1], parts.slice(2).join("+")]; // base64 may have a plus
}

/**
 * The root of a tree to which a leaf and a proof lead (RFC 9162, section 2.1.3.2); null: the proof is not one of that leaf.
 * @param {Uint8Array} leafHash
 * @param {number} leaf
 * @param {number} size
 * @param {Uint8Array[]} proof
 */
export async function rootOf(leafHash, leaf, size, proof) {
  if (leaf >= size) return null;
  let fn = leaf, sn = size - 1, r = leafHash;
  for (const p of proof) {
    if (sn === 0) return null;
    if (fn % 2 === 1 || fn === sn) {
      r = await sha256(Uint8Array.of(1), p, r);
      while (fn % 2 === 0 && fn !== 0) {
        fn = Math.floor(fn / 2);
        sn = Math.floor(sn / 2);
      }
    } else r = await sha256(Uint8Array.of(1), r, p);
    fn = Math.floor(fn / 2);
    sn = Math.floor(sn / 2);
  }
  return sn === 0 ? r : null;
}

/**
 * Verifies the event at a position. eventID is the one that the page shows, so that a proof of another event is none.
 * @param {string} position
 * @param {string} eventID
 * @returns {Promise<Verdict>}
 */
export async function verify(position, eventID) {
  /** @type {Verdict} */
  const verdict = { ok: false, says: "", steps: [], event: "" };
  const key = await getText("/v1/checkpoint/key");
  const signed = await getText("/v1/checkpoint");
  const size = signed.split("\n")[1] ?? "";
  const text = await getText(`/v1/proofs/inclusion?position=${encodeURIComponent(position)}&size=${encodeURIComponent(size)}`);
  verdict.event = member(text, "event");
  if (!globalThis.crypto?.subtle) {
    return { ...verdict, ok: null, says: "This browser verifies only over HTTPS or on a loopback address. Use rollcall verify." };
  }
  try {
    const checkpoint = await open(signed, key);
    verdict.steps.push(`The checkpoint of ${checkpoint.size} events is signed by ${checkpoint.name}.`);
    const before = localStorage.getItem(pinned + checkpoint.name);
    if (before && before !== key.trim()) throw new Error("the key is not the one that this browser saw before");
    const proof = JSON.parse(text);
    const bytes = new TextEncoder().encode(verdict.event);
    const hash = await sha256(Uint8Array.of(0), bytes);
    if (!same(hash, fromBase64(proof.hash))) throw new Error("the event does not have the hash that the proof is about");
    verdict.steps.push(`The event's hash is ${proof.hash}.`);
    if (JSON.parse(verdict.event).id !== eventID) throw new Error("the proof is of another event");
    const root = await rootOf(hash, proof.leaf, checkpoint.size, proof.proof.map(fromBase64));
    if (!root || !same(root, checkpoint.root)) throw new Error("the proof does not lead to the root of the signed checkpoint");
    verdict.steps.push(`It is leaf ${proof.leaf}; ${proof.proof.length} hashes lead from it to the signed root.`);
    localStorage.setItem(pinned + checkpoint.name, key.trim());
    return { ...verdict, ok: true, says: "Verified: the event is in the signed log." };
  } catch (err) {
    if (err instanceof DOMException && err.name === "NotSupportedError") return { ...verdict, ok: null, says: "This browser does not know Ed25519. Use rollcall verify." };
    return { ...verdict, says: `NOT VERIFIED: ${err instanceof Error ? err.message : err}` };
  }
}

/** The entry of the history at a position. @param {string} position */
export async function entryAt(position) {
  const page = await get("/v1/history", { ns: "*", from: position, to: position, limit: 1 });
  return /** @type {import("./fleet.js").Entry | undefined} */ (page.entries[0]);
}
