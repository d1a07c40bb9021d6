// Building blocks of query and path parameters: raw text of a URL in, a checked value out.
// Each says what it takes, in words for a refusal and as a schema for the OpenAPI document.

import { isUtf8 } from "node:buffer";
import { isIPv6 } from "node:net";
import * as v from "valibot";
import { limits } from "../../config/mod.ts";

/** How a parameter looks in the OpenAPI document. */
export interface ParameterFacts {
  readonly schema: Readonly<Record<string, unknown>>;
  readonly example?: string | number;
}

/** A parameter: raw text of the URL in, a value out. */
export type Parameter<Out> = v.GenericSchema<string | undefined, Out>;

const PERCENT = 37;
const PLUS = 43;
const SPACE = 32;

function hexDigit(code: number): number {
  if (code >= 48 && code <= 57) return code - 48;
  const lower = code | 32;
  return lower >= 97 && lower <= 102 ? lower - 87 : -1;
}

/** The bytes of a raw value: `%41` is one byte, `+` a space. Undefined when a `%` is not followed by two digits. */
export function decodeBytes(raw: string): Uint8Array | undefined {
  const bytes = Buffer.from(raw, "utf8");
  let length = 0;
  for (let i = 0; i < bytes.length; i++) {
    const byte = bytes[i] as number;
    if (byte === PERCENT) {
      const high = hexDigit(bytes[i + 1] ?? 0);
      const low = hexDigit(bytes[i + 2] ?? 0);
      if (high < 0 || low < 0) return undefined;
      bytes[length++] = high * 16 + low;
      i += 2;
    } else {
      bytes[length++] = byte === PLUS ? SPACE : byte;
    }
  }
  return new Uint8Array(bytes.subarray(0, length));
}

/** The bytes of a raw part of a path, in which `+` is itself. Undefined when a `%` is not followed by two digits. */
export const decodePathBytes = (raw: string): Uint8Array | undefined =>
  decodeBytes(raw.replaceAll("+", "%2B"));

/** The text of a raw value; undefined when it is not percent-encoded UTF-8. */
export function decodeText(raw: string): string | undefined {
  if (!/[%+]/.test(raw)) return raw;
  const bytes = decodeBytes(raw);
  return bytes === undefined || !isUtf8(bytes) ? undefined : Buffer.from(bytes).toString("utf8");
}

/** The text of a raw part of a path; what is no percent-encoded UTF-8 is the replacement character, which no name has. */
export const decodePathText = (raw: string): string =>
  decodeText(raw.replaceAll("+", "%2B")) ?? "\ufffd";

const decoded = (message: string) =>
  v.pipe(
    v.string(),
    v.rawTransform<string, string>(({ dataset, addIssue, NEVER }) => {
      const text = decodeText(dataset.value);
      if (text !== undefined) return text;
      addIssue({ message });
      return NEVER;
    }),
  );

/** Closes a parameter that may be left out. */
const optional = <Out>(
  schema: v.GenericSchema<string, Out>,
  description: string,
  facts: ParameterFacts,
): Parameter<Out | undefined> =>
  v.optional(
    v.pipe(schema, v.description(description), v.metadata({ ...facts })),
  ) as unknown as Parameter<Out | undefined>;

/** Closes a parameter of the path. */
const required = <Out>(
  schema: v.GenericSchema<string, Out>,
  description: string,
  facts: ParameterFacts,
): v.GenericSchema<string, Out> =>
  v.pipe(schema, v.description(description), v.metadata({ ...facts }));

const integerOf = (minimum: number, maximum: number) => {
  const message = `must be a whole number from ${minimum} to ${maximum}`;
  return v.pipe(
    decoded(message),
    v.regex(/^-?\d+$/, message),
    // Adding 0 makes one zero of both.
    v.transform((text) => Number(text) + 0),
    v.safeInteger(message),
    v.minValue(minimum, message),
    v.maxValue(maximum, message),
  );
};

/** A whole number from `minimum` to `maximum`, nothing rounded and nothing clamped. */
export const integer = (
  minimum: number,
  maximum: number,
  description: string,
): Parameter<number | undefined> =>
  optional(integerOf(minimum, maximum), description, {
    schema: { type: "integer", minimum, maximum },
  });

/** A partition in the path. */
export const partitionInPath = (): v.GenericSchema<string, number> =>
  required(integerOf(0, Number.MAX_SAFE_INTEGER), "Number of the partition, from 0.", {
    schema: { type: "integer", minimum: 0 },
    example: 0,
  });

/** One of a few words. */
export const word = <const Word extends string>(
  words: readonly Word[],
  description: string,
): Parameter<Word | undefined> => {
  const message = `must be one of ${words.join(", ")}`;
  return optional(v.pipe(decoded(message), v.picklist(words, message)), description, {
    schema: { type: "string", enum: [...words] },
  });
};

/** `1` switches something on, `0` is as good as leaving it out. */
export const flag = (description: string): Parameter<boolean | undefined> =>
  optional(
    v.pipe(
      decoded("must be 0 or 1"),
      v.picklist(["0", "1"], "must be 0 or 1"),
      v.transform((text) => text === "1"),
    ),
    description,
    { schema: { type: "string", enum: ["0", "1"] } },
  );

/** Bytes, percent-encoded where they are not plain characters. */
export const bytes = (
  minimum: number,
  maximum: number,
  description: string,
): Parameter<Uint8Array | undefined> => {
  const message = `must have ${minimum} to ${maximum} bytes, percent-encoded`;
  const read = v.rawTransform<string, Uint8Array>(({ dataset, addIssue, NEVER }) => {
    const value = decodeBytes(dataset.value);
    if (value !== undefined && value.length >= minimum && value.length <= maximum) return value;
    addIssue({ message });
    return NEVER;
  });
  return optional(v.pipe(v.string(), read), description, {
    schema: { type: "string", minLength: minimum },
  });
};

/** The rule of names, as it is told. */
export const NAME_RULE = `must be 1 to ${limits.NAME_CHARS_MAX} characters of A-Z a-z 0-9 . _ - and neither . nor ..`;

const NAME_PATTERN = `^[A-Za-z0-9._-]{1,${limits.NAME_CHARS_MAX}}$`;
const NAME = new RegExp(NAME_PATTERN);

/** Whether `name` may name a topic or a group. `.` and `..` may not: URLs fold them away. */
export const isName = (name: string): boolean => NAME.test(name) && name !== "." && name !== "..";

/** A name in the path. Elysia decodes it, and broken encoding leaves characters that no name has. */
export const nameInPath = (description: string, example: string): v.GenericSchema<string, string> =>
  required(v.pipe(v.string(), v.check(isName, NAME_RULE)), description, {
    schema: { type: "string", pattern: NAME_PATTERN },
    example,
  });

/** A key in the path. It is read from the address itself, where its encoding can still be told. */
export const keyInPath = (description: string, example: string): v.GenericSchema<string, string> =>
  required(v.string(), description, { schema: { type: "string", minLength: 1 }, example });

/** A name in the query. */
export const nameInQuery = (description: string): Parameter<string | undefined> =>
  optional(v.pipe(decoded(NAME_RULE), v.check(isName, NAME_RULE)), description, {
    schema: { type: "string", pattern: NAME_PATTERN },
  });

/** A name in a JSON body. */
export const nameInBody = (description: string) =>
  v.pipe(
    v.string(NAME_RULE),
    v.regex(NAME, NAME_RULE),
    v.check(isName, NAME_RULE),
    v.description(description),
  );

/** A whole number in a JSON body. */
export const integerInBody = (minimum: number, maximum: number, description: string) => {
  const message = `must be a whole number from ${minimum} to ${maximum}`;
  return v.pipe(
    v.number(message),
    v.safeInteger(message),
    v.minValue(minimum, message),
    v.maxValue(maximum, message),
    v.description(description),
  );
};

/** Host and port of an address; undefined when it is none. IPv6 stands in brackets, and the port is never left out. */
export function splitHostPort(
  text: string,
): { readonly host: string; readonly port: number } | undefined {
  const match = /^(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]{1,253}):(\d{1,5})$/.exec(text);
  const [, host = "", digits = ""] = match ?? [];
  const port = Number(digits);
  if (match === null || port < 1 || port > 65_535) return undefined;
  if (host.startsWith("[") && !isIPv6(host.slice(1, -1))) return undefined;
  return { host, port };
}

const HOST_PORT_RULE = "must be host:port, with IPv6 in brackets and a port from 1 to 65535";

/** An address of a node in a JSON body. */
export const hostPortInBody = (description: string) =>
  v.pipe(
    v.string(HOST_PORT_RULE),
    v.check((text) => splitHostPort(text) !== undefined, HOST_PORT_RULE),
    v.description(description),
  );

/** The base of an HTTP address without a slash at its end; undefined when it is none. `host:port` is taken for plain HTTP. */
export function baseUrl(text: string): string | undefined {
  if (!text.includes("://")) return splitHostPort(text) && `http://${text}`;
  const url = URL.parse(text);
  if (url === null || !/^https?:$/.test(url.protocol) || url.hostname === "") return undefined;
  // Whatever else an address may carry has no place in front of a path.
  return url.href === `${url.origin}/` ? url.origin : undefined;
}

const BASE_URL_RULE = "must be http://host:port or https://host:port, without a path";

/** The base of an HTTP address in a JSON body. */
export const baseUrlInBody = (description: string) =>
  v.pipe(
    v.string(BASE_URL_RULE),
    v.check((text) => baseUrl(text) !== undefined, BASE_URL_RULE),
    v.transform((text) => baseUrl(text) ?? text),
    v.description(description),
  );
