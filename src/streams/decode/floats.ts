// Doubles that JSON cannot write come out as words, as in the JSON of Protobuf.

import type { Value } from "../compare.ts";

/** A double as a value: itself, or `NaN`, `Infinity`, `-Infinity` as text. */
export const floatValue = (value: number): Value =>
  Number.isFinite(value) ? value : String(value);

/** The double that such a word stands for. */
export function floatOfWord(word: Value): number | undefined {
  if (word === "NaN") return Number.NaN;
  if (word === "Infinity" || word === "INF") return Number.POSITIVE_INFINITY;
  return word === "-Infinity" || word === "-INF" ? Number.NEGATIVE_INFINITY : undefined;
}
