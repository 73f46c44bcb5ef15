// Signing in with an issuer of OpenID Connect: authorization code with PKCE (RFC 6749, RFC 7636), as a public client.
import { get, token, words } from "./api.js";
import { h } from "./dom.js";
import { failure } from "./page.js";

/**
 * @typedef {{title: string, issuer: string, client_id: string, scope: string, token: "id_token" | "access_token",
 *   authorization_endpoint?: string, token_endpoint?: string}} Issuer
 * @typedef {{state: string, nonce: string, verifier: string, issuer: string, back: string}} Pending
 */

const pendingKey = "rollcall.sign-in"; // in the session storage of the tab, until the issuer sends the browser back
const returnPath = "/ui/signed-in";
const redirect = () => location.origin + returnPath;

/** @returns {Promise<Issuer[]>} */
export async function issuers() {
  return (await get("/ui/sign-in.json")).issuers;
}

/** Why nobody can sign in with an issuer here; "": it works. @param {Issuer} issuer */
export function hindrance(issuer) {
  if (!globalThis.crypto?.subtle) return "Browsers allow it over HTTPS and on loopback addresses only.";
  if (!issuer.authorization_endpoint || !issuer.token_endpoint) return "The registry has not reached this issuer yet. Load the page again.";
  return "";
}

/** @param {Uint8Array} bytes */
const base64url = (bytes) => btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");

const random = () => base64url(crypto.getRandomValues(new Uint8Array(32)));

/** Sends the browser to the issuer. @param {Issuer} issuer */
export async function begin(issuer) {
  /** @type {Pending} */
  const pending = { state: random(), nonce: random(), verifier: random(), issuer: issuer.issuer, back: location.pathname + location.search };
  sessionStorage.setItem(pendingKey, JSON.stringify(pending));
  const challenge = base64url(new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(pending.verifier))));
  const to = new URL(issuer.authorization_endpoint ?? "");
  for (const [name, value] of Object.entries({
    response_type: "code", client_id: issuer.client_id, redirect_uri: redirect(), scope: issuer.scope,
    state: pending.state, nonce: pending.nonce, code_challenge: challenge, code_challenge_method: "S256",
  })) to.searchParams.set(name, value);
  location.assign(to);
}

/**
 * Takes what the issuer's reply in the address gives, and keeps the token. The result is the address at which the sign-in began.
 * @param {URLSearchParams} reply
 */
async function finish(reply) {
  const text = sessionStorage.getItem(pendingKey);
  sessionStorage.removeItem(pendingKey); // a reply counts once
  /** @type {Pending | null} */
  const pending = text ? JSON.parse(text) : null;
  if (!pending || reply.get("state") !== pending.state) throw new Error("This reply is to no sign-in that was begun in this tab.");
  if (reply.has("iss") && reply.get("iss") !== pending.issuer) throw new Error("This reply is of another issuer."); // RFC 9207
  if (reply.has("error")) throw new Error(`The issuer says: ${reply.get("error_description") || reply.get("error")}`);
  const issuer = (await issuers()).find((i) => i.issuer === pending.issuer);
  if (!issuer?.token_endpoint) throw new Error("The registry does not take this issuer's tokens any more.");
  const got = await exchange(issuer, reply.get("code") ?? "", pending.verifier);
  const claims = claimsOf(got.id_token);
  if (claims.nonce !== pending.nonce) throw new Error("The issuer's token was made for another sign-in.");
  if (claims.iss !== issuer.issuer || ![claims.aud].flat().includes(issuer.client_id)) throw new Error("The issuer's token is meant for somebody else.");
  const kept = got[issuer.token];
  if (typeof kept !== "string" || !kept) throw new Error(`The issuer gave no ${issuer.token}.`);
  token.set(kept);
  return pending.back.startsWith("/ui/") && !pending.back.startsWith(returnPath) ? pending.back : "/ui/";
}

/**
 * @param {Issuer} issuer
 * @param {string} code
 * @param {string} verifier
 * @returns {Promise<Record<string, unknown>>}
 */
async function exchange(issuer, code, verifier) {
  const body = new URLSearchParams({ grant_type: "authorization_code", code, redirect_uri: redirect(), client_id: issuer.client_id, code_verifier: verifier });
  let response;
  try {
    response = await fetch(issuer.token_endpoint ?? "", { method: "POST", body, credentials: "omit", cache: "no-store", redirect: "error", referrerPolicy: "no-referrer" });
  } catch {
    throw new Error("The issuer cannot be reached from this page. It must allow this page's origin (CORS).");
  }
  const got = await response.json().catch(() => ({}));
  if (!response.ok) throw new Error(`The issuer gave no token: ${got.error_description || got.error || response.status}`);
  return got;
}

/**
 * The claims of a token. Its signature is the registry's to verify: the token came from the issuer itself.
 * @param {unknown} jwt
 * @returns {Record<string, unknown>}
 */
function claimsOf(jwt) {
  try {
    const payload = String(jwt).split(".")[1].replaceAll("-", "+").replaceAll("_", "/");
    const claims = JSON.parse(new TextDecoder().decode(Uint8Array.from(atob(payload), (c) => c.charCodeAt(0))));
    if (claims && typeof claims === "object") return claims;
  } catch {
    // told below
  }
  throw new Error("The issuer gave no ID token that can be read.");
}

/** Whether the issuer has sent the browser back. */
export const returned = () => location.pathname === returnPath;

/** Ends the sign-in, and goes to where it began. The page that it leaves may reach the issuer, and no other page may. @param {HTMLElement} main */
export async function signedIn(main) {
  const reply = new URLSearchParams(location.search);
  history.replaceState(null, "", returnPath); // the code is not for the eyes of others
  main.replaceChildren(h("h1", {}, "Signing in"), h("p", { role: "status" }, "The issuer is asked for a token."));
  try {
    location.replace(await finish(reply));
  } catch (err) {
    main.replaceChildren(h("h1", {}, "You are not signed in"), failure(words(err)), h("p", {}, h("a", { href: "/ui/", target: "_self" }, "Go to the overview")));
  }
}
