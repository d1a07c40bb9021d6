// `bun run sim`: lives through seeds from the command line and prints the line that repeats a failure.
//
//   --seed N           one seed, with the end of its trace when it fails (--trace: all of it)
//   --seeds N [--from N]   many seeds; processes with ranges of their own may run side by side
//   --cluster          worlds of several nodes; otherwise of one
//   --bug NAME         with a planted bug; stops at the seed that finds it

import { parseArgs } from "node:util";
import { CLUSTER_BUGS } from "./cluster/planted.ts";
import { findClusterBug, runClusterSeed } from "./cluster/run-seed.ts";
import { BUGS } from "./planted.ts";
import { runSeed, type SeedResult } from "./run-seed.ts";

const TRACE_LINES_SHOWN = 60;
const PROGRESS_MS = 5000;

const { values } = parseArgs({
  options: {
    seed: { type: "string" },
    seeds: { type: "string" },
    from: { type: "string", default: "1" },
    cluster: { type: "boolean", default: false },
    bug: { type: "string" },
    trace: { type: "boolean", default: false },
    keepgoing: { type: "boolean", default: false },
  },
});

/** Lives through one seed of the kind that was asked for. */
type Run = (seed: number, keepTrace: boolean) => SeedResult;

const run = values.cluster ? clusterRun(values.bug) : oneNodeRun(values.bug);
const from = Number(values.from);
const count = Number(values.seeds ?? "200");
if (values.seed !== undefined) process.exit(one(Number(values.seed)));
const clusterBug = CLUSTER_BUGS.find((known) => values.cluster && known === values.bug);
if (clusterBug !== undefined) process.exit(find(clusterBug));
process.exit(many());

function bugOf<Name extends string>(
  known: readonly Name[],
  name: string | undefined,
): Name | undefined {
  if (name === undefined) return undefined;
  const found = known.find((bug) => bug === name);
  if (found !== undefined) return found;
  console.error(`There is no bug ${name}: ${known.join(", ")}`);
  return process.exit(64);
}

function oneNodeRun(name: string | undefined): Run {
  const bug = bugOf(BUGS, name);
  return (seed, keepTrace) => runSeed(seed, { bug, keepTrace });
}

function clusterRun(name: string | undefined): Run {
  const bug = bugOf(CLUSTER_BUGS, name);
  return (seed, keepTrace) => runClusterSeed(seed, { bug, keepTrace });
}

function one(seed: number): number {
  const result = run(seed, true);
  if (values.trace) console.log(result.lines.join("\n"));
  if (result.failure !== undefined) return report(result, !values.trace);
  console.log(
    `seed ${seed}: well, ${result.steps} steps, ${result.lives} lives, ${result.writes} writes, trace ${result.hash.toString(16)}`,
  );
  return 0;
}

/** Worlds in which a bug cannot happen are passed over. */
function find(bug: (typeof CLUSTER_BUGS)[number]): number {
  const found = findClusterBug(bug, from, count);
  if (found !== undefined) return report(run(found.seed, true), true);
  console.log(`${bug}: not found in ${count} worlds`);
  return 0;
}

function many(): number {
  const startedMs = performance.now();
  let shownMs = startedMs;
  let steps = 0;
  let writes = 0;
  let lives = 0;
  const failed: number[] = [];
  for (let done = 1; done <= count; done++) {
    const result = run(from + done - 1, false);
    steps += result.steps;
    writes += result.writes;
    lives += result.lives;
    if (result.failure !== undefined) {
      if (!values.keepgoing) return report(run(result.seed, true), true);
      failed.push(result.seed);
      console.log(`seed ${result.seed}: ${String(result.failure).slice(0, 200)}`);
    }
    const nowMs = performance.now();
    if (nowMs - shownMs < PROGRESS_MS && done < count) continue;
    shownMs = nowMs;
    const rate = (done * 1000) / (nowMs - startedMs);
    console.log(
      `${done}/${count} seeds to ${result.seed}, ${rate.toFixed(1)}/s, ${steps} steps, ${lives} lives, ${writes} writes, ${failed.length} failed`,
    );
  }
  return failed.length === 0 ? 0 : 1;
}

function report(result: SeedResult, withTrace: boolean): number {
  if (withTrace) console.log(result.lines.slice(-TRACE_LINES_SHOWN).join("\n"));
  const { failure } = result;
  console.log(failure instanceof Error ? (failure.stack ?? failure.message) : failure);
  const commit = Bun.spawnSync(["git", "rev-parse", "--short", "HEAD"]).stdout.toString().trim();
  const kind = values.cluster ? " --cluster" : "";
  const planted = values.bug === undefined ? "" : ` --bug ${values.bug}`;
  console.log(`bun run sim${kind} --seed ${result.seed}${planted} # at ${commit}`);
  return 1;
}
