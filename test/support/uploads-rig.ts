/** The gateway's endpoints for uploads alone, behind real keys on a real TLS socket, on a disk that outlives a restart. */

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Scope } from "@legacygpu/shared/api/keys";
import { systemClock } from "@legacygpu/shared/clock";
import { createLogger } from "@legacygpu/shared/log";
import { openGate } from "../../bench/processes/open-gate.ts";
import { KeyRing } from "../../gateway/auth/key-ring.ts";
import type { Principal } from "../../gateway/auth/principal.ts";
import { errorResponse, toRoute } from "../../gateway/http/endpoint.ts";
import type { HttpServer } from "../../gateway/http/exchange.ts";
import { uploadEndpoints } from "../../gateway/http/resources/uploads.ts";
import { listen } from "../../gateway/http/server.ts";
import { UploadStore, type UploadStoreOptions } from "../../gateway/uploads/upload-store.ts";
import { type Certificate, makeCertificate } from "./certificate.ts";

type Limits = Partial<Omit<UploadStoreOptions, "folder" | "clock" | "log">>;

const log = createLogger("test", "silent");

export class UploadsRig {
  readonly folder: string;
  readonly certificate: Certificate;
  readonly keys: KeyRing;
  readonly #limits: Limits;
  #running: { readonly server: HttpServer; readonly uploads: UploadStore } | undefined;
  #port = 0;

  private constructor(folder: string, certificate: Certificate, keys: KeyRing, limits: Limits) {
    this.folder = folder;
    this.certificate = certificate;
    this.keys = keys;
    this.#limits = limits;
  }

  static async start(limits: Limits = {}): Promise<UploadsRig> {
    const folder = await mkdtemp(join(tmpdir(), "legacygpu-uploads-"));
    const certificate = await makeCertificate(folder);
    const keys = await KeyRing.open(join(folder, "keys.json"), systemClock);
    const rig = new UploadsRig(folder, certificate, keys, limits);
    await rig.resume();
    return rig;
  }

  get port(): number {
    return this.#port;
  }

  get url(): string {
    return `https://127.0.0.1:${this.#port}`;
  }

  get uploads(): UploadStore {
    if (this.#running === undefined) throw new Error("The gateway is not running.");
    return this.#running.uploads;
  }

  async key(...scopes: Scope[]): Promise<string> {
    return (await this.keys.issue("client", { name: "test", scopes })).key;
  }

  principal(key: string): Principal {
    return this.keys.authenticate(key, { remoteAddress: "127.0.0.1" });
  }

  /** Cuts every connection; the disk stays. */
  async stop(): Promise<void> {
    const running = this.#running;
    this.#running = undefined;
    await running?.server.close(0);
    await running?.uploads.close();
  }

  /** On another port: see {@link url}. */
  async resume(): Promise<void> {
    const { keyFile, certFile } = this.certificate;
    const folder = join(this.folder, "uploads");
    const uploads = await UploadStore.open({ folder, clock: systemClock, log, ...this.#limits });
    const server = await listen({
      host: "127.0.0.1",
      port: 0,
      tls: { keyFile, certFile },
      routes: uploadEndpoints({ uploads }).map((endpoint) => toRoute(endpoint, openGate(this.keys))),
      sockets: [],
      errorResponse: errorResponse(log),
      requestTimeoutMs: 30_000,
    });
    this.#port = server.port;
    this.#running = { server, uploads };
  }

  async close(): Promise<void> {
    await this.stop();
    await this.keys.close();
    await rm(this.folder, { recursive: true });
  }
}
