/** Printed digits: outlines from the fonts of this folder's package.json. Some families are kept for the measurement. */

import { readdir, readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import opentype, { type PathCommand } from "opentype.js";
import type { Outline, Segment } from "./geometry.ts";

const TRAINING = `
roboto open-sans lato montserrat inter poppins nunito noto-sans source-sans-3 raleway oswald
archivo-narrow work-sans karla exo-2 quicksand josefin-sans arimo noto-serif lora crimson-text
eb-garamond libre-baskerville pt-serif roboto-slab tinos bitter abril-fatface zilla-slab
old-standard-tt roboto-mono source-code-pro jetbrains-mono inconsolata courier-prime ibm-plex-mono
vt323 patrick-hand indie-flower shadows-into-light permanent-marker gloria-hallelujah
architects-daughter handlee reenie-beanie covered-by-your-grace rock-salt schoolbell neucha
nanum-pen-script short-stack annie-use-your-telescope the-girl-next-door cedarville-cursive
sue-ellen-francisco delius itim playpen-sans shantell-sans mansalva dancing-script pacifico lobster
bangers luckiest-guy fredoka righteous baloo-2 alfa-slab-one special-elite orbitron chewy satisfy
courgette kaushan-script black-ops-one press-start-2p sigmar-one bowlby-one-sc rammetto-one
lilita-one paytone-one passion-one knewave sniglet londrina-solid archivo-black shrikhand bad-script
marck-script gaegu poor-story yomogi sriracha nanum-brush-script damion delicious-handrawn
finger-paint swanky-and-moo-moo mr-de-haviland sacramento bodoni-moda dm-serif-display
cormorant-garamond prata yeseva-one rufina libre-caslon-text gloock im-fell-english barlow-condensed
league-gothic saira-extra-condensed
`;

/** Never seen in training: serif, sans, mono, handwriting and display. */
const HELD_OUT = `
merriweather ubuntu fira-mono caveat kalam gochi-hand comic-neue bebas-neue playfair-display dm-sans
homemade-apple titan-one
`;

const names = (text: string) => text.trim().split(/\s+/);
export const TRAINING_FAMILIES: readonly string[] = names(TRAINING);
export const HELD_OUT_FAMILIES: readonly string[] = names(HELD_OUT);

/** One weight and style of a family. */
export interface Face {
  readonly family: string;
  /** By digit. */
  readonly digits: readonly Outline[];
}

const FILE = /-latin-(200|300|400|700|900)-(normal|italic)\.woff$/;

export async function loadFaces(families: readonly string[]): Promise<Face[]> {
  const perFamily = await Promise.all(families.map(loadFamily));
  return perFamily.flat();
}

async function loadFamily(family: string): Promise<Face[]> {
  const folder = new URL(`./node_modules/@fontsource/${family}/files/`, import.meta.url);
  const files = (await readdir(folder)).filter((file) => FILE.test(file)).sort();
  if (files.length === 0)
    throw new Error(`No face of ${family} in ${fileURLToPath(folder)}; run npm install here.`);
  return await Promise.all(
    files.map(async (file) => readFace(family, await readFile(new URL(file, folder)))),
  );
}

function readFace(family: string, bytes: Uint8Array): Face {
  const font = opentype.parse(Uint8Array.from(bytes).buffer);
  const digits = Array.from({ length: 10 }, (_, digit) => {
    const glyph = font.charToGlyph(String(digit));
    if (glyph.index === 0) throw new Error(`${family} has no ${digit}`);
    return glyph.getPath(0, 0, 1).commands.map(toSegment);
  });
  return { family, digits };
}

function toSegment(command: PathCommand): Segment {
  const { type, x = 0, y = 0, x1 = 0, y1 = 0, x2 = 0, y2 = 0 } = command;
  if (type === "Z") return { type, points: [] };
  if (type === "C")
    return {
      type,
      points: [
        { x: x1, y: y1 },
        { x: x2, y: y2 },
        { x, y },
      ],
    };
  if (type === "Q")
    return {
      type,
      points: [
        { x: x1, y: y1 },
        { x, y },
      ],
    };
  return { type, points: [{ x, y }] };
}
