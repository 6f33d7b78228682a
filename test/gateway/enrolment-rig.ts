/** What a gateway has of enrolment and of the agent link, behind its real door on a real TLS socket, on a virtual clock; and boxes that join it. */

import assert from "node:assert/strict";
import { generateKeyPairSync, type KeyObject, sign } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, type TestContext } from "node:test";
import { proofText } from "@legacygpu/shared/api/enrolment";
import type { Scope } from "@legacygpu/shared/api/keys";
import { systemClock } from "@legacygpu/shared/clock";
import { fail } from "@legacygpu/shared/errors";
import { decodeJoinToken } from "@legacygpu/shared/join-token";
import { createLogger } from "@legacygpu/shared/log";
import { fetch, Agent as HttpAgent } from "undici";
import type { AuditEvent } from "../../gateway/audit/audit-log.ts";
import { Authenticator } from "../../gateway/auth/authenticator.ts";
import { Gatekeeper } from "../../gateway/auth/gatekeeper.ts";
import { KeyRing } from "../../gateway/auth/key-ring.ts";
import { type Endpoint, errorResponse, json, toRoute } from "../../gateway/http/endpoint.ts";
import type { HttpServer } from "../../gateway/http/exchange.ts";
import { enrolmentEndpoints } from "../../gateway/http/resources/enrolment.ts";
import { joinTokenEndpoints } from "../../gateway/http/resources/join-tokens.ts";
import { workerEndpoints } from "../../gateway/http/resources/workers.ts";
import { listen } from "../../gateway/http/server.ts";
import { AttemptOutputs } from "../../gateway/link/attempt-outputs.ts";
import { Hub } from "../../gateway/link/hub.ts";
import type { DocumentStore } from "../../gateway/store/task-store.ts";
import { Enrolment, type EnrolmentOptions } from "../../gateway/workers/enrolment.ts";
import { type Certificate, makeCertificate } from "../support/certificate.ts";
import type { DialledRig } from "../support/fake-agent.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { MemoryDocuments } from "../support/memory-documents.ts";
import { SchedulerRig } from "../support/scheduler-rig.ts";

export interface Answer {
  readonly status: number;
  readonly headers: { get(name: string): string | null };
  // biome-ignore lint/suspicious/noExplicitAny: tests look into bodies of every shape
  readonly body: any;
}

export interface Sent {
  readonly json?: unknown;
  /** Default: the administrator's key. null: none. */
  readonly bearer?: string | null;
}

/** A machine with a key of its own. */
export class Box {
  readonly id: string;
  readonly publicKey: string;
  readonly #privateKey: KeyObject;

  constructor(id: string) {
    const { publicKey, privateKey } = generateKeyPairSync("ed25519");
    this.id = id;
    this.publicKey = String(publicKey.export({ format: "jwk" }).x);
    this.#privateKey = privateKey;
  }

  sign(challenge: string, workerId = this.id): string {
    return sign(null, Buffer.from(proofText(challenge, workerId)), this.#privateKey).toString("base64url");
  }
}

export interface RigOptions
  extends Partial<Pick<EnrolmentOptions, "approval" | "isKeyId" | "caPem" | "identityLifeMs">> {
  readonly documents?: DocumentStore;
  readonly publicUrl?: string;
}

/** One certificate for all gateways of a test file: making one takes longer than most tests. */
let folder: string | undefined;
let certificate: Promise<Certificate> | undefined;
after(async () => {
  if (folder !== undefined) await rm(folder, { recursive: true });
});

function sharedCertificate(): Promise<Certificate> {
  certificate ??= mkdtemp(join(tmpdir(), "legacygpu-enrolment-")).then((made) => {
    folder = made;
    return makeCertificate(made);
  });
  return certificate;
}

const WHO_AM_I: Endpoint = {
  method: "GET",
  pattern: "/whoami",
  scope: "worker",
  handle: (_, { sites, scopes, ...rest }) =>
    json(200, { ...rest, scopes: [...scopes], sites: [...(sites ?? [])] }),
};

export class EnrolmentRig implements DialledRig {
  readonly gateway: { readonly caPem: string };
  /** Of enrolment alone: on the clock of the link a day would be thousands of heartbeats. */
  readonly clock: ManualClock;
  readonly parts: SchedulerRig;
  readonly documents: DocumentStore;
  readonly audit: AuditEvent[] = [];
  readonly enrolment: Enrolment;
  readonly #keys: KeyRing;
  readonly #adminKey: string;
  readonly #server: HttpServer;
  readonly #http: HttpAgent;

  private constructor(made: {
    readonly caPem: string;
    readonly keys: KeyRing;
    readonly adminKey: string;
    readonly server: HttpServer;
    readonly enrolment: Enrolment;
    readonly documents: DocumentStore;
    readonly parts: SchedulerRig;
    readonly clock: ManualClock;
    readonly audit: AuditEvent[];
  }) {
    this.clock = made.clock;
    this.gateway = { caPem: made.caPem };
    this.documents = made.documents;
    this.enrolment = made.enrolment;
    this.parts = made.parts;
    this.audit = made.audit;
    this.#keys = made.keys;
    this.#adminKey = made.adminKey;
    this.#server = made.server;
    this.#http = new HttpAgent({ connect: { ca: made.caPem } });
  }

  static async start(t: TestContext, options: RigOptions = {}): Promise<EnrolmentRig> {
    const dir = await mkdtemp(join(tmpdir(), "legacygpu-enrolment-keys-"));
    const { caPem, keyFile, certFile } = await sharedCertificate();
    const keys = await KeyRing.open(join(dir, "keys.json"), systemClock);
    const admin = await keys.issue("client", { name: "root", scopes: ["admin"], tenant: "operators" });
    const documents = options.documents ?? new MemoryDocuments();
    const parts = new SchedulerRig();
    const clock = new ManualClock();
    const { registry, scheduler, counters } = parts;
    const log = createLogger("test", "silent");
    const audit: AuditEvent[] = [];
    const enrolment = new Enrolment({
      caPem: () => caPem,
      approval: "automatic",
      ...options,
      documents,
      clock,
      audit: { record: (event) => void audit.push(event) },
      isConnected: (id) => registry.get(id)?.link !== undefined,
    });
    const revocable = [keys, enrolment.workers];
    const gatekeeper = new Gatekeeper({
      clock,
      authenticator: new Authenticator({
        keys,
        identities: enrolment.workers,
        tokens: { authenticate: () => Promise.reject(fail("auth_invalid")) },
      }),
      revocable,
      limits: {
        checkAddress() {},
        authenticationFailed() {},
        openSocket() {},
        enterUnknown: () => ({ leave() {} }),
        enter: () => ({ leave() {} }),
      },
      audit: { record() {} },
    });
    const hub = new Hub({
      clock: parts.clock,
      log,
      revocable,
      gatekeeper,
      registry,
      scheduler,
      counters,
      outputs: new AttemptOutputs(),
      heartbeatIntervalMs: 5000,
      heartbeatTimeoutMs: 15_000,
    });
    const server = await listen({
      host: "127.0.0.1",
      port: 0,
      tls: { keyFile, certFile },
      routes: [
        ...joinTokenEndpoints({ ...enrolment, publicUrl: options.publicUrl }),
        ...workerEndpoints(enrolment),
        ...enrolmentEndpoints(enrolment),
        WHO_AM_I,
      ].map((endpoint) => toRoute(endpoint, gatekeeper)),
      sockets: [hub.route],
      errorResponse: errorResponse(log),
      requestTimeoutMs: 30_000,
    });
    const adminKey = admin.key;
    const rig = new EnrolmentRig({
      caPem,
      keys,
      adminKey,
      server,
      enrolment,
      documents,
      parts,
      clock,
      audit,
    });
    t.after(async () => {
      await rig.#http.destroy();
      hub.close();
      await server.close(0);
      registry.close();
      scheduler.close();
      await keys.close();
      await rm(dir, { recursive: true });
    });
    return rig;
  }

  get url(): string {
    return `https://localhost:${this.#server.port}`;
  }

  get wssUrl(): string {
    return this.url.replace("https:", "wss:");
  }

  async key(...scopes: Scope[]): Promise<string> {
    return (await this.#keys.issue("worker", { name: "test", scopes })).key;
  }

  async siteKey(...sites: string[]): Promise<string> {
    return (await this.#keys.issue("worker", { name: "test", scopes: ["worker"], sites })).key;
  }

  async call(method: string, path: string, { json: sent, bearer }: Sent = {}): Promise<Answer> {
    const credential = bearer === undefined ? this.#adminKey : bearer;
    const response = await fetch(this.url + path, {
      method,
      dispatcher: this.#http,
      headers: credential === null ? {} : { authorization: `Bearer ${credential}` },
      ...(sent === undefined ? {} : { body: JSON.stringify(sent) }),
    });
    const text = await response.text();
    const isJson = /[/+]json\b/.test(response.headers.get("content-type") ?? "");
    return { status: response.status, headers: response.headers, body: isJson ? JSON.parse(text) : text };
  }

  /** A new join token. @returns its id and its secret. */
  async token(site = "lab", more: object = {}): Promise<{ readonly id: string; readonly secret: string }> {
    const { status, body } = await this.call("POST", "/join-tokens", { json: { site, ...more } });
    assert.equal(status, 201, JSON.stringify(body));
    return { id: body.id, secret: decodeJoinToken(body.token).secret };
  }

  enrol(secret: string, { id, publicKey }: Box, host = "host"): Promise<Answer> {
    const body = { worker_id: id, public_key: publicKey, host };
    return this.call("POST", "/agent/enrolments", { json: body, bearer: secret });
  }

  async challenge(workerId: string): Promise<string> {
    const { body } = await this.call("POST", "/agent/challenges", {
      json: { worker_id: workerId },
      bearer: null,
    });
    return body.challenge;
  }

  /** What the gateway answers to a proof; with a challenge of its own when none is given. */
  async prove(
    box: Box,
    changes: Partial<Record<"worker_id" | "challenge" | "signature", string>> = {},
  ): Promise<Answer> {
    const { worker_id = box.id } = changes;
    const challenge = changes.challenge ?? (await this.challenge(worker_id));
    const { signature = box.sign(challenge, worker_id) } = changes;
    return this.call("POST", "/agent/identities", {
      json: { worker_id, challenge, signature },
      bearer: null,
    });
  }

  /** Enrols the box and proves its key. @returns its identity */
  async join(box: Box, site = "lab"): Promise<string> {
    const { secret } = await this.token(site);
    const enrolled = await this.enrol(secret, box);
    assert.equal(enrolled.status, 201, JSON.stringify(enrolled.body));
    return this.identity(box);
  }

  async identity(box: Box): Promise<string> {
    const { status, body } = await this.prove(box);
    assert.equal(status, 200, JSON.stringify(body));
    return body.identity;
  }

  whoIs(bearer: string): Promise<Answer> {
    return this.call("GET", "/whoami", { bearer });
  }

  /** What the audit log was told, without what every event has. */
  told(action: string): Partial<AuditEvent>[] {
    return this.audit
      .filter((event) => event.action === action)
      .map(({ requestId: _, address: __, ...rest }) => rest);
  }
}

export const problemOf = ({ status, body }: Answer): [status: number, code: string] => [status, body.code];
