// Every parser of bytes of others, fed with what it should not be fed: a result or a named error, never a crash, a hang, memory
// without bound, or damage that is taken for good. `bun test/property/fuzz/run.ts --cases 1000000` is the long run.

import { expect, test } from "bun:test";
import { DISK_TARGETS } from "../../support/parser-disk-targets.ts";
import { type ParserTarget, runParserFuzz } from "../../support/parser-fuzz.ts";
import { TEXT_TARGETS } from "../../support/parser-text-targets.ts";
import { WIRE_TARGETS } from "../../support/parser-wire-targets.ts";

const { PARSER_CASES = "1500", PARSER_SEED = "1" } = process.env;
/** Inputs are below 200 KB; garbage that was not collected yet counts, too. */
const GROWTH_MIB_MAX = 600;

test.each([
  ["peers", WIRE_TARGETS],
  ["the disk", DISK_TARGETS],
  ["people", TEXT_TARGETS],
] as const)(
  "what comes from %s is taken or refused by name",
  (_, targets) => {
    const { faults, cases, growthMebibytes } = runParserFuzz(targets, {
      seed: Number(PARSER_SEED),
      cases: Number(PARSER_CASES),
    });

    expect(faults, `seed ${PARSER_SEED}`).toEqual([]);
    expect([...cases.values()].every((tally) => tally.cases > 0)).toBe(true);
    expect(growthMebibytes).toBeLessThan(GROWTH_MIB_MAX);
  },
  120_000,
);

test("the fuzzer finds a parser that throws what has no name", () => {
  const planted: ParserTarget = {
    name: "planted",
    seeds: [Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8)],
    run: (bytes) => {
      if (bytes[3] === 0xff) throw new TypeError("a byte that nobody thought of");
      return true;
    },
  };

  const { faults } = runParserFuzz([planted], { seed: 1, cases: 5000 });

  expect(faults[0]).toMatch(/^planted, case \d+: TypeError: a byte that nobody thought of/);
});
