/** The three requests of enrolment, each on a verified connection of its own. */

import {
  challengeSchema,
  type Enrol,
  type Enrolled,
  enrolledSchema,
  type Identity,
  identitySchema,
  type Prove,
} from "@legacygpu/shared/api/enrolment";
import { fromProblem, problemSchema } from "@legacygpu/shared/api/problem";
import type { Clock } from "@legacygpu/shared/clock";
import { fail, LegacyGpuError } from "@legacygpu/shared/errors";
import type { z } from "zod";
import { explainError, isAboutDates } from "../link/failure.ts";
import { type ExchangeReply, exchange, trustIn } from "../link/https.ts";
import { askedWait } from "../link/retry-after.ts";
import { clockAheadMs } from "./trust.ts";

export interface GatewayApiOptions {
  /** `https://HOST:PORT` */
  readonly gateway: URL;
  /** Asked for each request; undefined: the CAs that the system knows. */
  readonly caPem: () => string | undefined;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly clock: Clock;
}

/** Every method throws what the gateway said, by its code, or why it cannot be reached. */
export class GatewayApi {
  readonly #options: GatewayApiOptions;

  constructor(options: GatewayApiOptions) {
    this.#options = options;
  }

  /** @param secret of the join token. */
  enrol(secret: string, body: Enrol): Promise<Enrolled> {
    return this.#post("/agent/enrolments", body, enrolledSchema, { authorization: `Bearer ${secret}` });
  }

  async challenge(workerId: string): Promise<string> {
    const { challenge } = await this.#post("/agent/challenges", { worker_id: workerId }, challengeSchema);
    return challenge;
  }

  identity(proof: Prove): Promise<Identity> {
    return this.#post("/agent/identities", proof, identitySchema);
  }

  async #post<Answer>(
    path: string,
    body: object,
    schema: z.ZodType<Answer>,
    headers: Readonly<Record<string, string>> = {},
  ): Promise<Answer> {
    const reply = await this.#send(path, body, headers);
    const document = parseJson(reply.text);
    if (reply.status >= 200 && reply.status < 300) {
      const answer = schema.safeParse(document);
      if (answer.success) return answer.data;
    }
    const problem = problemSchema.safeParse(document);
    const wait = askedWait(reply.status, reply.headers);
    if (problem.success) throw withDetails(fromProblem(problem.data), wait);
    const { origin } = this.#options.gateway;
    const message = `${origin} answered HTTP ${reply.status} at ${path}, and not as a gateway does. Is this the gateway's address?`;
    throw fail("gateway_unreachable", message, { gateway: origin, status: reply.status, ...wait });
  }

  async #send(path: string, body: object, headers: Readonly<Record<string, string>>): Promise<ExchangeReply> {
    const { gateway, env } = this.#options;
    const caPem = this.#options.caPem();
    try {
      return await exchange(new URL(path, gateway), {
        method: "POST",
        headers: { "content-type": "application/json", ...headers },
        body: JSON.stringify(body),
        tls: trustIn(caPem),
        env,
      });
    } catch (error) {
      throw await this.#explain(error as Error, caPem);
    }
  }

  async #explain(error: Error, caPem: string | undefined): Promise<LegacyGpuError> {
    if (error instanceof LegacyGpuError) return error;
    const { gateway, env, clock } = this.#options;
    const aheadMs = isAboutDates(error) ? await clockAheadMs({ gateway, env }, clock) : undefined;
    return explainError({ error, clockAheadMs: aheadMs }, { gateway, caPem }).error;
  }
}

function withDetails(error: LegacyGpuError, more: LegacyGpuError["details"]): LegacyGpuError {
  return fail(error.code, error.message, { ...error.details, ...more }, error);
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
