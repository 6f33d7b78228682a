/** One fake API for the tests of a file, and the environment that leads the command line to it. */

import { join } from "node:path";
import { after, afterEach } from "node:test";
import { FakeApi } from "./fake-api.ts";

export interface ApiForFile {
  readonly api: FakeApi;
  readonly env: Readonly<Record<string, string>>;
}

/** Forgets after each test what it was told and asked, and ends after the last. */
export async function startApiForFile(): Promise<ApiForFile> {
  const api = await FakeApi.start();
  afterEach(() => api.reset());
  after(() => api.close());
  const env = {
    LEGACYGPU_HOME: join(api.dir, "home"),
    LEGACYGPU_URL: api.url,
    LEGACYGPU_CA: api.caFile,
    LEGACYGPU_KEY: "lgk_env",
  };
  return { api, env };
}
