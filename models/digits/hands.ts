/**
 * Digits as a hand draws them: what the pen does for each way of writing a digit, with random proportions.
 * Coordinates: x from 0 to about 0.6, y from 0 (top) to 1.
 */

import { arc, type Point, rounded, type Stroke } from "./geometry.ts";

export type Hand = (vary: Vary) => Stroke[];
/** A number near `middle`. */
export type Vary = (middle: number, spread?: number) => number;

const at = (x: number, y: number): Point => ({ x, y });

const zero: Hand = (v) => {
  const start = v(-80, 40);
  return [arc(at(0.3, 0.5), at(v(0.29, 0.07), 0.5), start, start - v(358, 18))];
};
const slashedZero: Hand = (v) => [...zero(v), [at(v(0.45), v(0.25)), at(v(0.15), v(0.75))]];

const one: Hand = (v) => [[at(v(0.3, 0.03), 0), at(v(0.3, 0.03), 1)]];
const flaggedOne: Hand = (v) => [
  [at(v(0.08, 0.06), v(0.24, 0.08)), at(v(0.32, 0.03), 0), at(v(0.32, 0.03), 1)],
];
const basedOne: Hand = (v) => [
  [at(v(0.1), v(0.22, 0.06)), at(0.32, 0), at(v(0.32, 0.02), 1)],
  [at(v(0.08), 1), at(v(0.56), v(1, 0.02))],
];

const two: Hand = (v) => [
  [
    ...arc(at(0.29, 0.28), at(v(0.28), 0.28), v(-170, 15), v(25, 15)),
    at(v(0.28, 0.06), v(0.68)),
    at(0, v(0.98, 0.03)),
    at(v(0.6), v(0.98, 0.03)),
  ],
];
const loopedTwo: Hand = (v) => [
  rounded([
    ...arc(at(0.29, 0.27), at(v(0.26), 0.27), v(-165, 15), v(20, 15)),
    at(v(0.25), 0.7),
    at(0.08, v(0.95, 0.02)),
    at(-0.02, v(0.9, 0.02)),
    at(0.06, v(0.8, 0.02)),
    at(0.22, v(0.87, 0.03)),
    at(0.42, v(0.97, 0.03)),
    at(v(0.62), v(0.9, 0.05)),
  ]),
];
const angularTwo: Hand = (v) => [
  [at(0, v(0.15)), at(v(0.2), 0), at(v(0.5), v(0.06, 0.03)), at(v(0.5), v(0.3)), at(0, 1), at(v(0.58), 1)],
];

const three: Hand = (v) => [
  [
    ...arc(at(0.26, 0.25), at(v(0.26, 0.03), 0.25), v(-150, 20), v(75, 12)),
    ...arc(at(0.26, 0.74), at(v(0.31, 0.03), v(0.26, 0.02)), v(-80, 12), v(150, 20)),
  ],
];
const flatThree: Hand = (v) => [
  [
    at(v(0.02), v(0.01, 0.02)),
    at(v(0.52), v(0.01, 0.02)),
    at(v(0.24), v(0.4)),
    ...arc(at(0.24, 0.7), at(v(0.32), v(0.3, 0.02)), v(-80, 12), v(150, 18)),
  ],
];

const openFour: Hand = (v) => [
  [at(v(0.1, 0.07), v(0, 0.06)), at(v(0.02, 0.03), v(0.55, 0.06)), at(v(0.62), v(0.56, 0.06))],
  [at(v(0.44), v(0.05, 0.12)), at(v(0.41), 1)],
];
const cupFour: Hand = (v) => [
  rounded([
    at(v(0.04), v(0, 0.05)),
    at(v(0.02), 0.35),
    at(v(0.08), 0.53),
    at(0.3, v(0.56, 0.03)),
    at(v(0.47), v(0.5)),
  ]),
  [at(v(0.47), v(0, 0.05)), at(v(0.46), 1)],
];
const closedFour: Hand = (v) => {
  const top = at(v(0.42), 0);
  return [
    [top, at(0, v(0.66)), at(v(0.64), v(0.67))],
    [top, at(v(0.43), 1)],
  ];
};
const singleStrokeFour: Hand = (v) => [
  [at(v(0.6), v(0.63)), at(0, v(0.64)), at(v(0.42, 0.03), 0), at(v(0.42, 0.03), 1)],
];

/** The arm ends at the stem, which leans and goes far up. */
const boltFour: Hand = (v) => {
  const stem = v(0.5, 0.06);
  return [
    [at(v(0.22, 0.1), v(0, 0.06)), at(v(0.02, 0.03), v(0.52, 0.06)), at(stem + v(0.02, 0.04), v(0.55, 0.05))],
    [at(stem, v(0.08, 0.14)), at(stem - v(0.08, 0.08), 1)],
  ];
};

const fiveBelly = (v: Vary) => arc(at(0.24, 0.68), at(v(0.32), v(0.31, 0.03)), v(-125, 12), v(145, 20));
const five: Hand = (v) => [
  [at(v(0.54), v(0, 0.03)), at(v(0.1, 0.03), 0.01), at(v(0.06, 0.03), v(0.44)), ...fiveBelly(v)],
];
const hattedFive: Hand = (v) => [
  [at(v(0.1, 0.03), v(0.02, 0.03)), at(v(0.06, 0.03), v(0.44)), ...fiveBelly(v)],
  [at(v(0.1), v(0.01, 0.03)), at(v(0.55), v(0, 0.05))],
];
const curlyFive: Hand = (v) => [rounded(five(v)[0] ?? [])];

const six: Hand = (v) => [
  [
    at(v(0.45, 0.08), v(0, 0.02)),
    at(v(0.24), v(0.17, 0.03)),
    at(v(0.08, 0.03), v(0.42, 0.03)),
    ...arc(at(0.28, 0.72), at(v(0.27), v(0.28, 0.03)), 185, v(-165, 35)),
  ],
];
const straightSix: Hand = (v) => [
  [at(v(0.42, 0.1), 0), ...arc(at(0.28, 0.71), at(v(0.27), v(0.28, 0.03)), v(200, 10), v(-160, 35))],
];

const smallLoopedSix: Hand = (v) => {
  const loop = v(0.2, 0.03);
  return [[at(v(0.45, 0.1), 0), ...arc(at(0.25, 1 - loop), at(v(0.22), loop), v(195, 10), v(-165, 25))]];
};

const seven: Hand = (v) => [[at(0, v(0.02, 0.03)), at(v(0.57), v(0.01, 0.03)), at(v(0.2, 0.1), 1)]];
const barredSeven: Hand = (v) => [...seven(v), [at(v(0.14), v(0.52)), at(v(0.54), v(0.5))]];
const hookedSeven: Hand = (v) => [
  [at(0, v(0.17)), at(v(0.02, 0.02), v(0.01, 0.02)), at(v(0.57), v(0.01, 0.03)), at(v(0.22, 0.1), 1)],
];
const curvedSeven: Hand = (v) => [
  rounded([
    at(0, v(0.03)),
    at(v(0.3), v(0.03, 0.03)),
    at(v(0.58), 0.02),
    at(v(0.34), v(0.45)),
    at(v(0.22), 1),
  ]),
];

const wavySeven: Hand = (v) => [
  rounded([
    at(0, v(0.12)),
    at(v(0.06, 0.03), v(0.01, 0.03)),
    at(v(0.3), v(0.09, 0.04)),
    at(v(0.57), v(0.01, 0.03)),
    at(v(0.35), v(0.4)),
    at(v(0.24, 0.08), 1),
  ]),
  ...(v(0.5, 0.5) < 0.5 ? [[at(v(0.08), v(0.52)), at(v(0.56), v(0.5))]] : []),
];
const bentTwo: Hand = (v) => [
  rounded([
    at(v(0.02), v(0.2)),
    at(v(0.18), v(0, 0.02)),
    at(v(0.5), v(0.02)),
    at(v(0.52), v(0.35)),
    at(v(0.2), v(0.75)),
    at(v(-0.05), v(0.98, 0.02)),
  ]),
  [at(v(-0.04), v(0.98, 0.02)), at(v(0.65, 0.1), v(0.98, 0.05))],
];

const eight: Hand = (v) => {
  const [top, bottom] = [at(v(0.22), 0.24), at(v(0.28), 0.27)];
  const start = v(-35, 25);
  return [
    [
      ...arc(at(0.3, 0.24), top, start, -262),
      ...arc(at(0.3, 0.73), bottom, -82, 262),
      ...arc(at(0.3, 0.24), top, 82, v(-20, 20)),
    ],
  ];
};
const ring = (v: Vary, centre: Point, radius: Point) => {
  const start = v(-90, 60);
  return arc(centre, radius, start, start - v(365, 15));
};
const stackedEight: Hand = (v) => [
  ring(v, at(v(0.3, 0.03), 0.24), at(v(0.23), v(0.24, 0.02))),
  ring(v, at(0.3, 0.73), at(v(0.28), v(0.26, 0.02))),
];

const nineHead = (v: Vary) => arc(at(0.27, 0.27), at(v(0.26), v(0.27, 0.03)), v(-25, 20), v(-365, 15));
const nine: Hand = (v) => [[...nineHead(v), at(v(0.5), v(0.6)), at(v(0.46, 0.1), 1)]];
const straightNine: Hand = (v) => [nineHead(v), [at(v(0.52, 0.03), v(0.12)), at(v(0.5), 1)]];
const smallHeadedNine: Hand = (v) => {
  const head = v(0.2, 0.03);
  return [[...arc(at(0.25, head), at(v(0.22), head), v(-15, 15), v(-365, 15)), at(v(0.4, 0.12), 1)]];
};
const tailedNine: Hand = (v) => [
  [
    ...nineHead(v),
    at(v(0.52, 0.03), 0.55),
    at(v(0.46), v(0.82)),
    at(v(0.28), v(0.99, 0.02)),
    at(v(0.05), v(0.9)),
  ],
];

/** By digit; repetition is frequency. */
export const HANDS: readonly (readonly Hand[])[] = [
  [zero, zero, zero, zero, zero, slashedZero],
  [one, one, flaggedOne, flaggedOne, basedOne],
  [two, two, two, loopedTwo, angularTwo, bentTwo],
  [three, three, three, flatThree],
  [openFour, openFour, boltFour, boltFour, cupFour, closedFour, closedFour, singleStrokeFour],
  [five, five, hattedFive, hattedFive, curlyFive],
  [six, six, straightSix, smallLoopedSix],
  [seven, seven, barredSeven, barredSeven, hookedSeven, curvedSeven, wavySeven],
  [eight, eight, stackedEight],
  [nine, nine, straightNine, smallHeadedNine, tailedNine],
];
