// Turns what a command printed into the picture of a terminal for the README:
//   npm run --silent quickstart -- --once 2>&1 | node scripts/terminal-picture.mjs "npm run quickstart -- --once" > docs/quickstart.svg

import { text } from "node:stream/consumers";

const FONT_PX = 14;
const LINE_PX = 20;
const CHAR_PX = FONT_PX * 0.602;
const MARGIN_PX = 20;
const BAR_PX = 34;
const MAX_CHARS = 120;

const COLOURS = { text: "#d8dee9", dim: "#7b8496", prompt: "#a3be8c", result: "#ebcb8b" };

// biome-ignore lint/suspicious/noControlCharactersInRegex: these are the codes that terminals obey
const ESCAPES = /\u001b\[[0-9;?]*[A-Za-z]|\r/g;

const command = process.argv[2] ?? "";
const printed = (await text(process.stdin))
  // A key that was shown once must not be shown to everybody.
  .replace(/\b(lg[kw]_[0-9A-Za-z]{4})[0-9A-Za-z_]+/g, "$1…")
  .replaceAll(process.env.HOME ?? "\0", "~")
  .replace(ESCAPES, "")
  .trimEnd()
  .split("\n");
const lines = [`$ ${command}`, ...printed].flatMap(wrap);

const widthPx = Math.round(Math.max(...lines.map((line) => line.length), 80) * CHAR_PX) + 2 * MARGIN_PX;
const heightPx = BAR_PX + lines.length * LINE_PX + MARGIN_PX;

process.stdout.write(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${widthPx} ${heightPx}" width="${widthPx}" role="img" aria-label="${escapeXml(command)}">
<rect width="100%" height="100%" rx="8" fill="#1e222a"/>
<circle cx="20" cy="17" r="6" fill="#bf616a"/><circle cx="40" cy="17" r="6" fill="#ebcb8b"/><circle cx="60" cy="17" r="6" fill="#a3be8c"/>
<g font-family="ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace" font-size="${FONT_PX}" xml:space="preserve">
${lines.map(lineSvg).join("\n")}
</g>
</svg>
`);

function wrap(line) {
  const parts = line.match(new RegExp(`.{1,${MAX_CHARS}}`, "g"));
  return parts ?? [""];
}

function lineSvg(line, index) {
  const y = BAR_PX + index * LINE_PX + FONT_PX;
  return `<text x="${MARGIN_PX}" y="${y}" fill="${colourOf(line, index)}">${escapeXml(line)}</text>`;
}

function colourOf(line, index) {
  if (index === 0) return COLOURS.prompt;
  if (/^\s*\S+\s+\d+(\.\d+)? ?%/.test(line)) return COLOURS.result;
  return /^(>|\s*$|npm|Installing|Building)/.test(line) ? COLOURS.dim : COLOURS.text;
}

function escapeXml(value) {
  return value
    .replaceAll("&", "&amp;")
    .replaceAll("<", "&lt;")
    .replaceAll(">", "&gt;")
    .replaceAll('"', "&quot;");
}
