// The socket on which this process listens at a port: how many connections came of it, and whether the kernel lets in more.
// Bun tells neither. What it has accepted is known by the descriptors that are open beside the log's files.

import { readdirSync, readFileSync, statSync } from "node:fs";
import { type Libc, loadLibc } from "./ffi-libc.ts";
import { OpenFile } from "./open-file.ts";

const DESCRIPTORS = "/proc/self/fd";

/** A listening socket of this process. */
export class Listener {
  /** Descriptors that the process may have, of all kinds. */
  readonly descriptorsMax: number;
  readonly #libc: Libc;
  readonly #descriptor: number;
  /** Descriptors that are neither connections nor files of the log. */
  readonly #others: number;

  private constructor(libc: Libc, descriptor: number) {
    this.#libc = libc;
    this.#descriptor = descriptor;
    this.#others = countDescriptors() - OpenFile.count;
    this.descriptorsMax = readDescriptorsMax();
  }

  /**
   * The one at `port`, as long as nobody is connected to it yet; undefined where there is no `/proc` or no C to call.
   * @param load For tests: gives libc, or throws where there is none.
   */
  static find(port: number, load: () => Libc = loadLibc): Listener | undefined {
    try {
      const libc = load();
      const descriptor = readdirSync(DESCRIPTORS)
        .map(Number)
        .find((candidate) => libc.listeningPort(candidate) === port);
      return descriptor === undefined ? undefined : new Listener(libc, descriptor);
    } catch {
      return undefined;
    }
  }

  /** Connections that are open, to within what the process opens now and then: a few dozen. */
  connections(): number {
    return Math.max(0, countDescriptors() - OpenFile.count - this.#others);
  }

  /**
   * Lets connections come, or wait: the kernel drops what they begin with, and they try again after a second, then two,
   * then four. Returns whether the kernel does so.
   */
  setAccepting(isAccepting: boolean): boolean {
    return this.#libc.dropIncoming(this.#descriptor, !isAccepting) === 0;
  }
}

/** The kernel says it as the size of the directory since 6.2; before that, the directory is read. */
function countDescriptors(): number {
  const { size } = statSync(DESCRIPTORS);
  return size > 0 ? size : readdirSync(DESCRIPTORS).length;
}

function readDescriptorsMax(): number {
  const soft = /^Max open files\s+(\d+)/m.exec(readFileSync("/proc/self/limits", "utf8"))?.[1];
  return soft === undefined ? Number.POSITIVE_INFINITY : Number(soft);
}
