/** Cheap variations of a finished tensor, so that a picture is never seen twice the same way. */

import { between, pick, type Random } from "../onnx/random.ts";
import { SIDE } from "./manifest.ts";

const ORDERS = [
  [0, 1, 2],
  [0, 2, 1],
  [1, 0, 2],
  [1, 2, 0],
  [2, 0, 1],
  [2, 1, 0],
] as const;
const MAX_SHIFT = 3;

/** Writes a variation of `source` (0 to 255) to `target` (0 to 1): colours swapped or inverted, moved, with noise. */
export function augment(random: Random, source: Uint8Array, target: Float32Array): void {
  const order = pick(random, ORDERS);
  const shift = () => Math.round(between(random, -MAX_SHIFT, MAX_SHIFT));
  const [shiftX, shiftY] = [shift(), shift()];
  const isNegative = random() < 0.4;
  const isColourful = random() < 0.3;
  const noise = random() < 0.3 ? between(random, 0, 0.1) : 0;
  for (const [channel, from] of order.entries()) {
    const isInverted = isColourful ? random() < 0.5 : isNegative;
    const [factor, offset] = isInverted ? [-1 / 255, 1] : [1 / 255, 0];
    for (let y = 0; y < SIDE; y += 1) {
      const sourceRow = (from * SIDE + inside(y + shiftY)) * SIDE;
      const targetRow = (channel * SIDE + y) * SIDE;
      for (let x = 0; x < SIDE; x += 1) {
        const value = (source[sourceRow + inside(x + shiftX)] ?? 0) * factor + offset;
        target[targetRow + x] = noise > 0 ? value + noise * (random() + random() - 1) : value;
      }
    }
  }
}

/** Beyond the edge the last row or column goes on. */
function inside(position: number): number {
  return Math.max(0, Math.min(SIDE - 1, position));
}
