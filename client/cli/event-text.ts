/** Events of tasks as text for people. */

import type { TaskEvent } from "../index.ts";
import { oneLine } from "./table.ts";
import { progressText } from "./task-text.ts";

const NAME_CHARS = "attempt_failed".length;

/** Such as `03:04:05.000Z  started         attempt 1 on box (home)`. Ends in a newline. */
export function eventText(event: TaskEvent): string {
  const time = /T(\S+)$/.exec(event.at)?.[1] ?? event.at;
  const name = event.event.padEnd(NAME_CHARS);
  return `${oneLine(`${time}  ${name}  ${detailText(event)}`).trimEnd()}\n`;
}

function detailText({ event, attempt, error, progress, snapshot }: TaskEvent): string {
  const where = attempt === undefined ? "" : `attempt ${attempt.n} on ${attempt.worker} (${attempt.site})`;
  switch (event) {
    case "queued":
      return "";
    case "assigned":
    case "started":
      return where;
    case "progress":
      return progress === undefined ? "" : progressText(progress);
    case "attempt_failed":
      return error === undefined ? where : `${where}: ${error.message} (${error.code})`;
    case "completed":
      return (
        snapshot?.status ?? (error === undefined ? "" : `an earlier try: ${error.message} (${error.code})`)
      );
    case "reset":
      return `what was before is not known any more${snapshot === undefined ? "" : `; it is ${snapshot.status}`}`;
  }
}
