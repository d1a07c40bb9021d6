// A child process for the lock test: takes the directory of its first argument, says how it went, and holds on
// until its input ends.

import { lockDirectory } from "../../src/io/mod.ts";
import { FatalError } from "../../src/lib/fatal.ts";

try {
  const { guard } = lockDirectory(process.argv[2] ?? "");
  console.log(JSON.stringify({ guard }));
  for await (const _ of Bun.stdin.stream());
} catch (error) {
  if (!(error instanceof FatalError)) throw error;
  console.log(JSON.stringify({ reason: error.reason, message: error.message }));
}
