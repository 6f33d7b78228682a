/**
 * The configuration of gateway and agent: defaults ← YAML file ← environment ← flags.
 *
 * Three stages: what was given (one layer per source, all optional), the layers merged, and {@link Config}, where durations are
 * milliseconds and sizes bytes.
 */

import { readFile } from "node:fs/promises";
import { type GivenFlags, readEnvironment, readFlags, readYaml } from "./config/layers.ts";
import type { GivenConfig, LOG_LEVELS } from "./config/schema.ts";
import { fail } from "./errors.ts";
import type { StrategyName } from "./task.ts";

const GIB = 1024 ** 3;

export interface Config {
  readonly coordinator: {
    /** Default ADAPTIVE. */
    readonly balancingStrategy: StrategyName;
    /** Unfinished tasks. Default 100 000. */
    readonly maxQueueSize: number;
    /** Of one key. Default half of all. */
    readonly maxQueueSizePerKey: number;
    /** Inputs of unfinished tasks. Default 16 GiB. */
    readonly maxQueueBytes: number;
    /** Of one key. Default half of all. */
    readonly maxQueueBytesPerKey: number;
    /** Default 5 s. */
    readonly heartbeatIntervalMs: number;
    /** Default 15 s, or three intervals if that is longer. */
    readonly heartbeatTimeoutMs: number;
    /** How long the work of a site that is cut off, or of an earlier start of the gateway, is kept for its workers. Default as the timeout. */
    readonly leaseMs: number;
    /** manual: a worker that has joined takes no tasks before an operator approves it. Default automatic. */
    readonly workerApproval: "automatic" | "manual";
  };
  readonly worker: {
    /** `wss://HOST:PORT`. */
    readonly coordinatorAddress: string | undefined;
    /** Absent: the agent makes one and keeps it. */
    readonly workerId: string | undefined;
    /** Default "default". */
    readonly site: string;
    readonly labels: Readonly<Record<string, string>>;
    /** Absent: the agent decides from its hardware. */
    readonly maxConcurrentTasks: number | undefined;
    /** Model files that are kept. Absent: the agent decides from what is free. */
    readonly maxModelCacheBytes: number | undefined;
    /** From the gateway; the site's own network is not counted. Absent: no limit. */
    readonly maxDownloadBytesPerSecond: number | undefined;
    /** Whether it gives model files to other boxes of its site, and on which port (absent: one that is free). Default true. */
    readonly sharesModels: boolean;
    readonly sharePort: number | undefined;
    /** Of one process that runs models. Absent: the agent decides from the machine's memory. */
    readonly maxRunnerMemoryBytes: number | undefined;
    /** The user that they run as, when the agent is root. Absent: the agent's own. */
    readonly runnerUser: string | undefined;
    /** How long it may go on with what it holds when it is to stop. Default 10 minutes. */
    readonly drainTimeoutMs: number;
  };
  readonly api: {
    /** Absent: the command decides (`up` 127.0.0.1, `api start` 0.0.0.0). */
    readonly host: string | undefined;
    /** Default 8000; 0 takes a free one. */
    readonly port: number;
    /** Default 64 MiB. */
    readonly maxBodyBytes: number;
    /** At which workers and clients reach the gateway, when it is not the address that it listens on. */
    readonly publicUrl: string | undefined;
    /** A certificate of the operator's own; absent: one of a private CA, made and renewed by the gateway. */
    readonly tls: CertificateFiles | undefined;
    /** No TLS at all; only on loopback. Default false. */
    readonly plainHttp: boolean;
    /** Web pages that may call; empty unless `enable_cors`. */
    readonly corsOrigins: readonly string[];
    readonly authentication: Authentication;
    /** How long requests that are being answered may take when the gateway is to stop. Default 30 s. */
    readonly drainTimeoutMs: number;
    /** Where the agent builds are that it hands out. Absent: `releases` in the home folder. */
    readonly releasesDir: string | undefined;
  };
  readonly limits: NonNullable<GivenConfig["limits"]>;
  /** How much of finished tasks is kept. */
  readonly storage: {
    /** Default 1 000 000. */
    readonly maxFinishedTasks: number;
    /** Default 30 days. */
    readonly maxFinishedAgeMs: number;
    /** Results, and inputs of failed tasks. Default 16 GiB. */
    readonly maxFinishedBytes: number;
  };
  /** Private networks that webhooks may go to, as CIDR. Default none. */
  readonly webhooks: { readonly allowedNetworks: readonly string[] };
  readonly monitoring: {
    /** Undefined: figures are to be had with a key only, on the gateway's own port. */
    readonly prometheus: { readonly host: string; readonly port: number } | undefined;
    /** Undefined: spans go nowhere. */
    readonly tracing: TracingConfig | undefined;
  };
  readonly log: {
    /** Absent: the command decides (servers say "info", what runs in a person's terminal "warn"). */
    readonly level: (typeof LOG_LEVELS)[number] | undefined;
    /** Absent: the command decides; `-` for standard error alone. */
    readonly file: string | undefined;
    /** When it is larger it is put aside. Default 16 MiB. */
    readonly maxFileBytes: number;
    /** That are kept beside the one that is written. Default 5. */
    readonly maxFiles: number;
  };
}

export interface TracingConfig {
  /** Spans go to `/v1/traces` there. */
  readonly otlpEndpoint: string;
  readonly headers: Readonly<Record<string, string>>;
  /** Of the requests that bring no `traceparent`; those that bring one are traced if it says so. Default 1. */
  readonly sampleRatio: number;
}

export interface CertificateFiles {
  readonly certFile: string;
  readonly keyFile: string;
  /** What agents and clients are to pin; absent: the CAs that their system knows. */
  readonly caFile: string | undefined;
}

/** @see the schema for what each key and issuer may say */
export type Authentication = NonNullable<NonNullable<GivenConfig["api"]>["authentication"]>;

export interface ConfigSources {
  /** A file that was named must be there; the default one need not. */
  readonly file: { readonly path: string; readonly isRequired: boolean };
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly flags: GivenFlags;
}

/** @throws `config_invalid`, naming file, line and column, or the variable, or the flag, and what would be right. */
export async function loadConfig({ file, env, flags }: ConfigSources): Promise<Config> {
  const source = await readConfigFile(file);
  const layers = [readYaml(source, file.path), readEnvironment(env), readFlags(flags)].map(withBindAddress);
  return compile(layers.reduce(merge, {}));
}

async function readConfigFile({ path, isRequired }: ConfigSources["file"]): Promise<string> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    if (!isRequired && (error as NodeJS.ErrnoException).code === "ENOENT") return "";
    const reason = error instanceof Error ? error.message : String(error);
    throw fail("config_invalid", `${path}: the file cannot be read (${reason})`, { file: path }, error);
  }
}

/** `bind_address` is the older name for host and port together; inside one layer those win. */
function withBindAddress(layer: GivenConfig): GivenConfig {
  const bind = layer.coordinator?.bind_address;
  if (bind === undefined) return layer;
  const port = bind.port === undefined ? {} : { port: bind.port };
  return { ...layer, api: { host: bind.host, ...port, ...layer.api } };
}

function merge(below: GivenConfig, above: GivenConfig): GivenConfig {
  return {
    coordinator: { ...below.coordinator, ...above.coordinator },
    worker: { ...below.worker, ...above.worker },
    api: { ...below.api, ...above.api },
    limits: { ...below.limits, ...above.limits },
    storage: { ...below.storage, ...above.storage },
    webhooks: { ...below.webhooks, ...above.webhooks },
    monitoring: {
      prometheus: { ...below.monitoring?.prometheus, ...above.monitoring?.prometheus },
      tracing: { ...below.monitoring?.tracing, ...above.monitoring?.tracing },
    },
    log: { ...below.log, ...above.log },
  };
}

function compile(given: GivenConfig): Config {
  const {
    coordinator = {},
    worker = {},
    api = {},
    limits = {},
    storage = {},
    webhooks = {},
    monitoring = {},
    log = {},
  } = given;
  const heartbeatIntervalMs = coordinator.heartbeat_interval ?? 5000;
  const heartbeatTimeoutMs = coordinator.heartbeat_timeout ?? Math.max(15_000, 3 * heartbeatIntervalMs);
  if (heartbeatTimeoutMs <= heartbeatIntervalMs) {
    throw fail(
      "config_invalid",
      `coordinator.heartbeat_timeout (${heartbeatTimeoutMs} ms) must be longer than coordinator.heartbeat_interval (${heartbeatIntervalMs} ms).`,
      { heartbeatIntervalMs, heartbeatTimeoutMs },
    );
  }
  const maxQueueSize = coordinator.max_queue_size ?? 100_000;
  const maxQueueBytes = coordinator.max_queue_bytes ?? 16 * GIB;
  return {
    coordinator: {
      balancingStrategy: coordinator.balancing_strategy ?? "ADAPTIVE",
      maxQueueSize,
      maxQueueSizePerKey: coordinator.max_queue_size_per_key ?? Math.ceil(maxQueueSize / 2),
      maxQueueBytes,
      maxQueueBytesPerKey: coordinator.max_queue_bytes_per_key ?? Math.ceil(maxQueueBytes / 2),
      heartbeatIntervalMs,
      heartbeatTimeoutMs,
      leaseMs: coordinator.lease ?? heartbeatTimeoutMs,
      workerApproval: coordinator.worker_approval ?? "automatic",
    },
    worker: {
      coordinatorAddress: worker.coordinator_address,
      workerId: worker.worker_id,
      site: worker.site ?? "default",
      labels: worker.labels ?? {},
      maxConcurrentTasks: worker.max_concurrent_tasks,
      maxModelCacheBytes: worker.max_model_cache,
      maxDownloadBytesPerSecond: worker.max_download_rate,
      sharesModels: worker.share_models ?? true,
      sharePort: worker.share_port,
      maxRunnerMemoryBytes: worker.max_runner_memory,
      runnerUser: worker.runner_user,
      drainTimeoutMs: worker.drain_timeout ?? 600_000,
    },
    api: {
      host: api.host,
      port: api.port ?? 8000,
      maxBodyBytes: api.max_body_bytes ?? 64 * 1024 ** 2,
      publicUrl: api.public_url,
      tls: certificateFiles(api),
      plainHttp: api.plain_http ?? false,
      corsOrigins: corsOrigins(api),
      authentication: api.authentication ?? { enabled: true, keys: [], oidc: [] },
      drainTimeoutMs: api.drain_timeout ?? 30_000,
      releasesDir: api.releases_dir,
    },
    limits,
    storage: {
      maxFinishedTasks: storage.max_finished_tasks ?? 1_000_000,
      maxFinishedAgeMs: storage.max_finished_age ?? 30 * 86_400_000,
      maxFinishedBytes: storage.max_finished_bytes ?? 16 * GIB,
    },
    webhooks: { allowedNetworks: webhooks.allowed_networks ?? [] },
    monitoring: {
      prometheus: prometheusOf(monitoring),
      tracing: tracingOf(monitoring),
    },
    log: {
      level: log.level,
      file: log.file,
      maxFileBytes: log.max_file_size ?? 16 * 1024 ** 2,
      maxFiles: log.max_files ?? 5,
    },
  };
}

type GivenMonitoring = NonNullable<GivenConfig["monitoring"]>;

/** Naming a port is enough to want it. */
function prometheusOf({ prometheus = {} }: GivenMonitoring): Config["monitoring"]["prometheus"] {
  const { enabled = prometheus.port !== undefined, host = "127.0.0.1", port = 9090 } = prometheus;
  return enabled ? { host, port } : undefined;
}

/** @throws `config_invalid` when something is said of tracing, but not where the spans go. */
function tracingOf({ tracing = {} }: GivenMonitoring): TracingConfig | undefined {
  const { otlp_endpoint: otlpEndpoint, headers = {}, sample_ratio: sampleRatio = 1 } = tracing;
  if (otlpEndpoint !== undefined) return { otlpEndpoint, headers, sampleRatio };
  if (Object.keys(tracing).length === 0) return undefined;
  throw fail("config_invalid", "monitoring.tracing needs otlp_endpoint: where do the spans go?");
}

type GivenApi = NonNullable<GivenConfig["api"]>;

/** @throws `config_invalid` when only a part is there. */
function certificateFiles({
  tls_cert_file,
  tls_key_file,
  tls_ca_file,
}: GivenApi): CertificateFiles | undefined {
  if (tls_cert_file !== undefined && tls_key_file !== undefined)
    return { certFile: tls_cert_file, keyFile: tls_key_file, caFile: tls_ca_file };
  if (tls_cert_file === undefined && tls_key_file === undefined && tls_ca_file === undefined)
    return undefined;
  throw fail("config_invalid", "api.tls_cert_file and api.tls_key_file belong together: give both.");
}

/** @throws `config_invalid` when pages are allowed without saying which. */
function corsOrigins({ enable_cors, cors_origins = [] }: GivenApi): readonly string[] {
  if (enable_cors !== true) return [];
  if (cors_origins.length > 0) return cors_origins;
  throw fail(
    "config_invalid",
    'api.enable_cors needs api.cors_origins: say which pages may call, or "*" for all.',
  );
}
