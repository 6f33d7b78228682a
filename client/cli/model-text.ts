/** Models as text for people. */

import type { ModelDetails, ModelJson } from "../index.ts";
import { facts, sizeText, table } from "./table.ts";

/** Operators that are shown by name; the rest is counted. */
const SHOWN_OPERATORS = 12;

export function modelFacts(model: ModelJson): string {
  return facts([
    ["model", model.name],
    ["version", model.version],
    ["aliases", aliasText(model) || undefined],
    ["size", sizeText(model.size_bytes)],
    ["takes", inputsText(model)],
    ["file", model.file],
  ]);
}

export function modelTable(models: readonly ModelJson[]): string {
  return table(
    models,
    [
      { title: "MODEL", value: ({ name }) => name },
      { title: "VERSION", value: ({ version }) => version },
      { title: "ALIASES", value: aliasText },
      { title: "SIZE", value: ({ size_bytes }) => sizeText(size_bytes), align: "right" },
      { title: "TAKES", value: inputsText },
      { title: "CREATED", value: ({ created_at }) => created_at },
      { title: "DESCRIPTION", value: ({ description }) => description ?? "" },
    ],
    "There are no models. `legacygpu model push NAME FILE` adds one.",
  );
}

export function detailsText(model: ModelDetails): string {
  return `${headText(model)}\n${tensorTable(model)}${operatorText(model)}`;
}

function headText(model: ModelDetails): string {
  const { contents } = model;
  return facts([
    ["model", model.name],
    ["version", model.version],
    ["aliases", aliasText(model) || undefined],
    ["description", model.description],
    ["created", model.created_at],
    ["takes", model.accepts_images ? "pictures, tensors" : "tensors"],
    ["size", sizeText(model.size_bytes)],
    ["weights", contents && `${contents.parameters} values, ${sizeText(contents.parameter_bytes)}`],
    ["producer", contents?.producer],
    ["opsets", contents?.opset_imports.map(({ domain, version }) => `${domain} ${version}`).join(", ")],
    ["manifest", Object.keys(model.manifest).join(", ") || undefined],
    ["file", model.file],
  ]);
}

function tensorTable({ inputs, outputs }: ModelDetails): string {
  const rows = [
    ...inputs.map((tensor) => ({ ...tensor, kind: "input" })),
    ...outputs.map((tensor) => ({ ...tensor, kind: "output" })),
  ];
  return table(
    rows,
    [
      { title: "TENSOR", value: ({ kind }) => kind },
      { title: "NAME", value: ({ name }) => name },
      { title: "TYPE", value: ({ datatype }) => datatype },
      { title: "SHAPE", value: ({ dimensions }) => `[${dimensions.map((size) => size ?? "?").join(", ")}]` },
    ],
    "The model has no tensors.",
  );
}

function operatorText({ contents }: ModelDetails): string {
  if (contents === undefined) return "";
  const { operators, nodes } = contents;
  const shown = operators.slice(0, SHOWN_OPERATORS);
  const rest = nodes - shown.reduce((sum, { count }) => sum + count, 0);
  const names = shown.map(
    ({ domain, name, count }) => `${count} ${domain === "ai.onnx" ? "" : `${domain}.`}${name}`,
  );
  return `\n${facts([["operators", [...names, ...(rest > 0 ? [`${rest} others`] : [])].join(", ")]])}`;
}

function aliasText({ aliases }: ModelJson): string {
  return aliases.join(", ");
}

function inputsText({ accepts_images, inputs }: ModelJson): string {
  if (accepts_images) return "pictures";
  return inputs.map(({ name, datatype, shape }) => `${name}:${datatype}[${shape.join(",")}]`).join(" ");
}
