// Keys and values in memory behind the HTTP room's port: plain maps, and a list of everything that happened.

import type { KeyChangesView, KeyChangeView, KeyView, KvPort } from "../../src/http/mod.ts";
import { type Result, succeed } from "../../src/lib/result.ts";
import { type Refusal, refuse } from "../../src/model/errors.ts";
import type { KvWrite } from "../../src/model/kv.ts";
import type { ProduceSink } from "../../src/model/produce.ts";
import type { TransactionKey } from "../../src/model/transaction.ts";

interface Entry extends KeyView {
  readonly isLive: boolean;
}

interface Done {
  readonly print: string;
  readonly cas: number;
  readonly count: number;
}

const latin1 = (bytes: Uint8Array): string => Buffer.from(bytes).toString("latin1");

/** Keys without a log. */
export class FakeKeys implements KvPort {
  readonly #sink: ProduceSink;
  readonly #nextIndex: () => number;
  readonly #namespaces = new Map<string, Map<string, Entry>>();
  readonly #changes: (KeyChangeView & { readonly namespace: string })[] = [];
  readonly #done = new Map<string, Done>();
  readonly #wakes = new Set<() => void>();

  constructor(sink: ProduceSink, nextIndex: () => number) {
    this.#sink = sink;
    this.#nextIndex = nextIndex;
  }

  #keys(namespace: string): Map<string, Entry> {
    const known = this.#namespaces.get(namespace) ?? new Map<string, Entry>();
    this.#namespaces.set(namespace, known);
    return known;
  }

  #live(namespace: string, key: Uint8Array): Entry | undefined {
    const entry = this.#keys(namespace).get(latin1(key));
    if (entry === undefined || !entry.isLive) return undefined;
    if (entry.deadlineMs === 0 || entry.deadlineMs > Date.now()) return entry;
    this.#change(namespace, "expired", { ...entry, cas: entry.cas + 1, isLive: false });
    return undefined;
  }

  #change(namespace: string, kind: KeyChangeView["kind"], entry: Entry): number {
    const index = this.#nextIndex();
    this.#keys(namespace).set(latin1(entry.key), entry);
    const value = kind === "put" ? entry.value : undefined;
    this.#changes.push({ ...entry, kind, value, index, namespace });
    for (const wake of this.#wakes) queueMicrotask(wake);
    this.#wakes.clear();
    return index;
  }

  writeKey(waiter: number, request: KvWrite): Refusal | undefined {
    const { namespace, key, value, expectedCas, ttlMs, idempotencyKey, ack } = request;
    const name = `${namespace} ${idempotencyKey === undefined ? "" : latin1(idempotencyKey)}`;
    const print = [latin1(key), value && latin1(value), expectedCas, ttlMs].join("|");
    const before = idempotencyKey === undefined ? undefined : this.#done.get(name);
    if (before !== undefined) {
      if (before.print !== print) return refuse("idempotency_key_reused");
      setImmediate(() => this.#sink.produced(waiter, before.cas, before.count, 0, 0, -1, 1));
      return undefined;
    }
    const current = this.#live(namespace, key)?.cas ?? 0;
    if (expectedCas >= 0 && expectedCas !== current)
      return refuse("cas_mismatch", undefined, { expected: expectedCas, current });
    const duplicate = idempotencyKey === undefined ? -1 : 0;
    const isChange = value !== undefined || current > 0;
    const cas = (this.#keys(namespace).get(latin1(key))?.cas ?? 0) + 1;
    const deadlineMs = value !== undefined && ttlMs > 0 ? Date.now() + ttlMs : 0;
    const entry = {
      key: key.slice(),
      value: value?.slice() ?? new Uint8Array(0),
      cas,
      deadlineMs,
      isLive: value !== undefined,
    };
    const index = isChange
      ? this.#change(namespace, value === undefined ? "deleted" : "put", entry)
      : 0;
    const count = isChange ? 1 : 0;
    if (idempotencyKey !== undefined) this.#done.set(name, { print, cas, count });
    const synced = ack === "leader" ? 0 : 1;
    setImmediate(() => this.#sink.produced(waiter, cas, count, 0, index, synced, duplicate));
    return undefined;
  }

  /** What a client would be told of a key. */
  casOf(namespace: string, key: Uint8Array): number {
    return this.#live(namespace, key)?.cas ?? 0;
  }

  /** One step of a transaction; 0: there was nothing to delete. */
  change({ namespace, key, value, ttlMs }: TransactionKey): number {
    if (value === undefined && this.casOf(namespace, key) === 0) return 0;
    const cas = (this.#keys(namespace).get(latin1(key))?.cas ?? 0) + 1;
    const deadlineMs = value !== undefined && ttlMs > 0 ? Date.now() + ttlMs : 0;
    const isLive = value !== undefined;
    const entry = { key, value: value ?? new Uint8Array(0), cas, deadlineMs, isLive };
    this.#change(namespace, isLive ? "put" : "deleted", entry);
    return cas;
  }

  readKey(
    namespace: string,
    key: Uint8Array,
  ): KeyView | undefined | Promise<Result<undefined, Refusal>> {
    const before = this.#keys(namespace).get(latin1(key));
    const entry = this.#live(namespace, key);
    return before?.isLive === true && entry === undefined
      ? Promise.resolve(succeed(undefined))
      : entry;
  }

  listKeys(
    request: { readonly namespace: string; readonly first: Uint8Array; readonly isAfter: boolean },
    take: (entry: KeyView) => boolean,
  ): undefined {
    const keys = [...this.#keys(request.namespace).values()].sort((one, other) =>
      Buffer.compare(one.key, other.key),
    );
    for (const { key } of keys) {
      const order = Buffer.compare(key, request.first);
      if (order < 0 || (order === 0 && request.isAfter)) continue;
      const entry = this.#live(request.namespace, key);
      if (entry !== undefined && !take(entry)) return;
    }
  }

  timeLeft(deadlineMs: number): number {
    return deadlineMs === 0 ? 0 : Math.max(1, deadlineMs - Date.now());
  }

  keyChanges(namespace: string, from: number): KeyChangesView {
    const changes = this.#changes.filter(
      (change) => change.namespace === namespace && change.index >= from,
    );
    const nextIndex = Math.max(from, (this.#changes.at(-1)?.index ?? 0) + 1);
    return { changes, nextIndex, firstIndex: 1 };
  }

  onKeyChange(namespace: string, from: number, wake: () => void): () => void {
    if (this.keyChanges(namespace, from).changes.length > 0) queueMicrotask(wake);
    else this.#wakes.add(wake);
    return () => this.#wakes.delete(wake);
  }
}
