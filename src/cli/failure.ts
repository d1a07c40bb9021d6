// Why something ends other than as asked: one reason of the one table of exit statuses, and one shape in which commands
// say it.

import type { ConfigProblem } from "../config/mod.ts";
import { InvariantError } from "../lib/assert.ts";
import { EXIT_CODES, FatalError, type FatalReason } from "../lib/fatal.ts";
import { FileError } from "../log/mod.ts";
import type { Voice } from "./terminal.ts";

/** The reason that an error stands for. */
export function reasonOf(error: unknown): FatalReason {
  if (error instanceof FatalError) return error.reason;
  if (error instanceof InvariantError) return "broken_invariant";
  if (error instanceof FileError) return error.kind === "no_space" ? "disk_full" : "data_unusable";
  return "unexpected";
}

/**
 * The place in the program that an error comes from: it matters for what should never happen, and would only distract
 * from what the operator can mend.
 */
export function placeOf(error: unknown): string | undefined {
  const reason = reasonOf(error);
  const isOurs = reason === "broken_invariant" || reason === "unexpected";
  return isOurs && error instanceof Error ? error.stack : undefined;
}

/** What is wrong with a configuration, a line each. */
export const problemLines = (problems: readonly ConfigProblem[]): string =>
  problems.map(({ variable, value, range }) => `${variable}=${value}: ${range}`).join("\n");

/**
 * Says why a command failed, on standard error, and with `--json` on standard output, too. Returns the exit status.
 * @param facts What programs get besides.
 */
export function reportFailure(
  error: unknown,
  asJson: boolean,
  voice: Voice,
  facts: object = {},
): number {
  const reason = reasonOf(error);
  const message = error instanceof Error ? error.message : String(error);
  // What failed may have been in the middle of it.
  voice.progress("");
  voice.complain(placeOf(error) ?? message);
  if (asJson) voice.print(JSON.stringify({ ok: false, error: reason, message, ...facts }));
  return EXIT_CODES[reason];
}
