/** `legacygpu task …`: send tasks and follow them. */

import { parseDuration } from "@legacygpu/shared/config/duration";
import { PRIORITIES, type Priority, TASK_STATES, type TaskState } from "@legacygpu/shared/task";
import { type Command, InvalidArgumentError } from "commander";
import type { LegacyGpuClient, ListTasksQuery, TaskJson } from "../../index.ts";
import { type Cli, oneOf } from "../command.ts";
import type { Context } from "../context.ts";
import { EXIT, exitCodeOfTask } from "../exit-codes.ts";
import { readTaskInput, type TaskInput } from "../task-input.ts";
import { stateText, taskTable, taskText } from "../task-text.ts";

export function addTaskCommands(program: Command, cli: Cli): void {
  const group = program.command("task").description("send tasks and follow them");
  addSubmit(group, cli);
  cli.command(
    group
      .command("list")
      .description("your tasks, newest first")
      .option("--state <state>", TASK_STATES.join(", "), oneOf(TASK_STATES))
      .option("--model <name>", "of this model only")
      .option("--limit <count>", "at most so many (default 100)", parseCount)
      .option("--cursor <cursor>", "the page after; see next_cursor in --json"),
    list,
  );
  cli.command(
    group.command("get").description("one task").argument("<id>").option("--wait", "until it has ended"),
    get,
  );
  cli.command(group.command("cancel").description("stop a task").argument("<id>"), cancel);
}

function addSubmit(group: Command, cli: Cli): void {
  cli.command(
    group
      .command("submit")
      .description("send a picture, or tensors in JSON")
      .requiredOption("--model <name>", "model to run")
      .requiredOption("--input <file>", "picture, or .json with {inputs: [tensor, …]}; - for standard input")
      .option("--version <version>", "of the model (default: the newest)")
      .option("--priority <class>", `${PRIORITIES.join(", ")} (default NORMAL)`, oneOf(PRIORITIES))
      .option("--deadline <duration>", 'time to the final answer, like "30s"', parseDeadline)
      .option("--wait", "until it has ended, and print the result"),
    submit,
  );
}

function parseDeadline(given: string): number {
  const ms = parseDuration(given);
  if (ms === undefined || ms < 1) throw new InvalidArgumentError('Write a duration like "30s" or "500ms".');
  return ms;
}

function parseCount(given: string): number {
  const count = Number(given);
  if (!Number.isInteger(count) || count < 1 || count > 1000)
    throw new InvalidArgumentError("Write 1 to 1000.");
  return count;
}

interface SubmitFlags {
  readonly model: string;
  readonly input: string;
  readonly version?: string;
  readonly priority?: Priority;
  readonly deadline?: number;
  readonly wait?: boolean;
}

async function submit(context: Context, flags: SubmitFlags): Promise<number> {
  const input = await readTaskInput(flags.input, context.io.stdin);
  return context.withGateway(async ({ client }) => {
    const task = await send(client, flags, input, context.signals.first);
    if (flags.wait !== true) {
      context.print(task, () => `${task.id}\n`);
      context.remark(`Follow it with: legacygpu task get ${task.id} --wait`);
      return EXIT.ok;
    }
    return follow(context, client, task);
  });
}

function send(
  client: LegacyGpuClient,
  flags: SubmitFlags,
  input: TaskInput,
  signal: AbortSignal,
): Promise<TaskJson> {
  const { model, version, priority, deadline } = flags;
  const ofVersion = version === undefined ? {} : { version };
  const ofClass = priority === undefined ? {} : { priority };
  if (input.kind === "image") {
    const { bytes, contentType } = input;
    const until = deadline === undefined ? {} : { deadlineMs: deadline };
    return client.submitImage(model, bytes, { contentType, ...ofVersion, ...ofClass, ...until }, signal);
  }
  const until = deadline === undefined ? {} : { deadline_ms: deadline };
  return client.submit({ model, input: input.input, ...ofVersion, ...ofClass, ...until }, signal);
}

/** Waits for the end of a task and prints it. */
async function follow(context: Context, client: LegacyGpuClient, { id }: TaskJson): Promise<number> {
  const progress = context.progress();
  const { first } = context.signals;
  const tell = (): void => {
    progress.stop();
    context.remark(`Task ${id} goes on. legacygpu task get ${id} --wait · legacygpu task cancel ${id}`);
  };
  first.addEventListener("abort", tell, { once: true });
  try {
    const task = await client.wait(id, {
      signal: first,
      onUpdate: (update) => progress.update(stateText(update)),
      onTrouble: (error) => progress.update(`${id}: ${error.message} · trying again`),
    });
    progress.stop();
    context.print(task, () => taskText(task));
    return exitCodeOfTask(task);
  } finally {
    progress.stop();
    first.removeEventListener("abort", tell);
  }
}

async function list(context: Context, flags: ListTasksQuery): Promise<undefined> {
  const { state, model, limit, cursor } = flags;
  const query = {
    ...(state === undefined ? {} : { state: state satisfies TaskState }),
    ...(model === undefined ? {} : { model }),
    ...(limit === undefined ? {} : { limit }),
    ...(cursor === undefined ? {} : { cursor }),
  };
  const page = await context.withGateway(({ client }) => client.list(query, context.signals.first));
  context.print(page, () => taskTable(page.tasks));
  if (page.next_cursor !== null) context.remark(`There are more: --cursor ${page.next_cursor}`);
  return undefined;
}

async function get(context: Context, { wait }: { readonly wait?: boolean }, id: string): Promise<number> {
  return context.withGateway(async ({ client }) => {
    const task = await client.get(id, context.signals.first);
    if (wait === true) return follow(context, client, task);
    context.print(task, () => taskText(task));
    return EXIT.ok;
  });
}

async function cancel(context: Context, _flags: object, id: string): Promise<undefined> {
  const task = await context.withGateway(({ client }) => client.cancel(id, context.signals.first));
  context.print(task, () => taskText(task));
  return undefined;
}
