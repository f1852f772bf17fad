/** Recall storage: every message, by page, by words or by days. */

import { element, fill, moment, text } from "./dom.js";
import { listing } from "./listing.js";

const PATH = "recall-storage";
const ROLES = { user: "User", assistant: "Assistant", tool: "Tool", system: "System" };

/** @param {HTMLElement} root @param {import("./api.js").Api} api */
export function recallStorage(root, api) {
  const { words, days, listing: place } = fill(root, PATH);
  const read = (query, signal) => api.read(PATH, query, signal);
  const messages = listing(place, read, message, "message", () => {
    words.reset();
    days.reset();
  });

  words.addEventListener("submit", (event) => {
    event.preventDefault();
    days.reset();
    messages.search({ query: words.elements.query.value });
  });
  days.addEventListener("submit", (event) => {
    event.preventDefault();
    words.reset();
    const { start_date: start, end_date: end } = days.elements;
    messages.search({ start_date: start.value, end_date: end.value });
  });

  return { enter: messages.reload, leave: messages.leave };
}

function message({ role, content, created, abandoned }) {
  const who = element("span", { class: "role" }, ROLES[role] ?? role);
  const facts = element("div", { class: "facts" }, who, moment(created));
  if (abandoned) facts.append(element("span", { class: "mark" }, "abandoned"));
  return element("li", abandoned ? { class: "abandoned" } : {}, facts, text(content));
}
