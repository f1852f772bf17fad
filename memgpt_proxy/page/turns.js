/** Turns: what each of them did, the newest first. */

import { attempt, say } from "./attempt.js";
import { counted, element, fill, moment, seconds } from "./dom.js";
import { call, facts, mark, usage } from "./turn_parts.js";

const PATH = "traces";

/** @param {HTMLElement} root @param {import("./api.js").Api} api */
export function turns(root, api) {
  const { reload, notice, list, older } = fill(root, "turns");
  let before = null;

  function show(told) {
    list.append(...told.data.map(turn));
    before = told.before;
    older.hidden = before === null;
  }

  async function newest() {
    const told = await api.read(PATH);
    list.replaceChildren();
    show(told);
    if (!told.data.length) say(notice, "No turn is kept here.", "plain");
  }

  async function further() {
    const [told, last] = [await api.read(PATH, { before }), list.lastElementChild];
    show(told);
    last?.nextElementSibling?.querySelector("h3").focus();
    if (!told.data.length) say(notice, "There are no older ones.", "plain");
  }

  const enter = () => attempt(list, notice, newest);
  reload.addEventListener("click", enter);
  older.addEventListener("click", () => attempt(list, notice, further));
  return { enter };
}

function turn(trace) {
  const title = element("h3", { tabindex: "-1" }, moment(trace.created));
  return element(
    "li",
    {},
    facts(title, trace.model, seconds(trace.seconds), usage(trace.usage), ...marks(trace)),
    element("ol", { class: "steps" }, ...trace.steps.map(step)),
  );
}

function marks({ error, finish_reason: reason, degraded, flushes, undone }) {
  return [
    error && mark(error, "bad"),
    !error && reason !== "stop" && mark(reason ?? "no whole reply"),
    degraded && mark("degraded", "bad"),
    ...flushes.map(({ evicted }) => mark(`queue flushed: ${counted(evicted, "message")} evicted`)),
    undone.length > 0 && mark(`${counted(undone.length, "turn")} undone`),
  ];
}

function step(told) {
  const line = facts("Step", seconds(told.seconds), usage(told.usage));
  return element("li", {}, line, ...told.calls.map(call));
}
