/** A text beside a field that could stand in it instead: nothing takes it away but its reader. */

import { button, element } from "./dom.js";

const HINT = "Save stores what is in the field above, over the newer version.";

/**
 * Returns a block that shows a text and can swap it with the field's.
 *
 * @param {string} title
 * @param {string} content
 * @param {HTMLTextAreaElement} field
 * @param {(block: HTMLElement) => void} onSwap Called when the two are swapped.
 */
export function otherText(title, content, field, onSwap) {
  const heading = element("h3", { tabindex: "-1" }, title);
  const shown = element("div", { class: "text", dir: "auto" }, content);
  const swap = button("Swap the two texts", {}, () => {
    [shown.textContent, field.value] = [field.value, shown.textContent];
    heading.textContent = "The other text";
    onSwap(block);
    field.focus();
  });
  const drop = button("Put this one away", { class: "quiet" }, () => {
    block.remove();
    field.focus();
  });
  const hint = element("p", { class: "hint" }, HINT);
  const actions = element("div", { class: "actions" }, swap, drop);
  const block = element("section", { class: "other" }, heading, shown, hint, actions);
  return block;
}
