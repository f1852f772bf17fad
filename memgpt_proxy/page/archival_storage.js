/** Archival storage: passages, by page or by words, and a note to be added. */

import { attempt, say } from "./attempt.js";
import { counted, element, fill, moment, text } from "./dom.js";
import { listing } from "./listing.js";

const PATH = "archival-storage";

/** @param {HTMLElement} root @param {import("./api.js").Api} api */
export function archivalStorage(root, api) {
  const { words, form, note, notice, listing: place } = fill(root, PATH);
  const read = (query, signal) => api.read(PATH, query, signal);
  const passages = listing(place, read, passage, "passage", () => words.reset());

  words.addEventListener("submit", (event) => {
    event.preventDefault();
    passages.search({ query: words.elements.query.value });
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    attempt(form, notice, async () => {
      const content = note.value;
      const { inserted } = await api.send("POST", PATH, { content });
      if (note.value === content) note.value = "";
      say(notice, `Added as ${counted(inserted, "passage")}.`);
      words.reset();
      await passages.search({});
    });
  });

  return { enter: passages.reload, leave: passages.leave };
}

function passage({ content, created }) {
  return element("li", {}, element("div", { class: "facts" }, moment(created)), text(content));
}
