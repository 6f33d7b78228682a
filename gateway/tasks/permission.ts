/** What a credential that is limited to some models and sites may have run, and where. */

import { fail } from "@legacygpu/shared/errors";
import { type Principal, requireModel } from "../auth/principal.ts";
import type { Submission } from "./submission.ts";

/**
 * @returns the submission, kept to the sites of the credential.
 * @throws `auth_forbidden` for a model or a site that is not the credential's
 */
export function withinPermission(principal: Principal, submission: Submission): Submission {
  requireModel(principal, submission.model.ref.name);
  const { sites } = principal;
  if (sites === undefined) return submission;
  const { placement } = submission;
  const wrong = placement?.sites?.find((site) => !sites.has(site));
  if (wrong !== undefined)
    throw fail("auth_forbidden", `This credential may not use the site ${wrong}.`, { site: wrong });
  if (placement?.sites !== undefined) return submission;
  return { ...submission, placement: { ...placement, sites: [...sites].sort() } };
}
