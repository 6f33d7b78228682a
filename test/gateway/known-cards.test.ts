import assert from "node:assert/strict";
import { test } from "node:test";
import { CARD_TABLE } from "../../gateway/balancers/card-table.ts";
import {
  CARD_FAMILIES,
  cardOf,
  familyNamed,
  familyOf,
  relativeSpeed,
  vramBytesOf,
} from "../../gateway/balancers/known-cards.ts";
import type { Gpu } from "../../shared/protocol/messages.ts";

const GIB = 1024 ** 3;
const gpu = (name: string, more: Partial<Gpu> = {}): Gpu => ({ name, vendor: "any", ...more });

test("cards are known by the names that drivers print", () => {
  const printed: [name: string, family: string, gib: number | undefined, tflops: number][] = [
    ["AMD Radeon RX 580 Series (RADV POLARIS10)", "Polaris", 4, 6.2],
    ["Radeon RX 580 Series", "Polaris", 4, 6.2],
    ["Ellesmere [Radeon RX 470/480/570/570X/580/580X/590]", "Polaris", 4, 4.9],
    ["AMD Radeon(TM) RX Vega 64", "Vega", 8, 12.7],
    ["AMD Radeon VII (RADV VEGA20)", "Vega", 16, 13.4],
    ["AMD Radeon RX 6700 XT (RADV NAVI22)", "RDNA2", 12, 13.2],
    ["AMD Radeon RX 7900 XTX", "RDNA3", 24, 61.4],
    ["AMD Radeon R9 290X / 390X", "GCN", 4, 5.6],
    ["NVIDIA GeForce GTX 1070/PCIe/SSE2", "Pascal", 8, 6.5],
    ["NVIDIA GeForce GTX 1070 Ti", "Pascal", 8, 8.2],
    ["GeForce GTX 1060 6GB", "Pascal", 6, 4.4],
    ["GeForce GTX 1060 3GB", "Pascal", 3, 4.4],
    ["GeForce GTX 1060", "Pascal", 3, 4.4],
    ["NVIDIA GeForce RTX 4070 Ti SUPER", "Ada", 16, 44.1],
    ["Tesla P40", "Pascal", 24, 11.8],
    ["Tesla P4", "Pascal", 8, 5.5],
    ["Tesla V100-SXM2-16GB", "Volta", 16, 14],
    ["Tesla V100-SXM2-32GB", "Volta", 32, 14],
    ["Tesla K80", "Kepler", 12, 4.1],
    ["NVIDIA A100-SXM4-80GB", "Ampere", 80, 19.5],
    ["Intel(R) UHD Graphics 630 (CML GT2)", "Gen9", undefined, 0.5],
    ["Mesa Intel® HD Graphics 4000 (IVB GT2)", "Gen7", undefined, 0.3],
    ["Intel(R) Iris(R) Xe Graphics (TGL GT2)", "Xe", undefined, 2.1],
    ["Intel(R) Arc(tm) A770 Graphics (DG2)", "Arc", 8, 19.7],
    ["Apple M1 Max", "Apple M", undefined, 10.4],
  ];
  for (const [name, family, gib, tflops] of printed) {
    const card = gpu(name);
    assert.deepEqual(
      [name, familyOf(card), vramBytesOf(card), cardOf(card)?.tflops],
      [name, family, gib === undefined ? undefined : gib * GIB, tflops],
    );
  }
});

test("the chip tells the family of a card whose name says nothing", () => {
  const printed: [string, string][] = [
    ["AMD Radeon Graphics (RADV RENOIR)", "Vega"],
    ["AMD Radeon Graphics (RADV NAVI14)", "RDNA1"],
    ["AMD Custom GPU (RADV VANGOGH)", "RDNA2"],
    ["NVIDIA Corporation GP106 [P106-100]", "Pascal"],
    ["NVIDIA Corporation TU117M", "Turing"],
    ["Intel(R) Graphics (ADL-S GT1)", "Xe"],
  ];
  for (const [name, family] of printed) {
    const card = gpu(name);
    assert.deepEqual([name, familyOf(card), cardOf(card)], [name, family, undefined]);
  }
});

test("a card that nobody knows has no family, no memory and the speed of one", () => {
  const card = gpu("Voodoo 3 3000");
  assert.deepEqual([familyOf(card), vramBytesOf(card), relativeSpeed(card)], [undefined, undefined, 1]);
  assert.equal(familyOf(gpu("llvmpipe (LLVM 15.0.7, 256 bits)")), undefined);
});

test("what the worker says of its memory counts, whatever the table says", () => {
  assert.equal(vramBytesOf(gpu("AMD Radeon RX 580 Series", { vramBytes: 8 * GIB })), 8 * GIB);
  assert.equal(vramBytesOf(gpu("Voodoo 3 3000", { vramBytes: 16 })), 16);
});

test("a faster card has a higher relative speed", () => {
  const names = ["Intel UHD Graphics 630", "GeForce GTX 1050 Ti", "Radeon RX 580", "RTX 3090", "RTX 4090"];
  const speeds = names.map((name) => relativeSpeed(gpu(name)));
  assert.deepEqual(
    speeds,
    [...speeds].sort((a, b) => a - b),
  );
  assert.equal(new Set(speeds).size, names.length);
});

test("every row of the table is found by its own name, and families are named whatever their case", () => {
  for (const { family, cards } of CARD_TABLE) {
    for (const [name, tflops] of cards) {
      const printed = name
        .replace("(?:RX )?", "RX ")
        .replace("(?:Tesla )?", "Tesla ")
        .replace("(?:Tesla|NVIDIA)", "Tesla")
        .replace("[45]\\d", "55");
      const card = cardOf(gpu(printed));
      assert.deepEqual([printed, card?.family, card?.tflops], [printed, family, tflops]);
    }
    assert.equal(familyNamed(family.toUpperCase()), family);
  }
  assert.deepEqual(CARD_TABLE.map(({ family }) => family).sort(), [...CARD_FAMILIES].sort());
  assert.equal(familyNamed("Quantum"), undefined);
});
