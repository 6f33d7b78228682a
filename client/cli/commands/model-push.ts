/** `legacygpu model push`: a file, its manifest and a name for it. */

import type { Clock } from "@legacygpu/shared/clock";
import type { Manifest } from "@legacygpu/shared/manifest";
import type { Command } from "commander";
import type { LegacyGpuClient, ModelJson, PushModel, PushProgress } from "../../index.ts";
import { type Cli, pick } from "../command.ts";
import type { Context } from "../context.ts";
import { withProgress } from "../interrupt.ts";
import { openManifest } from "../manifest-file.ts";
import { openModelFile } from "../model-file.ts";
import { modelFacts } from "../model-text.ts";
import type { Progress } from "../progress.ts";
import { transferBar, transferStep } from "../transfer-text.ts";

interface PushFlags {
  readonly manifest?: string;
  readonly version?: string;
  readonly alias?: string;
}

export function addModelPushCommand(group: Command, cli: Cli): void {
  cli.command(
    group
      .command("push")
      .description("send an ONNX file; the same contents again change nothing, and a broken push goes on")
      .argument("<name>")
      .argument("<file>", "ONNX file")
      .option("--manifest <file>", "JSON with what to do before and after the model")
      .option("--version <version>", "default: the next number")
      .option("--alias <alias>", "a name that points to this version from then on"),
    push,
  );
}

async function push(context: Context, flags: PushFlags, name: string, path: string): Promise<undefined> {
  const manifest = flags.manifest === undefined ? undefined : await openManifest(flags.manifest);
  const model = await context.withGateway(({ client }) =>
    withProgress(
      context,
      () => `What has arrived is kept for a day: the same command goes on from there.`,
      async (progress) => {
        progress.update(`Reading ${path}`);
        const file = { name, path, manifest: manifest?.manifest ?? {}, ...pick(flags, "version", "alias") };
        return pushFile(client, file, {
          signal: context.signals.first,
          ...reporting(progress, path, context.io.clock),
        });
      },
    ).catch((error: unknown) => {
      throw manifest === undefined ? error : manifest.explain(error);
    }),
  );
  context.print(model, () => modelFacts(model));
  return undefined;
}

export interface PushedFile {
  readonly name: string;
  readonly path: string;
  readonly manifest: Manifest;
  readonly version?: string;
  readonly alias?: string;
}

export async function pushFile(
  client: LegacyGpuClient,
  { path, ...model }: PushedFile,
  options: Pick<PushModel, "signal" | "onProgress" | "onTrouble">,
): Promise<ModelJson> {
  return client.pushModel({ ...model, ...options, file: await openModelFile(path) });
}

/** The rate is told from what this run has sent: what had arrived before came for nothing. */
function reporting(
  progress: Progress,
  path: string,
  clock: Clock,
): Pick<PushModel, "onProgress" | "onTrouble"> {
  let since: { readonly sentBytes: number; readonly atMs: number } | undefined;
  return {
    onProgress: (now: PushProgress) => {
      const atMs = clock.monotonic();
      if (since === undefined || now.sentBytes < since.sentBytes) since = { sentBytes: now.sentBytes, atMs };
      const rate = (now.sentBytes - since.sentBytes) / (atMs - since.atMs);
      progress.update(`${path}: ${transferStep(now)}`, transferBar(now, rate));
    },
    onTrouble: (error) => progress.update(`${path}: ${error.message} · trying again`),
  };
}
