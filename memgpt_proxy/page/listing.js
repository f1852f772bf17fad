/** Pages of what a storage has: all of it, or what was searched for. */

import { attempt, say } from "./attempt.js";
import { counted, fill, number } from "./dom.js";

/**
 * Makes a list with its pages, and returns what shows something in it.
 *
 * @param {HTMLElement} root
 * @param {(query: object, signal: AbortSignal) => Promise<object>} read Returns a page.
 * @param {(entry: object) => Node} draw Returns an entry's list item.
 * @param {string} one What one entry is called.
 * @param {() => void} onAll Called when the search is given up.
 */
export function listing(root, read, draw, one, onAll) {
  const { place, everything, notice, list, pager, newer, where, older } = fill(root, "listing");
  let asked = {};
  let page = 1;
  let under = new AbortController();

  function show(told) {
    page = told.page;
    list.replaceChildren(...told.data.map(draw));
    const searched = Object.keys(asked).length > 0;
    where.textContent = `page ${number(page)} of ${number(told.pages)}`;
    const nothing = searched ? "Nothing is found." : "Nothing is stored here yet.";
    const all = `${counted(told.total, one)}${searched ? " found" : ""}`;
    place.textContent = told.total ? all + (page > 1 ? `, ${where.textContent}` : "") : nothing;
    everything.hidden = !searched;
    pager.hidden = told.pages < 2;
    newer.disabled = page <= 1;
    older.disabled = page >= told.pages;
  }

  /** Shows a page of what is asked for; an answer that is still under way no longer counts. */
  async function load(query, wanted) {
    under.abort();
    under = new AbortController();
    list.removeAttribute("aria-busy");
    asked = Object.fromEntries(Object.entries(query).filter(([, value]) => value));
    const { signal } = under;
    await attempt(list, notice, async () => {
      const told = await read({ ...asked, page: wanted }, signal);
      // There may be fewer by now.
      show(wanted > told.pages ? await read({ ...asked, page: told.pages }, signal) : told);
    });
  }

  async function turnTo(wanted) {
    await load(asked, wanted);
    list.focus(); // where a reader goes on
    root.scrollIntoView({ block: "start" });
  }

  newer.addEventListener("click", () => turnTo(page - 1));
  older.addEventListener("click", () => turnTo(page + 1));
  everything.addEventListener("click", () => {
    onAll();
    return load({}, 1);
  });

  return {
    search: (query) => load(query, 1),
    reload: () => load(asked, page),
    leave: () => {
      under.abort();
      say(notice, "");
    },
  };
}
