/** Shows what a long command waits for: a spinner on a terminal, one line for each change elsewhere. */

import { type Clock, every, type Timer } from "@legacygpu/shared/clock";
import type { Output } from "./io.ts";
import { durationText, oneLine } from "./table.ts";

const FRAMES = ["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"];
const FRAME_MS = 100;
const ERASE_LINE = "\r\u001b[2K";

export interface Progress {
  /** @param live instead of `text` on a terminal: for what changes so often that lines of it would be a flood. */
  update(text: string, live?: string): void;
  /** Makes room for other text; the next update shows itself again. */
  clear(): void;
  /** Leaves nothing of the spinner behind. */
  stop(): void;
}

export function startProgress(
  stderr: Output,
  clock: Clock,
  { isTty }: { readonly isTty: boolean },
): Progress {
  return isTty ? new Spinner(stderr, clock) : new ChangeLines(stderr);
}

export const noProgress: Progress = { update: () => {}, clear: () => {}, stop: () => {} };

class Spinner implements Progress {
  readonly #stderr: Output;
  readonly #clock: Clock;
  readonly #startedAt: number;
  readonly #timer: Timer;
  #text = "";
  #frame = 0;

  constructor(stderr: Output, clock: Clock) {
    this.#stderr = stderr;
    this.#clock = clock;
    this.#startedAt = clock.monotonic();
    this.#timer = every(clock, FRAME_MS, () => this.#draw());
  }

  update(text: string, live = text): void {
    this.#text = oneLine(live);
    this.#draw();
  }

  clear(): void {
    this.#text = "";
    this.#stderr.write(ERASE_LINE);
  }

  stop(): void {
    this.#timer.cancel();
    this.clear();
  }

  #draw(): void {
    if (this.#text === "") return;
    this.#frame = (this.#frame + 1) % FRAMES.length;
    const elapsed = durationText(this.#clock.monotonic() - this.#startedAt);
    this.#stderr.write(`${ERASE_LINE}${FRAMES[this.#frame]} ${this.#text} · ${elapsed}`);
  }
}

class ChangeLines implements Progress {
  readonly #stderr: Output;
  #text = "";

  constructor(stderr: Output) {
    this.#stderr = stderr;
  }

  update(given: string): void {
    const text = oneLine(given);
    if (text !== this.#text) this.#stderr.write(`${text}\n`);
    this.#text = text;
  }

  clear(): void {
    this.#text = "";
  }

  stop(): void {}
}
