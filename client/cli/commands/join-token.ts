/** `legacygpu join-token …`: what lets a box join with one line. */

import type { JoinTokenJson } from "@legacygpu/shared/api/enrolment";
import { parseDuration } from "@legacygpu/shared/config/duration";
import { decodeJoinToken } from "@legacygpu/shared/join-token";
import { type Command, InvalidArgumentError } from "commander";
import type { CreatedJoinToken } from "../../enrolment-admin.ts";
import { type Cli, pick, wholeNumber } from "../command.ts";
import { isLoopback } from "../connection.ts";
import type { Context } from "../context.ts";
import { facts, table } from "../table.ts";

const MIN_TTL_SECONDS = 60;
const MAX_TTL_SECONDS = 604_800;

interface CreateFlags {
  readonly site: string;
  readonly ttl?: number;
  readonly uses?: number;
  readonly gateway?: string;
}

export function addJoinTokenCommands(program: Command, cli: Cli): void {
  const group = program.command("join-token").description("what lets a box join with one line");
  cli.command(
    group
      .command("create")
      .description("make a join token; it is shown once")
      .requiredOption("--site <site>", "where the boxes are that join with it")
      .option("--ttl <duration>", "how long it is good; default 30m", ttlSeconds)
      .option(
        "--uses <count>",
        "how many boxes may join with it; default 1",
        wholeNumber({ min: 1, max: 10_000 }),
      )
      .option(
        "--gateway <address>",
        "https://HOST:PORT at which boxes reach the gateway; default: as you do",
        gatewayOrigin,
      ),
    create,
  );
  cli.command(group.command("list").description("all join tokens, without their secrets"), list);
  cli.command(
    group
      .command("revoke")
      .description("let nobody in with it any more; who has joined stays")
      .argument("<id>"),
    revoke,
  );
}

function ttlSeconds(given: string): number {
  const ms = parseDuration(given);
  const seconds = ms === undefined ? Number.NaN : Math.ceil(ms / 1000);
  if (seconds >= MIN_TTL_SECONDS && seconds <= MAX_TTL_SECONDS) return seconds;
  throw new InvalidArgumentError('Write 60 s to 7 days, like "30m" or "12h".');
}

function gatewayOrigin(given: string): string {
  const url = URL.canParse(given) ? new URL(given) : undefined;
  if (url !== undefined && url.protocol === "https:" && url.href === `${url.origin}/`) return url.origin;
  throw new InvalidArgumentError("Write https://HOST:PORT, as boxes reach the gateway.");
}

async function create(context: Context, flags: CreateFlags): Promise<undefined> {
  const created = await context.withGateway(({ client, url: own }) => {
    const url = flags.gateway ?? (isLoopback(own) ? undefined : new URL(own).origin);
    const wanted = { ...pick(flags, "site", "ttl", "uses"), ...pick({ url }, "url") };
    return client.enrolment.createJoinToken(wanted, context.signals.first);
  });
  context.print(created, () => shownOnce(created));
  const gateway = gatewayIn(created.token);
  if (gateway !== undefined && isLoopback(gateway)) context.remark(loopbackRemark(gateway));
  return undefined;
}

/** @returns undefined for a token that only newer programs understand: it is made all the same. */
function gatewayIn(token: string): string | undefined {
  try {
    return decodeJoinToken(token).url;
  } catch {
    return undefined;
  }
}

function loopbackRemark(gateway: string): string {
  return `Note: the token names ${gateway} as the gateway, where boxes elsewhere cannot reach it. For them make one with --gateway https://HOST:PORT.`;
}

function shownOnce({ id, site, uses, expires_at, token }: CreatedJoinToken): string {
  const shown = facts([
    ["id", id],
    ["site", site],
    ["uses", String(uses)],
    ["expires", expires_at],
    ["token", token],
  ]);
  return `${shown}\nOn each box that is to join:\n\n  legacygpu worker start --join ${token}\n\nThe token is shown only now.\n`;
}

async function list(context: Context): Promise<undefined> {
  const tokens = await context.withGateway(({ client }) =>
    client.enrolment.joinTokens(context.signals.first),
  );
  const nowMs = context.io.clock.now();
  context.print({ join_tokens: tokens }, () =>
    table(
      tokens,
      [
        { title: "ID", value: ({ id }) => id },
        { title: "SITE", value: ({ site }) => site },
        { title: "USES LEFT", value: ({ uses, uses_left }) => `${uses_left} of ${uses}` },
        { title: "CREATED", value: ({ created_at }) => created_at },
        { title: "EXPIRES", value: ({ expires_at }) => expires_at },
        { title: "STATE", value: (token) => stateOf(token, nowMs) },
      ],
      "There are no join tokens.",
    ),
  );
  return undefined;
}

function stateOf({ revoked_at, uses_left, expires_at }: JoinTokenJson, nowMs: number): string {
  if (revoked_at !== null) return "revoked";
  if (uses_left === 0) return "used up";
  return Date.parse(expires_at) <= nowMs ? "expired" : "live";
}

async function revoke(context: Context, _flags: object, id: string): Promise<undefined> {
  const revoked = await context.withGateway(({ client }) =>
    client.enrolment.revokeJoinToken(id, context.signals.first),
  );
  context.print(revoked, () => `Join token ${id} is revoked. Workers that have joined with it stay.\n`);
  return undefined;
}
