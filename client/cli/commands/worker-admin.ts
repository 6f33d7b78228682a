/** `legacygpu worker list|approve|revoke`: the boxes that have joined, as an administrator sees them. */

import type { Command } from "commander";
import type { Cli } from "../command.ts";
import type { Context } from "../context.ts";
import { oneLine, table } from "../table.ts";

export function addWorkerAdminCommands(group: Command, cli: Cli): void {
  cli.command(group.command("list").description("all workers that have joined, connected or not"), list);
  cli.command(
    group.command("approve").description("let a worker that has joined take tasks").argument("<id>"),
    approve,
  );
  cli.command(
    group.command("revoke").description("end a worker's identity and its link at once").argument("<id>"),
    revoke,
  );
}

async function list(context: Context): Promise<undefined> {
  const workers = await context.withGateway(({ client }) => client.enrolment.workers(context.signals.first));
  context.print({ workers }, () =>
    table(
      workers,
      [
        { title: "ID", value: ({ id }) => id },
        { title: "SITE", value: ({ site }) => site },
        { title: "STATUS", value: ({ status }) => status },
        { title: "CONNECTED", value: ({ is_connected }) => (is_connected ? "yes" : "no") },
        { title: "HOST", value: ({ host }) => host },
        { title: "ENROLLED", value: ({ enrolled_at }) => enrolled_at },
        { title: "RENEWED", value: ({ renewed_at }) => renewed_at ?? "" },
      ],
      "No worker has joined. `legacygpu join-token create` makes what lets one in.",
    ),
  );
  return undefined;
}

async function approve(context: Context, _flags: object, id: string): Promise<undefined> {
  const worker = await context.withGateway(({ client }) =>
    client.enrolment.approveWorker(id, context.signals.first),
  );
  context.print(worker, () => `Worker ${id} (${oneLine(worker.host)}, site ${worker.site}) is approved.\n`);
  return undefined;
}

async function revoke(context: Context, _flags: object, id: string): Promise<undefined> {
  const worker = await context.withGateway(({ client }) =>
    client.enrolment.revokeWorker(id, context.signals.first),
  );
  context.print(
    worker,
    () =>
      `Worker ${id} is revoked: its link is closed, and only a join token made after this lets it in again.\n`,
  );
  return undefined;
}
