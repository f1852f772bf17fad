/** The memory as a whole: to be taken out, brought in, erased. */

import { attempt, say } from "./attempt.js";
import { element, fill, number } from "./dom.js";

const WORD = "ERASE";
/** Bytes at an export's end among which its last line begins. */
const LAST_LINE = 2000;

/** @param {HTMLElement} root @param {import("./api.js").Api} api */
export function allOfIt(root, api) {
  const parts = fill(root, "all");
  const { exportNotice, importForm, importNotice, file, eraseNotice } = parts;
  const { dialog, eraseForm, whose, word, confirm } = parts;

  async function exportAll() {
    say(exportNotice, "It is being read …", "plain");
    const whole = await (await api.ask("GET", "export")).blob();
    if (!(await isComplete(whole))) throw new Error("The export broke off. Try again.");
    download(whole, "memory.jsonl");
    say(exportNotice, `Downloaded: ${number(whole.size)} bytes.`);
  }

  async function importAll() {
    say(importNotice, "It is being stored …", "plain");
    const answer = await api.ask("POST", "import", { body: file.files[0] });
    const { imported } = await answer.json();
    importForm.reset();
    say(importNotice, counts("Imported:", imported));
  }

  async function eraseAll() {
    const answer = await api.ask("DELETE", "memory");
    const { erased } = await answer.json();
    const any = Object.values(erased).some(Boolean);
    say(eraseNotice, counts(any ? "Erased:" : "There was nothing to erase:", erased));
  }

  parts.export.addEventListener("click", () => attempt(parts.export, exportNotice, exportAll));
  importForm.addEventListener("submit", (event) => {
    event.preventDefault();
    attempt(importForm, importNotice, importAll);
  });

  parts.erase.addEventListener("click", () => {
    eraseForm.reset();
    confirm.disabled = true;
    whose.textContent = api.user
      ? `The memory of the user ${api.user}, under this key.`
      : "The memory of the key itself; those of its users stay.";
    say(eraseNotice, "");
    dialog.showModal();
    word.focus();
  });
  word.addEventListener("input", () => (confirm.disabled = word.value.trim() !== WORD));
  parts.cancel.addEventListener("click", () => dialog.close());
  eraseForm.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (confirm.disabled) return;
    dialog.close();
    await attempt(parts.erase, eraseNotice, eraseAll);
    eraseNotice.focus();
  });

  return { enter: () => {}, leave: () => dialog.close() };
}

/** An export tells at its end how much it has; one without was broken off. */
async function isComplete(whole) {
  const lines = (await whole.slice(-LAST_LINE).text()).trimEnd().split("\n");
  try {
    return "end" in JSON.parse(lines.at(-1));
  } catch {
    return false;
  }
}

function download(whole, name) {
  const href = URL.createObjectURL(whole);
  element("a", { href, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(href), 60_000);
}

/** Returns how many there were of each kind. */
function counts(title, of) {
  const list = element("dl", { class: "counts" });
  for (const [name, count] of Object.entries(of)) {
    list.append(element("dt", {}, name.replaceAll("_", " ")), element("dd", {}, number(count)));
  }
  return element("div", {}, title, list);
}
