/**
 * What agent and gateway say to each other about blobs: where ours are served, what we want and have, and whom to ask.
 *
 * Without a link, with a gateway that knows nothing of this, or when its answer is late, everything comes from the gateway.
 */

import type { Clock, Timer } from "@legacygpu/shared/clock";
import { fail } from "@legacygpu/shared/errors";
import type { Digest } from "@legacygpu/shared/manifest";
import type { AgentMessage, GatewayMessage, MessageOf } from "@legacygpu/shared/protocol/messages";
import type { Neighbourhood } from "../models/blob-cache.ts";
import type { BlobOrigin } from "../models/blob-download.ts";
import type { CheckedOptions } from "../options.ts";
import { nearestFirst, ownAddresses } from "./addresses.ts";
import { BlobServer, type BlobServerOptions } from "./blob-server.ts";
import { type ConnectNeighbour, connectNeighbour } from "./neighbour.ts";

type BlobState = MessageOf<AgentMessage, "blob_state">;
type Welcome = MessageOf<GatewayMessage, "welcome">;
type BlobSources = MessageOf<GatewayMessage, "blob_sources">;

export interface ServedBlobs {
  readonly server: BlobServer;
  /** Under which neighbours reach it. */
  readonly addresses: readonly string[];
}

export interface BlobSharingOptions {
  readonly clock: Clock;
  send(message: AgentMessage): void;
  /** Default: this agent fetches from others and serves nobody. */
  readonly served?: ServedBlobs | undefined;
  readonly connect?: ConnectNeighbour;
}

/** The gateway answers at once; when it said `wait` it repeats that every 10 s. */
const ANSWER_TIMEOUT_MS = 5000;
const WAIT_TIMEOUT_MS = 30_000;
const PROGRESS_INTERVAL_MS = 1000;

interface Question {
  readonly answer: (origins: readonly BlobOrigin[]) => void;
  readonly fail: (error: Error) => void;
  timer: Timer;
}

export class BlobSharing implements Neighbourhood {
  readonly #options: BlobSharingOptions;
  readonly #questions = new Map<Digest, Question>();
  readonly #toldAtMs = new Map<Digest, number>();
  #isOn = false;

  constructor(options: BlobSharingOptions) {
    this.#options = options;
  }

  onWelcome({ serverTimeMs, sharesBlobs }: Welcome): void {
    this.#isOn = sharesBlobs === true;
    const { served, send } = this.#options;
    if (!this.#isOn || served === undefined) return;
    const { server, addresses } = served;
    server.gatewayTimeIs(serverTimeMs);
    send({
      type: "blob_server",
      port: server.port,
      addresses: [...addresses],
      certificate: server.certificatePem,
      tokenKey: server.tokenKey,
    });
  }

  onLinkLost(): void {
    this.#isOn = false;
    for (const { fail: refuse } of [...this.#questions.values()])
      refuse(fail("link_closed", "The link was lost while the gateway was asked where a model is."));
  }

  onSources({ digest, decision, sources }: BlobSources): void {
    const question = this.#questions.get(digest);
    if (question === undefined) return;
    if (decision === "wait") {
      question.timer.cancel();
      question.timer = this.#giveUpAfter(WAIT_TIMEOUT_MS, question);
      return;
    }
    const { connect = connectNeighbour } = this.#options;
    question.answer(decision === "fetch" ? [] : nearestFirst(sources).map(connect));
  }

  /** What is no longer here cannot be served. */
  dropped(digest: Digest): void {
    this.#tell({ type: "blob_state", digest, state: "dropped" });
  }

  // ---- Neighbourhood

  locate(digest: Digest, receivedBytes: number, signal: AbortSignal): Promise<readonly BlobOrigin[]> {
    if (!this.#isOn || signal.aborted) return Promise.resolve([]);
    return new Promise((resolve, reject) => {
      const end = (): void => {
        question.timer.cancel();
        signal.removeEventListener("abort", abandon);
        this.#questions.delete(digest);
      };
      const question: Question = {
        answer: (origins) => {
          end();
          resolve(origins);
        },
        fail: (error) => {
          end();
          reject(error);
        },
        timer: { cancel: () => {} },
      };
      const abandon = (): void => question.fail(fail("link_closed", "The agent is closing."));
      signal.addEventListener("abort", abandon, { once: true });
      question.timer = this.#giveUpAfter(ANSWER_TIMEOUT_MS, question);
      this.#questions.set(digest, question);
      this.#tell({ type: "blob_state", digest, state: "wanted", receivedBytes });
    });
  }

  progress(digest: Digest, receivedBytes: number): void {
    const nowMs = this.#options.clock.monotonic();
    const toldAtMs = this.#toldAtMs.get(digest);
    if (toldAtMs !== undefined && nowMs - toldAtMs < PROGRESS_INTERVAL_MS) return;
    this.#toldAtMs.set(digest, nowMs);
    this.#tell({ type: "blob_state", digest, state: "fetching", receivedBytes });
  }

  ended(digest: Digest, state: "held" | "failed"): void {
    this.#toldAtMs.delete(digest);
    this.#tell({ type: "blob_state", digest, state });
  }

  #giveUpAfter(delayMs: number, question: Question): Timer {
    return this.#options.clock.after(delayMs, () => question.answer([]));
  }

  #tell(message: BlobState): void {
    if (this.#isOn) this.#options.send(message);
  }
}

/** @returns undefined when this box is not to serve, or cannot: the others then fetch elsewhere. */
export async function serveNeighbours(
  { sharing = {}, clock, log }: Pick<CheckedOptions, "sharing" | "clock" | "log">,
  find: BlobServerOptions["find"],
): Promise<ServedBlobs | undefined> {
  if (sharing === "off") return undefined;
  const { port, addresses = ownAddresses() } = sharing;
  try {
    return { server: await BlobServer.start({ port, clock, log, find }), addresses };
  } catch (error) {
    log.warn({ err: error, port }, "model files are not served to neighbours");
    return undefined;
  }
}
