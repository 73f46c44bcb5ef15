// What the caller may do. The registry decides; the page only offers what would be granted.
import { get } from "./api.js";

/** @typedef {{verbs: string[], namespace: string, service: string, instance: string}} Grant */

export class Rights {
  name = "";
  /** Whether the registry controls access at all. */
  controlled = true;
  /** How the owners of the caller's own instances begin; "": nobody's. */
  owner = "";
  /** @type {Grant[]} */
  grants = [];
  #known = false; // whether the registry has said what the caller may do

  async load() {
    this.#known = false;
    try {
      const self = await get("/v1/self");
      this.name = self.name;
      this.controlled = self.controlled;
      this.owner = self.owner ?? "";
      this.grants = self.grants;
      this.#known = true;
    } catch {
      this.name = this.owner = "";
      this.grants = [];
    }
  }

  /**
   * @param {string} verb
   * @param {{namespace?: string, service?: string, id?: string}} [of] what is missing stands for all
   */
  may(verb, of = {}) {
    return this.grants.some((g) => g.verbs.includes(verb) && covers(g.namespace, of.namespace) && covers(g.service, of.service) && covers(g.instance, of.id));
  }

  /** Whether the caller may read the whole catalog, as far as the page knows. The registry's lists show anybody else their part. */
  get readsAll() {
    return !this.#known || this.may("read-catalog");
  }

  /**
   * Whether the caller registered an instance, and may change it for that.
   * @param {{namespace: string, service: string, id: string, owner?: string}} i
   */
  owns(i) {
    if (!this.owner || !i.owner) return false;
    return (i.owner === this.owner || i.owner.startsWith(`${this.owner}:`)) && this.may("write-own", i);
  }
}

/**
 * @param {string} pattern
 * @param {string | undefined} name undefined: every name
 */
function covers(pattern, name) {
  if (pattern === "*" || pattern === "") return true;
  if (name === undefined) return false;
  if (pattern.endsWith("*")) return name.startsWith(pattern.slice(0, -1));
  return pattern === name;
}
