/** Which strategy chooses workers: for all models, and for single ones. */

import { type BalancingJson, setBalancingSchema } from "@legacygpu/shared/api/cluster";
import { STRATEGY_NAMES } from "@legacygpu/shared/task";
import type { BalancingConfig } from "../../balancers/balancing-config.ts";
import type { Catalogue } from "../../models/catalogue.ts";
import { type Endpoint, json, parseJson } from "../endpoint.ts";
import type { Request, Response } from "../exchange.ts";

export interface BalancingParts {
  readonly balancing: BalancingConfig;
  readonly catalogue: Pick<Catalogue, "family">;
}

const SMALL_BODY = { kind: "buffer", limitBytes: 64 * 1024 } as const;

export function balancingEndpoints({ balancing, catalogue }: BalancingParts): Endpoint[] {
  async function change(request: Request): Promise<Response> {
    const { strategy, model } = parseJson(request, setBalancingSchema);
    const name = strategy ?? undefined;
    if (model === undefined) return json(200, { status: "success", new_strategy: await balancing.use(name) });
    // What a model had that has been removed can still be taken back.
    if (name !== undefined || !balancing.overrides.has(model)) catalogue.family(model);
    return json(200, { status: "success", model, new_strategy: await balancing.override(model, name) });
  }

  return [
    {
      method: "GET",
      pattern: "/cluster/config/balancing",
      scope: "read",
      handle: () => json(200, balancingJson(balancing)),
    },
    {
      method: "PUT",
      pattern: "/cluster/config/balancing",
      scope: "admin",
      action: "balancing.change",
      body: SMALL_BODY,
      handle: change,
    },
  ];
}

function balancingJson({ name, overrides }: BalancingConfig): BalancingJson {
  return { strategy: name, overrides: Object.fromEntries(overrides), strategies: [...STRATEGY_NAMES] };
}
