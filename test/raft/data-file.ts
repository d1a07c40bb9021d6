// Reads the format of the data-driven tests: a directive with arguments, lines of input, four dashes, the expected output,
// an empty line. Lines that begin with # are comments.

/** One directive with what it should print. */
export interface Directive {
  /** Where it stands, for messages. */
  readonly line: number;
  readonly name: string;
  /** Arguments without a value, in order. */
  readonly words: readonly string[];
  /** Arguments of the form key=value or key=(value,value). */
  readonly values: ReadonlyMap<string, readonly string[]>;
  readonly input: readonly string[];
  readonly expected: string;
}

/** Splits a file into its directives. */
export function parseDataFile(text: string): Directive[] {
  const lines = text.split("\n");
  const directives: Directive[] = [];
  for (let at = 0; at < lines.length; at += 1) {
    const head = (lines[at] ?? "").trim();
    if (head === "" || head.startsWith("#")) continue;
    const line = at + 1;
    const input: string[] = [];
    for (at += 1; at < lines.length && lines[at] !== "----"; at += 1) input.push(lines[at] ?? "");
    const expected: string[] = [];
    for (at += 1; at < lines.length && lines[at] !== ""; at += 1) expected.push(lines[at] ?? "");
    directives.push({ line, ...parseHead(head), input, expected: expected.join("\n") });
  }
  return directives;
}

function parseHead(head: string): Pick<Directive, "name" | "words" | "values"> {
  const [name = "", ...rest] = head.match(/[^\s=]+=\([^)]*\)|\S+/g) ?? [];
  const words: string[] = [];
  const values = new Map<string, readonly string[]>();
  for (const argument of rest) {
    const [, key, value] = /^([\w-]+)=(.*)$/.exec(argument) ?? [];
    if (key === undefined || value === undefined) words.push(argument);
    else
      values.set(
        key,
        value
          .replace(/^\(|\)$/g, "")
          .split(",")
          .map((part) => part.trim())
          .filter((part) => part !== ""),
      );
  }
  return { name, words, values };
}
