/** Facts about graphics cards as their makers publish them: the memory that a card is sold with, and how fast it is on paper. */

export type CardVendor = "AMD" | "NVIDIA" | "Intel" | "Apple";

export const CARD_FAMILIES = [
  ...["GCN", "Polaris", "Vega", "RDNA1", "RDNA2", "RDNA3"],
  ...["Kepler", "Maxwell", "Pascal", "Volta", "Turing", "Ampere", "Ada"],
  ...["Gen7", "Gen8", "Gen9", "Gen11", "Xe", "Arc"],
  "Apple M",
] as const;
export type CardFamily = (typeof CARD_FAMILIES)[number];

/** Name as drivers write it, a regular expression; FP32 TFLOPS, rough; GiB of memory that it is sold with, none when it shares the machine's. */
export type CardRow = readonly [name: string, tflops: number, ...gib: readonly number[]];

export interface FamilyRows {
  readonly family: CardFamily;
  readonly vendor: CardVendor;
  /** Names of chips and of driver targets, for cards whose own name says nothing. */
  readonly chips?: RegExp;
  readonly cards: readonly CardRow[];
}

// biome-ignore format: a table is read by its columns
export const CARD_TABLE: readonly FamilyRows[] = [
  { vendor: "AMD", family: "GCN", chips: /\b(tahiti|pitcairn|bonaire|hawaii|tonga|fiji|verde|oland|gcn-[1-3])\b/, cards: [
    ["HD 7770", 1.3, 1], ["HD 7850", 1.8, 1, 2], ["HD 7870", 2.6, 2], ["HD 7950", 2.9, 3], ["HD 7970", 3.8, 3, 6],
    ["R7 260X", 2.0, 1, 2], ["R7 370", 2.0, 2, 4], ["R9 270", 2.3, 2], ["R9 270X", 2.7, 2, 4], ["R9 280", 3.3, 3], ["R9 280X", 4.1, 3],
    ["R9 285", 3.3, 2], ["R9 290", 4.8, 4], ["R9 290X", 5.6, 4, 8], ["R9 380", 3.5, 2, 4], ["R9 380X", 4.0, 4], ["R9 390", 5.1, 8],
    ["R9 390X", 5.9, 8], ["R9 Nano", 8.2, 4], ["R9 Fury", 7.2, 4], ["R9 Fury X", 8.6, 4],
  ] },
  { vendor: "AMD", family: "Polaris", chips: /\b(polaris\d*|ellesmere|baffin|lexa|gcn-4|gfx803)\b/, cards: [
    ["RX 460", 2.2, 2, 4], ["RX 470", 4.9, 4, 8], ["RX 480", 5.8, 4, 8], ["RX 550", 1.2, 2, 4], ["RX 560", 2.6, 2, 4],
    ["RX 570", 5.1, 4, 8], ["RX 580", 6.2, 4, 8], ["RX 590", 7.1, 8], ["WX 4100", 2.4, 4], ["WX 5100", 3.9, 8], ["WX 7100", 5.7, 8],
  ] },
  { vendor: "AMD", family: "Vega", chips: /\b(vega ?\d*|raven2?|picasso|renoir|lucienne|cezanne|barcelo|gcn-5|gfx90\w)\b/, cards: [
    ["(?:RX )?Vega 56", 10.5, 8], ["(?:RX )?Vega 64", 12.7, 8], ["Radeon VII", 13.4, 16], ["Vega Frontier Edition", 13.1, 16],
    ["Vega 8", 1.1], ["Vega 11", 1.8], ["MI25", 12.3, 16], ["MI50", 13.4, 16, 32],
  ] },
  { vendor: "AMD", family: "RDNA1", chips: /\b(navi1\d|gfx101\d|rdna-1)\b/, cards: [
    ["RX 5500", 4.6, 4, 8], ["RX 5500 XT", 5.2, 4, 8], ["RX 5600 XT", 7.2, 6], ["RX 5700", 7.9, 8], ["RX 5700 XT", 9.8, 8],
  ] },
  { vendor: "AMD", family: "RDNA2", chips: /\b(navi2\d|gfx103\d|rdna-2|rembrandt|van ?gogh)\b/, cards: [
    ["RX 6400", 3.6, 4], ["RX 6500 XT", 5.8, 4, 8], ["RX 6600", 8.9, 8], ["RX 6600 XT", 10.6, 8], ["RX 6650 XT", 10.8, 8],
    ["RX 6700", 11.3, 10], ["RX 6700 XT", 13.2, 12], ["RX 6750 XT", 13.3, 12], ["RX 6800", 16.2, 16], ["RX 6800 XT", 20.7, 16],
    ["RX 6900 XT", 23.0, 16], ["RX 6950 XT", 23.7, 16],
  ] },
  { vendor: "AMD", family: "RDNA3", chips: /\b(navi3\d|gfx110\d|rdna-3|phoenix)\b/, cards: [
    ["RX 7600", 21.8, 8], ["RX 7600 XT", 22.6, 16], ["RX 7700 XT", 35.2, 12], ["RX 7800 XT", 37.3, 16], ["RX 7900 GRE", 46.0, 16],
    ["RX 7900 XT", 51.5, 20], ["RX 7900 XTX", 61.4, 24],
  ] },
  { vendor: "NVIDIA", family: "Kepler", chips: /\b(gk[12]\d\d\w?|kepler)\b/, cards: [
    ["GTX 650", 0.8, 1, 2], ["GTX 650 Ti", 1.4, 1, 2], ["GTX 660", 1.9, 2], ["GTX 660 Ti", 2.5, 2, 3], ["GTX 670", 2.5, 2, 4],
    ["GTX 680", 3.1, 2, 4], ["GTX 760", 2.3, 2, 4], ["GTX 770", 3.2, 2, 4], ["GTX 780", 4.0, 3], ["GTX 780 Ti", 5.0, 3],
    ["Tesla K20", 3.5, 5], ["Tesla K40", 4.3, 12], ["Tesla K80", 4.1, 12],
  ] },
  { vendor: "NVIDIA", family: "Maxwell", chips: /\b(gm[12]\d\d\w?|maxwell)\b/, cards: [
    ["GTX 750", 1.0, 1, 2], ["GTX 750 Ti", 1.3, 2, 4], ["GTX 950", 1.6, 2], ["GTX 960", 2.3, 2, 4], ["GTX 970", 3.9, 4],
    ["GTX 980", 5.0, 4], ["GTX 980 Ti", 6.1, 6], ["GTX TITAN X", 6.6, 12], ["Tesla M40", 6.8, 12, 24], ["Tesla M60", 4.8, 8],
  ] },
  { vendor: "NVIDIA", family: "Pascal", chips: /\b(gp10\d\w?|pascal)\b/, cards: [
    ["GT 1030", 1.1, 2], ["GTX 1050", 1.9, 2, 3], ["GTX 1050 Ti", 2.1, 4], ["GTX 1060", 4.4, 3, 6], ["GTX 1070", 6.5, 8],
    ["GTX 1070 Ti", 8.2, 8], ["GTX 1080", 8.9, 8], ["GTX 1080 Ti", 11.3, 11], ["TITAN Xp", 12.1, 12],
    ["Quadro P2000", 3.0, 5], ["Tesla P4", 5.5, 8], ["Tesla P40", 11.8, 24], ["Tesla P100", 9.5, 12, 16],
  ] },
  { vendor: "NVIDIA", family: "Volta", chips: /\b(gv100|volta)\b/, cards: [
    ["TITAN V", 14.9, 12], ["(?:Tesla )?V100", 14.0, 16, 32],
  ] },
  { vendor: "NVIDIA", family: "Turing", chips: /\b(tu1[01]\d\w?|turing)\b/, cards: [
    ["GTX 1630", 1.8, 4], ["GTX 1650", 3.0, 4], ["GTX 1650 SUPER", 4.4, 4], ["GTX 1660", 5.0, 6], ["GTX 1660 SUPER", 5.0, 6],
    ["GTX 1660 Ti", 5.4, 6], ["RTX 2060", 6.5, 6, 12], ["RTX 2060 SUPER", 7.2, 8], ["RTX 2070", 7.5, 8], ["RTX 2070 SUPER", 9.1, 8],
    ["RTX 2080", 10.1, 8], ["RTX 2080 SUPER", 11.2, 8], ["RTX 2080 Ti", 13.5, 11], ["TITAN RTX", 16.3, 24], ["(?:Tesla|NVIDIA) T4", 8.1, 16],
  ] },
  { vendor: "NVIDIA", family: "Ampere", chips: /\b(ga10\d\w?|ampere)\b/, cards: [
    ["RTX 3050", 9.1, 6, 8], ["RTX 3060", 12.7, 8, 12], ["RTX 3060 Ti", 16.2, 8], ["RTX 3070", 20.3, 8], ["RTX 3070 Ti", 21.7, 8],
    ["RTX 3080", 29.8, 10, 12], ["RTX 3080 Ti", 34.1, 12], ["RTX 3090", 35.6, 24], ["RTX 3090 Ti", 40.0, 24],
    ["RTX A2000", 8.0, 6, 12], ["RTX A4000", 19.2, 16], ["NVIDIA A10", 31.2, 24], ["A100", 19.5, 40, 80],
  ] },
  { vendor: "NVIDIA", family: "Ada", chips: /\b(ad10\d\w?)\b/, cards: [
    ["RTX 4060", 15.1, 8], ["RTX 4060 Ti", 22.1, 8, 16], ["RTX 4070", 29.1, 12], ["RTX 4070 SUPER", 35.5, 12], ["RTX 4070 Ti", 40.1, 12],
    ["RTX 4070 Ti SUPER", 44.1, 16], ["RTX 4080", 48.7, 16], ["RTX 4080 SUPER", 52.2, 16], ["RTX 4090", 82.6, 24], ["NVIDIA L4", 30.3, 24],
  ] },
  { vendor: "Intel", family: "Gen7", chips: /\b(ivb|hsw|byt) gt\d\b/, cards: [
    ["HD Graphics 2500", 0.1], ["HD Graphics 4000", 0.3], ["HD Graphics 4400", 0.4], ["HD Graphics 4600", 0.4],
  ] },
  { vendor: "Intel", family: "Gen8", chips: /\b(bdw|chv) gt\d\b/, cards: [["HD Graphics 5500", 0.4], ["HD Graphics 6000", 0.8]] },
  { vendor: "Intel", family: "Gen9", chips: /\b(skl|kbl|cfl|cml|whl|bxt|glk|aml) gt\d\w?\b|\bgen-9\b/, cards: [
    ["HD Graphics 510", 0.2], ["HD Graphics 520", 0.4], ["HD Graphics 530", 0.4], ["HD Graphics 610", 0.2], ["HD Graphics 620", 0.4],
    ["HD Graphics 630", 0.4], ["UHD Graphics 600", 0.1], ["UHD Graphics 605", 0.2], ["UHD Graphics 610", 0.2], ["UHD Graphics 620", 0.4],
    ["UHD Graphics 630", 0.5], ["Iris Plus Graphics 6[45]\\d", 0.8], ["Iris Pro Graphics 580", 1.1],
  ] },
  { vendor: "Intel", family: "Gen11", chips: /\b(icl|ehl|jsl) gt\d\b/, cards: [["Iris Plus Graphics G7", 1.1], ["UHD Graphics G1", 0.6]] },
  { vendor: "Intel", family: "Xe", chips: /\b(tgl|rkl|adl|rpl)(-\w+)? gt\d\b|\bgen-12lp\b/, cards: [
    ["UHD Graphics 730", 0.6], ["UHD Graphics 750", 0.7], ["UHD Graphics 770", 0.8], ["Iris Xe Graphics", 2.1],
  ] },
  { vendor: "Intel", family: "Arc", chips: /\b(dg2|bmg|gen-12hp)\b|\barc\b/, cards: [
    ["Arc A310", 3.1, 4], ["Arc A380", 4.2, 6], ["Arc A580", 12.3, 8], ["Arc A750", 17.2, 8], ["Arc A770", 19.7, 8, 16],
    ["Arc B570", 11.5, 10], ["Arc B580", 13.7, 12],
  ] },
  { vendor: "Apple", family: "Apple M", chips: /\bapple m\d\b/, cards: [
    ["Apple M1", 2.6], ["Apple M1 Pro", 5.2], ["Apple M1 Max", 10.4], ["Apple M1 Ultra", 20.8], ["Apple M2", 3.6], ["Apple M2 Pro", 6.8],
    ["Apple M2 Max", 13.6], ["Apple M3", 3.5], ["Apple M3 Pro", 6.4], ["Apple M3 Max", 14.2], ["Apple M4", 4.3],
  ] },
];
