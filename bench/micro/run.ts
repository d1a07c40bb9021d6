// Runs the micro benches of this folder and prints their figures.
// Usage: bun bench/micro/run.ts [part of a name …] [--tiny] [--json]

import { parseArgs } from "node:util";
import { printTable } from "../load/report.ts";
import { loadMicro, type MicroResult, microFiles } from "./micro.ts";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { tiny: { type: "boolean", default: false }, json: { type: "boolean", default: false } },
});

const wanted = microFiles().filter(
  (file) => positionals.length === 0 || positionals.some((part) => file.includes(part)),
);
const results: MicroResult[] = [];
for (const file of wanted) {
  const { run } = await loadMicro(file);
  results.push(await run({ size: values.tiny ? "tiny" : "real" }));
}
if (values.json) console.log(JSON.stringify(results, null, 2));
else {
  const rows = results.flatMap(({ name, figures }) =>
    Object.entries(figures).map(([figure, value]) => [name, figure, value.toLocaleString("en-US")]),
  );
  printTable(["bench", "figure", "value"], rows);
}
