/** What a gateway is given by whoever starts it. */

import type { Clock, Random } from "@legacygpu/shared/clock";
import type { Home } from "@legacygpu/shared/home";
import type { Logger } from "@legacygpu/shared/log";
import type { ConfiguredKey } from "./auth/configured-keys.ts";
import type { IssuerOptions } from "./auth/tokens/external-issuers.ts";
import type { LimitsConfig } from "./limits/limits-config.ts";
import type { QueueLimits } from "./queue/admission.ts";

export interface GatewayOptions {
  readonly home: Home;
  readonly host: string;
  /** 0: one that is free. */
  readonly port: number;
  /** Names and addresses that clients use, beside localhost: they go into the certificate. */
  readonly hosts: readonly string[];
  /** `https://HOST[:PORT]` at which others reach it. Default: whatever they use. */
  readonly publicUrl?: string | undefined;
  readonly strategy: string;
  readonly queueLimits: QueueLimits;
  readonly heartbeatIntervalMs: number;
  readonly heartbeatTimeoutMs: number;
  /** How long the work of a site that is cut off, or of an earlier start of the gateway, is kept for its workers. */
  readonly leaseMs: number;
  readonly retention: {
    readonly maxFinished: number;
    readonly maxFinishedAgeMs: number;
    readonly maxStoredBytes: number;
  };
  /** Private networks that webhooks may go to, as CIDR. */
  readonly webhookNetworks: readonly string[];
  readonly maxBodyBytes: number;
  readonly transport?: TransportOptions | undefined;
  readonly trust?: TrustOptions | undefined;
  readonly log: Logger;
  readonly clock: Clock;
  /** Default `Math.random`. */
  readonly random?: Random;
}

export interface TransportOptions {
  /** A certificate of the operator's own. Default: one of a private CA, made and renewed by the gateway. */
  readonly certificateFiles?:
    | {
        readonly certFile: string;
        readonly keyFile: string;
        /** What agents and clients are to pin; undefined: the CAs that their system knows. */
        readonly caFile: string | undefined;
      }
    | undefined;
  /** No TLS; on loopback only. Default false. */
  readonly isPlainHttp?: boolean | undefined;
  /** Web pages that may call. Default none. */
  readonly corsOrigins?: readonly string[] | undefined;
}

export interface TrustOptions {
  /** false: whoever reaches it is its administrator; on loopback only. Default true. */
  readonly isAuthenticated?: boolean | undefined;
  readonly keys?: readonly ConfiguredKey[] | undefined;
  readonly issuers?: readonly IssuerOptions[] | undefined;
  readonly limits?: LimitsConfig | undefined;
  /** Default automatic. */
  readonly workerApproval?: "automatic" | "manual" | undefined;
}
