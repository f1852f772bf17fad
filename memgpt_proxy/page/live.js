/** Live events: heard while the view is open, and told newest first. */

import { Refused } from "./api.js";
import { button, counted, element, fill, moment, number, seconds, text } from "./dom.js";
import { eventsOf } from "./sse.js";
import { call, facts, mark, usage } from "./turn_parts.js";

/** Events that stay on the page. */
const MOST = 200;
const FIRST_PAUSE = 1000;
const LONGEST_PAUSE = 30_000;
/** Milliseconds for which a tab that nobody sees goes on listening: places are few. */
const UNSEEN = 5 * 60_000;

/** @param {HTMLElement} root @param {import("./api.js").Api} api */
export function live(root, api) {
  const { state, clear, list } = fill(root, "live");
  let listening = null;
  let unseen = null;

  function add(event) {
    list.prepend(told(event));
    while (list.children.length > MOST) list.lastElementChild.remove();
  }

  function tell(words, ...more) {
    state.replaceChildren(words, ...more);
  }

  function start() {
    stop();
    listening = new AbortController();
    listen(api, listening.signal, tell, add);
  }

  function stop() {
    listening?.abort();
    listening = null;
  }

  function seen() {
    clearTimeout(unseen);
    if (root.closest("[hidden]") || !root.isConnected) return;
    if (document.hidden) unseen = setTimeout(stop, UNSEEN);
    else if (listening === null) start();
  }

  clear.addEventListener("click", () => list.replaceChildren());
  document.addEventListener("visibilitychange", seen);
  return {
    enter: start,
    leave: () => {
      clearTimeout(unseen);
      stop();
    },
  };
}

/** Listens until it is told to stop; where the connection breaks, again after growing pauses. */
async function listen(api, signal, tell, add) {
  let pause = FIRST_PAUSE;
  tell("Connecting …");
  while (!signal.aborted) {
    const began = performance.now();
    const why = await heard(api, signal, tell, add);
    if (signal.aborted) return;
    if (performance.now() - began > LONGEST_PAUSE) pause = FIRST_PAUSE;
    await paused(pause, signal, (now) => {
      tell(`${why} It is tried again in ${pause / 1000} s. `, now);
    });
    pause = Math.min(2 * pause, LONGEST_PAUSE);
  }
}

/** Hears one connection to its end, and returns why it has ended. */
async function heard(api, signal, tell, add) {
  try {
    const response = await api.ask("GET", "events", { signal });
    tell("Listening.");
    for await (const event of eventsOf(response.body)) {
      if (signal.aborted) break;
      add(event);
    }
    return "The gateway has ended the stream.";
  } catch (error) {
    return error instanceof Refused ? error.message : "The connection broke off.";
  }
}

/** Waits so many milliseconds, unless it is told to stop or somebody presses the button. */
function paused(milliseconds, signal, show) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, milliseconds);
    const end = () => {
      clearTimeout(timer);
      resolve();
    };
    signal.addEventListener("abort", end, { once: true });
    show(button("Now", { class: "quiet" }, end));
  });
}

/** How each event is told: its name in words, facts in one line, and what stands below. */
const TELLING = {
  turn_began: ({ model, undone = [] }) => [
    "Turn began",
    [model, undone.length > 0 && mark(`${counted(undone.length, "turn")} undone`)],
  ],
  step: ({ seconds: took, usage: used, calls = [] }) => [
    "Step",
    [seconds(took), usage(used), calls.map(({ name }) => name).join(", ")],
  ],
  function_called: (content) => ["Function called", [], call(content)],
  working_context_changed: ({ version, content }) => [
    "Working context changed",
    [`version ${number(version)}`],
    text(content),
  ],
  queue_flushed: ({ evicted }) => ["Queue flushed", [`${counted(evicted, "message")} evicted`]],
  degraded: () => ["Degraded", ["The turn ran without memory, or could not be stored."]],
  turn_ended: ({ seconds: took, usage: used, finish_reason: reason, error, degraded }) => [
    "Turn ended",
    [
      seconds(took),
      usage(used),
      !error && (reason === "stop" ? reason : mark(reason ?? "no whole reply")),
      error && mark(error, "bad"),
      degraded && mark("degraded", "bad"),
    ],
  ],
  memory_erased: () => ["Memory erased", []],
  missed: ({ count }) => ["Missed", [`${counted(count, "event")}: they came too fast.`]],
};

function told({ kind, content }) {
  const unknown = () => [kind, [JSON.stringify(content)]];
  const tell = Object.hasOwn(TELLING, kind) ? TELLING[kind] : unknown;
  const [title, line, below = ""] = tell(content);
  const when = moment(content.created ?? Date.now() / 1000);
  return element("li", {}, facts(element("strong", {}, title), when, ...line), below);
}
