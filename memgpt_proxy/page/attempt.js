/** What is said of an attempt: that it went well, or why it did not. */

/**
 * Says something below what was tried; screen readers say it too.
 *
 * @param {HTMLElement} notice
 * @param {string | Node} said Empty for nothing.
 * @param {"" | "bad" | "plain"} kind
 */
export function say(notice, said, kind = "") {
  notice.className = `notice ${kind}`.trim();
  notice.replaceChildren(...(said ? [said] : []));
}

/**
 * Does something that may be refused, and says so where it is; not again while it is under way.
 *
 * @param {HTMLElement} busy Shows that it is under way.
 * @param {HTMLElement} notice
 * @param {() => Promise<void>} action
 */
export async function attempt(busy, notice, action) {
  if (busy.getAttribute("aria-busy") === "true") return;
  busy.setAttribute("aria-busy", "true");
  say(notice, "");
  try {
    await action();
  } catch (error) {
    if (error.name !== "AbortError") say(notice, error.message, "bad");
  } finally {
    busy.removeAttribute("aria-busy");
  }
}
