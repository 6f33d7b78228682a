/**
 * What may be configured: section, key, form and default of each setting. The names are those of the YAML file; the environment
 * uses `LEGACYGPU_SECTION_KEY`.
 */

import { isIP } from "node:net";
import { z } from "zod";
import { SCOPES, type Scope } from "../api/keys.ts";
import { STRATEGY_NAMES, type StrategyName } from "../task.ts";
import { parseBindAddress, parseCoordinatorAddress } from "./address.ts";
import { parseDuration, parseSize } from "./duration.ts";
import { nearest } from "./nearest.ts";

export const LOG_LEVELS = ["trace", "debug", "info", "warn", "error", "fatal", "silent"] as const;

/** In the environment everything is text; in YAML numbers are numbers. */
const textOrNumber = (expected: string) =>
  z.union([z.string(), z.number()], { error: `expected ${expected}` });

function parsedBy<Value>(
  expected: string,
  parse: (text: string) => Value | undefined,
): z.ZodType<Value, string | number> {
  return textOrNumber(expected).transform((given, context) => {
    const value = parse(String(given));
    if (value !== undefined) return value;
    context.addIssue({ code: "custom", message: `"${given}" is not ${expected}` });
    return z.NEVER;
  });
}

function within(parse: (text: string) => number | undefined, min: number, max: number) {
  return (text: string): number | undefined => {
    const value = parse(text);
    return value !== undefined && value >= min && value <= max ? value : undefined;
  };
}

function wholeNumber(text: string): number | undefined {
  return /^\d+$/.test(text.trim()) ? Number(text) : undefined;
}

const DAY_MS = 86_400_000;
const duration = parsedBy(
  'a duration: a number of seconds, or like "500ms", "5s", "2m" (10 ms to a day)',
  within(parseDuration, 10, DAY_MS),
);
const count = (min: number, max: number) =>
  parsedBy(`a whole number from ${min} to ${max}`, within(wholeNumber, min, max));
const size = parsedBy(
  'a size: bytes, or like "64MiB" (1 KiB to 4 GiB)',
  within(parseSize, 1024, 4 * 1024 ** 3),
);
const storeSize = parsedBy(
  'a size: bytes, or like "16GiB" (1 MiB to 1 PiB)',
  within(parseSize, 1024 ** 2, 1024 ** 5),
);
const longDuration = parsedBy(
  'a duration: a number of seconds, or like "12h", "30d" (a minute to ten years)',
  within(parseDuration, 60_000, 3650 * DAY_MS),
);
const text = z.string({ error: "expected text" }).min(1, "must not be empty");
const identifier = text.regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/, {
  error: "1 to 64 letters, digits, '.', '_' or '-', beginning with a letter or digit",
});

const SPELLINGS: Readonly<Record<string, StrategyName>> = {
  ...Object.fromEntries(STRATEGY_NAMES.map((name) => [name, name])),
  LATENCY_BASED: "LATENCY",
};

export const strategySchema = text.transform((given, context) => {
  const name = SPELLINGS[given.toUpperCase().replaceAll("-", "_")];
  if (name !== undefined) return name;
  const meant = nearest(given, STRATEGY_NAMES);
  const hint = meant === undefined ? "." : `, did you mean ${meant}?`;
  const message = `"${given}" is no strategy${hint} Choose one of ${STRATEGY_NAMES.join(", ")}`;
  context.addIssue({ code: "custom", message });
  return z.NEVER;
});

function address<Value>(parse: (given: string) => { readonly ok: Value } | { readonly problem: string }) {
  return text.transform((given, context) => {
    const result = parse(given);
    if ("ok" in result) return result.ok;
    context.addIssue({ code: "custom", message: result.problem });
    return z.NEVER;
  });
}

/** In the environment `true` and `false` are text. */
const flag = z
  .union([z.boolean(), z.enum(["true", "false"])], { error: "expected true or false" })
  .transform((given) => given === true || given === "true");

/** Also `a,b`, for the environment. */
const list = z.union([z.array(z.string()), z.string().transform(splitList)], { error: "expected a list" });

function splitList(given: string): string[] {
  return given
    .split(",")
    .map((part) => part.trim())
    .filter((part) => part !== "");
}

const origins = list.refine((given) => given.every(isOrigin), {
  error: 'each origin is a scheme and a host, like "https://app.example.com", or "*" alone',
});

function isOrigin(given: string): boolean {
  return given === "*" || (URL.canParse(given) && new URL(given).origin === given);
}

const publicUrl = z.url({
  protocol: /^https$/,
  error: 'expected an address like "https://gpu.example.com:8000"',
});

/** The names of the original guide, `read` and `write`, and our scopes; `write` is `submit`. */
const permissions = z
  .array(
    z.enum(["read", "write", ...SCOPES], { error: `expected some of read, write, ${SCOPES.join(", ")}` }),
  )
  .min(1)
  .transform((given) => [...new Set(given.map((name): Scope => (name === "write" ? "submit" : name)))]);

const configuredKey = z.strictObject({
  key: z.string().min(32, "a key has at least 32 characters: make one with `openssl rand -hex 32`"),
  permissions,
  name: text.max(64).optional(),
  tenant: identifier.optional(),
});

/** An OpenID Connect issuer whose tokens are accepted. */
const oidcIssuer = z.strictObject({
  issuer: z.url(),
  audience: text,
  jwks_uri: z.url().optional(),
  algorithms: z
    .array(z.enum(["ES256", "ES384", "RS256", "PS256", "EdDSA"]))
    .min(1)
    .optional(),
  /** Values of a claim to what they permit. */
  scopes: z.strictObject({ claim: text, map: z.record(z.string(), permissions) }),
  tenant_claim: text.optional(),
});

const authentication = z.strictObject(
  {
    enabled: flag.default(true),
    method: z.literal("api_key", { error: "expected api_key" }).optional(),
    keys: z.array(configuredKey).default([]),
    oidc: z.array(oidcIssuer).default([]),
  },
  { error: "expected a mapping with enabled, keys, oidc" },
);

const rate = parsedBy("a number from 0.01 to 1000000", (given) => {
  const value = Number(given);
  return given.trim() !== "" && value >= 0.01 && value <= 1e6 ? value : undefined;
});

const share = parsedBy("a number from 0 to 1", (given) => {
  const value = Number(given);
  return given.trim() !== "" && value >= 0 && value <= 1 ? value : undefined;
});

/** Also `a=1,b=2`, for the environment. */
const labels = z
  .union([z.record(z.string(), z.coerce.string()), z.string()], {
    error: 'expected labels: {tier: lab} or "tier=lab,floor=2"',
  })
  .transform((given, context) => {
    if (typeof given !== "string") return given;
    const pairs = given.split(",").filter((pair) => pair.trim() !== "");
    const wrong = pairs.find((pair) => !/^\s*[^=\s]+\s*=/.test(pair));
    if (wrong === undefined) {
      return Object.fromEntries(pairs.map((pair) => pair.split(/=(.*)/s, 2).map((part) => part.trim())));
    }
    context.addIssue({ code: "custom", message: `"${wrong}" is no label: write name=value` });
    return z.NEVER;
  });

/** Also `10.0.0.0/8,fd00::/8`, for the environment. */
const networks = z
  .union([z.array(z.string()), z.string().transform(splitList)], {
    error: "expected a list of networks like [10.0.0.0/8]",
  })
  .refine((given) => given.every(isNetwork), {
    error: 'each network is an address and a prefix length, like "10.0.0.0/8" or "fd00::/8"',
  });

function isNetwork(given: string): boolean {
  const [address = "", prefix = "", ...more] = given.split("/");
  const version = isIP(address);
  const isLength = /^\d{1,3}$/.test(prefix) && Number(prefix) <= (version === 6 ? 128 : 32);
  return version !== 0 && isLength && more.length === 0;
}

/** Figures for Prometheus on a port of their own, without a key. */
const prometheus = z
  .strictObject({ enabled: flag, host: text, port: count(0, 65_535) }, { error: "expected a mapping" })
  .partial();

/** Spans to a collector that speaks OTLP over HTTP. */
const tracing = z
  .strictObject(
    {
      otlp_endpoint: z.url({
        protocol: /^https?$/,
        error: 'expected an address like "http://localhost:4318"',
      }),
      headers: z.record(z.string(), z.string()),
      sample_ratio: share,
    },
    { error: "expected a mapping" },
  )
  .partial();

/** One layer of configuration: every setting may be absent. Unknown keys are errors. */
export const givenConfigSchema = z
  .strictObject({
    coordinator: z
      .strictObject({
        bind_address: address(parseBindAddress),
        balancing_strategy: strategySchema,
        max_queue_size: count(1, 100_000_000),
        max_queue_size_per_key: count(1, 100_000_000),
        max_queue_bytes: storeSize,
        max_queue_bytes_per_key: storeSize,
        lease: duration,
        heartbeat_interval: duration,
        heartbeat_timeout: duration,
        worker_approval: z.enum(["automatic", "manual"], { error: "expected automatic or manual" }),
      })
      .partial(),
    worker: z
      .strictObject({
        coordinator_address: address(parseCoordinatorAddress),
        worker_id: identifier,
        site: identifier,
        labels,
        max_concurrent_tasks: count(1, 1024),
        max_model_cache: storeSize,
        max_download_rate: storeSize,
        share_models: flag,
        share_port: count(1, 65_535),
        max_runner_memory: storeSize,
        runner_user: identifier,
        drain_timeout: duration,
      })
      .partial(),
    api: z
      .strictObject({
        host: text,
        port: count(0, 65_535),
        max_body_bytes: size,
        public_url: publicUrl,
        tls_cert_file: text,
        tls_key_file: text,
        tls_ca_file: text,
        plain_http: flag,
        enable_cors: flag,
        cors_origins: origins,
        authentication,
        drain_timeout: duration,
        releases_dir: text,
      })
      .partial(),
    limits: z
      .strictObject({
        requests_per_second_per_key: rate,
        requests_per_second_per_tenant: rate,
        requests_per_second_per_address: rate,
        request_burst: count(1, 1_000_000),
        bytes_per_second_per_key: storeSize,
        bytes_per_second_per_tenant: storeSize,
        bytes_per_second_per_address: storeSize,
        concurrent_requests_per_key: count(1, 1_000_000),
        concurrent_requests_per_tenant: count(1, 1_000_000),
        failed_authentications_per_minute: count(1, 1_000_000),
        new_sockets_per_second: count(1, 1_000_000),
        unauthenticated_requests_per_second: count(1, 1_000_000),
        tasks_per_day: count(1, 1e12),
        gpu_seconds_per_day: count(1, 1e12),
        bytes_per_day: storeSize,
        tenants: z.record(
          identifier,
          z
            .strictObject({
              tasks_per_day: count(0, 1e12),
              gpu_seconds_per_day: count(0, 1e12),
              bytes_per_day: storeSize,
            })
            .partial(),
        ),
      })
      .partial(),
    storage: z
      .strictObject({
        max_finished_tasks: count(1, 1_000_000_000),
        max_finished_age: longDuration,
        max_finished_bytes: storeSize,
      })
      .partial(),
    webhooks: z.strictObject({ allowed_networks: networks }).partial(),
    monitoring: z.strictObject({ prometheus, tracing }).partial(),
    log: z
      .strictObject({
        level: z.enum(LOG_LEVELS, { error: `expected one of ${LOG_LEVELS.join(", ")}` }),
        file: text,
        max_file_size: storeSize,
        max_files: count(1, 1000),
      })
      .partial(),
  })
  .partial();

export type GivenConfig = z.infer<typeof givenConfigSchema>;

/** Section → its keys, read from the schema. */
export const CONFIG_KEYS: Readonly<Record<string, readonly string[]>> = Object.fromEntries(
  Object.entries(givenConfigSchema.shape).map(([section, schema]) => [
    section,
    Object.keys(schema.unwrap().shape),
  ]),
);

/** Path of every setting, those of sections within a section included. */
export const CONFIG_PLACES: readonly (readonly string[])[] = Object.entries(CONFIG_KEYS).flatMap(
  ([section, keys]): string[][] =>
    section === "monitoring"
      ? [
          ...Object.keys(prometheus.shape).map((key) => [section, "prometheus", key]),
          ...Object.keys(tracing.shape).map((key) => [section, "tracing", key]),
        ]
      : keys.map((key) => [section, key]),
);
