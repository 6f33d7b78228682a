/** Answers what handlers refuse in the words of the Open Inference Protocol, `{"error": text}`. */

import { Refusal } from "../../inference/refusal.ts";
import { type Endpoint, json } from "../endpoint.ts";
import type { Response } from "../exchange.ts";

/** The same endpoints, whose handlers may throw a {@link Refusal}. */
export function withRefusals(endpoints: readonly Endpoint[]): Endpoint[] {
  return endpoints.map((endpoint) => ({
    ...endpoint,
    handle: (request, principal) => {
      try {
        const answer = endpoint.handle(request, principal);
        return answer instanceof Promise ? answer.catch(asResponse) : answer;
      } catch (error) {
        return asResponse(error);
      }
    },
  }));
}

/** @throws what is no refusal */
function asResponse(error: unknown): Response {
  if (!(error instanceof Refusal)) throw error;
  return json(error.status, { error: error.message }, error.headers);
}
