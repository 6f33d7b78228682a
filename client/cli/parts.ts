/** What the command line needs of gateway and agent. They are loaded only by the commands that start them. */

import type { Scope } from "@legacygpu/shared/api/keys";
import type { Clock, Random } from "@legacygpu/shared/clock";
import type { Home } from "@legacygpu/shared/home";
import type { JoinToken } from "@legacygpu/shared/join-token";
import type { Logger } from "@legacygpu/shared/log";
import type { StrategyName } from "@legacygpu/shared/task";
import type { CertificateTools } from "./certificate-tools.ts";
import type { TransportSettings, TrustSettings } from "./gateway-settings.ts";
import type { WorkerSettings } from "./worker-settings.ts";

export interface GatewayOptions {
  readonly home: Home;
  readonly host: string;
  /** 0 takes a free one. */
  readonly port: number;
  /** Further names for the certificate. */
  readonly hosts: string[];
  readonly publicUrl: string | undefined;
  readonly transport: TransportSettings;
  readonly trust: TrustSettings;
  readonly strategy: StrategyName;
  readonly queueLimits: {
    readonly maxTasks: number;
    readonly maxTasksPerKey: number;
    readonly maxBytes: number;
    readonly maxBytesPerKey: number;
  };
  readonly heartbeatIntervalMs: number;
  readonly heartbeatTimeoutMs: number;
  readonly leaseMs: number;
  readonly retention: {
    readonly maxFinished: number;
    readonly maxFinishedAgeMs: number;
    readonly maxStoredBytes: number;
  };
  readonly webhookNetworks: readonly string[];
  readonly maxBodyBytes: number;
  readonly log: Logger;
  readonly clock: Clock;
  readonly random: Random;
}

export interface NewKey {
  readonly name: string;
  readonly kind: "client" | "worker";
  readonly scopes: Scope[];
}

export interface RunningGateway {
  /** `https://localhost:PORT`. */
  readonly url: string;
  /** Undefined: the system knows the CA, or there is no TLS. */
  readonly caFile: string | undefined;
  /** Present when this start made the first key. */
  readonly firstStart?: { readonly adminKey: string } | undefined;
  issueKey(key: NewKey): Promise<{ id: string; key: string }>;
  verifyKey(key: string): boolean;
  /** Looks at once whether there is a new certificate. */
  reloadCertificate(): Promise<"unchanged" | "replaced" | "failed">;
  close(): Promise<void>;
}

export interface AgentOptions extends WorkerSettings {
  /** The gateway to join. With neither this nor a key: the one that the machine joined before. */
  readonly join?: JoinToken;
  readonly key?: string;
  /** With a key: `https://HOST:PORT` of the gateway. */
  readonly url?: string;
  /** With a key: the gateway's CA. */
  readonly caPem?: string;
  readonly stateDir: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly log: Logger;
  readonly clock: Clock;
  readonly random: Random;
  /** Ends the waiting for a gateway to join. */
  readonly signal?: AbortSignal;
}

export interface RunningAgent {
  readonly workerId: string;
  /** Finishes what runs and takes nothing new. */
  drain(): Promise<void>;
  close(): Promise<void>;
  /** Settles when the agent has stopped for good; with the reason when nobody asked it to. */
  readonly closed: Promise<Error | undefined>;
}

/** One thing that is wrong with a store. */
export interface Damage {
  readonly table: string;
  /** Empty: the table as a whole. */
  readonly key: string;
  readonly what: string;
}

/** Work on a store of tasks without a gateway. */
export interface StoreTools {
  verifyStore(path: string): Promise<{
    readonly checked: Readonly<Record<string, number>>;
    readonly damaged: readonly Damage[];
    readonly unlistedCount: number;
  }>;
  repairStore(
    path: string,
    clock: Clock,
  ): Promise<{
    readonly setAside: readonly Damage[];
    readonly setAsideCount: number;
    readonly asidePath: string | undefined;
    readonly copyPath: string | undefined;
  }>;
  backupStore(path: string, target: string): Promise<void>;
  compactStore(path: string): Promise<{ readonly bytesBefore: number; readonly bytesAfter: number }>;
}

export interface Parts {
  startGateway(options: GatewayOptions): Promise<RunningGateway>;
  startAgent(options: AgentOptions): Promise<RunningAgent>;
  storeTools(): Promise<StoreTools>;
  certificateTools(): Promise<CertificateTools>;
}

export const installedParts: Parts = {
  async startGateway(options) {
    const { startGateway } = await import("@legacygpu/gateway");
    return startGateway(options);
  },
  async startAgent(options) {
    const { startAgent } = await import("@legacygpu/agent");
    return startAgent(options);
  },
  storeTools: () => import("@legacygpu/gateway"),
  certificateTools: () => import("@legacygpu/gateway"),
};
