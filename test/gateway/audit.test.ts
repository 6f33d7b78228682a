import assert from "node:assert/strict";
import { appendFile, mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, test } from "node:test";
import { type AuditFilter, auditQuerySchema } from "@legacygpu/shared/api/audit";
import { createLogger } from "@legacygpu/shared/log";
import fc from "fast-check";
import { AuditJournal, type AuditJournalOptions } from "../../gateway/audit/audit-journal.ts";
import { ManualClock } from "../support/manual-clock.ts";

let folder: string;
let clock: ManualClock;
let open: AuditJournal[];

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "legacygpu-audit-"));
  clock = new ManualClock();
  open = [];
});
afterEach(async () => {
  for (const journal of open) await journal.close();
  assert.equal(clock.pendingCount, 0);
  await rm(folder, { recursive: true, force: true });
});

async function journal(more: Partial<AuditJournalOptions> = {}): Promise<AuditJournal> {
  const opened = await AuditJournal.open({ folder, clock, log: createLogger("test", "silent"), ...more });
  open.push(opened);
  return opened;
}

async function filled(count: number, more: Partial<AuditJournalOptions> = {}): Promise<AuditJournal> {
  const log = await journal(more);
  for (let i = 1; i <= count; i += 1) {
    log.record({ action: "key.create", actor: "root", target: `key-${i}`, details: { scopes: ["read"] } });
    if (i % 3 === 0) await log.flush();
  }
  await log.flush();
  return log;
}

const filter = (query: Partial<AuditFilter> = {}): AuditFilter => auditQuerySchema.parse(query);
const targets = async (log: AuditJournal, query: Partial<AuditFilter> = {}): Promise<string[]> =>
  (await log.list(filter(query))).entries.map(({ target }) => target);
const files = async (): Promise<string[]> => (await readdir(folder)).sort();
const newestFile = async (): Promise<string> => join(folder, (await files()).at(-1) ?? "");

test("entries are numbered, chained, listed newest first, and only their owner can read them", async () => {
  const log = await filled(5);
  const { entries, next } = await log.list(filter());
  assert.deepEqual(
    entries.map(({ seq }) => seq),
    [5, 4, 3, 2, 1],
  );
  assert.equal(next, null);
  assert.equal(entries[0]?.previous, entries[1]?.hash);
  assert.equal(entries.at(-1)?.previous, "0".repeat(64));
  assert.deepEqual(await log.verify(), { is_intact: true, entries: 5, head: entries[0]?.hash, damage: null });
  assert.equal((await stat(await newestFile())).mode & 0o777, 0o600);
});

test("the log goes on where it stopped, in a new file when one is full", async () => {
  await (await filled(4, { fileBytes: 600 })).close();
  const log = await filled(3, { fileBytes: 600 });
  assert.ok((await files()).length >= 2);
  assert.equal((await files())[0], "000000000001.jsonl");
  assert.deepEqual(await targets(log), ["key-3", "key-2", "key-1", "key-4", "key-3", "key-2", "key-1"]);
  assert.equal((await log.verify()).entries, 7);
});

test("what is listed can be narrowed and read page by page", async () => {
  const log = await filled(6);
  log.record({ action: "auth.refused", outcome: "refused", address: "10.0.0.1" });
  log.record({ action: "keyring.open" });
  assert.equal((await targets(log, { action: "key" })).length, 6);
  assert.deepEqual(await targets(log, { target: "key-2" }), ["key-2"]);
  assert.equal((await targets(log, { outcome: "refused" })).length, 1);
  const first = await log.list(filter({ action: "key", limit: 4 }));
  assert.equal(first.entries.length, 4);
  assert.deepEqual(await targets(log, { action: "key", limit: 4, before: first.next ?? 0 }), [
    "key-2",
    "key-1",
  ]);
});

test("whatever is changed, removed, doubled or swapped in it is found, and where", async () => {
  await (await filled(8)).close();
  const path = await newestFile();
  const sound = (await readFile(path, "utf8")).trimEnd().split("\n");
  await fc.assert(
    fc.asyncProperty(
      fc.nat(sound.length - 2),
      fc.constantFrom("change", "remove", "double", "swap"),
      fc.nat(10_000),
      async (at, harm, where) => {
        const lines = [...sound];
        const line = lines[at] ?? "";
        const spot = where % line.length;
        if (harm === "change")
          lines[at] = line.slice(0, spot) + (line[spot] === "7" ? "8" : "7") + line.slice(spot + 1);
        if (harm === "remove") lines.splice(at, 1);
        if (harm === "double") lines.splice(at, 0, line);
        if (harm === "swap") lines.splice(at, 2, lines[at + 1] ?? "", line);
        await writeFile(path, `${lines.join("\n")}\n`);
        const log = await journal();
        const found = await log.verify();
        await log.close();
        assert.equal(found.is_intact, false);
        // A doubled line is noticed where it stands the second time.
        assert.equal(found.damage?.seq, harm === "double" ? at + 2 : at + 1);
      },
    ),
    { numRuns: 60 },
  );
});

test("entries that are cut off while it runs are missed", async () => {
  const log = await filled(4);
  const path = await newestFile();
  const lines = (await readFile(path, "utf8")).trimEnd().split("\n");
  await writeFile(path, `${lines.slice(0, 3).join("\n")}\n`);
  assert.deepEqual((await log.verify()).damage, { seq: 4, what: "is missing" });
});

test("half a line that a crash left is cut away, and the log says so", async () => {
  await (await filled(2)).close();
  await appendFile(await newestFile(), '{"seq":3,"at":"20');
  const log = await journal();
  await log.flush();
  const [entry] = (await log.list(filter())).entries;
  assert.deepEqual([entry?.seq, entry?.action, entry?.details], [3, "audit.recover", { cutBytes: 17 }]);
  assert.equal((await log.verify()).is_intact, true);
});

test("nothing is chained to a newest entry that was changed", async () => {
  await (await filled(2)).close();
  const path = await newestFile();
  await writeFile(path, (await readFile(path, "utf8")).replace("key-2", "key-9"));
  await assert.rejects(journal(), { code: "audit_corrupt" });
  assert.equal(clock.pendingCount, 0);
});

test("a flood of refusals is a few entries and a number", async () => {
  const log = await journal();
  const refuse = (address: string): void =>
    log.record({ action: "auth.refused", outcome: "refused", address });
  for (let i = 0; i < 500; i += 1) refuse("10.0.0.1");
  refuse("10.0.0.2");
  clock.advance(61_000);
  const { entries } = await log.list(filter());
  assert.equal(entries.length, 12);
  assert.deepEqual(entries[0]?.details, { more_within_a_minute: 490 });
  refuse("10.0.0.1");
  assert.equal((await log.list(filter())).entries.length, 13);
});

test("what cannot be written waits, in order, until it can", async () => {
  const log = await journal();
  await rm(folder, { recursive: true });
  await writeFile(folder, "no folder");
  log.record({ action: "a" });
  await log.flush();
  await rm(folder);
  log.record({ action: "b" });
  clock.advance(1000);
  const { entries } = await log.list(filter());
  assert.deepEqual(
    entries.map(({ seq, action }) => [seq, action]),
    [
      [2, "b"],
      [1, "a"],
    ],
  );
});
