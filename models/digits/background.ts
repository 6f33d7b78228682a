/** What is behind a digit: paper, gradients, ruled lines, patches, a frame. */

import { between, pick, type Random } from "../onnx/random.ts";
import { type Colour, contrast, mix, randomColour, shade, toHex } from "./colours.ts";

export interface Canvas {
  readonly width: number;
  readonly height: number;
  readonly paper: Colour;
  readonly ink: Colour;
}

export function backgroundSvg(random: Random, canvas: Canvas): string {
  const kind = random();
  const base = kind < 0.55 ? plain(canvas) : kind < 0.85 ? gradient(random, canvas) : patches(random, canvas);
  const extra = random();
  if (extra < 0.08) return base + ruledLines(random, canvas);
  if (extra < 0.16) return base + frame(random, canvas);
  return base;
}

function plain({ width, height, paper }: Canvas): string {
  return `<rect width="${width}" height="${height}" fill="${toHex(paper)}"/>`;
}

/** Another colour for the background, as different from the ink as the first, or the first. */
function secondPaper(random: Random, { paper, ink }: Canvas, distance: number): Colour {
  const candidate = shade(random, paper, distance);
  return contrast(candidate, ink) > 0.25 ? candidate : paper;
}

function gradient(random: Random, canvas: Canvas): string {
  const stops = [canvas.paper, secondPaper(random, canvas, 0.7)]
    .map((colour, index) => `<stop offset="${index}" stop-color="${toHex(colour)}"/>`)
    .join("");
  const position = () => between(random, -0.2, 1.2).toFixed(2);
  const definition =
    random() < 0.65
      ? `<linearGradient id="g" x1="${position()}" y1="${position()}" x2="${position()}" y2="${position()}">${stops}</linearGradient>`
      : `<radialGradient id="g" cx="${position()}" cy="${position()}" r="${between(random, 0.5, 1.2).toFixed(2)}">${stops}</radialGradient>`;
  return `<defs>${definition}</defs><rect width="${canvas.width}" height="${canvas.height}" fill="url(#g)"/>`;
}

function patches(random: Random, canvas: Canvas): string {
  const { width, height } = canvas;
  const count = Math.floor(between(random, 2, 9));
  const shapes = Array.from({ length: count }, () => {
    const fill = toHex(secondPaper(random, canvas, 0.35));
    const [x, y] = [between(random, 0, width).toFixed(1), between(random, 0, height).toFixed(1)];
    const [rx, ry] = [between(random, 0.1, 0.7) * width, between(random, 0.1, 0.7) * height];
    return `<ellipse cx="${x}" cy="${y}" rx="${rx.toFixed(1)}" ry="${ry.toFixed(1)}" fill="${fill}"/>`;
  });
  return plain(canvas) + shapes.join("");
}

/** A notebook's lines or squares, fainter than the ink. */
function ruledLines(random: Random, { width, height, paper, ink }: Canvas): string {
  const colour = toHex(mix(paper, random() < 0.5 ? ink : randomColour(random), between(random, 0.08, 0.3)));
  const distance = between(random, 0.08, 0.35) * Math.min(width, height);
  const start = random() * distance;
  let path = "";
  for (let y = start; y < height; y += distance) path += `M0 ${y.toFixed(1)}H${width}`;
  if (random() < 0.4) for (let x = start; x < width; x += distance) path += `M${x.toFixed(1)} 0V${height}`;
  const lineWidth = Math.max(0.7, Math.min(width, height) * between(random, 0.003, 0.012));
  return `<path d="${path}" stroke="${colour}" stroke-width="${lineWidth.toFixed(2)}"/>`;
}

/** The edge of a canvas or window that came into the picture. */
function frame(random: Random, { width, height, paper, ink }: Canvas): string {
  const colour = toHex(pick(random, [ink, [0, 0, 0], [1, 1, 1], randomColour(random)]));
  const line = Math.max(1, Math.min(width, height) * between(random, 0.005, 0.04));
  const inset = pick(random, [0, 0, line * 2]);
  return (
    `<rect x="${inset}" y="${inset}" width="${width - 2 * inset}" height="${height - 2 * inset}" ` +
    `fill="${toHex(paper)}" fill-opacity="0" stroke="${colour}" stroke-width="${line.toFixed(1)}"/>`
  );
}
