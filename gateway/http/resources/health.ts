/** Is it alive, is it ready: for load balancers and for Open Inference Protocol clients. Open to everybody. */

import type { Registry } from "../../registry/registry.ts";
import { type Endpoint, json } from "../endpoint.ts";

export function healthEndpoints(registry: Registry): Endpoint[] {
  const isReady = (): boolean => registry.count("HEALTHY") > 0;
  const notReady = (): Response =>
    json(503, { error: "no worker is connected", ready: false }, { "retry-after": "2" });
  type Response = ReturnType<typeof json>;
  return [
    { method: "GET", pattern: "/livez", handle: () => json(200, { live: true }) },
    // A gateway without workers accepts tasks and keeps them: it is ready for clients.
    { method: "GET", pattern: "/readyz", handle: () => json(200, { ready: true }) },
    { method: "GET", pattern: "/v2/health/live", handle: () => json(200, { live: true }) },
    {
      method: "GET",
      pattern: "/v2/health/ready",
      handle: () => (isReady() ? json(200, { ready: true }) : notReady()),
    },
  ];
}
