/** `legacygpu quickstart`: what `npm run quickstart` runs once everything is installed and built. */

import { Command } from "commander";
import type { Cli } from "../command.ts";
import { type QuickstartFlags, quickstart } from "../quickstart.ts";

export function addQuickstartCommand(program: Command, cli: Cli): void {
  // Hidden: it needs the pictures and the model of a checkout.
  const command = new Command("quickstart");
  program.addCommand(command.copyInheritedSettings(program), { hidden: true });
  cli.server<QuickstartFlags, []>(
    command
      .description("start everything, send one picture, print what the model sees in it")
      .requiredOption("--model-dir <dir>", "folder with model.onnx, manifest.json and sample.png")
      .requiredOption("--expect <label>", "what the sample shows")
      .option("--port <port>", "port (default 8000, or a free one)")
      .option("--once", "stop afterwards instead of staying up"),
    quickstart,
  );
}
