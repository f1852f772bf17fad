/** What traces and live events have in common: usage, and calls of functions. */

import { element, number, seconds } from "./dom.js";

/** Characters of a call's first argument that stand in its line. */
const PREVIEW = 60;

/** "250 tokens in (200 cached), 15 out"; empty where nothing is told. */
export function usage(told) {
  if (!told || told.prompt_tokens === undefined) return "";
  const cached = told.prompt_tokens_details?.cached_tokens;
  const given = `${number(told.prompt_tokens)} tokens in`;
  const remembered = cached ? ` (${number(cached)} cached)` : "";
  return `${given}${remembered}, ${number(told.completion_tokens ?? 0)} out`;
}

/** Returns a call with its arguments and, where the gateway has run it, its result. */
export function call({ name, arguments: given, result, failed, seconds: took }) {
  const sent = parsed(given);
  const time = took !== undefined && seconds(took);
  const summary = element("summary", {}, element("code", {}, name));
  for (const part of [preview(sent), time, failed && mark("failed", "bad")]) {
    if (part) summary.append(" ", part);
  }
  const laidOut = sent === null ? given : JSON.stringify(sent, null, 2);
  const told = element("dl", {}, ...entry("Arguments", laidOut));
  if (result !== undefined) told.append(...entry("Result", result));
  return element("details", { class: "call" }, summary, told);
}

/** Returns a word that stands out. */
export function mark(word, kind = "") {
  return element("span", { class: `mark ${kind}`.trim() }, word);
}

/** Returns facts in one line; empty ones are left out. */
export function facts(...told) {
  return element("div", { class: "facts" }, ...told.filter(Boolean).map(spanned));
}

function spanned(fact) {
  return typeof fact === "string" ? element("span", {}, fact) : fact;
}

function entry(term, content) {
  return [element("dt", {}, term), element("dd", {}, element("pre", { dir: "auto" }, content))];
}

/** Returns the arguments of a call; null where their end was cut off, or they are no JSON. */
function parsed(given) {
  try {
    return JSON.parse(given);
  } catch {
    return null;
  }
}

/** The beginning of the first argument: what is written, searched for or said. */
function preview(sent) {
  const [first] = Object.values(sent ?? {});
  if (typeof first !== "string") return "";
  const begin = Array.from(first).slice(0, PREVIEW).join("");
  return `“${begin}${begin === first ? "" : "…"}”`;
}
