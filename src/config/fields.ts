// The building blocks of the configuration schema: text in, value out, each with its range in words.

import * as v from "valibot";
import type { LogLevel } from "../lib/logger.ts";
import { parseTokens, type Token } from "./tokens.ts";

/** What a field says of itself besides its description. */
export interface FieldFacts {
  /** Which values it takes, in words: shown with every problem and in the reference. */
  readonly range: string;
  /** The command line flag that sets it too. */
  readonly flag?: string;
  /** It is never shown, not even when it is wrong. */
  readonly isSecret?: boolean;
  /** Its text has parts: a problem says which of them is wrong. */
  readonly isExplained?: boolean;
}

/** A field of the configuration: optional text that becomes a value. */
export type Field<Out> = v.GenericSchema<string | undefined, Out>;

/** Closes a field: its description, its facts, and the text it has when nothing is said. */
export const field = <Out>(
  schema: v.GenericSchema<string, Out>,
  description: string,
  facts: FieldFacts,
  fallback?: string,
): Field<Out> => {
  const described = v.pipe(schema, v.description(description), v.metadata({ ...facts }));
  return v.optional(described, fallback) as unknown as Field<Out>;
};

const withFlag = (range: string, flag: string | undefined): FieldFacts =>
  flag === undefined ? { range } : { range, flag };

/** A whole number from `minimum` to `maximum`; without `fallback` it may be missing. */
export const wholeNumber = <Fallback extends number | undefined>(
  fallback: Fallback,
  minimum: number,
  maximum: number,
  description: string,
  flag?: string,
): Field<number | (Fallback extends undefined ? undefined : never)> =>
  field(
    v.pipe(
      v.string(),
      v.trim(),
      v.regex(/^\d+$/),
      v.transform(Number),
      v.safeInteger(),
      v.minValue(minimum),
      v.maxValue(maximum),
    ),
    description,
    withFlag(`a whole number from ${minimum} to ${maximum}`, flag),
    fallback === undefined ? undefined : String(fallback),
  );

/** `1` or `0`, also `true` and `false`. */
export const onOff = (fallback: boolean, description: string): Field<boolean> =>
  field(
    v.pipe(
      v.string(),
      v.trim(),
      v.toLowerCase(),
      v.picklist(["0", "1", "true", "false"]),
      v.transform((word) => word === "1" || word === "true"),
    ),
    description,
    { range: "0 or 1" },
    fallback ? "1" : "0",
  );

/** A switch of something that was decided against: `0` is taken, and `1` refused with the reason rather than ignored. */
export const alwaysOff = (reason: string, description: string): Field<boolean> =>
  field(
    v.pipe(
      v.string(),
      v.trim(),
      v.picklist(["0", "false"]),
      v.transform(() => false),
    ),
    description,
    { range: `0, or left out: ${reason}` },
    "0",
  );

/** One of several words. */
export const oneOf = <const Word extends string>(
  fallback: Word,
  words: readonly Word[],
  description: string,
  flag?: string,
): Field<Word> =>
  field(
    v.pipe(v.string(), v.trim(), v.picklist(words)),
    description,
    withFlag(words.join(", "), flag),
    fallback,
  );

/** One of several words, or nothing. */
export const optionalWord = <const Word extends string>(
  words: readonly Word[],
  description: string,
): Field<Word | undefined> =>
  field(v.pipe(v.string(), v.trim(), v.picklist(words)), description, { range: words.join(", ") });

/** Text that is not empty. */
export const text = (fallback: string, description: string, flag?: string): Field<string> =>
  field(v.pipe(v.string(), v.nonEmpty()), description, withFlag("text, not empty", flag), fallback);

/** A path, or nothing. */
export const optionalPath = (description: string): Field<string | undefined> =>
  field(v.pipe(v.string(), v.nonEmpty()), description, { range: "a path to a readable file" });

/** The address to listen on: `host`, `host:port` or `[v6]:port`, either part undefined when it is not said. */
export interface Address {
  readonly host: string | undefined;
  readonly port: number | undefined;
}

/** Reads `host`, `host:port`, `:port`, `[v6]` or `[v6]:port`; undefined when it is none of them. */
export function parseAddress(text: string): Address | undefined {
  const match = /^(?:\[([0-9A-Fa-f:.%]+)\]|([^\s:[\]]*))(?::(\d{1,5}))?$/.exec(text.trim());
  if (match === null) return undefined;
  const host = match[1] ?? match[2] ?? "";
  const port = match[3] === undefined ? undefined : Number(match[3]);
  if (port !== undefined && port > 65_535) return undefined;
  if (host === "" && port === undefined) return undefined;
  return { host: host === "" ? undefined : host, port };
}

/** The listening address. */
export const address = (description: string): Field<Address> =>
  field(
    v.pipe(
      v.string(),
      v.rawTransform(({ dataset, addIssue, NEVER }) => {
        const parsed = parseAddress(dataset.value);
        if (parsed !== undefined) return parsed;
        addIssue({ message: "no address" });
        return NEVER;
      }),
    ),
    description,
    { range: "host, host:port or [v6]:port" },
    ":1109",
  );

/** The list of tokens; undefined when there is none. */
export const tokenList = (description: string): Field<readonly Token[] | undefined> =>
  field(
    v.pipe(
      v.string(),
      v.rawTransform(({ dataset, addIssue, NEVER }) => {
        const parsed = parseTokens(dataset.value);
        if (parsed.ok) return parsed.value;
        addIssue({ message: parsed.error });
        return NEVER;
      }),
    ),
    description,
    {
      range: "token, token@scope or token@rps:burst:daily, separated by : or ,",
      isSecret: true,
      isExplained: true,
    },
  );

/** A base address of web pages, without a slash at its end. */
export const webAddress = (fallback: string, description: string): Field<string> =>
  field(
    v.pipe(
      v.string(),
      v.trim(),
      v.url(),
      v.regex(/^https?:/),
      v.transform((url) => url.replace(/\/+$/, "")),
    ),
    description,
    { range: "an http or https address" },
    fallback,
  );

/** How much is logged. */
export const LOG_LEVELS: readonly LogLevel[] = ["debug", "info", "warn", "error"];
