/** Reads many files as the items of a batch, as many at a time as one request should hold. */

import type { AddBatchItems } from "@legacygpu/shared/api/batches";
import { asJson, checkInputFile, readInputFile } from "./task-input.ts";

export type BatchItem = AddBatchItems["items"][number];

/** Well below what a gateway takes in one body, and not much to send again after a break of the network. */
const REQUEST_BYTES = 24 * 1024 ** 2;
/** So that progress is seen with small files too. */
const REQUEST_ITEMS = 500;
const MAX_REFERENCE_CHARS = 256;
const CHECKED_AT_A_TIME = 16;

/** So that a stray file is found before anything is sent. @throws `input_invalid` naming the first file that is no input. */
export async function checkInputFiles(files: readonly string[]): Promise<void> {
  for (let from = 0; from < files.length; from += CHECKED_AT_A_TIME) {
    await Promise.all(files.slice(from, from + CHECKED_AT_A_TIME).map(checkInputFile));
  }
}

/** In the order of the files. A file that is too large for a request with others gets one of its own. */
export async function* batchRequests(files: readonly string[]): AsyncGenerator<BatchItem[], void> {
  let items: BatchItem[] = [];
  let bytes = 0;
  for (const file of files) {
    const item = await readItem(file);
    const itemBytes = sizeOf(item);
    if (items.length > 0 && (bytes + itemBytes > REQUEST_BYTES || items.length === REQUEST_ITEMS)) {
      yield items;
      items = [];
      bytes = 0;
    }
    items.push(item);
    bytes += itemBytes;
  }
  if (items.length > 0) yield items;
}

async function readItem(file: string): Promise<BatchItem> {
  const input = asJson(await readInputFile(file));
  return file.length > MAX_REFERENCE_CHARS ? { input } : { input, external_reference: file };
}

/** As JSON, near enough. */
function sizeOf({ input, external_reference = "" }: BatchItem): number {
  const aroundBytes = 64 + 2 * external_reference.length;
  return aroundBytes + ("image" in input ? input.image.length : JSON.stringify(input).length);
}
