/** Configuration: order of the sources, forms of the values, and errors that say where and what instead. */

import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { parseBindAddress, parseCoordinatorAddress } from "../../shared/config/address.ts";
import { parseDuration, parseSize } from "../../shared/config/duration.ts";
import type { GivenFlags } from "../../shared/config/layers.ts";
import { type Config, loadConfig } from "../../shared/config.ts";
import { LegacyGpuError } from "../../shared/errors.ts";

let root = "";
before(async () => {
  root = await mkdtemp(join(tmpdir(), "legacygpu-config-"));
});
after(() => rm(root, { recursive: true, force: true }));

interface Given {
  readonly yaml?: string;
  readonly env?: Record<string, string>;
  readonly flags?: GivenFlags;
}

async function load({ yaml, env = {}, flags = {} }: Given): Promise<Config> {
  const path = join(root, "config.yaml");
  await rm(path, { force: true });
  if (yaml !== undefined) await writeFile(path, yaml);
  return loadConfig({ file: { path, isRequired: false }, env, flags });
}

async function problem(given: Given): Promise<string> {
  try {
    await load(given);
  } catch (error) {
    assert.ok(error instanceof LegacyGpuError, String(error));
    assert.equal(error.code, "config_invalid");
    return error.message.replace(`${root}/`, "");
  }
  assert.fail("the configuration was accepted");
}

test("the defaults", async () => {
  assert.deepEqual(await load({}), {
    coordinator: {
      balancingStrategy: "ADAPTIVE",
      maxQueueSize: 100_000,
      maxQueueSizePerKey: 50_000,
      maxQueueBytes: 16 * 1024 ** 3,
      maxQueueBytesPerKey: 8 * 1024 ** 3,
      heartbeatIntervalMs: 5000,
      heartbeatTimeoutMs: 15_000,
      leaseMs: 15_000,
      workerApproval: "automatic",
    },
    worker: {
      coordinatorAddress: undefined,
      workerId: undefined,
      site: "default",
      labels: {},
      maxConcurrentTasks: undefined,
      maxModelCacheBytes: undefined,
      maxDownloadBytesPerSecond: undefined,
      sharesModels: true,
      sharePort: undefined,
      maxRunnerMemoryBytes: undefined,
      runnerUser: undefined,
      drainTimeoutMs: 600_000,
    },
    api: {
      host: undefined,
      port: 8000,
      maxBodyBytes: 67_108_864,
      publicUrl: undefined,
      tls: undefined,
      plainHttp: false,
      corsOrigins: [],
      authentication: { enabled: true, keys: [], oidc: [] },
      drainTimeoutMs: 30_000,
      releasesDir: undefined,
    },
    limits: {},
    storage: {
      maxFinishedTasks: 1_000_000,
      maxFinishedAgeMs: 30 * 86_400_000,
      maxFinishedBytes: 16 * 1024 ** 3,
    },
    webhooks: { allowedNetworks: [] },
    monitoring: { prometheus: undefined, tracing: undefined },
    log: { level: undefined, file: undefined, maxFileBytes: 16 * 1024 ** 2, maxFiles: 5 },
  } satisfies Config);
});

test("naming a port is enough to want Prometheus, and a collector is all that tracing needs", async () => {
  const yaml = "monitoring:\n  prometheus:\n    port: 9100\n";
  assert.deepEqual((await load({ yaml })).monitoring.prometheus, { host: "127.0.0.1", port: 9100 });
  const env = { LEGACYGPU_MONITORING_PROMETHEUS_ENABLED: "false" };
  assert.equal((await load({ yaml, env })).monitoring.prometheus, undefined);
  const traced = { LEGACYGPU_MONITORING_TRACING_OTLP_ENDPOINT: "http://localhost:4318" };
  assert.deepEqual((await load({ env: traced })).monitoring.tracing, {
    otlpEndpoint: "http://localhost:4318",
    headers: {},
    sampleRatio: 1,
  });
  await assert.rejects(load({ yaml: "monitoring:\n  tracing:\n    sample_ratio: 0.5\n" }), {
    code: "config_invalid",
    message: /otlp_endpoint/,
  });
});

test("flags win over the environment, that over the file, that over the defaults", async () => {
  const yaml = "api:\n  port: 1\n  host: file.example\ncoordinator:\n  balancing_strategy: adaptive\n";
  const env = { LEGACYGPU_API_PORT: "2", LEGACYGPU_COORDINATOR_MAX_QUEUE_SIZE: "7" };
  const config = await load({ yaml, env, flags: { api: { port: "3", host: undefined } } });
  assert.equal(config.api.port, 3);
  assert.equal(config.api.host, "file.example");
  assert.equal(config.coordinator.maxQueueSize, 7);
  assert.equal(config.coordinator.balancingStrategy, "ADAPTIVE");
  assert.equal((await load({ yaml, env })).api.port, 2);
});

test("everything that the file knows", async () => {
  const yaml = `
coordinator:
  bind_address: "wss://0.0.0.0:9000"
  balancing_strategy: LATENCY_BASED
  max_queue_size: 10
  max_queue_size_per_key: 3
  max_queue_bytes: 2TiB
  max_queue_bytes_per_key: 1GiB
  heartbeat_interval: 500ms
  heartbeat_timeout: 2m
  lease: 30s
  worker_approval: manual
worker:
  coordinator_address: gpu.example:8000
  worker_id: box-1
  site: berlin
  labels: {tier: lab, floor: 2}
  max_concurrent_tasks: 4
  max_model_cache: 20GiB
  max_download_rate: 1MiB
  share_models: false
  share_port: 9100
  max_runner_memory: 4GiB
  runner_user: nobody
api:
  max_body_bytes: 1MiB
  public_url: https://gpu.example
  tls_cert_file: /etc/gpu/cert.pem
  tls_key_file: /etc/gpu/key.pem
  enable_cors: true
  cors_origins: [https://app.example]
  authentication:
    method: api_key
    keys:
      - key: 0123456789abcdef0123456789abcdef
        permissions: [read, write]
    oidc:
      - issuer: https://login.example
        audience: gpu
        scopes: {claim: groups, map: {operators: [admin]}}
limits:
  requests_per_second_per_key: 2.5
  tenants: {lab: {tasks_per_day: 100}}
storage:
  max_finished_age: 7d
webhooks:
  allowed_networks: [10.0.0.0/8, "fd00::/8"]
log:
  level: debug
`;
  const config = await load({ yaml }).catch((error) => error);
  assert.match(String(config), /write wss:\/\/gpu.example:8000/, "an address without a scheme");
  const { coordinator, worker, api, limits, storage, webhooks, log } = await load({
    yaml: yaml.replace("gpu.example", "wss://gpu.example"),
  });
  assert.deepEqual(coordinator, {
    balancingStrategy: "LATENCY",
    maxQueueSize: 10,
    maxQueueSizePerKey: 3,
    maxQueueBytes: 2 * 1024 ** 4,
    maxQueueBytesPerKey: 1024 ** 3,
    heartbeatIntervalMs: 500,
    heartbeatTimeoutMs: 120_000,
    leaseMs: 30_000,
    workerApproval: "manual",
  });
  assert.equal(storage.maxFinishedAgeMs, 7 * 86_400_000);
  assert.deepEqual(webhooks.allowedNetworks, ["10.0.0.0/8", "fd00::/8"]);
  assert.deepEqual(worker, {
    coordinatorAddress: "wss://gpu.example:8000",
    workerId: "box-1",
    site: "berlin",
    labels: { tier: "lab", floor: "2" },
    maxConcurrentTasks: 4,
    maxModelCacheBytes: 20 * 1024 ** 3,
    maxDownloadBytesPerSecond: 1024 ** 2,
    sharesModels: false,
    sharePort: 9100,
    maxRunnerMemoryBytes: 4 * 1024 ** 3,
    runnerUser: "nobody",
    drainTimeoutMs: 600_000,
  });
  assert.deepEqual(api, {
    host: "0.0.0.0",
    port: 9000,
    maxBodyBytes: 1_048_576,
    publicUrl: "https://gpu.example",
    tls: { certFile: "/etc/gpu/cert.pem", keyFile: "/etc/gpu/key.pem", caFile: undefined },
    plainHttp: false,
    corsOrigins: ["https://app.example"],
    drainTimeoutMs: 30_000,
    releasesDir: undefined,
    authentication: {
      enabled: true,
      method: "api_key",
      keys: [{ key: "0123456789abcdef0123456789abcdef", permissions: ["read", "submit"] }],
      oidc: [
        {
          issuer: "https://login.example",
          audience: "gpu",
          scopes: { claim: "groups", map: { operators: ["admin"] } },
        },
      ],
    },
  });
  assert.deepEqual(limits, { requests_per_second_per_key: 2.5, tenants: { lab: { tasks_per_day: 100 } } });
  assert.equal(log.level, "debug");
});

test("a section with nothing under it, and a file with nothing in it, set nothing", async () => {
  const defaults = await load({});
  assert.deepEqual(await load({ yaml: "api:\n#  port: 1\n" }), defaults);
  assert.deepEqual(await load({ yaml: "# nothing yet\n" }), defaults);
});

test("errors name file, line, column, and what would be right", async () => {
  const cases: ReadonlyArray<readonly [yaml: string, message: string]> = [
    ["api:\n  prot: 1\n", "config.yaml:2:3: api.prot is unknown: did you mean api.port?"],
    ["apii:\n  port: 1\n", "config.yaml:1:1: apii is unknown: did you mean api?"],
    ["worker:\n  port: 1\n", "config.yaml:2:3: worker.port is unknown: did you mean api.port?"],
    [
      "log:\n  colour: red\n",
      "config.yaml:2:3: log.colour is unknown; there are level, file, max_file_size, max_files",
    ],
    ["monitoring:\n  port: 1\n", "config.yaml:2:3: monitoring.port is unknown: did you mean api.port?"],
    [
      "monitoring:\n  prometheus:\n    prt: 1\n",
      "config.yaml:3:5: monitoring.prometheus.prt is unknown: did you mean monitoring.prometheus.port?",
    ],
    ["api:\n  enable_cors: sure\n", "config.yaml:2:16: api.enable_cors: expected true or false"],
    [
      "api:\n  cors_origins: [app.example]\n",
      'config.yaml:2:3: api.cors_origins: each origin is a scheme and a host, like "https://app.example.com", or "*" alone',
    ],
    [
      "api:\n  authentication:\n    keys: [{key: short, permissions: [read]}]\n",
      "config.yaml:3:5: api.authentication.keys.0.key: a key has at least 32 characters: make one with `openssl rand -hex 32`",
    ],
    ["api:\n  port: x\n", 'config.yaml:2:9: api.port: "x" is not a whole number from 0 to 65535'],
    ["api:\n  port: [1]\n", "config.yaml:2:3: api.port: expected a whole number from 0 to 65535"],
    [
      "api: 1\n",
      "config.yaml:1:1: api: expected a mapping with host, port, max_body_bytes, public_url, tls_cert_file, tls_key_file, tls_ca_file, plain_http, enable_cors, cors_origins, authentication, drain_timeout, releases_dir",
    ],
    [
      "[1]\n",
      "config.yaml:1:1: the document: expected a mapping with coordinator, worker, api, limits, storage, webhooks, monitoring, log",
    ],
    [
      "coordinator:\n  balancing_strategy: RANDOM\n",
      'config.yaml:2:23: coordinator.balancing_strategy: "RANDOM" is no strategy. Choose one of ROUND_ROBIN, LEAST_LOADED, GPU_MATCH, LATENCY, ADAPTIVE',
    ],
    [
      "coordinator:\n  balancing_strategy: LEST_LOADED\n",
      'config.yaml:2:23: coordinator.balancing_strategy: "LEST_LOADED" is no strategy, did you mean LEAST_LOADED? Choose one of ROUND_ROBIN, LEAST_LOADED, GPU_MATCH, LATENCY, ADAPTIVE',
    ],
    [
      "coordinator:\n  heartbeat_interval: 5 sec\n",
      'config.yaml:2:23: coordinator.heartbeat_interval: "5 sec" is not a duration: a number of seconds, or like "500ms", "5s", "2m" (10 ms to a day)',
    ],
    [
      "worker:\n  coordinator_address: tcp://10.0.0.1:5555\n",
      'config.yaml:2:24: worker.coordinator_address: "tcp://10.0.0.1:5555" cannot be used, agents connect with TLS to the gateway\'s one port: write wss://10.0.0.1:5555',
    ],
    [
      "coordinator:\n  bind_address: tcp://0.0.0.0:5555\n",
      'config.yaml:2:17: coordinator.bind_address: "tcp://0.0.0.0:5555" cannot be used, everything is TLS on one port: write wss://0.0.0.0:5555',
    ],
    [
      "webhooks:\n  allowed_networks: [10.0.0.0/99]\n",
      'config.yaml:2:3: webhooks.allowed_networks: each network is an address and a prefix length, like "10.0.0.0/8" or "fd00::/8"',
    ],
    [
      "log:\n  level: loud\n",
      "config.yaml:2:10: log.level: expected one of trace, debug, info, warn, error, fatal, silent",
    ],
  ];
  for (const [yaml, message] of cases) assert.equal(await problem({ yaml }), message);
});

test("YAML that cannot be read is an error with its place", async () => {
  assert.match(await problem({ yaml: "api:\n  port: 1\n  port: 2\n" }), /^config\.yaml:3:\d+: .*unique/);
  assert.match(await problem({ yaml: "api: {port: 1\n" }), /^config\.yaml:\d+:\d+: /);
  assert.match(await problem({ yaml: "api: {host: *nobody}\n" }), /^config\.yaml: Unresolved alias.*nobody/);
});

test("the environment: errors name the variable", async () => {
  const env = {
    LEGACYGPU_WORKER_LABELS: "tier=lab, floor=2",
    LOG_LEVEL: "WARN",
    LEGACYGPU_HOME: "/x",
    PATH: "/y",
  };
  const config = await load({ env });
  assert.deepEqual(config.worker.labels, { tier: "lab", floor: "2" });
  assert.equal(config.log.level, "warn");
  assert.equal((await load({ env: { ...env, LEGACYGPU_LOG_LEVEL: "error" } })).log.level, "error");
  assert.equal(
    await problem({ env: { LEGACYGPU_API_PORT: "99999" } }),
    'LEGACYGPU_API_PORT: "99999" is not a whole number from 0 to 65535',
  );
  assert.equal(
    await problem({ env: { LEGACYGPU_API_PROT: "1" } }),
    "The environment variable LEGACYGPU_API_PROT is unknown: did you mean LEGACYGPU_API_PORT?",
  );
  assert.equal(
    await problem({ env: { LEGACYGPU_WORKER_LABELS: "lab" } }),
    'LEGACYGPU_WORKER_LABELS: "lab" is no label: write name=value',
  );
  assert.match(await problem({ env: { LOG_LEVEL: "loud" } }), /^LOG_LEVEL: expected one of/);
});

test("flags: errors name the flag", async () => {
  assert.match(
    await problem({ flags: { worker: { worker_id: "two words" } } }),
    /^--worker-id: 1 to 64 letters/,
  );
});

test("a heartbeat timeout that is not longer than the interval is an error; the default follows a long interval", async () => {
  const long = { coordinator: { heartbeat_interval: "20s" } };
  assert.equal((await load({ flags: long })).coordinator.heartbeatTimeoutMs, 60_000);
  const flags = { coordinator: { heartbeat_interval: "20s", heartbeat_timeout: "15s" } };
  assert.match(await problem({ flags }), /heartbeat_timeout \(15000 ms\) must be longer/);
});

test("settings that need each other are given together", async () => {
  const half = { api: { tls_cert_file: "cert.pem" } };
  assert.match(await problem({ flags: half }), /tls_cert_file and api\.tls_key_file belong together/);
  assert.match(await problem({ flags: { api: { enable_cors: "true" } } }), /needs api\.cors_origins/);
});

test("a file that was named must be there", async () => {
  const file = { path: join(root, "absent.yaml"), isRequired: true };
  await assert.rejects(loadConfig({ file, env: {}, flags: {} }), {
    code: "config_invalid",
    message: /absent\.yaml/,
  });
});

test("durations, sizes and addresses", () => {
  const durations = [
    ["5", 5000],
    ["0.5", 500],
    ["500ms", 500],
    ["2 m", 120_000],
    ["1h", 3_600_000],
    ["2d", 172_800_000],
    ["-1", undefined],
    ["", undefined],
    ["5 days", undefined],
  ] as const;
  for (const [text, expected] of durations) assert.equal(parseDuration(text), expected, text);
  const sizes = [
    ["1024", 1024],
    ["64MiB", 67_108_864],
    ["1 kB", 1000],
    ["1G", 1e9],
    ["10b", 10],
    ["x", undefined],
  ] as const;
  for (const [text, expected] of sizes) assert.equal(parseSize(text), expected, text);
  assert.deepEqual(parseBindAddress("[::]:80"), { ok: { host: "::", port: 80 } });
  assert.deepEqual(parseBindAddress("::1"), { ok: { host: "::1", port: undefined } });
  assert.deepEqual(parseBindAddress("0.0.0.0"), { ok: { host: "0.0.0.0", port: undefined } });
  assert.ok("problem" in parseBindAddress("a:99999") && "problem" in parseBindAddress(""));
  assert.deepEqual(parseCoordinatorAddress("https://x:1/"), { ok: "wss://x:1" });
  assert.ok("problem" in parseCoordinatorAddress("ws://x:1") && "problem" in parseCoordinatorAddress("::"));
});
