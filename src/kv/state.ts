// Keys, values and what is left of deleted keys, as the log makes them. `apply` is for entries, in log order, and verifies what
// the leader decided; `fold` is for items of deltas and bases.
//
// A key's `cas` grows by one with each change, deletions included. What is left of a deleted key, a tombstone, remembers how
// far it had got. A namespace's floor stands for the tombstones at or below it: those count as forgotten from the moment
// that the floor rises, whenever their memory is given back.
//
// slot: namespace u32 | key length u16, isLive u16 | cas f64 | deadline f64 | value length u32, zero u32 | key | value

import { assert } from "../lib/assert.ts";
import { COMMAND, type CommandCursor, type ControlCommand } from "../model/command-codec.ts";
import { KvReader } from "../model/kv-codec.ts";
import { DeadlineHeap } from "./deadline-heap.ts";
import { OrderedAddresses } from "./ordered-addresses.ts";
import { SlotArena } from "./slot-arena.ts";

const FIXED_BYTES = 32;
/** Deadlines that hold no more, before they are thrown out: one for each that does, and these. */
const STALE_DEADLINES_MAX = 4096;

/** Some keys under one name. */
export interface Namespace {
  readonly id: number;
  readonly name: string;
  readonly keys: OrderedAddresses;
  /** A key that is made begins above it. */
  floor: number;
  /** Keys that have a value. */
  live: number;
  /** Deleted keys whose `cas` is still remembered, or not yet given back. */
  tombstones: number;
  /** The highest `cas` of any tombstone ever. */
  tombstoneCasMax: number;
  /** The last entry that changed one of its keys, of those that were applied here. */
  changedIndex: number;
  /** The sweep for forgotten tombstones goes on behind this key; undefined: there is nothing to sweep. */
  sweepAfter: Uint8Array | undefined;
}

/** What there is of one key. */
export interface KeyView {
  /** What the next change goes on from. */
  cas: number;
  isLive: boolean;
  /** 0: none. */
  deadlineMs: number;
  /** Of key and value; 0 when it has no value. */
  bytes: number;
}

/** A key with its value, in memory that changes with the next command. */
export interface KeyEntry extends KeyView {
  readonly key: Uint8Array;
  readonly value: Uint8Array;
}

/** The first key that does not come before it is every key. */
const NO_KEY = new Uint8Array(0);

/** All keys of all namespaces. */
export class KvState {
  readonly #arena = new SlotArena();
  /** What `#find` looks for. */
  #wanted: Uint8Array = NO_KEY;
  readonly #byName = new Map<string, Namespace>();
  readonly #byId = new Map<number, Namespace>();
  readonly #deadlines = new DeadlineHeap();
  readonly #reader = new KvReader();
  /** The entry up to which this state was folded: what changed before is not known by its entry. */
  foldedIndex = 0;
  /** Keys with a value, in all. */
  liveCount = 0;
  /** Bytes of keys and values, in all. */
  liveBytes = 0;
  /** Keys with a deadline. */
  #expiring = 0;
  /** Keys whose deadline ended them, since the start. */
  expiredCount = 0;

  /** Namespaces so far: the number of the last one. */
  get namespaceCount(): number {
    return this.#byId.size;
  }

  /** Deleted keys that are remembered. */
  get tombstoneCount(): number {
    return [...this.#byId.values()].reduce((sum, { tombstones }) => sum + tombstones, 0);
  }

  /** Bytes of memory that keys, values and tombstones take, room for more in their pages included. */
  get memoryBytes(): number {
    return this.#arena.pageBytes;
  }

  namespace(name: string): Namespace | undefined {
    return this.#byName.get(name);
  }

  byId(id: number): Namespace | undefined {
    return this.#byId.get(id);
  }

  /** Every namespace, in order of creation. */
  namespaces(): Iterable<Namespace> {
    return this.#byId.values();
  }

  /** What there is of a key. */
  view(namespace: Namespace, key: Uint8Array): KeyView {
    return this.#viewAt(namespace, this.#find(namespace, key));
  }

  #viewAt(namespace: Namespace, address: number): KeyView {
    if (address < 0) return { cas: namespace.floor, isLive: false, deadlineMs: 0, bytes: 0 };
    this.#arena.seek(address);
    const { view, at } = this.#arena;
    const isLive = view.getUint16(at + 6, true) === 1;
    const cas = view.getFloat64(at + 8, true);
    return {
      cas: isLive ? cas : Math.max(cas, namespace.floor),
      isLive,
      deadlineMs: view.getFloat64(at + 16, true),
      bytes: isLive ? view.getUint16(at + 4, true) + view.getUint32(at + 24, true) : 0,
    };
  }

  /** A key with its value; undefined when it has none. */
  get(namespace: Namespace, key: Uint8Array): KeyEntry | undefined {
    const address = this.#find(namespace, key);
    return address < 0 ? undefined : this.#entry(address);
  }

  /**
   * Keys that have a value, in the order of their bytes, from `first` on. The state must not change meanwhile.
   * @param isAfter `first` itself is left out.
   */
  *list(namespace: Namespace, first: Uint8Array = NO_KEY, isAfter = false): Iterable<KeyEntry> {
    const compare = (address: number): number => this.#compare(address, first);
    for (const address of namespace.keys.from(compare)) {
      if (isAfter && compare(address) === 0) continue;
      const entry = this.#entry(address);
      if (entry !== undefined) yield entry;
    }
  }

  /** What is left of deleted keys and still counts: their keys with their `cas`, for comparing nodes. */
  *tombstones(namespace: Namespace): Iterable<{ readonly key: Uint8Array; readonly cas: number }> {
    for (const address of namespace.keys.all()) {
      this.#arena.seek(address);
      const { bytes, view, at } = this.#arena;
      const cas = view.getFloat64(at + 8, true);
      if (view.getUint16(at + 6, true) === 1 || cas <= namespace.floor) continue;
      const keyStart = at + FIXED_BYTES;
      yield { key: bytes.subarray(keyStart, keyStart + view.getUint16(at + 4, true)), cas };
    }
  }

  /** Applies a command of an entry. Returns the namespace that it changed. */
  apply(command: CommandCursor, index: number): Namespace {
    const reader = this.#reader;
    if (!reader.read(command)) return this.#control(command, index);
    const namespace = this.#byId.get(reader.namespaceId);
    assert(namespace !== undefined, "A key's namespace has been created");
    const key = reader.bytes.subarray(reader.keyStart, reader.keyEnd);
    const known = this.#find(namespace, key);
    const before = this.#viewAt(namespace, known);
    assert(reader.cas === before.cas + 1, "A key's cas grows by one with each change");
    assert(reader.isPut || before.isLive, "A key that is deleted was there");
    if (reader.isExpired) this.expiredCount += 1;
    this.#change(namespace, key, reader, known);
    namespace.changedIndex = index;
    return namespace;
  }

  /** Takes in an item of a delta or base. */
  fold(item: CommandCursor): void {
    const reader = this.#reader;
    if (!reader.read(item)) {
      this.#control(item, 0);
      return;
    }
    const namespace = this.#byId.get(reader.namespaceId);
    assert(namespace !== undefined, "A key's namespace has been created");
    const key = reader.bytes.subarray(reader.keyStart, reader.keyEnd);
    this.#change(namespace, key, reader, this.#find(namespace, key));
  }

  #control(command: CommandCursor, index: number): Namespace {
    const control: ControlCommand | undefined = command.control();
    assert(control !== undefined, `Command kind ${command.kind} is known`);
    if (control.kind === "namespaceCreated") return this.#create(control.namespaceId, control.name);
    assert(control.kind === "namespaceFloor", `A ${control.kind} is not of keys`);
    const namespace = this.#byId.get(control.namespaceId);
    assert(namespace !== undefined, `Namespace ${control.namespaceId} has been created`);
    namespace.floor = Math.max(namespace.floor, control.floor);
    namespace.changedIndex = Math.max(namespace.changedIndex, index);
    if (namespace.tombstones > 0) namespace.sweepAfter = NO_KEY;
    return namespace;
  }

  #create(id: number, name: string): Namespace {
    const known = this.#byId.get(id);
    // A base and the delta after it may both tell of a creation; it is one.
    if (known !== undefined) return known;
    assert(!this.#byName.has(name), `Namespace ${name} is created once`);
    const namespace: Namespace = {
      id,
      name,
      keys: new OrderedAddresses(),
      floor: 0,
      live: 0,
      tombstones: 0,
      tombstoneCasMax: 0,
      changedIndex: 0,
      sweepAfter: undefined,
    };
    this.#byId.set(id, namespace);
    this.#byName.set(name, namespace);
    return namespace;
  }

  /** @param known Where the key was just found; -1: nowhere. */
  #change(namespace: Namespace, key: Uint8Array, reader: KvReader, known: number): void {
    const { isPut, cas } = reader;
    if (known >= 0) this.#uncount(namespace, known);
    const isForgotten = !isPut && cas <= namespace.floor;
    if (isForgotten) {
      if (known < 0) return;
      namespace.keys.remove(known);
      this.#release(known);
      return;
    }
    const valueBytes = isPut ? reader.valueEnd - reader.valueStart : 0;
    const bytes = FIXED_BYTES + key.length + valueBytes;
    let address = known;
    if (known < 0 || !this.#fits(known, bytes)) {
      address = this.#arena.take(bytes);
      if (known < 0) namespace.keys.insert(address);
      else {
        namespace.keys.replace(known, address);
        this.#release(known);
      }
    }
    this.#arena.seek(address);
    const { view, at } = this.#arena;
    view.setUint32(at, namespace.id, true);
    view.setUint16(at + 4, key.length, true);
    view.setUint16(at + 6, isPut ? 1 : 0, true);
    view.setFloat64(at + 8, cas, true);
    view.setFloat64(at + 16, reader.deadlineMs, true);
    view.setUint32(at + 24, valueBytes, true);
    view.setUint32(at + 28, 0, true);
    this.#arena.bytes.set(key, at + FIXED_BYTES);
    if (isPut)
      this.#arena.bytes.set(
        reader.bytes.subarray(reader.valueStart, reader.valueEnd),
        at + FIXED_BYTES + key.length,
      );
    this.#count(namespace, address);
  }

  /** Whether a slot holds so much, and is not much larger than it need be. */
  #fits(address: number, bytes: number): boolean {
    const capacity = this.#arena.capacity(address);
    return bytes <= capacity && capacity <= 2 * bytes;
  }

  #count(namespace: Namespace, address: number): void {
    this.#arena.seek(address);
    const { view, at } = this.#arena;
    if (view.getUint16(at + 6, true) === 0) {
      namespace.tombstones += 1;
      namespace.tombstoneCasMax = Math.max(
        namespace.tombstoneCasMax,
        view.getFloat64(at + 8, true),
      );
      return;
    }
    namespace.live += 1;
    this.liveCount += 1;
    this.liveBytes += view.getUint16(at + 4, true) + view.getUint32(at + 24, true);
    const deadlineMs = view.getFloat64(at + 16, true);
    if (deadlineMs === 0) return;
    this.#expiring += 1;
    this.#deadlines.push(deadlineMs, address);
  }

  #uncount(namespace: Namespace, address: number): void {
    this.#arena.seek(address);
    const { view, at } = this.#arena;
    if (view.getUint16(at + 6, true) === 0) {
      namespace.tombstones -= 1;
      return;
    }
    namespace.live -= 1;
    this.liveCount -= 1;
    this.liveBytes -= view.getUint16(at + 4, true) + view.getUint32(at + 24, true);
    if (view.getFloat64(at + 16, true) > 0) this.#expiring -= 1;
  }

  /**
   * Calls `expired` for keys whose deadline has come, soonest first, `max` of them at most. They stay as they are: only the
   * log ends a key. Nothing may change meanwhile.
   */
  forExpired(
    nowMs: number,
    max: number,
    expired: (namespace: Namespace, key: Uint8Array) => void,
  ): void {
    if (this.#deadlines.size > 2 * this.#expiring + STALE_DEADLINES_MAX) this.#renewDeadlines();
    /** By address: one that was set to the same moment twice is met once. */
    const met = new Map<number, number>();
    while (met.size < max && this.#deadlines.nextMs <= nowMs) {
      const { nextMs, nextAddress } = this.#deadlines;
      this.#deadlines.pop();
      if (this.#deadlineAt(nextAddress) === nextMs) met.set(nextAddress, nextMs);
    }
    for (const [address, deadlineMs] of met) {
      this.#deadlines.push(deadlineMs, address);
      const entry = this.#entry(address);
      this.#arena.seek(address);
      const namespace = this.#byId.get(this.#arena.view.getUint32(this.#arena.at, true));
      if (entry !== undefined && namespace !== undefined) expired(namespace, entry.key);
    }
  }

  /** The deadline of the key in a slot; 0 when there is none, or no key: slots are used again. */
  #deadlineAt(address: number): number {
    if (!this.#arena.hasSlot(address)) return 0;
    this.#arena.seek(address);
    const { view, at } = this.#arena;
    return view.getUint16(at + 6, true) === 1 ? view.getFloat64(at + 16, true) : 0;
  }

  /** Throws out deadlines that hold no more. */
  #renewDeadlines(): void {
    this.#deadlines.clear();
    for (const namespace of this.#byId.values()) {
      for (const address of namespace.keys.all()) {
        const deadlineMs = this.#deadlineAt(address);
        if (deadlineMs > 0) this.#deadlines.push(deadlineMs, address);
      }
    }
  }

  /** Gives back the memory of forgotten tombstones: looks at `max` keys at most. */
  sweep(max: number): void {
    let left = max;
    for (const namespace of this.#byId.values()) {
      if (namespace.sweepAfter === undefined) continue;
      if (left <= 0) return;
      left -= this.#sweepSome(namespace, namespace.sweepAfter, left);
    }
  }

  #sweepSome(namespace: Namespace, after: Uint8Array, max: number): number {
    const forgotten: Uint8Array[] = [];
    let looked = 0;
    let last = after;
    for (const address of namespace.keys.from((at) => this.#compare(at, after))) {
      if (looked === max) break;
      looked += 1;
      this.#arena.seek(address);
      const { bytes, view, at } = this.#arena;
      const keyStart = at + FIXED_BYTES;
      last = bytes.subarray(keyStart, keyStart + view.getUint16(at + 4, true));
      const isForgotten =
        view.getUint16(at + 6, true) === 0 && view.getFloat64(at + 8, true) <= namespace.floor;
      if (isForgotten) forgotten.push(last.slice());
    }
    namespace.sweepAfter = looked < max ? undefined : last.slice();
    for (const key of forgotten) {
      const address = this.#find(namespace, key);
      namespace.keys.remove(address);
      this.#release(address);
      namespace.tombstones -= 1;
    }
    return looked;
  }

  #entry(address: number): KeyEntry | undefined {
    this.#arena.seek(address);
    const { bytes, view, at } = this.#arena;
    if (view.getUint16(at + 6, true) === 0) return undefined;
    const keyStart = at + FIXED_BYTES;
    const valueStart = keyStart + view.getUint16(at + 4, true);
    const valueEnd = valueStart + view.getUint32(at + 24, true);
    return {
      key: bytes.subarray(keyStart, valueStart),
      value: bytes.subarray(valueStart, valueEnd),
      bytes: valueEnd - keyStart,
      cas: view.getFloat64(at + 8, true),
      deadlineMs: view.getFloat64(at + 16, true),
      isLive: true,
    };
  }

  /** Lets a slot go. Its deadline may still be in the heap, and must not be taken for one that holds. */
  #release(address: number): void {
    this.#arena.seek(address);
    this.#arena.view.setUint16(this.#arena.at + 6, 0, true);
    this.#arena.release(address);
  }

  #find(namespace: Namespace, key: Uint8Array): number {
    this.#wanted = key;
    return namespace.keys.find(this.#compareWanted);
  }

  /** One function for all searches: a new one each time costs four times as much as the search. */
  readonly #compareWanted = (address: number): number => this.#compare(address, this.#wanted);

  /** Compares the key at an address with `key`, byte by byte. */
  #compare(address: number, key: Uint8Array): number {
    const arena = this.#arena;
    arena.seek(address);
    const { bytes, at } = arena;
    const start = at + FIXED_BYTES;
    const length = (bytes[at + 4] as number) | ((bytes[at + 5] as number) << 8);
    const wanted = key.length;
    const common = Math.min(length, wanted);
    for (let i = 0; i < common; i++) {
      const difference = (bytes[start + i] as number) - (key[i] as number);
      if (difference !== 0) return difference;
    }
    return length - wanted;
  }
}

/** Whether a kind of command is of keys and their namespaces. */
export const isKvCommand = (kind: number): boolean =>
  kind >= COMMAND.namespaceCreated && kind <= COMMAND.kvDeleted;
