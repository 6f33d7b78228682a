/** `legacygpu key …`: API keys of clients and workers. */

import { SCOPES, type Scope } from "@legacygpu/shared/api/keys";
import { parseDuration } from "@legacygpu/shared/config/duration";
import { type Command, InvalidArgumentError } from "commander";
import type { CreatedKey, KeyJson } from "../../index.ts";
import { type Cli, collect, oneOf, pick } from "../command.ts";
import type { Context } from "../context.ts";
import { durationText, facts, table } from "../table.ts";

const DEFAULT_GRACE_SECONDS = 86_400;
const lifeSeconds = seconds({ min: 60, max: 315_360_000, form: '60 s to ten years, like "12h" or "90d"' });
const graceSeconds = seconds({ min: 0, max: 2_592_000, form: '0 to 30 days, like "1h" or "7d"' });

interface CreateFlags {
  readonly name: string;
  readonly scopes: Scope[];
  readonly tenant?: string;
  readonly expiresIn?: number;
  readonly network?: string[];
  readonly model?: string[];
  readonly site?: string[];
}

export function addKeyCommands(program: Command, cli: Cli): void {
  const group = program.command("key").description("keys of clients and workers");
  addCreateCommand(group, cli);
  cli.command(group.command("list").description("all keys, without their secrets"), list);
  cli.command(
    group
      .command("rotate")
      .description("make a key that takes the place of another; it is shown once")
      .argument("<id>")
      .option(
        "--grace <duration>",
        "how long the old key lives on; default 1d, 0: not at all",
        graceSeconds,
        DEFAULT_GRACE_SECONDS,
      ),
    rotate,
  );
  cli.command(group.command("revoke").description("end a key at once").argument("<id>"), revoke);
}

function addCreateCommand(group: Command, cli: Cli): void {
  cli.command(
    group
      .command("create")
      .description("make a key; it is shown once")
      .requiredOption("--name <name>", "for whom or what")
      .requiredOption("--scopes <list>", `comma-separated: ${SCOPES.join(", ")}`, parseScopes)
      .option("--tenant <name>", "whose tasks and quotas it shares; default: a tenant of its own")
      .option("--expires-in <duration>", "how long it lives; default: until it is revoked", lifeSeconds)
      .option("--network <cidr>", "the only network that it may be used from; may be repeated", collect)
      .option("--model <name>", "the only model that it may use; may be repeated", collect)
      .option("--site <name>", "the only site for its tasks, or its workers; may be repeated", collect),
    create,
  );
}

function parseScopes(given: string): Scope[] {
  const words = given.split(",").map((word) => word.trim());
  try {
    return words.map(oneOf(SCOPES));
  } catch {
    throw new InvalidArgumentError(`Choose from ${SCOPES.join(", ")}.`);
  }
}

function seconds({ min, max, form }: { readonly min: number; readonly max: number; readonly form: string }) {
  return (given: string): number => {
    const ms = parseDuration(given);
    const count = ms === undefined ? Number.NaN : Math.ceil(ms / 1000);
    if (count >= min && count <= max) return count;
    throw new InvalidArgumentError(`Write ${form}.`);
  };
}

async function create(context: Context, flags: CreateFlags): Promise<undefined> {
  const { expiresIn, network: networks, model: models, site: sites } = flags;
  const wanted = {
    ...pick(flags, "name", "scopes", "tenant"),
    ...pick({ expires_in: expiresIn, networks, models, sites }, "expires_in", "networks", "models", "sites"),
  };
  const created = await context.withGateway(({ client }) => client.createKey(wanted, context.signals.first));
  context.print(created, () => shownOnce(created));
  return undefined;
}

async function rotate(context: Context, { grace }: { grace: number }, id: string): Promise<undefined> {
  const created = await context.withGateway(({ client }) =>
    client.rotateKey(id, { grace }, context.signals.first),
  );
  const oldKey =
    grace === 0
      ? `Key ${id} has ended.`
      : `Key ${id} lives on for ${durationText(grace * 1000)}, or less if it was to end sooner.`;
  context.print(created, () => `${shownOnce(created)}${oldKey}\n`);
  return undefined;
}

function shownOnce(key: CreatedKey): string {
  const list = (values: readonly string[] | null): string | undefined => values?.join(",");
  const shown = facts([
    ["id", key.id],
    ["name", key.name],
    ["scopes", key.scopes.join(",")],
    ["tenant", key.tenant === key.id ? undefined : key.tenant],
    ["expires", key.expires_at ?? undefined],
    ["networks", list(key.networks)],
    ["models", list(key.models)],
    ["sites", list(key.sites)],
    ["replaces", key.replaces ?? undefined],
    ["key", key.key],
  ]);
  return `${shown}\nThe key is shown only now: keep it.\n`;
}

async function list(context: Context): Promise<undefined> {
  const keys = await context.withGateway(({ client }) => client.listKeys(context.signals.first));
  const nowMs = context.io.clock.now();
  context.print({ keys }, () =>
    table(
      keys,
      [
        { title: "ID", value: ({ id }) => id },
        { title: "NAME", value: ({ name }) => name },
        { title: "KIND", value: ({ kind }) => kind },
        { title: "SCOPES", value: ({ scopes }) => scopes.join(",") },
        { title: "TENANT", value: ({ tenant }) => tenant },
        { title: "CREATED", value: ({ created_at }) => minuteText(created_at) },
        { title: "EXPIRES", value: (key) => expiryText(key, nowMs) },
        { title: "LAST USED", value: ({ last_used_at }) => minuteText(last_used_at) },
        { title: "REVOKED", value: ({ revoked_at }) => minuteText(revoked_at) },
      ],
      "There are no keys.",
    ),
  );
  return undefined;
}

function expiryText({ expires_at }: KeyJson, nowMs: number): string {
  const isOver = expires_at !== null && Date.parse(expires_at) <= nowMs;
  return minuteText(expires_at) + (isOver ? " (expired)" : "");
}

/** `2026-01-02T03:04Z`; what has another form stays as it is. */
function minuteText(time: string | null): string {
  return time?.replace(/:\d\d(?:\.\d+)?Z$/, "Z") ?? "";
}

async function revoke(context: Context, _flags: object, id: string): Promise<undefined> {
  const revoked = await context.withGateway(({ client }) => client.revokeKey(id, context.signals.first));
  context.print(revoked ?? { id, revoked: true }, () => `Key ${id} is revoked.\n`);
  return undefined;
}
