/** The gateway without HTTP and links as a process of a bench: what it takes to accept tasks, keep them, and work them off. */

import { closedLoop, type LoopOrder, type LoopResult } from "../queue/closed-loop.ts";
import { type GatewayCore, openCore, PRINCIPAL, submission } from "../queue/core.ts";
import type { Cost, CostOrder } from "../queue/costs.ts";
import { type Memory, measureMemory } from "../queue/memory.ts";
import { Operations } from "../queue/operations.ts";
import { serveCommands } from "./commands.ts";

/** Tasks of one call, all in one commit. */
const FILL_BATCH = 1000;

let core: GatewayCore | undefined;
let operations: Operations | undefined;

async function open(folder: string): Promise<void> {
  core = await openCore(folder);
}

function submit(order: LoopOrder): Promise<LoopResult> {
  const { tasks } = opened();
  return closedLoop(order, () => tasks.submit(PRINCIPAL, [submission()]));
}

/** Until so many wait. */
async function fill(count: number): Promise<void> {
  const { tasks, scheduler } = opened();
  while (scheduler.pendingCount < count) {
    const missing = Math.min(FILL_BATCH, count - scheduler.pendingCount);
    await tasks.submit(PRINCIPAL, Array.from({ length: missing }, submission));
  }
}

async function cost({ operation, count }: CostOrder): Promise<Cost> {
  const { scheduler } = opened();
  operations ??= new Operations(opened());
  const before = scheduler.pendingCount;
  const measured = await operations.cost(operation, count);
  if (scheduler.pendingCount !== before)
    throw new Error(`${scheduler.pendingCount} tasks wait after ${operation}; ${before} did before.`);
  return measured;
}

const memory = (): Memory => measureMemory();

function opened(): GatewayCore {
  if (core === undefined) throw new Error("The store has not been opened.");
  return core;
}

serveCommands({ open, submit, fill, cost, memory, close: () => core?.close() });
