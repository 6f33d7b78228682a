/** How the worker of a task was chosen, as text for people. */

import type { TaskJson } from "../index.ts";
import { durationText, facts, table } from "./table.ts";

type Choice = NonNullable<TaskJson["choice"]>;
type Candidate = Choice["candidates"][number];
type Parts = NonNullable<Candidate["parts"]>;

/** Ends in a newline. */
export function choiceText(task: TaskJson): string {
  const { choice } = task;
  if (choice === undefined) return `${statusText(task)}${unknownText(task)}`;
  const head = facts([
    ["task", task.id],
    ["status", task.reason === undefined ? task.status : `${task.status}: ${task.reason}`],
    ["strategy", choice.strategy],
    ["decided", choice.decided_at],
    ["chosen", choice.chosen ?? "none yet"],
  ]);
  return `${head}\n${candidatesText(choice)}`;
}

function statusText({ id, status, reason }: TaskJson): string {
  return facts([
    ["task", id],
    ["status", reason === undefined ? status : `${status}: ${reason}`],
  ]);
}

function unknownText({ status }: TaskJson): string {
  return status === "PENDING"
    ? "Nothing is known of its candidates.\n"
    : "How its worker was chosen was not kept; submit with --explain to have it kept.\n";
}

function candidatesText({ candidates, chosen }: Choice): string {
  const part = (title: string, of: (parts: Parts) => number) => ({
    title,
    value: ({ parts }: Candidate) => (parts === null ? "-" : durationText(of(parts))),
    align: "right" as const,
  });
  return table(
    candidates,
    [
      { title: "", value: ({ worker }) => (worker === chosen ? "*" : "") },
      { title: "WORKER", value: ({ worker }) => worker },
      { title: "SITE", value: ({ site }) => site },
      {
        title: "PREDICTED",
        value: ({ predicted_ms }) => (predicted_ms === null ? "-" : durationText(predicted_ms)),
        align: "right",
      },
      part("RTT", ({ rtt_ms }) => rtt_ms),
      part("WAIT", ({ wait_ms }) => wait_ms),
      part("COMPUTE", ({ service_ms }) => service_ms),
      part("LOAD", ({ load_ms }) => load_ms),
      part("TRANSFER", ({ transfer_ms }) => transfer_ms),
      { title: "VERDICT", value: ({ verdict }) => verdict },
    ],
    "No worker is connected.",
  );
}
