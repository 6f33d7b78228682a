/** `legacygpu usage`: what a tenant has used today. */

import type { UsageJson } from "@legacygpu/shared/api/usage";
import type { Command } from "commander";
import type { Cli } from "../command.ts";
import type { Context } from "../context.ts";
import { facts, sizeText, table } from "../table.ts";

export function addUsageCommand(program: Command, cli: Cli): void {
  cli.command(
    program
      .command("usage")
      .description("what your tenant has used today, and what it may use")
      .option("--tenant <name>", "another tenant's; for administrators"),
    usage,
  );
}

async function usage(context: Context, { tenant }: { tenant?: string }): Promise<undefined> {
  const found = await context.withGateway(({ client }) => client.usage(tenant, context.signals.first));
  context.print(found, () => usageText(found));
  return undefined;
}

interface Row {
  readonly what: string;
  readonly used: string;
  readonly limit: string;
}

function usageText({ tenant, day, resets_at, tasks, gpu_seconds, bytes, requests }: UsageJson): string {
  const heading = facts([
    ["tenant", tenant],
    ["day", `${day} (UTC)`],
    ["resets", resets_at],
  ]);
  const rows = [
    row("tasks", tasks, String),
    row("gpu seconds", gpu_seconds, secondsText),
    row("bytes", bytes, sizeText),
    row("requests", requests, String),
  ];
  const columns = [
    { title: "WHAT", value: ({ what }: Row) => what },
    { title: "USED", value: ({ used }: Row) => used, align: "right" },
    { title: "LIMIT", value: ({ limit }: Row) => limit, align: "right" },
  ] as const;
  return `${heading}\n${table(rows, columns, "")}`;
}

function row(what: string, { used, limit }: UsageJson["tasks"], text: (amount: number) => string): Row {
  return { what, used: text(used), limit: limit === null ? "-" : text(limit) };
}

function secondsText(seconds: number): string {
  return String(Math.round(seconds * 1000) / 1000);
}
