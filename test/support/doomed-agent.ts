/** Starts a runner on a model that never ends, says its process id, and dies the way a killed agent does. Argument: the model's path. */

import { createLogger } from "@legacygpu/shared/log";
import { spawnRunner } from "../../agent/runner/process.ts";
import { floats } from "./fake-gateway.ts";

const path = process.argv[2] ?? "";
const runner = spawnRunner(
  {},
  createLogger("doomed", "silent"),
)({
  onReport: (report) => {
    if (report.type !== "loaded") return;
    const tensors = [floats("input", [1], 1)];
    runner.post({ type: "run", seq: 2, modelKey: "m", input: { kind: "tensors", tensors } });
    // Long enough for the model to have begun; nothing tells from outside.
    setTimeout(() => {
      process.stdout.write(`${runner.pid}\n`, () => process.kill(process.pid, "SIGKILL"));
    }, 300);
  },
  onExit: () => {},
});
runner.post({ type: "load", seq: 1, modelKey: "m", path, manifest: {}, providers: ["cpu"], threads: 1 });
