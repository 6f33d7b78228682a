/** Writes digits by hand: one of the ways of hands.ts, with proportions and a tremor of its own. */

import { between, gaussian, pick, type Random } from "../onnx/random.ts";
import { type Point, rounded, type Stroke } from "./geometry.ts";
import { HANDS, type Vary } from "./hands.ts";

/** A digit of height 1, written in a random way. */
export function writeDigit(random: Random, digit: number): Stroke[] {
  const vary: Vary = (middle, spread = 0.05) => middle + between(random, -1, 1) * spread;
  const tremor = between(random, 0, 0.012);
  const shake = ({ x, y }: Point) => ({ x: x + gaussian(random) * tremor, y: y + gaussian(random) * tremor });
  const style = random();
  const drawn = pick(random, HANDS[digit] ?? [])(vary);
  return drawn.map((stroke) => styled(stroke, style).map(shake));
}

/** Corners rounded, as the hand meant them, or with the straight lines that a slow mouse leaves. */
function styled(stroke: Stroke, style: number): Stroke {
  if (style < 0.4) return rounded(stroke);
  if (style > 0.88 && stroke.length > 8) {
    return stroke.filter((_, index) => index % 3 === 0 || index === stroke.length - 1);
  }
  return stroke;
}
