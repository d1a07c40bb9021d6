// The simulated medium: names, files, and room. Names are durable only after a sync of the directory; until then a
// crash keeps or loses each creation, renaming and removal, later ones on a name only if the earlier ones stayed.

import { assert } from "../../src/lib/assert.ts";
import type { Prng } from "../../src/lib/prng.ts";
import { FileError, type Files } from "../../src/log/disk.ts";
import { SimFile, type Survival } from "./sim-file.ts";

/** What the program never sees: the machine is gone in the middle of an act. */
export class SimCrash extends Error {
  override readonly name = "SimCrash";
}

/** Bugs that a test plants to see that somebody notices. */
export interface PlantedBugs {
  /** Syncs of files answer and do nothing. */
  ignoresSyncs: boolean;
  /** Syncs of the directory answer and do nothing. */
  ignoresDirectorySyncs: boolean;
  /** A buffer that changes while it is being written goes unnoticed, and torn bytes are written. */
  ignoresBufferChanges: boolean;
}

/** A change of names: these come to mean these files, or nothing. */
type NameChange = ReadonlyMap<string, SimFile | undefined>;

const QUARANTINE = "quarantine/";

/** `Files` over memory, with a crash model. The state outlives the disk objects that use it. */
export class SimDirectory implements Files {
  readonly sectorBytes: number;
  readonly planted: PlantedBugs = {
    ignoresSyncs: false,
    ignoresDirectorySyncs: false,
    ignoresBufferChanges: false,
  };
  /** Room left; growing takes from it, cutting and removing give back. */
  freeBytesLimit: number;
  readonly #prng: Prng;
  #names = new Map<string, SimFile>();
  #durableNames = new Map<string, SimFile>();
  #changes: NameChange[] = [];
  #primitivesUntilCrash = Number.POSITIVE_INFINITY;
  #failsNextSync = false;
  #generation = 0;

  constructor(prng: Prng, sectorBytes: number, freeBytesLimit: number) {
    this.#prng = prng;
    this.sectorBytes = sectorBytes;
    this.freeBytesLimit = freeBytesLimit;
  }

  /** Grows with each restart: a disk of an earlier life may not touch what a later one uses. */
  get generation(): number {
    return this.#generation;
  }

  /** The file of a name. Throws `not_found`. */
  file(name: string): SimFile {
    const file = this.#names.get(name);
    if (file === undefined) throw new FileError("not_found", `Cannot find ${name}`);
    return file;
  }

  list(): string[] {
    return [...this.#names.keys()].filter((name) => !name.startsWith(QUARANTINE));
  }

  /** Names in the quarantine folder, for tests. */
  quarantined(): string[] {
    const names = [...this.#names.keys()].filter((name) => name.startsWith(QUARANTINE));
    return names.map((name) => name.slice(QUARANTINE.length));
  }

  size(name: string): number | undefined {
    checkName(name);
    return this.#names.get(name)?.size;
  }

  read(name: string, position: number, into: Uint8Array): number {
    checkName(name);
    return this.file(name).read(position, into, into.length);
  }

  map(name: string): Uint8Array | undefined {
    const size = this.size(name) ?? 0;
    if (size === 0) return undefined;
    const bytes = new Uint8Array(size);
    this.read(name, 0, bytes);
    return bytes;
  }

  create(name: string): void {
    checkName(name);
    if (this.#names.has(name)) throw new FileError("exists", `Cannot create ${name}: it is there`);
    this.#change([[name, new SimFile(this.sectorBytes)]]);
    this.#primitive();
  }

  write(name: string, position: number, bytes: Uint8Array): void {
    checkName(name);
    this.writeTo(this.file(name), name, position, bytes);
    this.#primitive();
  }

  /** Writes to a file that may have lost its name. What does not fit is left out, and `no_space` thrown. */
  writeTo(file: SimFile, name: string, position: number, bytes: Uint8Array): void {
    const growth = Math.max(0, position + bytes.length - file.size);
    const missing = Math.max(0, growth - this.freeBytesLimit);
    const before = file.size;
    const fitting = bytes.subarray(0, Math.max(0, bytes.length - missing));
    if (fitting.length > 0) file.write(position, fitting);
    this.freeBytesLimit -= Math.max(0, file.size - before);
    if (missing > 0) throw new FileError("no_space", `Cannot write ${bytes.length} to ${name}`);
  }

  truncate(name: string, bytes: number): void {
    checkName(name);
    const file = this.file(name);
    this.freeBytesLimit += file.size - bytes;
    file.truncate(bytes);
    this.#primitive();
  }

  sync(name: string): void {
    checkName(name);
    const file = this.file(name);
    this.#primitive();
    this.syncFile(file, name);
  }

  /** Syncs a file that may have lost its name. */
  syncFile(file: SimFile, name: string): void {
    if (this.#failsNextSync) {
      this.#failsNextSync = false;
      file.failSync(this.#prng);
      throw new FileError("io", `Cannot sync ${name}: EIO`);
    }
    if (!this.planted.ignoresSyncs) file.sync();
  }

  rename(from: string, to: string): void {
    checkName(from);
    checkName(to);
    const file = this.file(from);
    this.freeBytesLimit += this.#names.get(to)?.size ?? 0;
    this.#change([
      [from, undefined],
      [to, file],
    ]);
    this.#primitive();
  }

  remove(name: string): void {
    checkName(name);
    const file = this.#names.get(name);
    if (file !== undefined) {
      this.freeBytesLimit += file.size;
      this.#change([[name, undefined]]);
    }
    this.#primitive();
  }

  quarantine(name: string): void {
    checkName(name);
    const file = this.file(name);
    let target = QUARANTINE + name;
    for (let number = 1; this.#names.has(target); number += 1) {
      target = `${QUARANTINE}${name}.${number}`;
    }
    this.#change([
      [name, undefined],
      [target, file],
    ]);
    this.#primitive();
    this.#syncNames();
  }

  syncDirectory(): void {
    this.#primitive();
    this.#syncNames();
  }

  freeBytes(): number {
    return Math.max(0, this.freeBytesLimit);
  }

  /** Lets the power fail inside the `count`th mutating primitive from now, which throws `SimCrash`. */
  crashAfterPrimitives(count: number): void {
    this.#primitivesUntilCrash = count;
  }

  /** Makes the next sync of a file fail, and the medium forget some of what it should have taken. */
  failNextSync(): void {
    this.#failsNextSync = true;
  }

  /** The power fails. What remains is what a start would find. */
  crash(): void {
    const room = this.freeBytesLimit + this.#usedBytes();
    this.#names = this.#survivingNames(this.#survival());
    this.#durableNames = new Map(this.#names);
    for (const file of new Set(this.#names.values())) file.crash(this.#prng, this.#survival());
    this.freeBytesLimit = room - this.#usedBytes();
    this.restart();
  }

  /** The process ends, the machine does not: what was written stays to be seen, and may yet be lost. */
  restart(): void {
    this.#primitivesUntilCrash = Number.POSITIVE_INFINITY;
    this.#failsNextSync = false;
    this.#generation += 1;
  }

  #usedBytes(): number {
    return [...this.#names.values()].reduce((sum, file) => sum + file.size, 0);
  }

  #survival(): Survival {
    const draw = this.#prng.below(4);
    if (draw === 0) return "all";
    return draw === 1 ? "none" : "some";
  }

  #survivingNames(survival: Survival): Map<string, SimFile> {
    const names = new Map(this.#durableNames);
    const lostNames = new Set<string>();
    for (const change of this.#changes) {
      const isPossible = [...change.keys()].every((name) => !lostNames.has(name));
      const isKept = survival === "all" || (survival === "some" && this.#prng.chance(0.5));
      if (isPossible && isKept) apply(names, change);
      else for (const name of change.keys()) lostNames.add(name);
    }
    this.#changes = [];
    return names;
  }

  #change(pairs: readonly (readonly [string, SimFile | undefined])[]): void {
    const change: NameChange = new Map(pairs);
    apply(this.#names, change);
    this.#changes.push(change);
  }

  #syncNames(): void {
    if (this.planted.ignoresDirectorySyncs) return;
    this.#changes = [];
    this.#durableNames = new Map(this.#names);
  }

  /** Stands after the effect of a change, which may be lost yet, and before the effect of a sync, which may not. */
  #primitive(): void {
    this.#primitivesUntilCrash -= 1;
    if (this.#primitivesUntilCrash <= 0) throw new SimCrash("The power failed in a file primitive");
  }
}

function apply(names: Map<string, SimFile>, change: NameChange): void {
  for (const [name, file] of change) {
    if (file === undefined) names.delete(name);
    else names.set(name, file);
  }
}

function checkName(name: string): void {
  const isFlat = name !== "" && name !== "." && name !== ".." && !/[/\0]/.test(name);
  assert(isFlat, `A file name must be flat, not ${JSON.stringify(name)}`);
}
