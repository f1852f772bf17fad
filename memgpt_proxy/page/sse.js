/** Server-sent events out of a response's body. An EventSource could send no key. */

/**
 * Yields each event that has a name, with its JSON parsed; comments are passed over.
 *
 * @param {ReadableStream<Uint8Array>} body
 */
export async function* eventsOf(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let [kind, data, rest] = ["", "", ""];
  for (let part = await reader.read(); !part.done; part = await reader.read()) {
    const lines = (rest + part.value).split("\n");
    rest = lines.pop();
    for (const line of lines) {
      if (line.startsWith("event: ")) kind = line.slice("event: ".length);
      else if (line.startsWith("data: ")) data += line.slice("data: ".length);
      else if (line === "") {
        if (kind) yield { kind, content: JSON.parse(data) };
        [kind, data] = ["", ""];
      }
    }
  }
}
