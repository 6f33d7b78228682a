/** Runs connections for a while, first to warm up, then to measure; whatever one of them fails with ends it. */

import type { Connection, ConnectionOptions, ServerAddress } from "./connection.ts";

export interface LoopOrder<Request> extends ServerAddress {
  readonly connections: readonly Request[];
  readonly warmUpMs: number;
  readonly measureMs: number;
}

export interface Loop<Request> {
  create(request: Request, events: Pick<ConnectionOptions, "onAnswer" | "onFailed">): Connection;
  /** @param isMeasured false: while it warms up, and for the last answers. */
  onAnswer(latencyMs: number, isMeasured: boolean): void;
}

/** @returns how long it measured, and what CPU time this process took meanwhile. */
export async function runClosedLoop<Request>(
  order: LoopOrder<Request>,
  { create, onAnswer }: Loop<Request>,
): Promise<{ elapsedMs: number; ownMs: number }> {
  let isMeasured = false;
  let onFailed: (error: Error) => void = () => {};
  const failure = new Promise<never>((_, reject) => {
    onFailed = reject;
  });
  const connections = order.connections.map((request) =>
    create(request, { onAnswer: (latencyMs) => onAnswer(latencyMs, isMeasured), onFailed }),
  );
  const run = async (): Promise<{ elapsedMs: number; ownMs: number }> => {
    await Promise.all(connections.map((connection) => connection.open(order)));
    for (const connection of connections) connection.send();
    await pause(order.warmUpMs);
    isMeasured = true;
    const startedAt = performance.now();
    const cpuBefore = process.cpuUsage();
    await pause(order.measureMs);
    isMeasured = false;
    const elapsedMs = performance.now() - startedAt;
    const { user, system } = process.cpuUsage(cpuBefore);
    await Promise.all(connections.map((connection) => connection.close()));
    return { elapsedMs, ownMs: (user + system) / 1000 };
  };
  try {
    return await Promise.race([failure, run()]);
  } finally {
    for (const connection of connections) connection.destroy();
  }
}

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
