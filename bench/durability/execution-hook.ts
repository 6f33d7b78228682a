/**
 * Loaded with `--import` before an agent, which hands it on to its runners: records each run of a model, by the number of the task that is the
 * first element of its input. So what is counted is what was really computed, whatever gateway and agent say of it.
 */

import { appendFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

type Feeds = Readonly<Record<string, { readonly data: ArrayLike<unknown> }>>;
type Run = (feeds: Feeds, ...rest: unknown[]) => Promise<unknown>;

// The agent itself never loads the engine.
if (process.argv[1]?.includes("/runner/")) await countRuns();

async function countRuns(): Promise<void> {
  const { InferenceSession } = await import("onnxruntime-node");
  const { prototype } = InferenceSession as unknown as { prototype: { run: Run } };
  const { run } = prototype;
  const file = join(fileURLToPath(new URL(import.meta.url).searchParams.get("dir") ?? ""), `${process.pid}`);
  prototype.run = function counted(this: unknown, feeds, ...rest) {
    // One line per run, written at once: whoever is killed leaves whole lines.
    appendFileSync(file, `${Object.values(feeds)[0]?.data[0]}\n`);
    return run.call(this, feeds, ...rest);
  };
}
