// `bun run sim`: lives through seeds from the command line and prints the line that repeats a failure.
//
//   --seed N           one seed, with the end of its trace when it fails (--trace: all of it)
//   --seeds N [--from N]   many seeds
//   --bug NAME         with a planted bug (test/sim/planted.ts); stops at the seed that finds it

import { parseArgs } from "node:util";
import { BUGS, type BugName } from "./planted.ts";
import { runSeed, type SeedResult } from "./run-seed.ts";

const TRACE_LINES_SHOWN = 60;
const PROGRESS_MS = 5000;

const { values } = parseArgs({
  options: {
    seed: { type: "string" },
    seeds: { type: "string" },
    from: { type: "string", default: "1" },
    bug: { type: "string" },
    trace: { type: "boolean", default: false },
    keepgoing: { type: "boolean", default: false },
  },
});

const bug = values.bug === undefined ? undefined : bugOf(values.bug);
if (values.seed !== undefined) process.exit(one(Number(values.seed)));
process.exit(many(Number(values.from), Number(values.seeds ?? "200")));

function bugOf(name: string): BugName {
  const found = BUGS.find((known) => known === name);
  if (found !== undefined) return found;
  console.error(`There is no bug ${name}: ${BUGS.join(", ")}`);
  return process.exit(64);
}

function one(seed: number): number {
  const result = runSeed(seed, { bug, keepTrace: true });
  if (values.trace) console.log(result.lines.join("\n"));
  if (result.failure !== undefined) return report(result, !values.trace);
  console.log(
    `seed ${seed}: well, ${result.steps} steps, ${result.lives} lives, ${result.writes} writes, trace ${result.hash.toString(16)}`,
  );
  return 0;
}

function many(from: number, count: number): number {
  const startedMs = performance.now();
  let shownMs = startedMs;
  let steps = 0;
  let writes = 0;
  let lives = 0;
  const failed: number[] = [];
  for (let done = 1; done <= count; done++) {
    const result = runSeed(from + done - 1, { bug });
    steps += result.steps;
    writes += result.writes;
    lives += result.lives;
    if (result.failure !== undefined) {
      if (!values.keepgoing) return report(runSeed(result.seed, { bug, keepTrace: true }), true);
      failed.push(result.seed);
      console.log(`seed ${result.seed}: ${String(result.failure).slice(0, 200)}`);
    }
    const nowMs = performance.now();
    if (nowMs - shownMs < PROGRESS_MS && done < count) continue;
    shownMs = nowMs;
    const rate = (done * 1000) / (nowMs - startedMs);
    console.log(
      `${done}/${count} seeds, ${rate.toFixed(1)}/s, ${steps} steps, ${lives} lives, ${writes} writes, ${failed.length} failed`,
    );
  }
  return failed.length === 0 ? 0 : 1;
}

function report(result: SeedResult, withTrace: boolean): number {
  if (withTrace) console.log(result.lines.slice(-TRACE_LINES_SHOWN).join("\n"));
  const { failure } = result;
  console.log(failure instanceof Error ? (failure.stack ?? failure.message) : failure);
  const commit = Bun.spawnSync(["git", "rev-parse", "--short", "HEAD"]).stdout.toString().trim();
  const planted = bug === undefined ? "" : ` --bug ${bug}`;
  console.log(`bun run sim --seed ${result.seed}${planted} # at ${commit}`);
  return 1;
}
