/** Deployments: how many workers are to have a model loaded. */

import { putDeploymentSchema } from "@legacygpu/shared/api/deployments";
import { fail } from "@legacygpu/shared/errors";
import { modelNameSchema } from "@legacygpu/shared/manifest";
import { z } from "zod";
import { mayUseModel, type Principal, requireModel } from "../../auth/principal.ts";
import type { Catalogue } from "../../models/catalogue.ts";
import type { Placement } from "../../placement/controller.ts";
import { deploymentJson, type StandingContext } from "../../placement/deployment-json.ts";
import type { Deployments } from "../../placement/deployments.ts";
import { type Endpoint, json, parse, parseJson } from "../endpoint.ts";
import type { Request, Response } from "../exchange.ts";

const BODY = { kind: "buffer", limitBytes: 64 * 1024 } as const;
const PATTERN = "/models/:name/deployment";
const nameSchema = z.object({ name: modelNameSchema });

export interface DeploymentParts extends StandingContext {
  readonly catalogue: Catalogue;
  readonly deployments: Deployments;
  readonly placement: Placement;
}

export function deploymentEndpoints(parts: DeploymentParts): Endpoint[] {
  const { catalogue, deployments, placement } = parts;

  const view = (model: string) => deploymentJson(placement.standing(deployments.get(model)), parts);

  async function put(request: Request, principal: Principal): Promise<Response> {
    const name = address(request, principal);
    const wanted = parseJson(request, putDeploymentSchema);
    catalogue.find(name, wanted.version);
    requireSites(principal, deployments.find(name)?.sites, deployments.find(name) !== undefined);
    const { isNew } = await deployments.put(name, {
      ...wanted,
      sites: permittedSites(principal, wanted.sites),
    });
    placement.changed(name);
    return json(isNew ? 201 : 200, view(name));
  }

  async function remove(request: Request, principal: Principal): Promise<Response> {
    const name = address(request, principal);
    requireSites(principal, deployments.get(name).sites, true);
    await deployments.remove(name);
    placement.changed(name);
    return { status: 204 };
  }

  const list = (_request: Request, principal: Principal): Response => {
    const standings = placement
      .standings()
      .filter(({ deployment }) => mayUseModel(principal, deployment.model));
    return json(200, { deployments: standings.map((standing) => deploymentJson(standing, parts)) });
  };

  return [
    { method: "PUT", pattern: PATTERN, scope: "models", action: "model.deploy", body: BODY, handle: put },
    { method: "DELETE", pattern: PATTERN, scope: "models", action: "model.undeploy", handle: remove },
    {
      method: "GET",
      pattern: PATTERN,
      scope: "read",
      handle: (request, principal) => json(200, view(address(request, principal))),
    },
    { method: "GET", pattern: "/deployments", scope: "read", handle: list },
  ];
}

/** @throws `auth_forbidden` for a site that is not the credential's */
function permittedSites({ sites: own }: Principal, wanted: string[] | undefined): string[] | undefined {
  if (own === undefined) return wanted;
  const wrong = wanted?.find((site) => !own.has(site));
  if (wrong !== undefined)
    throw fail("auth_forbidden", `This credential may not use the site ${wrong}.`, { site: wrong });
  return wanted ?? [...own].sort();
}

/** Whose credential is kept to some sites changes nothing at others. @throws `auth_forbidden` */
function requireSites(
  { sites: own }: Principal,
  deployed: readonly string[] | undefined,
  isDeployed: boolean,
): void {
  if (own === undefined || !isDeployed) return;
  if (deployed?.every((site) => own.has(site)) === true) return;
  throw fail("auth_forbidden", "This deployment reaches sites that this credential may not use.");
}

function address(request: Request, principal: Principal): string {
  const { name } = parse(request.params, nameSchema);
  requireModel(principal, name);
  return name;
}
