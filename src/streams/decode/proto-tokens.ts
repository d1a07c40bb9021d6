// Cuts the text of a `.proto` file into words, numbers, strings and marks, each with its place.

import { placeIn, SchemaError } from "./avro-schema.ts";

/** One piece of the text. Strings come without their quotes and with their escapes undone. */
export interface Token {
  readonly kind: "word" | "number" | "string" | "mark" | "end";
  readonly text: string;
  readonly at: number;
}

const SPACE = /(?:\s+|\/\/[^\n]*|\/\*[\s\S]*?\*\/)*/y;
const TOKEN =
  /([A-Za-z_]\w*)|(0[xX][\da-fA-F]+|(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)|("(?:[^"\\\n]|\\[\s\S])*"|'(?:[^'\\\n]|\\[\s\S])*')|([{}[\]()<>=;:,.\-+/])/y;
const ESCAPE = /\\(?:x([\da-fA-F]{1,2})|([0-7]{1,3})|u([\da-fA-F]{4})|([\s\S]))/g;
const LETTERS: Readonly<Record<string, string>> = {
  a: "\u0007",
  b: "\b",
  f: "\f",
  n: "\n",
  r: "\r",
  t: "\t",
  v: "\v",
};

const unquote = (quoted: string): string =>
  quoted
    .slice(1, -1)
    .replace(ESCAPE, (_, hex?: string, octal?: string, unit?: string, letter = "") =>
      hex !== undefined || unit !== undefined
        ? String.fromCharCode(Number.parseInt(hex ?? unit ?? "0", 16))
        : octal !== undefined
          ? String.fromCharCode(Number.parseInt(octal, 8))
          : (LETTERS[letter] ?? letter),
    );

/** Reads tokens one after the other. */
export class Tokens {
  readonly #text: string;
  #at = 0;
  #next: Token;

  constructor(text: string) {
    this.#text = text;
    this.#next = this.#read();
  }

  /** The next one, which stays. */
  get peek(): Token {
    return this.#next;
  }

  /** Takes the next one. */
  take(): Token {
    const token = this.#next;
    if (token.kind !== "end") this.#next = this.#read();
    return token;
  }

  /** Whether the next one is this mark or word; takes it if so. */
  skip(text: string): boolean {
    if (!this.is(text)) return false;
    this.take();
    return true;
  }

  /** Whether the next one is this mark or word. */
  is(text: string): boolean {
    return this.#next.text === text && (this.#next.kind === "mark" || this.#next.kind === "word");
  }

  /** Takes this mark or word. */
  expect(text: string): Token {
    if (!this.is(text)) throw this.error(`Expected ${text}, found ${this.shown()}`);
    return this.take();
  }

  /** Takes a word. */
  word(what: string): string {
    if (this.#next.kind !== "word") throw this.error(`Expected ${what}, found ${this.shown()}`);
    return this.take().text;
  }

  /** Takes a string; several in a row are one. */
  string(): string {
    if (this.#next.kind !== "string") throw this.error(`Expected a string, found ${this.shown()}`);
    let text = "";
    while (this.#next.kind === "string") text += this.take().text;
    return text;
  }

  /** Takes a whole number. */
  integer(): number {
    const isMinus = this.skip("-");
    const value = Number(this.#next.text);
    if (this.#next.kind !== "number" || !Number.isInteger(value))
      throw this.error(`Expected a whole number, found ${this.shown()}`);
    const { text } = this.take();
    const number = /^0[0-7]+$/.test(text) ? Number.parseInt(text, 8) : value;
    return isMinus ? -number : number;
  }

  /** How the next one is named in a message. */
  shown(): string {
    return this.#next.kind === "end" ? "the end" : this.#next.text.slice(0, 40);
  }

  /** An error at the next token, or at a place that was kept. */
  error(message: string, at = this.#next.at): SchemaError {
    return new SchemaError(`${message} at ${placeIn(this.#text, at)}`);
  }

  #read(): Token {
    SPACE.lastIndex = this.#at;
    SPACE.exec(this.#text);
    const at = SPACE.lastIndex;
    if (at === this.#text.length) return { kind: "end", text: "", at };
    // Looked for its end once and for all: many of them would each be walked to the end of the text.
    if (this.#text.startsWith("/*", at)) throw this.error("A comment does not end", at);
    TOKEN.lastIndex = at;
    const match = TOKEN.exec(this.#text);
    if (match === null) throw this.error(`Unexpected ${this.#text.slice(at, at + 1)}`, at);
    this.#at = TOKEN.lastIndex;
    const [text, word, number, string] = match;
    if (string !== undefined) return { kind: "string", text: unquote(string), at };
    return {
      kind: word !== undefined ? "word" : number !== undefined ? "number" : "mark",
      text,
      at,
    };
  }
}
