// JSON records: one object each.

import { parseJson } from "../../lib/json.ts";
import type { Fields } from "../compare.ts";
import type { Decoder } from "./decoder.ts";

const decoder = new TextDecoder("utf-8", { fatal: true });

/** Decodes UTF-8 JSON objects. */
export const jsonDecoder: Decoder = {
  decode(bytes, take) {
    let value: unknown;
    try {
      value = parseJson(decoder.decode(bytes));
    } catch (error) {
      return error instanceof Error ? error.message : "Not JSON";
    }
    if (typeof value !== "object" || value === null || Array.isArray(value))
      return "Not a JSON object";
    take(value as Fields);
    return undefined;
  },
};
