// A reporter for node:test that writes one line for each skipped test: its file, its name, the reason.

import { relative } from "node:path";

export default async function* skippedTests(events) {
  for await (const { type, data } of events) {
    if (type !== "test:pass" || data.skip === undefined || data.skip === false) continue;
    const reason = typeof data.skip === "string" && data.skip !== "" ? ` (${data.skip})` : "";
    const file = data.file === undefined ? "" : `${relative(process.cwd(), data.file)}: `;
    yield `${file}${data.name}${reason}\n`;
  }
}
