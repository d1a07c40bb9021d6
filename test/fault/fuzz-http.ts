// The HTTP fuzzer as a program: starts a node and sends it a million requests that nobody should send.
// Usage: bun test/fault/fuzz-http.ts --requests 1000000 --seed 1. A seed draws the same requests again; what meets what
// depends on the moment. Exits with 1 and the first faults when there are any.

import { parseArgs } from "node:util";
import { FUZZ_SETTINGS, runHttpFuzz } from "../support/fuzz-run.ts";
import { startNode } from "../support/node-process.ts";
import { temporaryDirectory } from "../support/real-disk.ts";

const { values } = parseArgs({
  options: {
    requests: { type: "string", default: "1000000" },
    seed: { type: "string", default: "1" },
    workers: { type: "string", default: "48" },
    slow: { type: "string", default: "40" },
  },
});
const { path: dataDir, clean } = temporaryDirectory();
const node = await startNode({ dataDir, env: FUZZ_SETTINGS });
const outcome = await runHttpFuzz({
  url: node.url,
  pid: node.pid,
  seed: Number(values.seed),
  requests: Number(values.requests),
  workers: Number(values.workers),
  slowClients: Number(values.slow),
  isAlive: node.isAlive,
  progress: (text) => console.log(text),
});
console.log({
  ...outcome,
  statuses: Object.fromEntries([...outcome.statuses].sort()),
  shapes: Object.fromEntries([...outcome.shapes].sort()),
});
const errors = node.lines.filter(({ event }) => event === "request_failed");
if (errors.length > 0) console.log("errors in the log", errors.length, errors.slice(0, 5));
const exit = node.isAlive() ? await node.kill("SIGTERM") : await node.exited;
console.log(`seed ${values.seed}: exit ${exit.code}, ${outcome.faults.length} faults`);
if (outcome.faults.length === 0) clean();
process.exit(outcome.faults.length === 0 && exit.code === 0 ? 0 : 1);
