// Decides changes of keys: compare-and-set, time to live, limits. The leader looks at the applied state and at what its log
// says beyond it; what passes goes into the open entry with its outcome, what does not never enters the log.

import type { KeyView, Namespace } from "../kv/mod.ts";
import { decodeLatin1 } from "../lib/bytes.ts";
import { COMMAND_HEADER_BYTES, putCommand } from "../model/command-codec.ts";
import { type Refusal, refuse } from "../model/errors.ts";
import type { KvWrite } from "../model/kv.ts";
import {
  KV_DELETED_COMMAND_BYTES,
  KV_PUT_COMMAND_BYTES,
  putKvDeleted,
  putKvPut,
} from "../model/kv-codec.ts";
import { Idempotency, namespaceScope, rememberedBytes } from "./idempotency.ts";
import { Pending } from "./pending.ts";
import type { Replica } from "./replica.ts";

/** What a node may hold of keys. */
export interface KvLimits {
  /** Keys that have a value. */
  readonly keysMax: number;
  /** Bytes of keys and values, with what each key takes besides. */
  readonly bytesMax: number;
  readonly namespacesMax: number;
}

/** What a key takes besides its own bytes and its value's. */
const KEY_OVERHEAD_BYTES = 48;
/** Keys whose time is over, ended in one look. */
const EXPIRED_PER_LOOK_MAX = 1000;
/** Milliseconds between two looks at deadlines: what is read meanwhile is looked at by its reader. */
const EXPIRY_INTERVAL_MS = 100;
/** Tombstones that a namespace keeps in any case, and the share of its keys that they may be besides. */
const TOMBSTONES_MIN = 1024;
const TOMBSTONES_SHARE = 2;
/** Keys that are looked at for forgotten tombstones in one tick. */
const SWEPT_PER_TICK_MAX = 512;
/** Bytes of `namespaceCreated` before its name. */
const NAMESPACE_FIXED_BYTES = 4;
/** What one request may put into an entry. */
const ENTRY_BYTES_MAX = 4 << 20;
const NO_DETAIL = new Uint8Array(0);
const DISK_FULL = refuse("disk_full");

/** What is to become of one key. */
export interface KvStep {
  readonly namespace: string;
  readonly key: Uint8Array;
  /** Undefined: it is deleted. */
  readonly value: Uint8Array | undefined;
  /** Of a put: milliseconds until the key ends; 0: it does not. */
  readonly ttlMs: number;
}

/** The way in for changes of keys. */
export class KeyValues {
  readonly #replica: Replica;
  readonly #limits: KvLimits;
  readonly #keys: Idempotency;
  /** By namespace and key; each new key weighs one. */
  readonly #pending = new Pending<KeyView>();
  /** By name. */
  readonly #namespaces = new Pending<number>();
  /** Weighs the bytes of all puts under way. */
  readonly #bytes = new Pending<undefined>();
  /** By name: floors that are being raised. */
  readonly #floors = new Pending<number>();
  #lastLookMs = Number.NEGATIVE_INFINITY;

  constructor(replica: Replica, limits: KvLimits) {
    this.#replica = replica;
    this.#limits = limits;
    this.#keys = new Idempotency(replica);
  }

  /** Takes a change of a key, or says at once why not. */
  write(waiter: number, request: KvWrite): Refusal | undefined {
    const replica = this.#replica;
    const gate = replica.writeGate();
    if (gate !== undefined) return gate;
    this.trim();
    const { idempotencyKey, key, value, expectedCas } = request;
    const namespaceId = this.#idOf(request.namespace);
    if (idempotencyKey !== undefined) {
      this.#print(request);
      const scope = namespaceScope(namespaceId ?? 0);
      if (namespaceId !== undefined && this.#keys.isKnown(waiter, scope, idempotencyKey))
        return undefined;
    }
    if (value !== undefined && replica.log.isFull) return DISK_FULL;
    const { current, isExpired } = this.look(request.namespace, key);
    if (expectedCas >= 0 && expectedCas !== current) {
      // What is said here must stay true for whoever asks another node next.
      if (isExpired) this.expire(request.namespace, key);
      this.#keys.refuseLater(waiter, casMismatch(expectedCas, current));
      return undefined;
    }
    const over = this.overBudget([request]);
    if (over !== undefined) return over;
    const isChange = value !== undefined || current > 0;
    if (!isChange && isExpired) this.expire(request.namespace, key);
    if (!isChange && idempotencyKey === undefined) {
      this.#nothingThere(waiter);
      return undefined;
    }
    const bytes = this.bytesOf(request) + rememberedBytes(idempotencyKey);
    if (bytes > ENTRY_BYTES_MAX)
      return refuse("payload_too_large", `Cannot store ${bytes} bytes in one entry`, {
        max_bytes: ENTRY_BYTES_MAX,
        got_bytes: bytes,
      });
    replica.batcher.open(bytes, replica.now);
    const cas = isChange ? this.add(request, isExpired) : 0;
    const count = isChange ? 1 : 0;
    if (idempotencyKey !== undefined) {
      const scope = namespaceScope(this.#ensure(request.namespace));
      const done = { partition: 0, count, firstOffset: cas, detail: NO_DETAIL };
      this.#keys.remember(scope, idempotencyKey, done);
    }
    const duplicate = idempotencyKey === undefined ? -1 : 0;
    replica.waitFor(request.ack, waiter, cas, count, 0, duplicate);
    replica.wantSubmit();
    return undefined;
  }

  /** Answers that there was nothing to delete, once that is certain. */
  #nothingThere(waiter: number): void {
    const { sink } = this.#replica;
    this.#replica.confirm(
      () => sink.produced(waiter, 0, 0, 0, 0, -1, -1),
      (reason) => sink.refused(waiter, reason),
    );
  }

  /** What there is of a key once everything in the log is applied. */
  #view(namespace: string, key: Uint8Array): KeyView {
    const id = this.#idOf(namespace);
    if (id === undefined) return NOTHING;
    const pending = this.#pending.get(pendingName(id, key));
    if (pending !== undefined) return pending;
    const known = this.#replica.kv.byId(id);
    return known === undefined ? NOTHING : this.#replica.kv.view(known, key);
  }

  /** What a client would be told of a key: its `cas`, 0 when it has no value, or one whose time is over. Call `trim` before. */
  look(
    namespace: string,
    key: Uint8Array,
  ): { readonly current: number; readonly isExpired: boolean } {
    const view = this.#view(namespace, key);
    const isExpired = this.#isExpired(view);
    return { current: view.isLive && !isExpired ? view.cas : 0, isExpired };
  }

  /** Whether a key's time is over, though the log does not say so yet. */
  #isExpired({ isLive, deadlineMs }: KeyView): boolean {
    return isLive && deadlineMs > 0 && deadlineMs <= this.#replica.entryTime();
  }

  /**
   * Why these steps cannot be taken together; undefined when there is room for what they leave. What is under way counts as
   * if it were there, and what goes makes room for nobody else before it is gone.
   */
  overBudget(steps: readonly KvStep[]): Refusal | undefined {
    const { kv } = this.#replica;
    const { keysMax, bytesMax, namespacesMax } = this.#limits;
    const puts = steps.filter(({ value }) => value !== undefined);
    const fresh = new Set(puts.map(({ namespace }) => namespace));
    for (const name of fresh) if (this.#idOf(name) !== undefined) fresh.delete(name);
    if (fresh.size > 0 && this.#namespaceCount + fresh.size > namespacesMax)
      return refuse("overloaded", `Cannot begin another namespace: the limit is ${namespacesMax}`, {
        limit: namespacesMax,
      });
    const keys = steps.reduce((sum, step) => sum + this.#newKeys(step), 0);
    if (keys > 0 && kv.liveCount + this.#pending.weight + keys > keysMax)
      return refuse(
        "overloaded",
        `Cannot store another key: the limit is ${keysMax} (RF_SHARED_ENTRIES)`,
        { limit: keysMax },
      );
    const bytes = steps.reduce((sum, step) => sum + this.#growth(step), 0);
    const present = kv.liveBytes + kv.liveCount * KEY_OVERHEAD_BYTES + this.#bytes.weight;
    if (bytes <= 0 || present + bytes <= bytesMax) return undefined;
    return refuse(
      "overloaded",
      `Cannot store ${bytes} more bytes of keys and values: the limit is ${bytesMax} (RF_KV_BYTES)`,
      { max_bytes: bytesMax },
    );
  }

  /** How many keys a step adds: -1 when it takes one away. */
  #newKeys({ namespace, key, value }: KvStep): number {
    const { isLive } = this.#view(namespace, key);
    return Number(value !== undefined) - Number(isLive);
  }

  /** Bytes that a step takes beyond those that its key takes now; below 0 when it gives some back. */
  #growth({ namespace, key, value }: KvStep): number {
    const { bytes } = this.#view(namespace, key);
    const before = bytes === 0 ? 0 : bytes + KEY_OVERHEAD_BYTES;
    const after = value === undefined ? 0 : key.length + value.length + KEY_OVERHEAD_BYTES;
    return after - before;
  }

  get #namespaceCount(): number {
    return this.#replica.kv.namespaceCount + this.#namespaces.size;
  }

  #idOf(namespace: string): number | undefined {
    return this.#replica.kv.namespace(namespace)?.id ?? this.#namespaces.get(namespace);
  }

  /** Bytes that a step takes in an entry, at most. */
  bytesOf({ namespace, key, value }: KvStep): number {
    const made = COMMAND_HEADER_BYTES + NAMESPACE_FIXED_BYTES + namespace.length;
    // A key whose time is over is deleted first.
    const deleted = KV_DELETED_COMMAND_BYTES + key.length;
    return made + deleted + KV_PUT_COMMAND_BYTES + key.length + (value?.length ?? 0);
  }

  /**
   * Puts a step into the open entry, which has room for it. Returns the key's `cas` from then on.
   * @param isExpired The key's time was over when the step was decided: it is deleted first.
   */
  add(step: KvStep, isExpired: boolean): number {
    const { batcher, openIndex } = this.#replica;
    const { key, value, ttlMs } = step;
    const namespaceId = this.#ensure(step.namespace);
    const before = this.#view(step.namespace, key);
    let { cas } = before;
    if (isExpired) {
      cas += 1;
      const change = { namespaceId, key, cas };
      batcher.addCommand((writer) => putKvDeleted(writer, change, true));
    }
    const change = { namespaceId, key, cas: cas + 1 };
    const deadlineMs = ttlMs > 0 ? batcher.timestampMs + ttlMs : 0;
    if (value === undefined) batcher.addCommand((writer) => putKvDeleted(writer, change, false));
    else batcher.addCommand((writer) => putKvPut(writer, change, deadlineMs, value));
    const isLive = value !== undefined;
    const bytes = isLive ? key.length + value.length : 0;
    const after = { cas: cas + 1, isLive, deadlineMs: isLive ? deadlineMs : 0, bytes };
    const isNew = isLive && !before.isLive;
    const growth = this.#growth(step);
    this.#pending.set(pendingName(namespaceId, key), after, openIndex, isNew ? 1 : 0);
    if (growth > 0) this.#bytes.set("", undefined, openIndex, growth);
    return cas + 1;
  }

  /** The number of a namespace; the open entry makes it when there is none. */
  #ensure(name: string): number {
    const known = this.#idOf(name);
    if (known !== undefined) return known;
    const namespaceId = this.#namespaceCount + 1;
    const { batcher, openIndex } = this.#replica;
    batcher.addCommand((writer) =>
      putCommand(writer, { kind: "namespaceCreated", namespaceId, name }),
    );
    this.#namespaces.set(name, namespaceId, openIndex);
    return namespaceId;
  }

  /**
   * Ends a key whose time is over, unless the log does so already: what was told of it must not come back. Nothing, where
   * this node does not lead.
   */
  endExpired(namespace: Namespace, key: Uint8Array): void {
    if (this.#replica.writeGate() !== undefined) return;
    this.trim();
    if (this.#isExpired(this.#view(namespace.name, key))) this.expire(namespace.name, key);
  }

  /** Puts the end of a key whose time is over into the log. */
  expire(namespace: string, key: Uint8Array): void {
    const { batcher } = this.#replica;
    const namespaceId = this.#idOf(namespace);
    if (namespaceId === undefined) return;
    batcher.open(KV_DELETED_COMMAND_BYTES + key.length, this.#replica.now);
    // Only now is it certain which entry is open.
    const { openIndex } = this.#replica;
    const cas = this.#view(namespace, key).cas + 1;
    const copy = key.slice();
    batcher.addCommand((writer) => putKvDeleted(writer, { namespaceId, key: copy, cas }, true));
    const after = { cas, isLive: false, deadlineMs: 0, bytes: 0 };
    this.#pending.set(pendingName(namespaceId, copy), after, openIndex);
    this.#replica.wantSubmit();
  }

  /** Time goes on: a leader ends keys whose time is over, and forgets deleted ones when there are many. */
  tick(): void {
    const replica = this.#replica;
    replica.kv.sweep(SWEPT_PER_TICK_MAX);
    const nowMs = replica.clock.monotonicMs();
    if (!replica.isLeading || nowMs - this.#lastLookMs < EXPIRY_INTERVAL_MS) return;
    if (replica.writeGate() !== undefined) return;
    this.#lastLookMs = nowMs;
    this.trim();
    replica.kv.forExpired(replica.now(), EXPIRED_PER_LOOK_MAX, (namespace, key) => {
      if (this.#isExpired(this.#view(namespace.name, key))) this.expire(namespace.name, key);
    });
    this.#forgetDeleted();
  }

  /** Raises the floor of a namespace with too many tombstones above everything that they remember. */
  #forgetDeleted(): void {
    const { batcher, kv } = this.#replica;
    for (const namespace of kv.namespaces()) {
      const { id, live, tombstones, tombstoneCasMax, floor } = namespace;
      const isMany = tombstones > TOMBSTONES_MIN && tombstones > live / TOMBSTONES_SHARE;
      if (!isMany || tombstoneCasMax <= floor || this.#floors.get(namespace.name) !== undefined)
        continue;
      batcher.open(COMMAND_HEADER_BYTES + NAMESPACE_FIXED_BYTES + 12, this.#replica.now);
      batcher.addCommand((writer) =>
        putCommand(writer, { kind: "namespaceFloor", namespaceId: id, floor: tombstoneCasMax }),
      );
      this.#floors.set(namespace.name, tombstoneCasMax, this.#replica.openIndex);
      this.#replica.wantSubmit();
    }
  }

  #print({ key, value, expectedCas, ttlMs }: KvWrite): void {
    const print = this.#keys.fingerprint.reset().number(value === undefined ? 0 : 1);
    print.bytes(key).bytes(value).number(expectedCas).number(ttlMs);
  }

  /** Forgets what is applied by now. */
  trim(): void {
    const { appliedIndex } = this.#replica;
    for (const pending of [this.#pending, this.#namespaces, this.#bytes, this.#floors])
      pending.trim(appliedIndex);
  }

  /** What is under way is nobody's any more: this node no longer leads. */
  drop(): void {
    this.#keys.drop();
    for (const pending of [this.#pending, this.#namespaces, this.#bytes, this.#floors])
      pending.clear();
  }
}

const NOTHING: KeyView = { cas: 0, isLive: false, deadlineMs: 0, bytes: 0 };

/** One character for each byte of the key. */
const pendingName = (namespaceId: number, key: Uint8Array): string =>
  `${namespaceId} ${decodeLatin1(key)}`;

/** The refusal of an expectation that does not hold. */
export const casMismatch = (expected: number, current: number): Refusal =>
  refuse("cas_mismatch", `The key has cas ${current}, not ${expected}`, { expected, current });
