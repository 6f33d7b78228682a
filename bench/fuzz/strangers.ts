/** Strangers at the gateway's port: requests whose bytes are bent, and agents that do not keep to the protocol. */

import { type Random, seededRandom } from "../../models/onnx/random.ts";
import { Connection, type Target } from "./connection.ts";
import { mutant } from "./mutate.ts";
import { handshake, helloFrame, type Keys, linkCorpus, requestCorpus, webSocketMessage } from "./wire.ts";

export interface StrangerOrder {
  readonly target: Target;
  readonly keys: Keys;
  readonly seed: number;
  readonly inputs: number;
}

const CALLERS = 8;
/** Half a request is not answered; the stranger goes away. */
const REQUEST_WAIT_MS = 15;
const HANDSHAKE_WAIT_MS = 2000;
const FRAME_WAIT_MS = 2;
const FRAMES_PER_LINK = 40;

/** @returns how many were answered. @throws Error when the gateway takes no connection any more. */
export function knock({ target, keys, seed, inputs }: StrangerOrder): Promise<number> {
  const corpus = requestCorpus(keys);
  return shared(inputs, seed, async (take, random) => {
    let answered = 0;
    let connection: Connection | undefined;
    while (take()) {
      connection = connection?.isOpen === true ? connection : await Connection.open(target);
      const answer = await connection.say(mutant(corpus, random), REQUEST_WAIT_MS);
      if (answer.startsWith("HTTP/1.1 ")) answered += 1;
      else {
        connection.destroy();
        connection = undefined;
      }
    }
    connection?.destroy();
    return answered;
  });
}

/** @returns how many frames were taken without the link being closed. @throws as {@link knock} */
export function misbehave({ target, keys, seed, inputs }: StrangerOrder): Promise<number> {
  const corpus = linkCorpus();
  return shared(inputs, seed, async (take, random) => {
    let tolerated = 0;
    for (let left = take(); left; ) {
      const connection = await Connection.open(target);
      const answer = await connection.say(handshake(keys.worker), HANDSHAKE_WAIT_MS);
      if (!answer.startsWith("HTTP/1.1 101")) throw new Error(`No link: ${answer.slice(0, 200)}`);
      // Half of them do not introduce themselves.
      if (random() < 0.5) await connection.say(webSocketMessage(helloFrame()), FRAME_WAIT_MS);
      for (let frames = 0; left && frames < FRAMES_PER_LINK && connection.isOpen; frames += 1) {
        await connection.say(badMessage(corpus, random), FRAME_WAIT_MS);
        if (connection.isOpen) tolerated += 1;
        left = take();
      }
      connection.destroy();
    }
    return tolerated;
  });
}

/** Bent inside, or around. */
function badMessage(corpus: readonly Uint8Array[], random: Random): Uint8Array {
  if (random() < 0.7) return webSocketMessage(mutant(corpus, random));
  return mutant(corpus.map(webSocketMessage), random);
}

/** Several callers do `inputs` together, each with random numbers of its own. */
async function shared(
  inputs: number,
  seed: number,
  call: (take: () => boolean, random: Random) => Promise<number>,
): Promise<number> {
  let left = inputs;
  const take = (): boolean => {
    left -= 1;
    return left >= 0;
  };
  const counts = await Promise.all(
    Array.from({ length: CALLERS }, (_, caller) => call(take, seededRandom(seed + caller))),
  );
  return counts.reduce((sum, count) => sum + count, 0);
}
