/** The gateway, asked with one key and, within it, for one user. */

/** What the gateway refused, in its own words; status 0 where no answer came. */
export class Refused extends Error {
  constructor(message, status = 0, code = null) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

export class Api {
  #key;
  #user;
  #onUnknownKey;

  /**
   * @param {{key: string, user: string}} identity An empty one is not sent.
   * @param {(message: string) => void} onUnknownKey Called where the gateway does not take the key.
   */
  constructor({ key, user }, onUnknownKey) {
    this.#key = key;
    this.#user = user;
    this.#onUnknownKey = onUnknownKey;
  }

  /** The user; empty for the memory of the key itself. */
  get user() {
    return this.#user;
  }

  /** Returns what a path answers, as an object. Throws Refused. */
  async read(path, query = {}, signal = undefined) {
    return parsed(await this.ask("GET", path, { query, signal }));
  }

  /** Sends an object and returns the answer's. Throws Refused. */
  async send(method, path, content) {
    return parsed(await this.ask(method, path, { body: JSON.stringify(content), json: true }));
  }

  /** Returns the answer itself. Throws Refused, and AbortError where the signal says so. */
  async ask(method, path, { query = {}, body, json = false, signal } = {}) {
    const headers = {};
    if (this.#key) headers.authorization = `Bearer ${asBytes(this.#key)}`;
    if (json) headers["content-type"] = "application/json";
    const options = { method, headers, body, signal, cache: "no-store", redirect: "error" };
    const response = await fetch(this.#url(path, query), options).catch(unanswered);
    if (response.ok) return response;
    const refused = await refusal(response);
    if (refused.status === 401) this.#onUnknownKey(refused.message);
    throw refused;
  }

  #url(path, query) {
    const url = new URL(path, document.baseURI);
    const asked = this.#user ? { user: this.#user, ...query } : query;
    for (const [name, value] of Object.entries(asked)) url.searchParams.set(name, value);
    return url;
  }
}

/** A header takes no other characters than bytes; other clients send a key's UTF-8, too. */
function asBytes(key) {
  return String.fromCharCode(...new TextEncoder().encode(key));
}

async function parsed(response) {
  try {
    return await response.json();
  } catch (error) {
    return unanswered(error);
  }
}

function unanswered(error) {
  if (error.name === "AbortError") throw error;
  throw new Refused("The gateway cannot be reached.");
}

async function refusal(response) {
  const told = await response.json().catch(() => null);
  const { message, code = null } = told?.error ?? {};
  return new Refused(message ?? `The gateway answered ${response.status}.`, response.status, code);
}
