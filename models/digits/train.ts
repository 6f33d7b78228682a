/** Draws pictures, trains the model, measures it, and writes what is kept beside this file. See README.md. */

import { writeFile } from "node:fs/promises";
import { parseArgs } from "node:util";
import { drawDataset } from "./dataset.ts";
import { HELD_OUT_FAMILIES, loadFaces, TRAINING_FAMILIES } from "./fonts.ts";
import { digitsManifest, SIDE } from "./manifest.ts";
import { Classifier, type Measurement, measure } from "./measure.ts";
import { drawGolden, drawSample } from "./sample.ts";
import { train } from "./trainer.ts";

const TRAINING_SEED = 20;
/** Far from the seeds of training, so that no picture is drawn twice. */
const MEASUREMENT_SEED = 7_000;
const HANDWRITTEN_SHARE = 0.5;

const { values: given } = parseArgs({
  options: {
    pictures: { type: "string", default: "50000" },
    epochs: { type: "string", default: "8" },
    measured: { type: "string", default: "4000" },
    out: { type: "string", default: import.meta.dirname },
  },
});
const [pictures, epochs, measured] = [Number(given.pictures), Number(given.epochs), Number(given.measured)];

const begin = performance.now();
const seconds = () => Math.round((performance.now() - begin) / 1000);
const log = (text: string) => console.log(`${String(seconds()).padStart(5)} s  ${text}`);

log(`drawing ${pictures} pictures`);
const faces = await loadFaces(TRAINING_FAMILIES);
const dataset = await drawDataset({
  count: pictures,
  seed: TRAINING_SEED,
  faces,
  handwrittenShare: HANDWRITTEN_SHARE,
  onProgress: (done) => log(`drawn: ${done}`),
});
const model = await train(dataset, {
  epochs,
  seed: TRAINING_SEED,
  onEpoch: (epoch, accuracy) =>
    log(`epoch ${epoch} of ${epochs}: ${(accuracy * 100).toFixed(2)} % right while learning`),
});
const trainingSeconds = seconds();

log("measuring");
const classifier = await Classifier.load(model);
const heldOut = await loadFaces(HELD_OUT_FAMILIES);
const options = { count: measured, seed: MEASUREMENT_SEED, faces: heldOut };
const printed = await measure(classifier, { ...options, handwrittenShare: 0 });
log(summary("fonts never seen", printed));
const handwritten = await measure(classifier, {
  ...options,
  seed: MEASUREMENT_SEED + 1,
  handwrittenShare: 1,
});
log(summary("handwriting never seen", handwritten));

const golden = await drawGolden();
const sample = await drawSample();
for (const { label, png } of [golden, sample]) {
  const answer = await classifier.classify(png);
  log(`a fixed picture of ${label}: ${answer.label} with ${answer.score.toFixed(3)}`);
  if (answer.label !== label) throw new Error("The model fails on its own examples; nothing was written.");
}

const accuracy = {
  accuracy: (printed.accuracy + handwritten.accuracy) / 2,
  how:
    "Pictures drawn with seeds that training did not use, written to PNG, JPEG and WebP files, through the worker's " +
    "preprocessing and onnxruntime-node. Printed ones are in font families that training did not use.",
  input: `${SIDE}x${SIDE}`,
  printed,
  handwritten,
  seeds: { training: TRAINING_SEED, printed: MEASUREMENT_SEED, handwritten: MEASUREMENT_SEED + 1 },
  training: {
    pictures,
    epochs,
    families: TRAINING_FAMILIES.length,
    faces: faces.length,
    seconds: trainingSeconds,
  },
};
const manifest = digitsManifest([
  { image: Buffer.from(golden.png).toString("base64"), label: golden.label, min_score: 0.8 },
]);
await writeFile(`${given.out}/model.onnx`, model);
await writeFile(`${given.out}/sample.png`, sample.png);
await writeFile(`${given.out}/manifest.json`, `${JSON.stringify(manifest, null, 2)}\n`);
await writeFile(`${given.out}/accuracy.json`, `${JSON.stringify(accuracy, null, 2)}\n`);
log(`wrote model.onnx (${Math.round(model.length / 1000)} kB) and its companions`);

function summary(name: string, { pictures: count, accuracy: right, confusions }: Measurement): string {
  return `${name}: ${(right * 100).toFixed(2)} % of ${count} right; wrong most often: ${JSON.stringify(confusions)}`;
}
