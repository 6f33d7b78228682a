/** Tasks as text for people. */

import type { InferResponse, TaskJson } from "../index.ts";
import { durationText, facts, sizeText, table } from "./table.ts";

/** One task, with its prediction or error and where the time went. Ends in a newline. */
export function taskText(task: TaskJson): string {
  const head = facts([
    ["task", task.id],
    ["status", task.reason === undefined ? task.status : `${task.status}: ${task.reason}`],
    ["model", `${task.model} version ${task.version}`],
    ["batch", task.batch === undefined ? undefined : batchText(task.batch)],
    ["tags", task.tags.length === 0 ? undefined : task.tags.join(", ")],
    ["queue", task.queue === undefined ? undefined : queueText(task.queue)],
    ["progress", task.progress === undefined ? undefined : progressText(task.progress)],
    ["attempts", isWorthTelling(task) ? attemptsText(task) : undefined],
    ["error", task.error === null ? undefined : `${task.error.message} (${task.error.code})`],
    [
      "dead letter",
      task.dead_letter ? `not tried again by itself: legacygpu task retry ${task.id}` : undefined,
    ],
    ["time", task.timings_ms === null ? undefined : legsText(task.timings_ms)],
    ["result", largeResultText(task)],
    ["data", dataText(task)],
  ]);
  const result = task.result === null ? "" : resultText(task.result);
  return result === "" ? head : `${result}\n${head}`;
}

function batchText({ id, index, external_reference }: NonNullable<TaskJson["batch"]>): string {
  return `${id} item ${index}${external_reference === undefined ? "" : ` (${external_reference})`}`;
}

/** Such as `3 before it, begins in about 1.8 s`. */
export function queueText({ position, eta_ms }: NonNullable<TaskJson["queue"]>): string {
  const place = position === 0 ? "next" : `${position} before it`;
  return eta_ms === undefined ? place : `${place}, begins in about ${durationText(eta_ms)}`;
}

export function progressText({ phase, percent }: NonNullable<TaskJson["progress"]>): string {
  return `${phase.replaceAll("_", " ")}${percent === undefined ? "" : ` ${Math.round(percent)} %`}`;
}

function isWorthTelling({ attempts }: TaskJson): boolean {
  return attempts.length > 1 || attempts.some(({ error }) => error !== undefined);
}

function attemptsText({ attempts, attempt, max_attempts }: TaskJson): string {
  const each = attempts.map(({ n, worker, outcome, error }) => {
    const cause = error === undefined || error.code === outcome ? "" : ` (${error.code})`;
    return `${n} on ${worker} ${outcome}${cause}`;
  });
  return `${attempt} of ${max_attempts}: ${each.join("; ")}`;
}

/** A result that is too large to be part of the task. */
function largeResultText({ id, status, result, result_bytes, data_removed }: TaskJson): string | undefined {
  if (status !== "COMPLETED" || result !== null || result_bytes === null || data_removed) return undefined;
  return `${sizeText(result_bytes)}: legacygpu task result ${id} --output FILE`;
}

function dataText({ data_removed, expires_at }: TaskJson): string | undefined {
  if (data_removed) return "input and output are removed";
  return expires_at === null ? undefined : `kept until ${expires_at}`;
}

/** The best first; for models that do not classify, the outputs. */
export function resultText(result: InferResponse): string {
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

function outputText({ name, datatype, shape, data }: InferResponse["outputs"][number]): string {
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

/** For the line that is shown while waiting: changes only when something has happened. */
export function stateText({ id, status, reason, attempt, progress }: TaskJson): string {
  const because = reason === undefined ? "" : `: ${reason}`;
  const again = attempt > 1 ? ` (attempt ${attempt})` : "";
  const phase = progress === undefined ? "" : `, ${progressText({ phase: progress.phase })}`;
  return `${id} ${status}${again}${because}${phase}`;
}

/** The same with what changes all the time. */
export function liveStateText({ queue, progress, ...task }: TaskJson): string {
  const more = [
    ...(queue === undefined ? [] : [queueText(queue)]),
    ...(progress === undefined ? [] : [progressText(progress)]),
  ];
  return [stateText(task), ...more].join(", ");
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

function summary(task: TaskJson): string {
  const { result, result_bytes, error, reason, queue, progress, dead_letter, data_removed } = task;
  if (error !== null) return dead_letter ? `${error.code} (dead letter)` : error.code;
  const best = result?.predictions?.[0]?.label;
  if (best !== undefined) return best;
  if (data_removed) return "removed";
  if (progress !== undefined) return progressText(progress);
  if (reason !== undefined) return reason;
  if (queue !== undefined) return queueText(queue);
  // What a model says with labels alone has no bytes of tensors.
  return result_bytes === null || result_bytes === 0 ? "" : sizeText(result_bytes);
}

export function deadLetterTable(tasks: readonly TaskJson[]): string {
  return table(
    tasks,
    [
      { title: "TASK", value: ({ id }) => id },
      { title: "MODEL", value: ({ model, version }) => `${model}:${version}` },
      { title: "ENDED", value: ({ completed_at }) => completed_at ?? "" },
      {
        title: "TRIES",
        value: ({ attempt, max_attempts }) => `${attempt}/${max_attempts}`,
        align: "right",
      },
      { title: "CAUSE", value: ({ error }) => (error === null ? "" : `${error.code}: ${error.message}`) },
    ],
    "There are no dead letters.",
  );
}
