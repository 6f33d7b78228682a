/** How administrators let boxes in: join tokens, and the workers that came with them. */

import {
  type CreateJoinToken,
  createdJoinTokenSchema,
  type EnrolledWorkerJson,
  enrolledWorkerJsonSchema,
  enrolledWorkerListSchema,
  type JoinTokenJson,
  joinTokenJsonSchema,
  joinTokenListSchema,
} from "@legacygpu/shared/api/enrolment";
import type { z } from "zod";
import type { Transport } from "./transport.ts";

export type CreatedJoinToken = z.infer<typeof createdJoinTokenSchema>;

const segment = encodeURIComponent;

export class EnrolmentAdmin {
  readonly #transport: Transport;

  constructor(transport: Transport) {
    this.#transport = transport;
  }

  /** The answer holds the token itself, this once. */
  createJoinToken(wanted: CreateJoinToken, signal?: AbortSignal): Promise<CreatedJoinToken> {
    const call = { method: "POST", path: "/join-tokens", json: wanted } as const;
    return this.#transport.request(call, createdJoinTokenSchema, signal);
  }

  /** Oldest first; also those that have ended, for a week. */
  async joinTokens(signal?: AbortSignal): Promise<JoinTokenJson[]> {
    const call = { method: "GET", path: "/join-tokens" } as const;
    return (await this.#transport.request(call, joinTokenListSchema, signal)).join_tokens;
  }

  /** Workers that have joined with it stay. @throws `join_token_not_found` */
  revokeJoinToken(id: string, signal?: AbortSignal): Promise<JoinTokenJson> {
    const call = { method: "DELETE", path: `/join-tokens/${segment(id)}` } as const;
    return this.#transport.request(call, joinTokenJsonSchema, signal);
  }

  /** Every worker that has joined, connected or not. */
  async workers(signal?: AbortSignal): Promise<EnrolledWorkerJson[]> {
    const call = { method: "GET", path: "/workers" } as const;
    return (await this.#transport.request(call, enrolledWorkerListSchema, signal)).workers;
  }

  /** @throws `worker_not_found`, `worker_revoked` */
  approveWorker(id: string, signal?: AbortSignal): Promise<EnrolledWorkerJson> {
    const call = { method: "POST", path: `/workers/${segment(id)}/approve`, isIdempotent: true } as const;
    return this.#transport.request(call, enrolledWorkerJsonSchema, signal);
  }

  /** Ends its identity and its link at once. @throws `worker_not_found` */
  revokeWorker(id: string, signal?: AbortSignal): Promise<EnrolledWorkerJson> {
    const call = { method: "DELETE", path: `/workers/${segment(id)}` } as const;
    return this.#transport.request(call, enrolledWorkerJsonSchema, signal);
  }
}
