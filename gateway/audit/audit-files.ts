/**
 * The files of an audit log: `000000000001.jsonl` and so on, named after their first entry, a line an entry, oldest first.
 */

import { type FileHandle, mkdir, open, readdir } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";

const NAME = /^\d{12}\.jsonl$/;
const BLOCK_BYTES = 64 * 1024;
const LINE_FEED = 0x0a;

export class AuditFiles {
  readonly #folder: string;

  constructor(folder: string) {
    this.#folder = folder;
  }

  /** The files there are, oldest first. */
  async names(): Promise<string[]> {
    await this.#ensureFolder();
    return (await readdir(this.#folder)).filter((name) => NAME.test(name)).sort();
  }

  async #ensureFolder(): Promise<void> {
    await mkdir(this.#folder, { recursive: true, mode: 0o700 });
  }

  pathOf(name: string): string {
    return join(this.#folder, name);
  }

  /** The file for entries from `seq` on. */
  nameFor(seq: number): string {
    return `${String(seq).padStart(12, "0")}.jsonl`;
  }

  async append(name: string): Promise<FileHandle> {
    await this.#ensureFolder();
    return open(this.pathOf(name), "a", 0o600);
  }

  /** A crash may have left half a line. @returns how many bytes of it were cut away. */
  async cutHalfLine(name: string): Promise<number> {
    const file = await open(this.pathOf(name), "r+");
    try {
      const { size } = await file.stat();
      let end = size;
      for await (const block of blocksBackwards(file, size)) {
        const at = block.bytes.lastIndexOf(LINE_FEED);
        end = at === -1 ? block.start : block.start + at + 1;
        if (at !== -1) break;
      }
      if (end < size) await file.truncate(end);
      return size - end;
    } finally {
      await file.close();
    }
  }

  /** All lines, oldest first. */
  async *lines(): AsyncGenerator<string> {
    for (const name of await this.names()) {
      const file = await open(this.pathOf(name), "r");
      try {
        yield* createInterface({ input: file.createReadStream({ autoClose: false }) });
      } finally {
        await file.close();
      }
    }
  }

  /** All lines, newest first. */
  async *linesBackwards(): AsyncGenerator<string> {
    for (const name of (await this.names()).reverse()) {
      const file = await open(this.pathOf(name), "r");
      try {
        yield* linesOf(file, (await file.stat()).size);
      } finally {
        await file.close();
      }
    }
  }
}

interface Block {
  readonly start: number;
  readonly bytes: Buffer;
}

async function* blocksBackwards(file: FileHandle, size: number): AsyncGenerator<Block> {
  for (let end = size; end > 0; ) {
    const start = Math.max(0, end - BLOCK_BYTES);
    const bytes = Buffer.alloc(end - start);
    await file.read(bytes, 0, bytes.length, start);
    yield { start, bytes };
    end = start;
  }
}

async function* linesOf(file: FileHandle, size: number): AsyncGenerator<string> {
  let rest: Buffer = Buffer.alloc(0);
  for await (const { bytes } of blocksBackwards(file, size)) {
    let text: Buffer = Buffer.concat([bytes, rest]);
    for (let at = text.lastIndexOf(LINE_FEED); at !== -1; at = text.lastIndexOf(LINE_FEED)) {
      if (at + 1 < text.length) yield text.toString("utf8", at + 1);
      text = text.subarray(0, at);
    }
    rest = text;
  }
  if (rest.length > 0) yield rest.toString("utf8");
}
