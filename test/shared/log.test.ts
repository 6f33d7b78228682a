import assert from "node:assert/strict";
import { test } from "node:test";
import { createLogger } from "@legacygpu/shared/log";
import { newCredential } from "../../gateway/auth/credential.ts";

const TOKEN = "eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiJhIn0.c2lnbmF0dXJl";

test("whatever is logged, and wherever it stands, a credential loses its secret", () => {
  const lines: string[] = [];
  const log = createLogger("test", "trace", { write: (line) => lines.push(line) });
  const credentials = [
    ...(["client", "worker", "identity", "join"] as const).map((kind) => newCredential(kind).text),
    TOKEN,
  ];
  for (const text of credentials) {
    log.info({ text, deep: { list: [text] } }, `said ${text} aloud`);
    log.error({ err: new Error(`no ${text}`, { cause: new Error(text) }) }, "failed");
    log.info({ headers: { authorization: `Bearer ${text}` } }, "a request");
    log.info({ [text]: true }, "a name");
  }
  assert.equal(lines.length, 4 * credentials.length);
  const secrets = credentials.map((text) => (text === TOKEN ? text.slice(12) : text.slice(16)));
  for (const secret of secrets) assert.ok(!lines.join("").includes(secret), secret);
  for (const line of lines) assert.doesNotThrow(() => JSON.parse(line));
});

test("a line of the log is one line, whatever is in it", () => {
  const lines: string[] = [];
  const log = createLogger("test", "info", { write: (line) => lines.push(line) });
  log.info({ path: 'a\n{"level":60,"msg":"forged"}' }, "said\r\nmore\u001b[2J");
  assert.equal(lines.length, 1);
  assert.equal(lines[0]?.trimEnd().split(/[\r\n]/).length, 1);
  assert.ok(!lines[0]?.includes("\u001b"));
});
