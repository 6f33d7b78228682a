/** Reads `text/event-stream`, the format of server-sent events in the HTML standard. */

import { linesOf } from "./lines.ts";

export interface ServerSentEvent {
  /** What the `event` field says; "message" without one. */
  readonly name: string;
  readonly data: string;
  /** Of this event or the latest before it that had one. */
  readonly lastId: string | undefined;
}

/** An event that the stream breaks off in the middle of is not told of. */
export async function* serverSentEvents(
  pieces: AsyncIterable<Uint8Array>,
): AsyncGenerator<ServerSentEvent, void> {
  let name = "";
  let data: string[] = [];
  let lastId: string | undefined;
  for await (const line of linesOf(pieces)) {
    if (line === "") {
      if (data.length > 0) yield { name: name || "message", data: data.join("\n"), lastId };
      name = "";
      data = [];
      continue;
    }
    const { field, value } = parseField(line);
    if (field === "event") name = value;
    else if (field === "data") data.push(value);
    else if (field === "id") lastId = value;
  }
}

/** A line without a field's name is a comment, such as the gateway's sign of life. */
function parseField(line: string): { field: string; value: string } {
  const colon = line.indexOf(":");
  if (colon === -1) return { field: line, value: "" };
  return { field: line.slice(0, colon), value: line.slice(colon + 1).replace(/^ /, "") };
}
