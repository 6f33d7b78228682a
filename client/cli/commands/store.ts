/** `legacygpu store …`: looks after the file in which a gateway keeps its tasks, on the gateway's own machine. */

import { resolve } from "node:path";
import { openHome } from "@legacygpu/shared/home";
import type { Command } from "commander";
import type { Cli } from "../command.ts";
import type { Context } from "../context.ts";
import { EXIT } from "../exit-codes.ts";
import type { Damage, StoreTools } from "../parts.ts";
import { facts, sizeText, table } from "../table.ts";

interface StoreFlags {
  readonly store?: string;
}

export function addStoreCommands(program: Command, cli: Cli): void {
  const group = program.command("store").description("the gateway's store of tasks, on its own machine");
  const add = (name: string, description: string): Command =>
    group
      .command(name)
      .description(description)
      .option("--store <file>", "the store (default: tasks.mdb in LEGACYGPU_HOME)");
  cli.command(add("verify", "read all of it and list what is damaged; no gateway may have it open"), verify);
  cli.command(
    add("repair", "move what is damaged aside and keep the rest; no gateway may have it open"),
    repair,
  );
  cli.command(
    add("backup", "a consistent copy, also while a gateway runs").argument("<file>", "must not exist"),
    backup,
  );
  cli.command(add("compact", "give unused space back to the disk; no gateway may have it open"), compact);
}

async function open(context: Context, flags: StoreFlags): Promise<{ path: string; tools: StoreTools }> {
  const { io } = context;
  const path = flags.store === undefined ? openHome(io.env).tasksFile : resolve(flags.store);
  return { path, tools: await io.parts.storeTools() };
}

async function verify(context: Context, flags: StoreFlags): Promise<number> {
  const { path, tools } = await open(context, flags);
  const found = await tools.verifyStore(path);
  context.print(found, () => {
    const counts = Object.entries(found.checked).map(([name, count]) => [name, String(count)] as const);
    const { damaged, unlistedCount } = found;
    if (damaged.length === 0) return `${facts(counts)}\nThe store is sound.\n`;
    const rest = unlistedCount > 0 ? `and ${unlistedCount} more\n` : "";
    return `${facts(counts)}\n${damageTable(damaged)}${rest}\nlegacygpu store repair moves it aside and keeps the rest.\n`;
  });
  return found.damaged.length === 0 ? EXIT.ok : EXIT.failed;
}

async function repair(context: Context, flags: StoreFlags): Promise<undefined> {
  const { path, tools } = await open(context, flags);
  const result = await tools.repairStore(path, context.io.clock);
  context.print(result, () => {
    if (result.setAsideCount === 0) return "The store is sound; nothing was changed.\n";
    return `${damageTable(result.setAside)}\n${facts([
      ["set aside", `${result.setAsideCount} records`],
      ["in", result.asidePath],
      ["as it was", result.copyPath],
    ])}`;
  });
  return undefined;
}

async function backup(context: Context, flags: StoreFlags, target: string): Promise<undefined> {
  const { path, tools } = await open(context, flags);
  const copy = resolve(target);
  await tools.backupStore(path, copy);
  context.print({ path, copy }, () => `${copy}\n`);
  return undefined;
}

async function compact(context: Context, flags: StoreFlags): Promise<undefined> {
  const { path, tools } = await open(context, flags);
  const { bytesBefore, bytesAfter } = await tools.compactStore(path);
  context.print(
    { path, bytes_before: bytesBefore, bytes_after: bytesAfter },
    () => `${sizeText(bytesBefore)} before, ${sizeText(bytesAfter)} now\n`,
  );
  return undefined;
}

function damageTable(damage: readonly Damage[]): string {
  return table(
    damage,
    [
      { title: "TABLE", value: (each) => each.table },
      { title: "KEY", value: (each) => each.key },
      { title: "WHAT", value: (each) => each.what },
    ],
    "nothing",
  );
}
