/** Colours for a digit and what is behind it, always with enough contrast to be read. */

import { between, type Random } from "../onnx/random.ts";

/** Red, green and blue from 0 to 1. */
export type Colour = readonly [number, number, number];

/** The background of the model's manifest: what the worker puts behind transparent pixels. */
export const MID_GREY: Colour = [0.5, 0.5, 0.5];

export function toHex(colour: Colour): string {
  return `#${colour
    .map((value) =>
      Math.round(clamp(value) * 255)
        .toString(16)
        .padStart(2, "0"),
    )
    .join("")}`;
}

export function mix(from: Colour, to: Colour, share: number): Colour {
  const channel = (index: 0 | 1 | 2) => from[index] + (to[index] - from[index]) * share;
  return [channel(0), channel(1), channel(2)];
}

/** Lightness and hue both count: red on green of the same lightness can be read. */
export function contrast(a: Colour, b: Colour): number {
  const [red, green, blue] = [a[0] - b[0], a[1] - b[1], a[2] - b[2]];
  return Math.abs(0.3 * red + 0.59 * green + 0.11 * blue) + 0.35 * Math.hypot(red, green, blue);
}

/** Paper and ink, chalk and board, or anything. */
export function randomPair(random: Random): { ink: Colour; paper: Colour } {
  const kind = random();
  if (kind < 0.3) return { ink: nearGrey(random, 0, 0.35), paper: nearGrey(random, 0.85, 1) };
  if (kind < 0.42) return { ink: nearGrey(random, 0.7, 1), paper: nearGrey(random, 0, 0.25) };
  if (kind < 0.55) return { ink: contrasting(random, [[1, 1, 1]]), paper: [1, 1, 1] };
  const paper = randomColour(random);
  return { ink: contrasting(random, [paper]), paper };
}

export function randomColour(random: Random): Colour {
  return [random(), random(), random()];
}

/** A colour that can be read on all of `others`; black or white when none is found. */
export function contrasting(random: Random, others: readonly Colour[]): Colour {
  const least = between(random, 0.3, 0.6);
  const worst = (colour: Colour) => Math.min(...others.map((other) => contrast(colour, other)));
  for (let attempt = 0; attempt < 20; attempt += 1) {
    const colour = randomColour(random);
    if (worst(colour) >= least) return colour;
  }
  return worst([0, 0, 0]) > worst([1, 1, 1]) ? [0, 0, 0] : [1, 1, 1];
}

/** A colour close to `colour`. */
export function shade(random: Random, colour: Colour, distance: number): Colour {
  return mix(colour, randomColour(random), between(random, 0, distance));
}

function nearGrey(random: Random, low: number, high: number): Colour {
  const grey = between(random, low, high);
  const tint = () => clamp(grey + between(random, -0.06, 0.06));
  return random() < 0.5 ? [grey, grey, grey] : [tint(), tint(), tint()];
}

function clamp(value: number): number {
  return Math.max(0, Math.min(1, value));
}
