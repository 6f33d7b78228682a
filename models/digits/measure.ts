/** How often the model is right, measured as in service: files through the worker's preprocessing and onnxruntime. */

import { preprocessSchema } from "@legacygpu/shared/manifest";
import { InferenceSession, Tensor } from "onnxruntime-node";
import { preprocessImage } from "../../agent/images/preprocess.ts";
import { type DatasetOptions, drawOne } from "./dataset.ts";
import { LABELS, PREPROCESS } from "./manifest.ts";

export interface Answer {
  readonly label: string;
  /** From 0 to 1. */
  readonly score: number;
}

export class Classifier {
  readonly #session: InferenceSession;

  private constructor(session: InferenceSession) {
    this.#session = session;
  }

  static async load(model: Uint8Array): Promise<Classifier> {
    return new Classifier(await InferenceSession.create(model, { intraOpNumThreads: 1 }));
  }

  async classify(file: Uint8Array): Promise<Answer> {
    const { data, shape } = await preprocessImage(file, preprocessSchema.parse(PREPROCESS));
    const results = await this.#session.run({ image: new Tensor("float32", data, shape) });
    const logits = [...((results.logits?.data ?? []) as Float32Array)];
    const best = logits.indexOf(Math.max(...logits));
    const sum = logits.reduce((total, logit) => total + Math.exp(logit - (logits[best] ?? 0)), 0);
    return { label: LABELS[best] ?? "", score: 1 / sum };
  }
}

interface Tally {
  pictures: number;
  correct: number;
}
export interface Measurement {
  readonly pictures: number;
  readonly accuracy: number;
  readonly byDigit: Readonly<Record<string, number>>;
  readonly byFamily: Readonly<Record<string, number>>;
  readonly confusions: Readonly<Record<string, number>>;
}

export async function measure(classifier: Classifier, options: DatasetOptions): Promise<Measurement> {
  const total: Tally = { pictures: 0, correct: 0 };
  const digits = new Map<string, Tally>();
  const families = new Map<string, Tally>();
  const confusions = new Map<string, number>();
  for (let index = 0; index < options.count; index += 1) {
    const { digit, family = "handwriting", file } = await drawOne(options, index);
    const { label } = await classifier.classify(file);
    const isCorrect = label === String(digit);
    for (const tally of [total, tallyOf(digits, String(digit)), tallyOf(families, family)]) {
      tally.pictures += 1;
      if (isCorrect) tally.correct += 1;
    }
    const confusion = `${digit} as ${label}`;
    if (!isCorrect) confusions.set(confusion, (confusions.get(confusion) ?? 0) + 1);
  }
  return {
    pictures: total.pictures,
    accuracy: share(total),
    byDigit: shares(digits),
    byFamily: shares(families),
    confusions: Object.fromEntries([...confusions].sort(([, a], [, b]) => b - a).slice(0, 12)),
  };
}

function tallyOf(tallies: Map<string, Tally>, name: string): Tally {
  const tally = tallies.get(name) ?? { pictures: 0, correct: 0 };
  tallies.set(name, tally);
  return tally;
}

function share({ pictures, correct }: Tally): number {
  return Math.round((correct / pictures) * 10_000) / 10_000;
}

function shares(tallies: ReadonlyMap<string, Tally>): Record<string, number> {
  const sorted = [...tallies].sort(([a], [b]) => a.localeCompare(b));
  return Object.fromEntries(sorted.map(([name, tally]) => [name, share(tally)]));
}
