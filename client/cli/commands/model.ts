/** `legacygpu model …`: the catalogue. */

import { readFile } from "node:fs/promises";
import { fail } from "@legacygpu/shared/errors";
import { type Manifest, manifestSchema } from "@legacygpu/shared/manifest";
import type { Command } from "commander";
import type { LegacyGpuClient, ModelJson } from "../../index.ts";
import type { Cli } from "../command.ts";
import type { Context } from "../context.ts";
import { openModelFile } from "../model-file.ts";
import { facts, sizeText, table } from "../table.ts";
import { addModelQueueCommand } from "./model-queue.ts";

export function addModelCommands(program: Command, cli: Cli): void {
  const group = program.command("model").description("the models that can be run");
  cli.command(
    group
      .command("push")
      .description("send an ONNX file; the same contents again change nothing")
      .argument("<name>")
      .argument("<file>", "ONNX file")
      .option("--manifest <file>", "JSON with what to do before and after the model")
      .option("--version <version>", "default: the next number"),
    push,
  );
  cli.command(group.command("list").description("all models and versions"), list);
  addModelQueueCommand(group, cli);
}

interface PushFlags {
  readonly manifest?: string;
  readonly version?: string;
}

async function push(context: Context, flags: PushFlags, name: string, path: string): Promise<undefined> {
  const manifest = flags.manifest === undefined ? {} : await readManifest(flags.manifest);
  const progress = context.progress();
  progress.update(`Sending ${path}`);
  const model = await context
    .withGateway(({ client }) =>
      pushFile(client, { name, path, manifest, version: flags.version }, context.signals.first),
    )
    .finally(() => progress.stop());
  context.print(model, () => modelText(model));
  return undefined;
}

export interface PushFile {
  readonly name: string;
  readonly path: string;
  readonly manifest: Manifest;
  readonly version?: string | undefined;
}

export async function pushFile(
  client: LegacyGpuClient,
  { name, path, manifest, version }: PushFile,
  signal: AbortSignal,
): Promise<ModelJson> {
  const file = await openModelFile(path);
  return client.pushModel({ name, file, manifest, signal, ...(version === undefined ? {} : { version }) });
}

/** @throws `input_invalid` naming the file and the place. */
export async function readManifest(path: string): Promise<Manifest> {
  let parsed: unknown;
  try {
    parsed = JSON.parse(await readFile(path, "utf8"));
  } catch (error) {
    throw fail(
      "input_invalid",
      `The manifest ${path} cannot be read: ${(error as Error).message}`,
      { file: path },
      error,
    );
  }
  const manifest = manifestSchema.safeParse(parsed);
  if (manifest.success) return manifest.data;
  const issue = manifest.error.issues[0];
  const place = issue?.path.join(".") || "top level";
  throw fail("input_invalid", `The manifest ${path} is not valid at ${place}: ${issue?.message}`, {
    file: path,
    place,
  });
}

function modelText(model: ModelJson): string {
  return facts([
    ["model", model.name],
    ["version", model.version],
    ["size", sizeText(model.size_bytes)],
    ["takes", inputsText(model)],
    ["file", model.file],
  ]);
}

async function list(context: Context): Promise<undefined> {
  const models = await context.withGateway(({ client }) => client.models(context.signals.first));
  context.print({ models }, () =>
    table(
      models,
      [
        { title: "MODEL", value: ({ name }) => name },
        { title: "VERSION", value: ({ version }) => version },
        { title: "SIZE", value: ({ size_bytes }) => sizeText(size_bytes), align: "right" },
        { title: "TAKES", value: inputsText },
        { title: "CREATED", value: ({ created_at }) => created_at },
        { title: "DESCRIPTION", value: ({ description }) => description ?? "" },
      ],
      "There are no models. `legacygpu model push NAME FILE` adds one.",
    ),
  );
  return undefined;
}

function inputsText({ accepts_images, inputs }: ModelJson): string {
  if (accepts_images) return "pictures";
  return inputs.map(({ name, datatype, shape }) => `${name}:${datatype}[${shape.join(",")}]`).join(" ");
}
