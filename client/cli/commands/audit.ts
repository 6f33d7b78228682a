/** `legacygpu audit`: who did what at the gateway. */

import { AUDIT_OUTCOMES, type AuditEntry, type AuditVerification } from "@legacygpu/shared/api/audit";
import { fail } from "@legacygpu/shared/errors";
import type { Command } from "commander";
import { type Cli, oneOf, pageLimit, pick, wholeNumber } from "../command.ts";
import type { Context } from "../context.ts";
import { table } from "../table.ts";

interface AuditFlags {
  readonly action?: string;
  readonly actor?: string;
  readonly target?: string;
  readonly outcome?: AuditEntry["outcome"];
  readonly limit?: number;
  readonly before?: number;
  readonly verify?: boolean;
}

export function addAuditCommand(program: Command, cli: Cli): void {
  const command = program
    .command("audit")
    .description("who did what, newest first; --verify proves that nobody changed the log")
    .option("--action <name>", "only this action (key.revoke) or kind of action (key)")
    .option("--actor <id>", "only what this key or worker did")
    .option("--target <id>", "only what was done to this")
    .option("--outcome <outcome>", AUDIT_OUTCOMES.join(", "), oneOf(AUDIT_OUTCOMES))
    .option("--limit <count>", "how many (default 100)", pageLimit)
    .option(
      "--before <seq>",
      "only entries before this number",
      wholeNumber({ min: 1, max: Number.MAX_SAFE_INTEGER }),
    )
    .option("--verify", "read the whole log and check its chain");
  cli.command(command, audit);
}

async function audit(context: Context, flags: AuditFlags): Promise<undefined> {
  if (flags.verify === true) return verify(context);
  const query = pick(flags, "action", "actor", "target", "outcome", "limit", "before");
  const page = await context.withGateway(({ client }) => client.audit(query, context.signals.first));
  context.print(page, () => pageText(page.entries, page.next));
  return undefined;
}

function pageText(entries: readonly AuditEntry[], next: number | null): string {
  const text = table(
    entries,
    [
      { title: "SEQ", value: ({ seq }) => String(seq), align: "right" },
      { title: "AT", value: ({ at }) => at },
      { title: "ACTION", value: ({ action }) => action },
      { title: "OUTCOME", value: ({ outcome }) => outcome },
      { title: "ACTOR", value: ({ actor, actor_name }) => (actor_name === "" ? actor : actor_name) },
      { title: "TARGET", value: ({ target }) => target },
      { title: "FROM", value: ({ address }) => address },
      { title: "DETAILS", value: ({ details }) => detailsText(details) },
    ],
    "There is nothing in the audit log.",
  );
  return next === null ? text : `${text}Older entries: --before ${next}\n`;
}

function detailsText(details: AuditEntry["details"]): string {
  return Object.entries(details)
    .map(([name, value]) => `${name}=${String(value)}`)
    .join(" ");
}

async function verify(context: Context): Promise<undefined> {
  const found = await context.withGateway(({ client }) => client.verifyAudit(context.signals.first));
  if (found.damage !== null) throw damaged(found);
  context.print(found, () => `The log is whole: ${found.entries} entries, the newest ${found.head}.\n`);
  return undefined;
}

function damaged({ entries, damage }: AuditVerification): Error {
  const message = `Entry ${damage?.seq} of the audit log ${damage?.what}; the ${entries} before it are whole.`;
  return fail("audit_corrupt", message, { seq: damage?.seq });
}
