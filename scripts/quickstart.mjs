// `npm run quickstart`: installs and builds what is missing, then runs the real thing (client/cli/quickstart.ts).

import { existsSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { build, checkNode, installIfStale, main, PrepareError, root } from "./prepare.mjs";

/** What models/digits/sample.png shows. */
const SAMPLE_SHOWS = "7";

await main(async () => {
  checkNode();
  installIfStale();
  build();
  const modelDir = join(root, "models", "digits");
  for (const name of ["model.onnx", "manifest.json", "sample.png"]) {
    if (!existsSync(join(modelDir, name)))
      throw new PrepareError(`models/digits/${name} is missing from this checkout.`);
  }
  const bin = join(root, "client", "bin", "legacygpu.js");
  const given = process.argv.slice(2);
  // In this process, not in a child: a child would get each Ctrl-C twice, from the terminal and from us.
  process.argv = [
    process.execPath,
    bin,
    "quickstart",
    "--model-dir",
    modelDir,
    "--expect",
    SAMPLE_SHOWS,
    ...given,
  ];
  await import(pathToFileURL(bin).href);
});
