// The HTTP/2 fuzzer as a program: starts a node and opens connections to it that say what nobody should.
// Usage: bun test/fault/fuzz-http2.ts --stories 20000 --seed 1. A seed draws the same stories again; what meets what depends
// on the moment. Exits with 1 and the first faults when there are any.

import { parseArgs } from "node:util";
import { runHttp2Fuzz } from "../support/fuzz-http2-run.ts";
import { FUZZ_SETTINGS } from "../support/fuzz-run.ts";
import { startNode } from "../support/node-process.ts";
import { temporaryDirectory } from "../support/real-disk.ts";

const { values } = parseArgs({
  options: {
    stories: { type: "string", default: "20000" },
    seed: { type: "string", default: "1" },
    workers: { type: "string", default: "8" },
  },
});
const { path: dataDir, clean } = temporaryDirectory();
const node = await startNode({ dataDir, env: FUZZ_SETTINGS });
const outcome = await runHttp2Fuzz({
  url: node.url,
  pid: node.pid,
  seed: Number(values.seed),
  stories: Number(values.stories),
  workers: Number(values.workers),
  isAlive: node.isAlive,
  progress: (text) => console.log(text),
});
console.log(outcome);
const errors = node.lines.filter(({ event }) => event === "request_failed");
if (errors.length > 0) console.log("errors in the log", errors.length, errors.slice(0, 5));
const exit = node.isAlive() ? await node.kill("SIGTERM") : await node.exited;
console.log(`seed ${values.seed}: exit ${exit.code}, ${outcome.faults.length} faults`);
if (outcome.faults.length === 0) clean();
process.exit(outcome.faults.length === 0 && exit.code === 0 ? 0 : 1);
