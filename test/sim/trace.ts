// What happened, one line per event, and a number that stands for all of it: a seed lived through twice must give it twice.
//
// columns: step | monotonic ms | life | event | particulars

import { encodeText } from "../../src/lib/bytes.ts";
import { crc32 } from "../../src/lib/checksum.ts";

/** The events of one run. */
export class Trace {
  readonly lines: string[] = [];
  hash = 0;
  step = 0;
  now = 0;
  life = 0;
  readonly #isKept: boolean;

  /** @param isKept Whether the lines are wanted, or their hash alone. */
  constructor(isKept: boolean) {
    this.#isKept = isKept;
  }

  /** Adds a line. */
  event(name: string, details = ""): void {
    const line = `${String(this.step).padStart(5)} ${String(this.now).padStart(8)} ${String(this.life).padStart(3)} ${name.padEnd(12)} ${details}`;
    this.hash = crc32(encodeText(line), this.hash);
    if (this.#isKept) this.lines.push(line);
  }
}
