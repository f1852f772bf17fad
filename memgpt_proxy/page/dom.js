/** Making and finding elements, and writing numbers and dates. Texts become text, never markup. */

/** Characters of a text beyond which its end is shown on demand. */
const LONG = 1200;

/**
 * Returns a new element.
 *
 * @param {string} name
 * @param {Record<string, string>} attributes
 * @param {...(Node | string)} children Strings become text.
 */
export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [attribute, value] of Object.entries(attributes)) made.setAttribute(attribute, value);
  made.append(...children);
  return made;
}

/** Returns a button that does something when it is pressed. */
export function button(label, attributes, press) {
  const made = element("button", { type: "button", ...attributes }, label);
  made.addEventListener("click", press);
  return made;
}

/** Fills an element from a template of the page. */
export function fill(root, template) {
  root.append(document.getElementById(template).content.cloneNode(true));
  return parts(root);
}

/** Returns the parts of an element by the names that they have in `data-part`. */
function parts(root) {
  const named = [...root.querySelectorAll("[data-part]")];
  return Object.fromEntries(named.map((part) => [part.dataset.part, part]));
}

/** Returns a text as it was written; the end of a long one is shown when it is asked for. */
export function text(content) {
  const shown = element("div", { class: "text", dir: "auto" }, content);
  if (content.length <= LONG) return shown;
  shown.textContent = `${content.slice(0, LONG).replace(/[\uD800-\uDBFF]$/, "")}…`;
  const more = button(`Show all ${number(length(content))} characters`, { class: "quiet" }, () => {
    shown.textContent = content;
    shown.tabIndex = -1;
    shown.focus();
    more.remove();
  });
  return element("div", {}, shown, more);
}

/** Counts characters as the gateway does: code points. */
export function length(content) {
  return Array.from(content).length;
}

/** Writes 1234567 as "1 234 567"; the spaces break no line. */
export function number(value) {
  return String(value).replace(/\B(?=(\d{3})+$)/g, "\u202f");
}

/** "1 message", "2 messages" */
export function counted(count, one, several = `${one}s`) {
  return `${number(count)} ${count === 1 ? one : several}`;
}

/** Writes seconds as a person reads them: 4 ms, 0.93 s, 12.5 s. */
export function seconds(value) {
  if (value < 0.001) return "under 1 ms";
  return value < 0.1 ? `${Math.round(value * 1000)} ms` : `${value.toFixed(value < 10 ? 2 : 1)} s`;
}

/**
 * Returns a moment as an element, in the reader's own zone: 2024-02-07 14:05:09.
 *
 * @param {number} created Seconds since the epoch.
 */
export function moment(created) {
  const date = new Date(created * 1000);
  const two = (value) => String(value).padStart(2, "0");
  const day = [date.getFullYear(), two(date.getMonth() + 1), two(date.getDate())].join("-");
  const time = [date.getHours(), date.getMinutes(), date.getSeconds()].map(two).join(":");
  const east = -date.getTimezoneOffset();
  const [hours, minutes] = [Math.floor(Math.abs(east) / 60), Math.abs(east) % 60];
  const zone = `UTC${east < 0 ? "−" : "+"}${two(hours)}:${two(minutes)}`;
  const told = { datetime: date.toISOString(), title: zone };
  return element("time", told, `${day} ${time}`);
}
