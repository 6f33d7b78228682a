/** The other side of the bench `queue`: the same bytes put into LMDB with nothing around it. */

import { open as openDatabase, type RootDatabase } from "lmdb";
import { closedLoop, type LoopOrder, type LoopResult } from "../queue/closed-loop.ts";
import { PAYLOAD_BYTES } from "../queue/costs.ts";
import { serveCommands } from "./commands.ts";

const KEY_BYTES = 16;

let database: RootDatabase<Buffer, Buffer> | undefined;
let count = 0;

function open(path: string): void {
  // The fastest way that it has of writing so that nothing is lost: it goes on while the disk syncs.
  database = openDatabase<Buffer, Buffer>({
    path,
    noSubdir: true,
    encoding: "binary",
    keyEncoding: "binary",
    separateFlushed: true,
  });
}

function put(order: LoopOrder): Promise<LoopResult> {
  const opened = database;
  if (opened === undefined) throw new Error("The database has not been opened.");
  return closedLoop(order, async () => {
    count += 1;
    const key = Buffer.alloc(KEY_BYTES);
    key.writeDoubleBE(count);
    const written = opened.put(key, Buffer.alloc(PAYLOAD_BYTES)) as Promise<boolean> & {
      flushed: Promise<void>;
    };
    await written.flushed;
  });
}

serveCommands({ open, put, close: () => database?.close() });
