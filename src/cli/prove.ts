// `ayder prove`: kills nodes of its own in the middle of writes, twice, and says whether anything acknowledged was lost.

import { EXIT_CODES, FatalError } from "../lib/fatal.ts";
import { describeProof, prove } from "../proof/mod.ts";
import { reportFailure } from "./failure.ts";
import { usageOf } from "./help.ts";
import type { Given } from "./parse.ts";
import type { Voice } from "./terminal.ts";

/** Where a compiled executable keeps its own modules. */
const EMBEDDED = "/$bunfs/";

/** What a command that starts nodes has of its surroundings. */
export interface Surroundings {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly version: string;
}

/** The running program: one file, or Bun and the main module. */
export const ownProgram = (): readonly string[] =>
  Bun.main.startsWith(EMBEDDED) ? [process.execPath] : [process.execPath, Bun.main];

/** What a node needs of the environment besides its settings, which are not taken from it. */
export const nodeEnvironment = ({ env }: Surroundings): Readonly<Record<string, string>> => {
  const { PATH = "/usr/bin:/bin", HOME = "/", TMPDIR } = env;
  return { PATH, HOME, ...(TMPDIR !== undefined && { TMPDIR }) };
};

/** Runs a proof. Returns the exit status: 0 only when everything was there. */
export async function proveCommand(
  { values }: Given<"prove">,
  surroundings: Surroundings,
  voice: Voice,
): Promise<number> {
  const program = values.binary?.split(" ").filter((word) => word !== "") ?? ownProgram();
  const [executable] = program;
  if (executable === undefined) throw new FatalError("invalid_arguments", usageOf("prove"));
  if (Bun.which(executable) === null)
    throw new FatalError("data_unusable", `Cannot prove ${executable}: it is no program`);
  const leaving = new AbortController();
  const leave = (): void => leaving.abort();
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.once(signal, leave);
  const report = await prove({
    nodes: Number(values.cluster ?? 1),
    program,
    isKept: values.keep,
    env: nodeEnvironment(surroundings),
    version: surroundings.version,
    signal: leaving.signal,
    progress: ({ round, text, elapsed_ms: elapsedMs }) =>
      voice.progress(
        `${(elapsedMs / 1000).toFixed(1)} s  ${round === 0 ? "" : `round ${round}: `}${text}`,
      ),
  });
  voice.progress("");
  if (process.stdout.isTTY && !values.json) {
    voice.print(describeProof(report));
    return report.ok ? EXIT_CODES.ok : EXIT_CODES.check_failed;
  }
  if (!report.ok) {
    const failure = new FatalError("check_failed", report.message ?? "A promise was broken");
    return reportFailure(failure, true, voice, report);
  }
  voice.print(JSON.stringify(report));
  return EXIT_CODES.ok;
}
