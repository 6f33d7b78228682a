/** Wire form of uploads on HTTP: inputs that are too large for one request, sent in parts. */

import { z } from "zod";

/** What an upload may hold: a picture, or an inference request. */
export const UPLOAD_CONTENT_TYPES = ["image/*", "application/json"] as const;

const DIGEST_PREFIX = "sha256:";

/** Body of `POST /uploads`. */
export const createUploadSchema = z.strictObject({
  /** Size of the whole. */
  bytes: z.int().min(1),
  content_type: z.string().min(1).max(128),
  /** Of the whole, checked when the last byte has arrived. 64 hexadecimal digits, with or without `sha256:` before them. */
  sha256: z
    .string()
    .toLowerCase()
    .regex(/^(sha256:)?[0-9a-f]{64}$/, "64 hexadecimal digits, with or without `sha256:` before them")
    .transform((digest) => (digest.startsWith(DIGEST_PREFIX) ? digest.slice(DIGEST_PREFIX.length) : digest))
    .optional(),
});
export type CreateUpload = z.input<typeof createUploadSchema>;

/** Query of `PUT /uploads/{id}`: where in the whole the part begins. */
export const putPartQuerySchema = z.strictObject({
  offset: z
    .string("say with ?offset= where the part begins")
    .regex(/^\d{1,15}$/, "a whole number of bytes")
    .transform(Number),
});

export const uploadJsonSchema = z.object({
  id: z.string(),
  object: z.literal("upload"),
  /** Size of the whole. */
  bytes: z.number(),
  /** On disk: where the next part begins. */
  received_bytes: z.number(),
  content_type: z.string(),
  /** All bytes are there and have the digest that was announced. */
  complete: z.boolean(),
  /** Each part and each use moves it. */
  expires_at: z.string(),
  urls: z.object({ self: z.string() }),
});
export type UploadJson = z.infer<typeof uploadJsonSchema>;
