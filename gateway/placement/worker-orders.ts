/** What workers are told of deployed models: load, unload; and what they are asked and told again on a new connection. */

import type { Clock } from "@legacygpu/shared/clock";
import type { ModelRef } from "@legacygpu/shared/protocol/messages";
import type { Worker } from "../registry/worker.ts";
import { modelKey } from "../tasks/record.ts";
import type { Replica } from "./replicas.ts";

/** So long after a worker has connected it has said what it has loaded. */
const INTRODUCTION_MS = 300;
/** Who was told to load a model and says nothing of it is told again. */
const REMIND_EVERY_MS = 10_000;

export class WorkerOrders {
  readonly #clock: Clock;
  /** By worker: the connection on which it was asked what it has loaded, and when. */
  readonly #introduced = new Map<string, { readonly sessionId: string; readonly atMs: number }>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** On a new connection it is asked how it stands with the models whose files it has. */
  introduce({ id, link }: Worker, refs: readonly ModelRef[], hasFile: (ref: ModelRef) => boolean): void {
    if (link === undefined || this.#introduced.get(id)?.sessionId === link.sessionId) return;
    const likely = refs.filter(hasFile);
    for (const ref of likely) link.announce(ref);
    const atMs = likely.length > 0 ? this.#clock.monotonic() : Number.NEGATIVE_INFINITY;
    this.#introduced.set(id, { sessionId: link.sessionId, atMs });
  }

  /** Whether it may not have answered yet. */
  isNew({ id }: Worker): boolean {
    const { atMs = Number.NEGATIVE_INFINITY } = this.#introduced.get(id) ?? {};
    return this.#clock.monotonic() - atMs < INTRODUCTION_MS;
  }

  forget({ id }: Worker): void {
    this.#introduced.delete(id);
  }

  /** An agent forgets what was announced with the connection, and what it says while there is none is lost. */
  remind(replica: Replica, { link, models }: Worker): void {
    if (link === undefined) return;
    const nowMs = this.#clock.monotonic();
    const isNewLink = replica.sessionId !== link.sessionId;
    const said = models.get(modelKey(replica.ref))?.state;
    const isSilent = said === undefined || said === "unloaded";
    const isDue = replica.state === "loading" && isSilent && nowMs - replica.toldAtMs >= REMIND_EVERY_MS;
    if (!isNewLink && !isDue) return;
    replica.sessionId = link.sessionId;
    replica.toldAtMs = nowMs;
    link.announce(replica.ref, replica.state === "loading" ? "preload" : undefined);
  }

  unload({ ref }: Replica, { link, models }: Worker): void {
    if (link === undefined) return;
    const { name, version } = ref;
    // It heeds only what was announced on this connection.
    link.announce(ref);
    link.send({ type: "unload_model", name, version });
    // It will say so itself; until then nobody is to take it for loaded.
    models.set(modelKey(ref), { type: "model_state", name, version, state: "unloaded" });
  }
}
