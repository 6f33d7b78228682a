#!/usr/bin/env node
// The command line runs built code; a checkout has none before its first build.

import { existsSync } from "node:fs";

const entry = new URL("../dist/cli/main.js", import.meta.url);

if (existsSync(entry)) {
  await import(entry.href);
} else {
  process.stderr.write(
    "error: legacygpu is not built yet; run `npm run build`, or `npm run quickstart` for everything.\n",
  );
  process.exitCode = 1;
}
