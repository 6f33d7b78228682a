/** The greeting: who we are, what we can do, what we hold. */

import { encodeValue } from "@legacygpu/shared/protocol/codec";
import { MAX_FRAME_BYTES, PROTOCOL_VERSION } from "@legacygpu/shared/protocol/version";
import { VERSION } from "@legacygpu/shared/version";
import type { Hello } from "./session.ts";

export type HelloFacts = Omit<Hello, "type" | "protocol" | "agentVersion" | "releases">;

/** Room for the frame's own bytes. */
const LIMIT_BYTES = MAX_FRAME_BYTES - 1024;
const MAX_HELD = 2000;
const MAX_MODELS = 500;

/** Shortens the lists, from their ends, until the greeting fits into one frame: first the models, which is only a hint, then what is held. */
export function buildHello(facts: HelloFacts): Hello {
  let models = facts.models.slice(0, MAX_MODELS);
  let held = facts.held.slice(0, MAX_HELD);
  for (;;) {
    const hello: Hello = {
      type: "hello",
      protocol: [PROTOCOL_VERSION],
      agentVersion: VERSION,
      ...facts,
      models,
      held,
      releases: true,
    };
    if (encodeValue(hello).length <= LIMIT_BYTES || (models.length === 0 && held.length === 0)) return hello;
    if (models.length > 0) models = models.slice(0, Math.floor(models.length / 2));
    else held = held.slice(0, Math.floor(held.length * 0.8));
  }
}
