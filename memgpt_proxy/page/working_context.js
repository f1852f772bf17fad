/** The working context: a text to be edited, and saved only over the version that was read. */

import { attempt, say } from "./attempt.js";
import { fill, length, number } from "./dom.js";
import { otherText } from "./other_text.js";

const PATH = "working-context";
const CHANGED = "working_context_changed";

/** @param {HTMLElement} root @param {import("./api.js").Api} api */
export function workingContext(root, api) {
  const { form, text, use, save, reload, notice, others } = fill(root, PATH);
  let stored = null; // as the gateway told it last
  let untouched = ""; // what stood in the field when it was as stored
  let newer = null; // the block that shows what is stored, beside what was typed

  const edited = () => text.value !== untouched;

  function draw() {
    const [size, limit] = [length(text.value), stored.limit];
    const over = size - Math.max(limit, length(stored.content)); // it may have had a larger one
    const version = stored.version ? `version ${number(stored.version)}` : "never written yet";
    const more = over > 0 ? `${number(over)} too many` : version;
    use.textContent = `${number(size)} / ${number(limit)} characters, ${more}`;
    use.classList.toggle("over", over > 0);
    save.disabled = over > 0 || !edited();
  }

  function put(content) {
    text.value = content;
    untouched = text.value; // line ends are a field's own
  }

  /** Shows what is stored beside what was typed. */
  function offer() {
    newer?.remove();
    const title = `Changed meanwhile: version ${number(stored.version)}`;
    newer = otherText(title, stored.content, text, (block) => {
      if (block === newer) newer = null;
      if (text.value === stored.content) untouched = text.value;
      draw();
    });
    others.prepend(newer);
  }

  async function load() {
    const told = await api.read(PATH);
    const changed = told.version !== stored?.version;
    stored = told;
    if (!edited() || text.value === told.content) put(told.content);
    else if (changed) offer();
    text.readOnly = false;
    draw();
  }

  async function store() {
    const typed = text.value;
    try {
      stored = await api.send("PUT", PATH, { version: stored.version, content: typed });
    } catch (error) {
      if (error.code !== CHANGED) throw error;
      await load();
      if (edited()) {
        say(notice, "Not saved: it was changed meanwhile. What you typed is still here.", "bad");
        newer?.querySelector("h3").focus();
        return;
      }
    }
    if (text.value === typed) put(stored.content);
    else untouched = typed; // more was typed while it was stored
    others.replaceChildren();
    newer = null;
    draw();
    say(notice, `Saved as version ${number(stored.version)}.`);
  }

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (!save.disabled) attempt(form, notice, store);
  });
  text.addEventListener("input", draw);
  reload.addEventListener("click", () => attempt(form, notice, load));
  window.addEventListener("beforeunload", (event) => {
    if (root.isConnected && edited()) event.preventDefault();
  });

  return { enter: () => attempt(form, notice, load) };
}
