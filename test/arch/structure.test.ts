import assert from "node:assert/strict";
import { test } from "node:test";
import { PACKAGES, type SourceFile, sourceFiles, textFiles } from "./source-files.ts";

const files = sourceFiles();

/** Folder → what it must not import, and why. */
const FORBIDDEN: readonly [from: string, to: string, why: string][] = [
  ...(["certs", "gateway", "agent", "client"] as const).map((to): [string, string, string] => [
    "shared/",
    `${to}/`,
    "shared is below everything",
  ]),
  ["gateway/", "agent/", "they meet on the wire only"],
  ["gateway/", "client/", "they meet on the wire only"],
  ["agent/", "gateway/", "they meet on the wire only"],
  ["agent/", "client/", "they meet on the wire only"],
  ["agent/", "certs/", "a GPU box makes no certificates"],
  ["gateway/queue/", "gateway/scheduler/", "a queue knows nothing of who uses it"],
  ["gateway/balancers/", "gateway/scheduler/", "a strategy is only a preference"],
  ["gateway/balancers/", "gateway/registry/", "a strategy sees candidates, not workers"],
  ["gateway/registry/", "gateway/scheduler/", "the scheduler is above the registry"],
  ["gateway/scheduler/", "gateway/http/", "deciding is independent of how requests come in"],
  ["gateway/scheduler/", "gateway/link/", "the scheduler sees a worker's link as a port"],
  ["gateway/scheduler/", "gateway/store/", "what is stored is the task service's affair"],
  ["gateway/store/", "gateway/http/", "a store knows nothing of HTTP"],
];

/** Library → the one file that may import its value. */
const ONE_IMPORTER: Readonly<Record<string, string>> = {
  "uWebSockets.js": "gateway/http/server.ts",
  "onnxruntime-node": "agent/executors/onnx.ts",
  sharp: "agent/images/preprocess.ts",
  systeminformation: "agent/hardware/probe.ts",
  "@msgpack/msgpack": "shared/protocol/codec.ts",
  "@peculiar/x509": "certs/issue.ts",
  yaml: "shared/config/layers.ts",
  lmdb: "gateway/store/environment.ts",
};

test("imports point the right way", () => {
  const wrong = files.flatMap((file) =>
    FORBIDDEN.filter(([from]) => file.path.startsWith(from)).flatMap(([, to, why]) =>
      [...file.imports, ...file.typeImports]
        .filter((target) => target.startsWith(to))
        .map((target) => `${file.path} imports ${target}: ${why}`),
    ),
  );
  assert.deepEqual(wrong, []);
});

test("the command line starts gateway and agent by their main.ts only", () => {
  const wrong = files
    .filter(({ path }) => path.startsWith("client/"))
    .flatMap(({ path, imports, typeImports }) =>
      [...imports, ...typeImports]
        .filter((target) => /^(gateway|agent)\//.test(target) && !target.endsWith("/main.ts"))
        .map((target) => `${path} imports ${target}`),
    );
  assert.deepEqual(wrong, []);
});

test("each large or native dependency has one importing file", () => {
  for (const [library, owner] of Object.entries(ONE_IMPORTER)) {
    const importers = files.filter(({ imports }) => imports.includes(library)).map(({ path }) => path);
    assert.deepEqual(importers, [owner], library);
  }
});

test("there are no import cycles", () => {
  const byPath = new Map(files.map((file) => [file.path, file]));
  const done = new Set<string>();
  const visit = (file: SourceFile, trail: readonly string[]): void => {
    assert.ok(!trail.includes(file.path), `import cycle: ${[...trail, file.path].join(" → ")}`);
    if (done.has(file.path)) return;
    for (const target of file.imports) {
      const next = byPath.get(target);
      if (next !== undefined) visit(next, [...trail, file.path]);
    }
    done.add(file.path);
  };
  for (const file of files) visit(file, []);
});

/** Pattern → files that may contain it. */
const RESERVED: readonly [what: string, pattern: RegExp, allowed: RegExp][] = [
  [
    "the environment is read in entry points only",
    /\bprocess\.env\b/,
    /^(client\/cli\/main|agent\/runner\/child|gateway\/http\/head-limit)\.ts$/,
  ],
  [
    "only entry points end the process",
    /\bprocess\.exit\b/,
    /^(client\/cli\/main|client\/cli\/stop-signals|agent\/runner\/child|agent\/hardware\/\S+)\.ts$/,
  ],
  ["console is not used", /\bconsole\.\w+\(/, /^$/],
  ["no type is switched off", /@ts-ignore|@ts-nocheck|\bas any\b|: any\b/, /^$/],
];

const withoutComments = (text: string): string => text.replace(/\/\*[\s\S]*?\*\/|^\s*\/\/.*$/gm, "");

test("what is reserved for some files stays in them", () => {
  const wrong = RESERVED.flatMap(([what, pattern, allowed]) =>
    files
      .filter(({ path, text }) => pattern.test(withoutComments(text)) && !allowed.test(path))
      .map(({ path }) => `${path}: ${what}`),
  );
  assert.deepEqual(wrong, []);
});

/** The ways to believe a peer without looking at its certificate, in the languages and tools that may turn up here. */
const UNVERIFIED: readonly RegExp[] = [
  /reject_?unauthori[sz]ed/i,
  /checkServerIdentity/,
  /strict-?ssl/i,
  /\bcurl\b[^\n]*\s(-[a-zA-Z]*k|--(proxy-)?insecure)\b/,
  /no-check-certificate/,
  /InsecureSkipVerify|CERT_NONE|verify\s*=\s*False/,
];

/** File → why it may. */
const MAY_GO_UNVERIFIED: Readonly<Record<string, string>> = {
  "agent/enrolment/trust.ts":
    "the first contact of an agent that joins: it sends nothing secret, and compares a pin with what it is shown",
  "test/arch/structure.test.ts": "names what is forbidden",
};

test("nothing disables the check of certificates: not the product, nor tests, benches, scripts or documents", () => {
  const texts = textFiles();
  const wrong = texts
    .filter(({ path, text }) => {
      const code = path.endsWith(".ts") ? withoutComments(text) : text;
      return !(path in MAY_GO_UNVERIFIED) && UNVERIFIED.some((pattern) => pattern.test(code));
    })
    .map(({ path }) => path);
  assert.deepEqual(wrong, []);
  for (const part of ["gateway/", "bench/", "scripts/", "test/e2e/", "docs/"]) {
    assert.ok(
      texts.some(({ path }) => path.startsWith(part)),
      part,
    );
  }
});

test("every spelling of a disabled check is found", () => {
  const spellings = [
    "connect({ rejectUnauthorized: false })",
    'options["rejectUnauthorized"] = flag',
    "NODE_TLS_REJECT_UNAUTHORIZED=0 node x.js",
    "connect({ checkServerIdentity: () => undefined })",
    "npm config set strict-ssl false",
    "request({ strictSSL: false })",
    "curl -sk https://localhost",
    "curl https://localhost --insecure",
    "wget --no-check-certificate https://localhost",
    "requests.get(url, verify=False)",
  ];
  for (const text of spellings)
    assert.ok(
      UNVERIFIED.some((pattern) => pattern.test(text)),
      text,
    );
  for (const text of ["curl --cacert ca.pem https://localhost", "curl -K config https://localhost"])
    assert.ok(!UNVERIFIED.some((pattern) => pattern.test(text)), text);
});

test("no file name is a drawer", () => {
  const drawers = files.filter(({ path }) =>
    /\/(utils?|helpers?|common|misc|types|interfaces|manager)\.ts$/.test(path),
  );
  assert.deepEqual(
    drawers.map(({ path }) => path),
    [],
  );
});

test("a file says first what it is responsible for", () => {
  const silent = files.filter(({ text }) => !text.startsWith("/**") && !text.startsWith("#!"));
  assert.deepEqual(
    silent.map(({ path }) => path),
    [],
  );
  assert.ok(files.length > 50 && PACKAGES.every((name) => files.some(({ path }) => path.startsWith(name))));
});
