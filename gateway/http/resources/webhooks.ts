/** Webhook endpoints: registered, listed, deleted, tested; and what was delivered to them. */

import {
  createWebhookSchema,
  listDeliveriesQuerySchema,
  listWebhooksQuerySchema,
} from "@legacygpu/shared/api/webhooks";
import type { Principal } from "../../auth/principal.ts";
import { deliveryJson } from "../../webhooks/delivery.ts";
import { endpointJson, type Endpoint as WebhookEndpoint } from "../../webhooks/endpoint.ts";
import type { Webhooks } from "../../webhooks/webhooks.ts";
import { type Endpoint, json, param, parseJson, parseQuery } from "../endpoint.ts";
import type { Request, Response } from "../exchange.ts";

const BODY = { kind: "buffer", limitBytes: 16 * 1024 } as const;

export function webhookEndpoints(webhooks: Webhooks): Endpoint[] {
  async function create(request: Request, principal: Principal): Promise<Response> {
    const endpoint = await webhooks.register(principal, parseJson(request, createWebhookSchema));
    return json(201, withSecret(endpoint), { location: `/webhooks/${endpoint.id}` });
  }

  function list(request: Request, principal: Principal): Response {
    const { endpoints, nextCursor } = webhooks.list(principal, parseQuery(request, listWebhooksQuerySchema));
    return json(200, { webhooks: endpoints.map(endpointJson), next_cursor: nextCursor });
  }

  function listDeliveries(request: Request, principal: Principal): Response {
    const query = parseQuery(request, listDeliveriesQuerySchema);
    const { deliveries, nextCursor } = webhooks.deliveries(principal, param(request, "id"), query);
    return json(200, { deliveries: deliveries.map(deliveryJson), next_cursor: nextCursor });
  }

  return [
    { method: "POST", pattern: "/webhooks", scope: "submit", body: BODY, handle: create },
    { method: "GET", pattern: "/webhooks", scope: "read", handle: list },
    {
      method: "GET",
      pattern: "/webhooks/:id",
      scope: "read",
      handle: (request, principal) =>
        json(200, endpointJson(webhooks.endpoint(principal, param(request, "id")))),
    },
    {
      method: "DELETE",
      pattern: "/webhooks/:id",
      scope: "submit",
      handle: async (request, principal) =>
        json(200, endpointJson(await webhooks.remove(principal, param(request, "id")))),
    },
    {
      method: "POST",
      pattern: "/webhooks/:id/rotate-secret",
      scope: "submit",
      handle: async (request, principal) =>
        json(200, withSecret(await webhooks.rotateSecret(principal, param(request, "id")))),
    },
    {
      method: "POST",
      pattern: "/webhooks/:id/enable",
      scope: "submit",
      handle: async (request, principal) =>
        json(200, endpointJson(await webhooks.enable(principal, param(request, "id")))),
    },
    {
      method: "POST",
      pattern: "/webhooks/:id/test",
      scope: "submit",
      handle: async (request, principal) =>
        json(202, deliveryJson(await webhooks.sendTest(principal, param(request, "id")))),
    },
    { method: "GET", pattern: "/webhooks/:id/deliveries", scope: "read", handle: listDeliveries },
    {
      method: "GET",
      pattern: "/deliveries/:id",
      scope: "read",
      handle: (request, principal) =>
        json(200, deliveryJson(webhooks.delivery(principal, param(request, "id")))),
    },
    {
      method: "POST",
      pattern: "/deliveries/:id/redeliver",
      scope: "submit",
      handle: async (request, principal) =>
        json(202, deliveryJson(await webhooks.redeliver(principal, param(request, "id")))),
    },
  ];
}

const withSecret = (endpoint: WebhookEndpoint) => ({ ...endpointJson(endpoint), secret: endpoint.secret });
