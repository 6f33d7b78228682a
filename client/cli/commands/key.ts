/** `legacygpu key …`: API keys of clients and workers. */

import { SCOPES, type Scope } from "@legacygpu/shared/api/keys";
import { type Command, InvalidArgumentError } from "commander";
import { type Cli, oneOf } from "../command.ts";
import type { Context } from "../context.ts";
import { facts, table } from "../table.ts";

export function addKeyCommands(program: Command, cli: Cli): void {
  const group = program.command("key").description("keys of clients and workers");
  cli.command(
    group
      .command("create")
      .description("make a key; it is shown once")
      .requiredOption("--name <name>", "for whom or what")
      .requiredOption("--scopes <list>", `comma-separated: ${SCOPES.join(", ")}`, parseScopes),
    create,
  );
  cli.command(group.command("list").description("all keys, without their secrets"), list);
  cli.command(group.command("revoke").description("end a key at once").argument("<id>"), revoke);
}

function parseScopes(given: string): Scope[] {
  const words = given.split(",").map((word) => word.trim());
  try {
    return words.map(oneOf(SCOPES));
  } catch {
    throw new InvalidArgumentError(`Choose from ${SCOPES.join(", ")}.`);
  }
}

async function create(
  context: Context,
  { name, scopes }: { name: string; scopes: Scope[] },
): Promise<undefined> {
  const created = await context.withGateway(({ client }) =>
    client.createKey({ name, scopes }, context.signals.first),
  );
  context.print(created, () => {
    const shown = facts([
      ["id", created.id],
      ["name", created.name],
      ["scopes", created.scopes.join(",")],
      ["key", created.key],
    ]);
    return `${shown}\nThe key is shown only now: keep it.\n`;
  });
  return undefined;
}

async function list(context: Context): Promise<undefined> {
  const keys = await context.withGateway(({ client }) => client.listKeys(context.signals.first));
  context.print({ keys }, () =>
    table(
      keys,
      [
        { title: "ID", value: ({ id }) => id },
        { title: "NAME", value: ({ name }) => name },
        { title: "KIND", value: ({ kind }) => kind },
        { title: "SCOPES", value: ({ scopes }) => scopes.join(",") },
        { title: "CREATED", value: ({ created_at }) => created_at },
        { title: "REVOKED", value: ({ revoked_at }) => revoked_at ?? "" },
      ],
      "There are no keys.",
    ),
  );
  return undefined;
}

async function revoke(context: Context, _flags: object, id: string): Promise<undefined> {
  const revoked = await context.withGateway(({ client }) => client.revokeKey(id, context.signals.first));
  context.print(revoked ?? { id, revoked: true }, () => `Key ${id} is revoked.\n`);
  return undefined;
}
