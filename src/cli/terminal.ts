// What a terminal gets and a pipe does not: colours, bars, the line that is written again and again.

/** Marks text; does nothing where nobody would see it. */
export interface Style {
  readonly bold: (text: string) => string;
  readonly dim: (text: string) => string;
  readonly red: (text: string) => string;
  readonly green: (text: string) => string;
}

type Environment = Readonly<Record<string, string | undefined>>;

/** Colours only on a terminal that has them, and not where `NO_COLOR` is set to anything (no-color.org). */
export function styleOf(isTerminal: boolean, env: Environment): Style {
  const { NO_COLOR = "", TERM } = env;
  const isColoured = isTerminal && NO_COLOR === "" && TERM !== "dumb";
  const mark =
    (code: number) =>
    (text: string): string =>
      isColoured ? `\x1b[${code}m${text}\x1b[0m` : text;
  return { bold: mark(1), dim: mark(2), red: mark(31), green: mark(32) };
}

/** Where a command writes what it has to say. */
export interface Voice {
  readonly print: (line: string) => void;
  /** What went wrong; beside the output, so that a pipe does not take it for one. */
  readonly complain: (line: string) => void;
  /** Progress, in place of the last one; does nothing where nobody looks. */
  readonly progress: (text: string) => void;
  readonly style: Style;
}

/** Speaks to this process's terminal, or to where its output goes. */
export function openVoice(env: Environment): Voice {
  return {
    print: (line) => console.log(line),
    complain: (line) => console.error(line),
    progress: (text) => {
      if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${text}`);
    },
    style: styleOf(process.stdout.isTTY, env),
  };
}

/** A cell of a table; numbers stand to the right. */
export type Cell = string | number;

/** Rows under a head, each column as wide as its widest cell. The last one is not filled up. */
export function tableOf(
  head: readonly string[],
  rows: readonly (readonly Cell[])[],
  style: Style,
): readonly string[] {
  const widths = head.map((title, i) =>
    Math.max(title.length, ...rows.map((row) => String(row[i] ?? "").length)),
  );
  const isNumber = head.map(
    (_, i) => rows.length > 0 && rows.every((row) => typeof row[i] === "number"),
  );
  const lineOf = (cells: readonly Cell[]): string =>
    cells
      .map((cell, i) => {
        const width = widths[i] ?? 0;
        const text = String(cell);
        if (isNumber[i]) return text.padStart(width);
        return i === head.length - 1 ? text : text.padEnd(width);
      })
      .join("  ");
  return [style.dim(lineOf(head)), ...rows.map(lineOf)];
}

const BAR_CHARS = 24;

/** A bar that is full at 1. @param share 0 to 1. */
export function barOf(share: number): string {
  const full = Math.round(Math.min(1, Math.max(0, share)) * BAR_CHARS);
  return `[${"#".repeat(full)}${"-".repeat(BAR_CHARS - full)}]`;
}
