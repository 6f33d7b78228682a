/** Points, paths, and the distortions that make every digit a little different. */

import { between, gaussian, type Random } from "../onnx/random.ts";

export interface Point {
  readonly x: number;
  readonly y: number;
}
export interface Segment {
  readonly type: "M" | "L" | "C" | "Q" | "Z";
  readonly points: readonly Point[];
}
/** A closed shape to be filled, as in SVG. */
export type Outline = readonly Segment[];
/** What a pen draws without being lifted. */
export type Stroke = readonly Point[];
export type Mapping = (point: Point) => Point;

export interface Box {
  readonly left: number;
  readonly top: number;
  readonly width: number;
  readonly height: number;
}

export function boundingBox(points: readonly Point[]): Box {
  const xs = points.map((point) => point.x);
  const ys = points.map((point) => point.y);
  const [left, top] = [Math.min(...xs), Math.min(...ys)];
  return { left, top, width: Math.max(...xs) - left, height: Math.max(...ys) - top };
}

export function outlinePoints(outline: Outline): Point[] {
  return outline.flatMap((segment) => segment.points);
}

export function mapOutline(outline: Outline, mapping: Mapping): Outline {
  return outline.map(({ type, points }) => ({ type, points: points.map(mapping) }));
}

export function outlineToSvg(outline: Outline): string {
  return outline.map(({ type, points }) => type + points.map(pointToSvg).join(" ")).join("");
}

export function strokeToSvg(stroke: Stroke): string {
  return `M${stroke.map(pointToSvg).join("L")}`;
}

function pointToSvg({ x, y }: Point): string {
  return `${x.toFixed(2)} ${y.toFixed(2)}`;
}

/** Angles in degrees, 0 to the right and 90 down. */
export function arc(centre: Point, radius: Point, from: number, to: number): Point[] {
  const steps = Math.max(4, Math.ceil(Math.abs(to - from) / 15));
  return Array.from({ length: steps + 1 }, (_, step) => {
    const angle = ((from + ((to - from) * step) / steps) * Math.PI) / 180;
    return { x: centre.x + radius.x * Math.cos(angle), y: centre.y + radius.y * Math.sin(angle) };
  });
}

/** Rounds the corners of a stroke (Chaikin), ends stay. */
export function rounded(stroke: Stroke): Stroke {
  const mixed = (a: Point, b: Point, share: number) => ({
    x: a.x + (b.x - a.x) * share,
    y: a.y + (b.y - a.y) * share,
  });
  const result: Point[] = [...stroke.slice(0, 1)];
  for (const [index, point] of stroke.slice(0, -1).entries()) {
    const next = stroke[index + 1] ?? point;
    result.push(mixed(point, next, 0.25), mixed(point, next, 0.75));
  }
  return [...result, ...stroke.slice(-1)];
}

export interface DistortionRange {
  readonly rotationDegrees: number;
  readonly shear: number;
  /** The greatest stretch of width against height, and of height against width. */
  readonly stretch: number;
  /** How far a point moves in a slow wave, as a share of the height. */
  readonly wave: number;
}

/** A random rotation, shear, stretch and wave for a digit of height 1. */
export function randomDistortion(random: Random, range: DistortionRange): Mapping {
  const spread = () => Math.max(-1, Math.min(1, gaussian(random) * 0.5));
  const angle = (spread() * range.rotationDegrees * Math.PI) / 180;
  const shear = spread() * range.shear;
  const stretch = range.stretch ** spread();
  const [waveX, waveY] = [randomWave(random, range.wave), randomWave(random, range.wave)];
  const [cos, sin] = [Math.cos(angle), Math.sin(angle)];
  return (point) => {
    const bent = { x: point.x + waveX(point), y: point.y + waveY(point) };
    const x = (bent.x + shear * bent.y) * stretch;
    return { x: x * cos - bent.y * sin, y: x * sin + bent.y * cos };
  };
}

function randomWave(random: Random, amplitude: number): (point: Point) => number {
  const height = gaussian(random) * amplitude;
  const [alongX, alongY, phase] = [between(random, -7, 7), between(random, -7, 7), between(random, 0, 7)];
  return ({ x, y }) => height * Math.sin(alongX * x + alongY * y + phase);
}
