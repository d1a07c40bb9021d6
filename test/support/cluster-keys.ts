// What clients of a cluster do with keys: puts with and without an expectation, alone and in transactions, deletions, keys that
// end by themselves, reads at any node. The watch tells what each key ever was; with it, everything that clients saw is judged as one history.

import type { Prng } from "../../src/lib/prng.ts";
import type { ReplyFields } from "./cluster-client.ts";
import type { ClusterNode } from "./cluster-process.ts";
import type { KeyWrite, Operation } from "./history.ts";

const NAMESPACE = "rounds";
const KEYS = ["a", "b", "c/1", "d"];
const END_KEY = "end";
const TTL_MS_MAX = 1500;
const PAUSE_MS_MAX = 20;
const HEADERS = { authorization: "Bearer dev" };
const WATCH_MS_MAX = 20_000;

/** How an attempt ended; undefined: nobody knows. */
type Answer = { readonly status: number; readonly fields: KeyFields } | undefined;

type KeyFields = ReplyFields & {
  readonly cas?: number;
  readonly current?: number;
  readonly value?: string;
  readonly deleted?: boolean;
  /** Of a transaction. */
  readonly kv?: readonly { readonly cas: number }[];
};

/** What the load lends. */
interface KeyOptions {
  readonly random: Prng;
  readonly isStopping: () => boolean;
  /** One write at one node, and where that node sends it. */
  readonly send: (method: string, path: string, body: string) => Promise<Answer>;
  /** One read at any node. */
  readonly read: (path: string) => Promise<Answer>;
}

/** Clients of some keys. */
export class ClusterKeys {
  readonly #options: KeyOptions;
  readonly #history: Operation[] = [];
  /** What each key was last seen to have. */
  readonly #seen = new Map<string, number>();
  readonly #states = new Map<string, Map<number, string | undefined>>();
  #requests = 0;
  /** Where to go on watching. */
  #nextIndex = 1;
  /** Writes whose fate is known, and reads. */
  counts = { writes: 0, reads: 0, refusals: 0 };

  constructor(options: KeyOptions) {
    this.#options = options;
  }

  /** One thing that a client does. */
  async act(): Promise<void> {
    const { random } = this.#options;
    const key = KEYS[random.below(KEYS.length)] ?? "a";
    if (random.chance(0.45)) await this.#get(key, random.chance(0.7));
    else await this.#write(key);
  }

  async #get(key: string, isLinearizable: boolean): Promise<void> {
    const calledAt = performance.now();
    const query = isLinearizable ? "timeout_ms=3000" : "consistency=local";
    const answer = await this.#options.read(`/kv/${NAMESPACE}/${key}?${query}`);
    const returnedAt = performance.now();
    if (answer === undefined || (answer.status !== 200 && answer.status !== 404)) return;
    if (answer.status === 404 && answer.fields.error !== "not_found") return;
    this.counts.reads += 1;
    const { cas = 0, value } = answer.fields;
    const shown = value === undefined ? undefined : Buffer.from(value, "base64").toString();
    const seen = { kind: "keyRead", key, isLinearizable, cas, calledAt, returnedAt } as const;
    this.#history.push({ ...seen, value: shown });
    if (isLinearizable) this.#seen.set(key, cas);
  }

  async #write(key: string): Promise<void> {
    const { random, isStopping, send } = this.#options;
    const id = `w${this.#requests++}`;
    const isPut = random.chance(0.8);
    const hasKey = random.chance(0.7);
    const expected = random.chance(0.5) ? (this.#seen.get(key) ?? 0) : undefined;
    const ttlMs = isPut && random.chance(0.15) ? 1 + random.below(TTL_MS_MAX) : undefined;
    const change = { key, id, expected, ttlMs, idempotencyKey: hasKey ? id : undefined };
    const isTransaction = isPut && random.chance(0.3);
    const { method, path, body } = isTransaction
      ? transactionOf(change)
      : requestOf(change, isPut ? "PUT" : "DELETE");
    const calledAt = performance.now();
    const value = isPut ? id : undefined;
    const end = (fields: Pick<KeyWrite, "outcome" | "returnedAt" | "cas">): void => {
      // Of a deletion nobody is told which one it was.
      if (isPut)
        this.#history.push({ kind: "keyWrite", key, value, calledAt, expected, ...fields });
    };
    let isUncertain = false;
    for (;;) {
      if (isStopping() && isUncertain) return end({ outcome: "unknown", returnedAt: undefined });
      const answer = await send(method, path, body);
      const returnedAt = performance.now();
      if (answer?.status === 200) {
        this.counts.writes += 1;
        const { cas = answer.fields.kv?.[0]?.cas } = answer.fields;
        if (cas !== undefined) this.#seen.set(key, cas);
        return end({ outcome: "stored", returnedAt, cas });
      }
      if (answer?.status === 409) {
        this.counts.refusals += 1;
        const { current: cas = 0 } = answer.fields;
        this.#seen.set(key, cas);
        this.#history.push({
          kind: "keyRead",
          key,
          isLinearizable: true,
          cas,
          calledAt,
          returnedAt,
        });
        const outcome = isUncertain ? "unknown" : "refused";
        return end({ outcome, returnedAt: isUncertain ? undefined : returnedAt });
      }
      const isUnknown = answer === undefined || answer.status === 504;
      if (isUnknown && !hasKey) return end({ outcome: "unknown", returnedAt: undefined });
      if (!isUnknown && answer.status !== 307 && answer.status !== 503)
        throw new Error(`${id}: ${answer.status} ${JSON.stringify(answer.fields)}`);
      isUncertain ||= isUnknown;
      if (isStopping() && !isUncertain) return end({ outcome: "refused", returnedAt });
      await Bun.sleep(random.below(PAUSE_MS_MAX));
    }
  }

  /** Everything so far, with what the keys ever were, as one node's watch tells it. Nobody is writing. */
  async history(node: ClusterNode): Promise<readonly Operation[]> {
    const marker = `m${this.#requests++}`;
    while ((await this.#options.send("PUT", `/kv/${NAMESPACE}/${END_KEY}`, marker))?.status !== 200)
      await Bun.sleep(PAUSE_MS_MAX);
    await this.#follow(node, marker);
    const states = [...this.#states].map(
      ([key, known]): Operation => ({ kind: "keyStates", key, states: known }),
    );
    return [...this.#history, ...states];
  }

  /** Reads changes until the one with `marker` comes. */
  async #follow(node: ClusterNode, marker: string): Promise<void> {
    const url = `${node.url}/kv/${NAMESPACE}?watch=1&from=${this.#nextIndex}`;
    const reply = await fetch(url, { headers: HEADERS, signal: AbortSignal.timeout(WATCH_MS_MAX) });
    if (reply.status !== 200) throw new Error(`The watch is refused: ${await reply.text()}`);
    const decoder = new TextDecoder();
    let rest = "";
    for await (const piece of reply.body ?? []) {
      const blocks = `${rest}${decoder.decode(piece, { stream: true })}`.split("\n\n");
      rest = blocks.pop() ?? "";
      for (const block of blocks) if (this.#take(block) === marker) return;
    }
    throw new Error(`The watch ended before ${marker}`);
  }

  #take(block: string): string | undefined {
    const data = block.split("\n").find((line) => line.startsWith("data: "));
    if (data === undefined) return undefined;
    const change = JSON.parse(data.slice(6)) as {
      readonly key: string;
      readonly cas: number;
      readonly value?: string;
      readonly batch_id: number;
    };
    const { key, cas, value } = change;
    const shown = value === undefined ? undefined : Buffer.from(value, "base64").toString();
    // The batch may have more behind this change, such as a key that ended: it is read once more.
    this.#nextIndex = change.batch_id;
    if (key === END_KEY) return shown;
    const states = this.#states.get(key) ?? new Map<number, string | undefined>();
    this.#states.set(key, states.set(cas, shown));
    return undefined;
  }
}

/** A change of a key, however it is sent. */
interface Change {
  readonly key: string;
  readonly id: string;
  readonly expected: number | undefined;
  readonly ttlMs: number | undefined;
  readonly idempotencyKey: string | undefined;
}

interface Request {
  readonly method: string;
  readonly path: string;
  readonly body: string;
}

function requestOf(change: Change, method: "PUT" | "DELETE"): Request {
  const { key, id, expected, ttlMs, idempotencyKey } = change;
  const query = new URLSearchParams({ timeout_ms: "3000" });
  if (expected !== undefined) query.set("cas", String(expected));
  if (idempotencyKey !== undefined) query.set("idempotency_key", idempotencyKey);
  if (ttlMs !== undefined) query.set("ttl_ms", String(ttlMs));
  return { method, path: `/kv/${NAMESPACE}/${key}?${query}`, body: method === "PUT" ? id : "" };
}

function transactionOf({ key, id, expected, ttlMs, idempotencyKey }: Change): Request {
  const kv = `${NAMESPACE}/${key}`;
  const body = {
    idempotency_key: idempotencyKey,
    expect: expected === undefined ? [] : [{ kv, cas: expected }],
    kv: [{ op: "put", key: kv, value: id, ttl_ms: ttlMs }],
  };
  return {
    method: "POST",
    path: "/broker/txn?timeout_ms=3000",
    body: JSON.stringify(body),
  };
}
