// What happened in a cluster, one line per event, and a number that stands for all of it: a seed lived through twice must
// give it twice.
//
// columns: event number | ms since the world began | node and its process, or - | event | particulars

import { encodeText } from "../../../src/lib/bytes.ts";
import { crc32 } from "../../../src/lib/checksum.ts";

/** The events of one run. */
export class ClusterTrace {
  readonly lines: string[] = [];
  hash = 0;
  /** Events of the world so far: its clock for what came before what. */
  step = 0;
  now = 0;
  readonly #isKept: boolean;

  /** @param isKept Whether the lines are wanted, or their hash alone. */
  constructor(isKept: boolean) {
    this.#isKept = isKept;
  }

  /** Something that happened to the world or a client. */
  event(name: string, details = ""): void {
    this.#line("-", name, details);
  }

  /** Something that happened to a node. */
  about(node: { readonly id: string; readonly life: number }, name: string, details = ""): void {
    this.#line(`${node.id}.${node.life}`, name, details);
  }

  #line(who: string, name: string, details: string): void {
    const line = `${String(this.step).padStart(5)} ${this.now.toFixed(2).padStart(9)} ${who.padEnd(5)} ${name.padEnd(13)} ${details}`;
    this.hash = crc32(encodeText(line), this.hash);
    if (this.#isKept) this.lines.push(line);
  }
}
