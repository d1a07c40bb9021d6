// The fuzzer of parsers as a program: bun test/property/fuzz/run.ts --cases 1000000 --seed 1. Exits with 1 and the first
// faults when there are any.

import { parseArgs } from "node:util";
import { DISK_TARGETS } from "../../support/parser-disk-targets.ts";
import { runParserFuzz } from "../../support/parser-fuzz.ts";
import { TEXT_TARGETS } from "../../support/parser-text-targets.ts";
import { WIRE_TARGETS } from "../../support/parser-wire-targets.ts";

const { values } = parseArgs({
  options: {
    cases: { type: "string", default: "1000000" },
    seed: { type: "string", default: "1" },
    only: { type: "string" },
  },
});
const all = [...WIRE_TARGETS, ...DISK_TARGETS, ...TEXT_TARGETS];
const targets = all.filter(({ name }) => values.only === undefined || name === values.only);
const started = performance.now();
const outcome = runParserFuzz(targets, {
  seed: Number(values.seed),
  cases: Number(values.cases),
  progress: (done) => console.log(`${done} cases`),
});
console.log({ ...outcome, cases: Object.fromEntries(outcome.cases) });
console.log(
  `seed ${values.seed}: ${values.cases} cases in ${((performance.now() - started) / 1000).toFixed(0)} s, ` +
    `${outcome.faults.length} faults`,
);
process.exit(outcome.faults.length === 0 ? 0 : 1);
