/** Reads what a caller wants to have run: from JSON, from a picture as the body, or from an upload. Nothing is accepted here. */

import type { batchItemSchema } from "@legacygpu/shared/api/batches";
import { inferRequestSchema } from "@legacygpu/shared/api/inference";
import {
  createTaskSchema,
  deadlineMsSchema,
  explainQuerySchema,
  prioritySchema,
  type TaskOptions,
  type taskInputJsonSchema,
} from "@legacygpu/shared/api/tasks";
import { fail } from "@legacygpu/shared/errors";
import { imageType } from "@legacygpu/shared/image-type";
import { modelNameSchema, modelVersionSchema } from "@legacygpu/shared/manifest";
import type { TaskInput } from "@legacygpu/shared/protocol/messages";
import { z } from "zod";
import type { Principal } from "../../auth/principal.ts";
import { familyNamed } from "../../balancers/known-cards.ts";
import type { Catalogue, Model } from "../../models/catalogue.ts";
import { parseExactly } from "../../tasks/exact-json.ts";
import type { Placement, TaskWebhook } from "../../tasks/record.ts";
import type { Submission } from "../../tasks/submission.ts";
import { parseOutputs, parseTensors } from "../../tasks/tensor-json.ts";
import { parse, parseJson } from "../endpoint.ts";
import type { Request } from "../exchange.ts";

export interface SubmissionParts {
  readonly catalogue: Catalogue;
  /** Default: every name that a placement gives is taken. */
  readonly places?:
    | {
        /** @throws `site_unknown`, `label_unknown`, `provider_unknown`, `family_unknown` */
        check(placement: Placement, allowedSites?: ReadonlySet<string>): void;
      }
    | undefined;
  readonly uploads: {
    /** @throws `upload_not_found`, `upload_incomplete` */
    read(principal: Principal, id: string): Promise<{ contentType: string; bytes: Buffer }>;
  };
  readonly webhooks: {
    /** @throws `webhook_address_refused`, `webhook_not_found` */
    resolve(principal: Principal, given: NonNullable<TaskOptions["webhook"]>): Promise<TaskWebhook>;
  };
}

/** Query of a submission whose body is the picture itself. */
const imageQuerySchema = explainQuerySchema.extend({
  model: modelNameSchema,
  version: modelVersionSchema.optional(),
  priority: prioritySchema.default("NORMAL"),
  deadline_ms: z.coerce.number().pipe(deadlineMsSchema).optional(),
});

type InputJson = z.infer<typeof taskInputJsonSchema>;
type Payload = Pick<Submission, "input" | "outputs">;

export class SubmissionReader {
  readonly #parts: SubmissionParts;

  constructor(parts: SubmissionParts) {
    this.#parts = parts;
  }

  /** @throws `request_…`, `input_invalid`, `image_invalid`, `model_not_found`, `media_type_unsupported`, and as the parts do */
  async read(request: Request, principal: Principal): Promise<Submission> {
    const contentType = mediaType(request);
    if (contentType.startsWith("image/")) return this.#readPicture(request);
    if (contentType !== "application/json" && contentType !== "") {
      throw fail(
        "media_type_unsupported",
        `Content-Type \`${contentType}\` is not accepted; send application/json, or a picture as image/*.`,
        { accepted: ["application/json", "image/*"] },
      );
    }
    const { explain } = parse(Object.fromEntries(request.query), explainQuerySchema);
    const { input, ...options } = parseJson(request, createTaskSchema);
    this.checkPlacement(options, principal);
    const common = await this.common(options, principal);
    const payload = await this.#payload(input, common.model, "input", principal);
    return { ...common, ...payload, wantsChoice: explain };
  }

  /** Once for what is asked for anew; what belongs to something older was checked then. */
  checkPlacement({ placement }: TaskOptions, principal: Principal): void {
    if (placement !== undefined) this.#parts.places?.check(placementOf(placement), principal.sites);
  }

  /** Everything but the input. */
  async common(options: TaskOptions, principal: Principal): Promise<Omit<Submission, "input">> {
    const { webhook, retry, placement } = options;
    const { webhooks, catalogue } = this.#parts;
    return {
      model: catalogue.find(options.model, options.version),
      priority: options.priority,
      deadlineMs: options.deadline_ms,
      executionLimitMs: options.execution_timeout_ms,
      resultTtlMs: options.result_ttl_s === undefined ? undefined : options.result_ttl_s * 1000,
      maxAttempts: retry?.max_attempts,
      backoffMs: retry?.backoff_ms,
      retryOn: retry?.on,
      placement: placement === undefined ? undefined : placementOf(placement),
      metadata: options.metadata,
      tags: options.tags,
      durability: options.durability,
      mayBeCopied: options.hedge,
      noWait: options.no_wait,
      webhook: webhook === undefined ? undefined : await webhooks.resolve(principal, webhook),
    };
  }

  /** One item of a batch. @param index its place in the request, for messages */
  async item(
    common: Omit<Submission, "input">,
    given: z.infer<typeof batchItemSchema>,
    index: number,
    principal: Principal,
  ): Promise<Submission> {
    const payload = await this.#payload(given.input, common.model, `items[${index}].input`, principal);
    return { ...common, ...payload, metadata: given.metadata ?? common.metadata };
  }

  #readPicture(request: Request): Submission {
    const {
      model: name,
      version,
      priority,
      deadline_ms,
      explain,
    } = parse(Object.fromEntries(request.query), imageQuerySchema);
    const model = this.#parts.catalogue.find(name, version);
    const input = imageInput(request.body, model, "body");
    return { model, input, priority, deadlineMs: deadline_ms, wantsChoice: explain };
  }

  async #payload(given: InputJson, model: Model, path: string, principal: Principal): Promise<Payload> {
    if ("image" in given)
      return { input: imageInput(Buffer.from(given.image, "base64"), model, `${path}.image`) };
    if ("inputs" in given) return tensorInput(given, model, path);
    const { contentType, bytes } = await this.#parts.uploads.read(principal, given.upload);
    if (contentType.startsWith("image/")) return { input: imageInput(bytes, model, `${path}.upload`) };
    return tensorInput(parseUpload(bytes, `${path}.upload`), model, `${path}.upload`);
  }
}

function parseUpload(bytes: Buffer, path: string): z.infer<typeof inferRequestSchema> {
  let value: unknown;
  try {
    value = parseExactly(bytes.toString("utf8"));
  } catch (error) {
    throw fail("request_malformed", `${path}: Malformed JSON: ${(error as Error).message}`, { path });
  }
  return parse(value, inferRequestSchema);
}

function tensorInput(
  given: Pick<z.infer<typeof inferRequestSchema>, "inputs" | "outputs">,
  model: Model,
  path: string,
): Payload {
  const place = { model: model.ref.name, path: `${path}.inputs` };
  return {
    input: { kind: "tensors", tensors: parseTensors(given.inputs, model.inputs, place) },
    outputs: parseOutputs(given.outputs, model.outputs, place),
  };
}

function imageInput(image: Buffer, { ref, manifest }: Model, path: string): TaskInput {
  if (manifest.preprocess === undefined) {
    throw fail(
      "input_invalid",
      `${path}: model '${ref.name}' takes tensors; its manifest has no \`preprocess\` for pictures.`,
      { path, model: ref.name },
    );
  }
  // A cheap refusal here spares a task that would fail there.
  if (imageType(image) === undefined) {
    throw fail(
      "image_invalid",
      `${path}: this is no picture that can be decoded (JPEG, PNG, WebP, GIF, TIFF, AVIF or SVG).`,
      { path },
    );
  }
  return { kind: "image", image };
}

function placementOf(given: NonNullable<TaskOptions["placement"]>): Placement {
  const { sites, labels, providers, families, residency, min_vram_mb: minVramMb } = given;
  // Only what was given, and in one order: equal placements share a queue.
  return {
    ...(sites === undefined ? {} : { sites: [...sites].sort() }),
    ...(labels === undefined ? {} : { labels: Object.fromEntries(Object.entries(labels).sort()) }),
    ...(providers === undefined ? {} : { providers: [...providers].sort() }),
    ...(minVramMb === undefined ? {} : { minVramBytes: minVramMb * 1024 ** 2 }),
    ...(families === undefined ? {} : { families: families.map((name) => familyNamed(name) ?? name).sort() }),
    ...(residency === undefined ? {} : { residency: [...residency].sort() }),
  };
}

export function mediaType(request: Request): string {
  return (request.headers.get("content-type") ?? "").split(";", 1)[0]?.trim().toLowerCase() ?? "";
}
