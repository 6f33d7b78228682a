/** Runs training steps in onnxruntime and keeps what lies between them: weights, the optimiser's state, the random numbers. */

import { InferenceSession, Tensor } from "onnxruntime-node";
import { type Random, seededRandom } from "../onnx/random.ts";
import { augment } from "./augment.ts";
import { type Dataset, PICTURE_VALUES } from "./dataset.ts";
import { LABELS, SIDE } from "./manifest.ts";
import {
  adamCorrections,
  buildDigitsModel,
  buildTrainingStep,
  FEATURES,
  LAYOUT,
  statisticNames,
} from "./network.ts";

const BATCH = 128;
const PEAK_RATE = 3e-3;
const WARM_UP_STEPS = 200;
const DROPPED_SHARE = 0.15;
/** A wrong answer is to be a doubtful one: the target for the right class is 1 less this. */
const SMOOTHING = 0.05;
const STATISTICS_BATCHES = 80;
const CLASSES = LABELS.length;

export interface TrainingOptions {
  readonly epochs: number;
  readonly seed: number;
  readonly onEpoch: (epoch: number, trainingAccuracy: number) => void;
}

/** Trains from random weights; returns the model to serve. */
export async function train(
  dataset: Dataset,
  { epochs, seed, onEpoch }: TrainingOptions,
): Promise<Uint8Array> {
  const trainer = await Trainer.create(dataset, seed);
  const steps = Math.floor(dataset.labels.length / BATCH);
  for (let epoch = 0; epoch < epochs; epoch += 1) {
    const order = trainer.shuffled();
    let correct = 0;
    for (let step = 0; step < steps; step += 1) {
      const done = epoch * steps + step;
      const pictures = order.subarray(step * BATCH, (step + 1) * BATCH);
      correct += await trainer.step(pictures, learningRate(done, epochs * steps), done + 1);
    }
    onEpoch(epoch + 1, correct / (steps * BATCH));
  }
  return await trainer.finish();
}

/** Rises at first, then falls to nothing along a cosine. */
function learningRate(step: number, steps: number): number {
  const warmUp = Math.min(1, (step + 1) / WARM_UP_STEPS);
  return PEAK_RATE * warmUp * 0.5 * (1 + Math.cos((Math.PI * step) / steps));
}

class Trainer {
  readonly #session: InferenceSession;
  readonly #dataset: Dataset;
  readonly #random: Random;
  #parameters: Float32Array;
  #first: Float32Array = new Float32Array(LAYOUT.count);
  #second: Float32Array = new Float32Array(LAYOUT.count);

  private constructor(session: InferenceSession, dataset: Dataset, seed: number) {
    this.#session = session;
    this.#dataset = dataset;
    this.#random = seededRandom(seed);
    this.#parameters = LAYOUT.initial(this.#random);
  }

  static async create(dataset: Dataset, seed: number): Promise<Trainer> {
    return new Trainer(await InferenceSession.create(buildTrainingStep(BATCH)), dataset, seed);
  }

  shuffled(): Uint32Array {
    const order = Uint32Array.from(this.#dataset.labels, (_, index) => index);
    for (let index = order.length - 1; index > 0; index -= 1) {
      const other = Math.floor(this.#random() * (index + 1));
      [order[index], order[other]] = [order[other] ?? 0, order[index] ?? 0];
    }
    return order;
  }

  /** One step of the optimiser; returns how many of the batch were right before it. */
  async step(pictures: Uint32Array, rate: number, number: number): Promise<number> {
    const results = await this.#run(pictures, { rate, number, droppedShare: DROPPED_SHARE });
    this.#parameters = floats(results, "next_parameters");
    this.#first = floats(results, "next_first");
    this.#second = floats(results, "next_second");
    return this.#countCorrect(floats(results, "scores"), pictures);
  }

  /** The batch norms' statistics over many batches, and with them the model. */
  async finish(): Promise<Uint8Array> {
    const sums = new Map<string, Float32Array>();
    const order = this.shuffled();
    const batches = Math.min(STATISTICS_BATCHES, Math.floor(order.length / BATCH));
    for (let batch = 0; batch < batches; batch += 1) {
      const pictures = order.subarray(batch * BATCH, (batch + 1) * BATCH);
      const results = await this.#run(pictures, { rate: 0, number: 1, droppedShare: 0 });
      for (const name of statisticNames()) {
        const fresh = floats(results, name);
        const sum = sums.get(name) ?? new Float32Array(fresh.length);
        sums.set(
          name,
          sum.map((value, index) => value + (fresh[index] ?? 0) / batches),
        );
      }
    }
    return buildDigitsModel(this.#parameters, sums);
  }

  async #run(
    pictures: Uint32Array,
    { rate, number, droppedShare }: { rate: number; number: number; droppedShare: number },
  ): Promise<InferenceSession.OnnxValueMapType> {
    const { correction1, correction2 } = adamCorrections(number);
    const mask = new Float32Array(BATCH * FEATURES).map(() =>
      droppedShare > 0 && this.#random() < droppedShare ? 0 : 1 / (1 - droppedShare),
    );
    const tensor = (data: Float32Array, ...shape: number[]) => new Tensor("float32", data, shape);
    const scalar = (value: number) => tensor(Float32Array.of(value), 1);
    return await this.#session.run({
      pictures: tensor(this.#pixels(pictures), BATCH, 3, SIDE, SIDE),
      targets: tensor(this.#targets(pictures), BATCH, CLASSES),
      mask: tensor(mask, BATCH, FEATURES),
      parameters: tensor(this.#parameters, LAYOUT.count),
      first: tensor(this.#first, LAYOUT.count),
      second: tensor(this.#second, LAYOUT.count),
      rate: scalar(rate),
      correction1: scalar(correction1),
      correction2: scalar(correction2),
    });
  }

  #pixels(pictures: Uint32Array): Float32Array {
    const pixels = new Float32Array(BATCH * PICTURE_VALUES);
    for (const [position, picture] of pictures.entries()) {
      const source = this.#dataset.pixels.subarray(picture * PICTURE_VALUES, (picture + 1) * PICTURE_VALUES);
      augment(this.#random, source, pixels.subarray(position * PICTURE_VALUES));
    }
    return pixels;
  }

  #targets(pictures: Uint32Array): Float32Array {
    const targets = new Float32Array(BATCH * CLASSES).fill(SMOOTHING / CLASSES);
    for (const [position, picture] of pictures.entries()) {
      targets[position * CLASSES + (this.#dataset.labels[picture] ?? 0)] =
        1 - SMOOTHING + SMOOTHING / CLASSES;
    }
    return targets;
  }

  #countCorrect(scores: Float32Array, pictures: Uint32Array): number {
    let correct = 0;
    for (const [position, picture] of pictures.entries()) {
      const row = scores.subarray(position * CLASSES, (position + 1) * CLASSES);
      if (row.indexOf(Math.max(...row)) === this.#dataset.labels[picture]) correct += 1;
    }
    return correct;
  }
}

function floats(results: InferenceSession.OnnxValueMapType, name: string): Float32Array {
  const data = results[name]?.data;
  if (!(data instanceof Float32Array)) throw new Error(`the step gives no ${name}`);
  return data;
}
