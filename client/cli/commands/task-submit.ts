/** `legacygpu task submit`: one task, or a batch of them. */

import { type Command, Option } from "commander";
import type { CreateTask, LegacyGpuClient, TaskJson } from "../../index.ts";
import { type BatchFlags, submitBatch } from "../batch-submit.ts";
import { type Cli, refuse } from "../command.ts";
import type { Context } from "../context.ts";
import { EXIT } from "../exit-codes.ts";
import { follow } from "../follow.ts";
import { addTaskFlags, type TaskFlags, taskOptions } from "../task-flags.ts";
import { asJson, readTaskInput, type TaskInput } from "../task-input.ts";

export function addSubmitCommand(group: Command, cli: Cli): void {
  const command = group
    .command("submit")
    .description("send a picture, or tensors in JSON; with --batch one task for each of many files")
    .option("--input <file>", "picture, or .json with {inputs: [tensor, …]}; - for standard input")
    .addOption(
      new Option("--batch <files...>", "files and patterns such as 'frames/*.jpg' or 'frames/**'").conflicts([
        "input",
        "id",
        "idempotencyKey",
      ]),
    )
    .option("--explain", "keep how its worker is chosen, for `task explain`")
    .option("--wait", "until it has ended, and print the result")
    .option("--no-wait", "with --batch: only send")
    .option("--output <file>", "with --batch: the results as JSON lines")
    .option("--idempotency-key <key>", "the same key and task again give the same task (default: a new key)")
    .addOption(
      new Option("--id <task>", "id of the task, `task_` and a ULID in lower case").conflicts(
        "idempotencyKey",
      ),
    );
  cli.command(refuse(addTaskFlags(command), mistake), submit);
}

interface SubmitFlags extends TaskFlags, Omit<BatchFlags, "batch"> {
  readonly input?: string;
  readonly batch?: string[];
  readonly wait?: boolean;
  readonly idempotencyKey?: string;
  readonly id?: string;
  readonly explain?: boolean;
}

function mistake({ input, batch, output, wait, explain }: SubmitFlags): string | undefined {
  if (input === undefined && batch === undefined)
    return "required option '--input <file>' or '--batch <files...>' not specified";
  if (output !== undefined && batch === undefined)
    return "option '--output <file>' is for '--batch <files...>'";
  if (explain === true && batch !== undefined)
    return "option '--explain' cannot be used with option '--batch <files...>'";
  if (output !== undefined && wait === false)
    return "option '--output <file>' cannot be used with option '--no-wait'";
  return undefined;
}

async function submit(context: Context, flags: SubmitFlags): Promise<number> {
  const { batch, input: path = "-" } = flags;
  if (batch !== undefined) return submitBatch(context, { ...flags, batch });
  const input = await readTaskInput(path, context.io.stdin);
  return context.withGateway(async ({ client }) => {
    const task = await send(client, flags, input, context.signals.first);
    if (flags.wait === true) return follow(context, client, task.id);
    context.print(task, () => `${task.id}\n`);
    context.remark(`Follow it with: legacygpu task get ${task.id} --wait`);
    return EXIT.ok;
  });
}

function send(
  client: LegacyGpuClient,
  { id, idempotencyKey, explain = false, ...flags }: SubmitFlags,
  input: TaskInput,
  signal: AbortSignal,
): Promise<TaskJson> {
  const options = taskOptions(flags);
  const key = idempotencyKey === undefined ? {} : { idempotencyKey };
  if (input.kind === "image" && id === undefined && fitsIntoAddress(options)) {
    const { model, version, priority, deadline_ms: deadlineMs } = options;
    const { contentType } = input;
    const given = {
      contentType,
      ...key,
      explain,
      ...(version === undefined ? {} : { version }),
      ...(priority === undefined ? {} : { priority }),
      ...(deadlineMs === undefined ? {} : { deadlineMs }),
    };
    return client.submitImage(model, input.bytes, given, signal);
  }
  const task = { ...options, input: asJson(input) };
  return client.submit(task, { ...(id === undefined ? key : { id }), explain }, signal);
}

/** Beside a picture that is sent as it is there is room for these only; otherwise it travels inside JSON, a third larger. */
function fitsIntoAddress(options: Omit<CreateTask, "input">): boolean {
  const { model: _, version: __, priority: ___, deadline_ms: ____, ...rest } = options;
  return Object.values(rest).every((value) => value === undefined);
}
