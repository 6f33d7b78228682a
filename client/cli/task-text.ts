/** Tasks as text for people. */

import type { TaskJson } from "../index.ts";
import { durationText, facts, table } from "./table.ts";

/** One task, with its prediction or error and where the time went. Ends in a newline. */
export function taskText(task: TaskJson): string {
  const head = facts([
    ["task", task.id],
    ["status", task.reason === undefined ? task.status : `${task.status}: ${task.reason}`],
    ["model", `${task.model} version ${task.version}`],
    ["attempts", task.attempts.length > 1 ? attemptsText(task) : undefined],
    ["error", task.error === null ? undefined : `${task.error.message} (${task.error.code})`],
    ["time", task.timings_ms === null ? undefined : legsText(task.timings_ms)],
  ]);
  const result = resultText(task);
  return result === "" ? head : `${result}\n${head}`;
}

function attemptsText({ attempts }: TaskJson): string {
  return attempts.map(({ n, worker, outcome }) => `${n} on ${worker} ${outcome}`).join("; ");
}

/** The best first; for models that do not classify, the outputs. */
function resultText({ result }: TaskJson): string {
  if (result === null) return "";
  if (result.predictions !== undefined) {
    return table(
      result.predictions,
      [
        { title: "LABEL", value: ({ label }) => label },
        { title: "SCORE", value: ({ score }) => `${(100 * score).toFixed(1)} %`, align: "right" },
        { title: "", value: ({ score }) => "█".repeat(Math.round(20 * Math.min(1, Math.max(0, score)))) },
      ],
      "The model predicts nothing.",
    );
  }
  return result.outputs.map(outputText).join("");
}

const SHOWN_VALUES = 8;

function outputText({
  name,
  datatype,
  shape,
  data,
}: NonNullable<TaskJson["result"]>["outputs"][number]): string {
  const values = data.slice(0, SHOWN_VALUES).map((value) => String(value));
  const rest = data.length > SHOWN_VALUES ? ` … ${data.length - SHOWN_VALUES} more; --json prints all` : "";
  return facts([[`${name} ${datatype}[${shape.join(",")}]`, `${values.join(" ")}${rest}`]]);
}

/** The legs that took time, in the order in which they happen. */
export function legsText(timings: NonNullable<TaskJson["timings_ms"]>): string {
  const { total, ...legs } = timings;
  const shown = Object.entries(legs).filter(([, ms]) => ms >= 0.05);
  const listed = shown.map(([name, ms]) => `${name.replace("_", " ")} ${durationText(ms)}`);
  return `${durationText(total)}${listed.length === 0 ? "" : ` = ${listed.join(" + ")}`}`;
}

/** For the line that is shown while waiting. */
export function stateText({ id, status, reason, attempt }: TaskJson): string {
  const because = reason === undefined ? "" : `: ${reason}`;
  const again = attempt > 1 ? ` (attempt ${attempt})` : "";
  return `${id} ${status}${again}${because}`;
}

export function taskTable(tasks: readonly TaskJson[]): string {
  return table(
    tasks,
    [
      { title: "TASK", value: ({ id }) => id },
      { title: "STATUS", value: ({ status }) => status },
      { title: "MODEL", value: ({ model, version }) => `${model}:${version}` },
      { title: "PRIORITY", value: ({ priority }) => priority },
      { title: "CREATED", value: ({ created_at }) => created_at },
      {
        title: "TOOK",
        value: ({ timings_ms }) => (timings_ms === null ? "" : durationText(timings_ms.total)),
        align: "right",
      },
      { title: "RESULT", value: summary },
    ],
    "There are no tasks.",
  );
}

function summary({ result, error, reason }: TaskJson): string {
  if (error !== null) return error.code;
  return result?.predictions?.[0]?.label ?? reason ?? "";
}
