/** Draws a picture of a digit the way somebody somewhere will: any size, colour, hand, font and file format. */

import sharp, { type Sharp } from "sharp";
import { between, gaussian, pick, type Random } from "../onnx/random.ts";
import { backgroundSvg } from "./background.ts";
import { contrast, contrasting, MID_GREY, mix, randomPair, shade, toHex } from "./colours.ts";
import type { Face } from "./fonts.ts";
import {
  type Box,
  boundingBox,
  type Mapping,
  mapOutline,
  outlinePoints,
  outlineToSvg,
  randomDistortion,
  type Stroke,
  strokeToSvg,
} from "./geometry.ts";
import { writeDigit } from "./strokes.ts";

export interface Size {
  readonly width: number;
  readonly height: number;
}

/** The picture as a file. Without a face, the digit is written by hand. */
export async function drawPicture(random: Random, digit: number, face?: Face): Promise<Uint8Array> {
  const size = randomSize(random);
  const isTransparent = random() < 0.07;
  const pair = randomPair(random);
  const paper = isTransparent ? MID_GREY : pair.paper;
  const ink = contrast(pair.ink, paper) > 0.25 ? pair.ink : contrasting(random, [paper]);
  const paint = { ink: toHex(ink), paper, size };
  const shape = face === undefined ? handwriting(random, digit, paint) : print(random, digit, face, paint);
  const background = isTransparent ? "" : backgroundSvg(random, { ...size, paper, ink });
  const edges = random() < 0.1 ? "crispEdges" : "auto";
  const svg =
    `<svg xmlns="http://www.w3.org/2000/svg" width="${size.width}" height="${size.height}">` +
    `${background}<g shape-rendering="${edges}">${shape}</g></svg>`;
  return await develop(random, sharp(Buffer.from(svg)), { ...size, isTransparent });
}

function randomSize(random: Random): Size {
  const side = random() < 0.03 ? 336 * 3 ** random() : 24 * 14 ** random();
  const aspect = random() < 0.55 ? 1 : 2 ** between(random, -1.1, 1.1);
  const round = (length: number) => Math.max(20, Math.round(length));
  return { width: round(side * Math.min(1, aspect)), height: round(side * Math.min(1, 1 / aspect)) };
}

interface Paint {
  readonly ink: string;
  readonly paper: readonly [number, number, number];
  readonly size: Size;
}

function print(random: Random, digit: number, face: Face, { ink, paper, size }: Paint): string {
  const distort = randomDistortion(random, { rotationDegrees: 20, shear: 0.3, stretch: 1.6, wave: 0.015 });
  const outline = mapOutline(face.digits[digit] ?? [], distort);
  const place = placement(random, boundingBox(outlinePoints(outline)), size);
  const path = outlineToSvg(mapOutline(outline, place));
  const line = place({ x: 0, y: 1 }).y - place({ x: 0, y: 0 }).y;
  const kind = random();
  if (kind < 0.07) {
    return `<path d="${path}" fill="none" stroke="${ink}" stroke-width="${(line * between(random, 0.02, 0.05)).toFixed(2)}"/>`;
  }
  const fill = `<path d="${path}" fill="${ink}"/>`;
  if (kind < 0.14) {
    const edge = toHex(contrasting(random, [paper]));
    return `${fill}<path d="${path}" fill="none" stroke="${edge}" stroke-width="${(line * 0.03).toFixed(2)}"/>`;
  }
  if (kind < 0.2) {
    const shadow = toHex(mix(paper, [0, 0, 0], between(random, 0.1, 0.35)));
    const offset = (line * between(random, 0.02, 0.06)).toFixed(2);
    return `<path d="${path}" fill="${shadow}" transform="translate(${offset} ${offset})"/>${fill}`;
  }
  return fill;
}

function handwriting(random: Random, digit: number, { ink, paper, size }: Paint): string {
  const distort = randomDistortion(random, { rotationDegrees: 20, shear: 0.35, stretch: 1.8, wave: 0.03 });
  const strokes = writeDigit(random, digit).map((stroke) => stroke.map(distort));
  const pen = 0.025 * 10 ** random();
  const place = placement(random, grown(boundingBox(strokes.flat()), pen / 2), size);
  const line = place({ x: 0, y: 1 }).y - place({ x: 0, y: 0 }).y;
  const width = Math.max(pen * line, 1);
  const cap = pick(random, ["round", "round", "round", "butt", "square"]);
  const style = `fill="none" stroke-linecap="${cap}" stroke-linejoin="${cap === "butt" ? "miter" : "round"}"`;
  const colour = random() < 0.1 ? toHex(shade(random, contrasting(random, [paper]), 0.1)) : ink;
  const placed = strokes.map((stroke) => stroke.map(place));
  const body =
    random() < 0.25
      ? placed.map((stroke) => brush(random, stroke, width)).join("")
      : `<path d="${placed.map(strokeToSvg).join("")}" stroke-width="${width.toFixed(2)}"/>`;
  return `<g ${style} stroke="${colour}">${body}</g>`;
}

/** A stroke whose width follows the pressure of the hand. */
function brush(random: Random, stroke: Stroke, width: number): string {
  const [speed, phase, depth] = [between(random, 0.1, 0.6), between(random, 0, 6), between(random, 0.1, 0.5)];
  return stroke
    .slice(1)
    .map((point, index) => {
      const pressure = 1 + depth * Math.sin(index * speed + phase);
      return `<path d="${strokeToSvg([stroke[index] ?? point, point])}" stroke-width="${(width * pressure).toFixed(2)}"/>`;
    })
    .join("");
}

/** Where the digit goes: a share of the picture, anywhere in it, more often near the middle. */
function placement(random: Random, box: Box, { width, height }: Size): Mapping {
  // In a long picture a small share of the short side would leave nothing to see.
  const least = Math.min(0.6, (0.25 * Math.max(width, height)) / Math.min(width, height));
  const share = random() < 0.08 ? between(random, 0.95, 1.02) : least + (0.95 - least) * random() ** 0.7;
  const scale = share * Math.min(width / box.width, height / box.height);
  const shift = (room: number) =>
    room * (random() < 0.5 ? random() : Math.max(0, Math.min(1, 0.5 + 0.12 * gaussian(random))));
  const left = shift(Math.max(0, width - box.width * scale)) - box.left * scale;
  const top = shift(Math.max(0, height - box.height * scale)) - box.top * scale;
  return ({ x, y }) => ({ x: left + x * scale, y: top + y * scale });
}

function grown({ left, top, width, height }: Box, margin: number): Box {
  return { left: left - margin, top: top - margin, width: width + 2 * margin, height: height + 2 * margin };
}

interface Film extends Size {
  readonly isTransparent: boolean;
}

/** What cameras, editors and file formats do to a picture. */
async function develop(random: Random, drawing: Sharp, film: Film): Promise<Uint8Array> {
  let picture = drawing;
  const side = Math.min(film.width, film.height);
  if (random() < 0.06) picture = await coarse(random, picture, film);
  if (random() < 0.15) picture = picture.blur(0.3 + (side / 80) * random());
  if (!film.isTransparent) {
    picture = picture.removeAlpha();
    if (random() < 0.25) picture = await grainy(random, picture, film);
  }
  const format = random();
  if (format < 0.35 && !film.isTransparent) {
    return await picture.jpeg({ quality: Math.round(between(random, 25, 95)) }).toBuffer();
  }
  if (format < 0.42) return await picture.webp({ quality: 80, effort: 0 }).toBuffer();
  return await picture.png({ compressionLevel: 1 }).toBuffer();
}

/** Scaled up from a much smaller picture, sharp-edged or soft. */
async function coarse(random: Random, picture: Sharp, { width, height }: Size): Promise<Sharp> {
  const factor = Math.min(1, between(random, 18, 36) / Math.min(width, height));
  const small = { width: Math.ceil(width * factor), height: Math.ceil(height * factor) };
  const kernel = pick(random, ["nearest", "cubic", "cubic"] as const);
  const shrunk = await picture
    .resize({ ...small, fit: "fill" })
    .png()
    .toBuffer();
  return sharp(shrunk).resize({ width, height, kernel, fit: "fill" });
}

async function grainy(random: Random, picture: Sharp, { width, height }: Size): Promise<Sharp> {
  const pixels = await picture.raw().toBuffer();
  const strength = between(random, 5, 40);
  for (let index = 0; index < pixels.length; index += 1) {
    const value = (pixels[index] ?? 0) + strength * (random() + random() - 1);
    pixels[index] = Math.max(0, Math.min(255, value));
  }
  return sharp(pixels, { raw: { width, height, channels: 3 } });
}
