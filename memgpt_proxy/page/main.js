/** The page: it asks whose memory is meant, and shows one view of it at a time. */

import { allOfIt } from "./all_of_it.js";
import { Api } from "./api.js";
import { archivalStorage } from "./archival_storage.js";
import { attempt, say } from "./attempt.js";
import { element } from "./dom.js";
import { live } from "./live.js";
import { recallStorage } from "./recall_storage.js";
import * as session from "./session.js";
import { turns } from "./turns.js";
import { workingContext } from "./working_context.js";

/** Each makes its view inside an element, and returns what to do when it is entered and left. */
const VIEWS = {
  "working-context": ["Working context", workingContext],
  "recall-storage": ["Recall storage", recallStorage],
  "archival-storage": ["Archival storage", archivalStorage],
  turns: ["Turns", turns],
  live: ["Live", live],
  all: ["All of it", allOfIt],
};
const FIRST = "working-context";

const [main, nav, whose, forget] = ["main", "views", "whose", "forget"].map(part);
const [door, form, key, user] = ["door", "open", "key", "user"].map(part);
const notice = part("door-notice");

/** The memory that is open: whose it is, and its views by name. */
let opened = null;
/** What asks for the memory that is being opened, or was opened last. */
let opening = null;
/** The view that is shown. */
let shown = null;

function part(id) {
  return document.getElementById(id);
}

/** Opens a memory; one that was open before has kept what was typed into its views. */
async function open(identity) {
  const api = new Api(identity, (message) => refused(api, message));
  opening = api;
  await api.read("working-context");
  session.keep(identity);
  if (opened === null || opened.key !== identity.key || opened.user !== identity.user) {
    close();
    opened = { ...identity, api, views: made(api) };
  }
  key.value = "";
  user.value = identity.user;
  say(notice, "");
  whose.textContent = identity.user ? `of user ${identity.user}` : "of this key";
  door.hidden = true;
  nav.hidden = forget.hidden = false;
  show();
}

function made(api) {
  const views = new Map();
  for (const [name, [title, make]] of Object.entries(VIEWS)) {
    const heading = element("h2", { id: `${name}-title`, tabindex: "-1" }, title);
    const content = element("div");
    const told = { id: `view-${name}`, "aria-labelledby": heading.id, hidden: "" };
    const section = element("section", told, heading, content);
    main.append(section);
    views.set(name, { title, heading, section, ...make(content, api) });
  }
  return views;
}

/** Takes the memory that was open off the page. */
function close() {
  leave();
  for (const view of opened?.views.values() ?? []) view.section.remove();
  opened = null;
}

/** Asks for the key again, unless it was that of a memory which is not open any more. */
function refused(api, message) {
  if (api === opening || api === opened?.api) ask(message);
}

/** Asks for the key, again or for the first time. */
function ask(message = "") {
  leave();
  nav.hidden = forget.hidden = true;
  whose.textContent = "";
  door.hidden = false;
  document.title = "Memory";
  say(notice, message, "bad");
  key.focus();
}

/** Shows the view that the address names. */
function show() {
  if (opened === null || !door.hidden) return;
  const named = location.hash.slice(1);
  const name = opened.views.has(named) ? named : FIRST;
  const view = opened.views.get(name);
  leave();
  for (const link of nav.querySelectorAll("a")) {
    if (link.hash === `#${name}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  shown = view;
  view.section.hidden = false;
  document.title = `${view.title} – Memory`;
  view.heading.focus();
  view.enter();
}

function leave() {
  if (shown === null) return;
  shown.section.hidden = true;
  shown.leave?.();
  shown = null;
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  attempt(form, notice, () => open({ key: key.value.trim(), user: user.value }));
});

forget.addEventListener("click", () => {
  session.forget();
  close();
  opening = null;
  form.reset();
  ask();
  say(notice, "The key is forgotten.", "plain");
});

window.addEventListener("hashchange", show);

const before = session.kept();
if (before === null) {
  ask();
} else {
  [key.value, user.value] = [before.key, before.user];
  open(before).catch((error) => ask(error.message));
}
