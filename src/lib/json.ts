// JSON whose integers keep their value: beyond 2^53 they are `bigint`, on the way in and on the way out.
// A number that no double can hold is an error, never an infinity.

/** What JSON holds. Numbers are finite. */
export type Json =
  | null
  | boolean
  | number
  | bigint
  | string
  | readonly Json[]
  | { readonly [key: string]: Json };

/** Nesting beyond this is refused: everything that walks a value afterwards may recurse. */
export const JSON_DEPTH_MAX = 200;
/** Digits of an integer beyond which it is refused: turning digits into a number costs their square. */
export const INTEGER_DIGITS_MAX = 1024;

/** An integer part of 16 digits may be beyond 2^53, an exponent of three digits beyond a double. Strings may match too. */
const NEEDS_CARE = /(?:^|[^.\d])\d{16}|\d[eE]\+?\d{3}/;
const INTEGER = /^-?\d+$/;

const keepExactly = (_key: string, value: unknown, context?: { readonly source?: string }) => {
  const source = context?.source;
  if (typeof value !== "number" || source === undefined) return value;
  if (Number.isSafeInteger(value) || !INTEGER.test(source)) {
    if (Number.isFinite(value)) return value;
    throw new SyntaxError("Number is out of range");
  }
  if (source.length > INTEGER_DIGITS_MAX) throw new SyntaxError("Integer has too many digits");
  return BigInt(source);
};

/** Reads JSON text. @throws SyntaxError when it is none, is nested too deeply or has a number out of range. */
export function parseJson(text: string): Json {
  // A short text cannot be deep.
  if (text.length > 2 * JSON_DEPTH_MAX && depthOf(text) > JSON_DEPTH_MAX)
    throw new SyntaxError(`Nested deeper than ${JSON_DEPTH_MAX}`);
  return NEEDS_CARE.test(text)
    ? JSON.parse(text, keepExactly as (key: string, value: unknown) => unknown)
    : JSON.parse(text);
}

/** Writes JSON text. Bigints are written as the integers they are. */
export function writeJson(value: Json): string {
  try {
    return JSON.stringify(value);
  } catch {
    // It holds a bigint, which `JSON.stringify` refuses: nothing else of a value can fail.
    return writeSlowly(value);
  }
}

function writeSlowly(value: Json): string {
  if (typeof value === "bigint") return value.toString();
  if (typeof value !== "object" || value === null) return JSON.stringify(value);
  if (Array.isArray(value)) return `[${value.map(writeSlowly).join(",")}]`;
  const entries = Object.entries(value);
  return `{${entries.map(([key, item]) => `${JSON.stringify(key)}:${writeSlowly(item)}`).join(",")}}`;
}

const QUOTE = 34;
const BACKSLASH = 92;

/** The deepest nesting of brackets outside strings. */
function depthOf(text: string): number {
  let depth = 0;
  let deepest = 0;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code === QUOTE) {
      i = endOfString(text, i);
    } else if (code === 91 || code === 123) {
      depth += 1;
      if (depth > deepest) deepest = depth;
    } else if (code === 93 || code === 125) {
      depth -= 1;
    }
  }
  return deepest;
}

/** Where the string that begins at `start` has its closing quote. */
function endOfString(text: string, start: number): number {
  let end = text.indexOf('"', start + 1);
  while (end > 0) {
    let slashes = 0;
    while (text.charCodeAt(end - 1 - slashes) === BACKSLASH) slashes += 1;
    if (slashes % 2 === 0) return end;
    end = text.indexOf('"', end + 1);
  }
  return text.length;
}

/** Marks, numbers and words. Strings are walked by hand: a long one is too much for an expression. */
const TOKEN =
  /[\t\n\r ]*(?:([[\]{},:])|-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?(?![\w.])|(?:true|false|null)(?!\w))/y;
const ESCAPE = /\\(?:["\\/bfnrt]|u[\da-fA-F]{4})/y;
const SPACE = /[\t\n\r ]*/y;

/** Where a text stops being JSON; undefined when it is JSON. Bun's own parser does not say it. */
export function jsonErrorAt(text: string): number | undefined {
  const open: string[] = [];
  // What may come next: a value, a key, what follows a key, or what follows a value.
  let wants: "value" | "first" | "key" | "colon" | "next" = "value";
  let at = 0;
  const skipSpace = (): number => {
    SPACE.lastIndex = at;
    SPACE.exec(text);
    return SPACE.lastIndex;
  };
  for (;;) {
    const place = skipSpace();
    if (place === text.length) return wants === "next" && open.length === 0 ? undefined : place;
    if (wants === "next" && open.length === 0) return place;
    const isString = text.charCodeAt(place) === QUOTE;
    let mark: string | undefined;
    if (isString) {
      const end = afterString(text, place);
      if (end === undefined) return place;
      at = end;
    } else {
      TOKEN.lastIndex = at;
      const token = TOKEN.exec(text);
      if (token === null) return place;
      at = TOKEN.lastIndex;
      mark = token[1];
    }
    const inside = open.at(-1);
    if (wants === "colon") {
      if (mark !== ":") return place;
      wants = "value";
    } else if (mark === "]" || mark === "}") {
      const mayClose = wants === "next" || wants === "first";
      if (!mayClose || inside !== (mark === "]" ? "[" : "{")) return place;
      open.pop();
      wants = "next";
    } else if (wants === "next") {
      if (mark !== ",") return place;
      wants = inside === "{" ? "key" : "value";
    } else if (wants === "key" || (wants === "first" && inside === "{")) {
      if (!isString) return place;
      wants = "colon";
    } else if (mark === "[" || mark === "{") {
      open.push(mark);
      wants = "first";
    } else if (mark !== undefined) {
      return place;
    } else {
      wants = "next";
    }
  }
}

/** Where a string that begins at `start` is over; undefined when it is none. */
function afterString(text: string, start: number): number | undefined {
  for (let i = start + 1; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code === QUOTE) return i + 1;
    if (code < 32) return undefined;
    if (code !== BACKSLASH) continue;
    ESCAPE.lastIndex = i;
    if (!ESCAPE.test(text)) return undefined;
    i = ESCAPE.lastIndex - 1;
  }
  return undefined;
}
