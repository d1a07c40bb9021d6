// The disk that the power tests lie on: what was flushed is there after any cut, and nothing is there that was never written.

import { expect, test } from "bun:test";
import fc from "fast-check";
import { Prng } from "../../../src/lib/prng.ts";
import { CUTS, SECTOR_BYTES, VolatileDisk } from "../../support/volatile-disk.ts";

const SECTORS = 16;

test("after a cut each sector is as it was flushed, or as it was written since", () => {
  const write = fc.record({ at: fc.nat(SECTORS - 1), sectors: fc.integer({ min: 1, max: 4 }) });
  const step = fc.oneof(write, fc.constant("flush" as const));
  fc.assert(
    fc.property(
      fc.array(step, { maxLength: 30 }),
      fc.constantFrom(...CUTS),
      fc.nat(),
      (steps, kind, seed) => {
        const disk = new VolatileDisk(SECTORS * SECTOR_BYTES);
        const allowed = Array.from({ length: SECTORS }, () => [0]);
        for (const [i, made] of steps.entries()) {
          if (made === "flush") {
            disk.flush();
            for (const values of allowed) values.splice(0, values.length - 1);
            continue;
          }
          const sectors = Math.min(made.sectors, SECTORS - made.at);
          disk.write(made.at * SECTOR_BYTES, new Uint8Array(sectors * SECTOR_BYTES).fill(i + 1));
          for (const values of allowed.slice(made.at, made.at + sectors)) values.push(i + 1);
        }
        disk.cut(kind, new Prng(seed));
        for (const [sector, values] of allowed.entries()) {
          const bytes = disk.read(sector * SECTOR_BYTES, SECTOR_BYTES);
          expect(values).toContain(bytes[0] ?? -1);
          expect(bytes.every((byte) => byte === bytes[0])).toBe(true);
          if (kind === "everything") expect(bytes[0]).toBe(values.at(-1) ?? -1);
          if (kind === "nothing") expect(bytes[0]).toBe(values[0] ?? -1);
        }
      },
    ),
  );
});
