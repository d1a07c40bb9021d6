// What clients do with keys, alone and in transactions with records and groups, and what they were told. All of it goes into
// the history that is judged at the end.

import { decodeText, encodeText } from "../../../src/lib/bytes.ts";
import type { Prng } from "../../../src/lib/prng.ts";
import type { Refusal } from "../../../src/model/errors.ts";
import type { Ack } from "../../../src/model/produce.ts";
import type { Transaction, TransactionOutcome } from "../../../src/model/transaction.ts";
import type { KeyWrite, Operation } from "../../support/history.ts";
import type { Produced } from "../outcomes.ts";
import { claim } from "../shadow.ts";
import type { Call, Client, Clients, Outcome } from "./clients.ts";
import type { LedgerTopic } from "./ledger.ts";
import type { ClusterNode } from "./node.ts";
import { Produce } from "./operations.ts";
import type { ClusterWorld } from "./world.ts";

const NAMESPACES = ["a", "b"];
const KEYS = ["k", "k/1", "x"];
/** Waiters of keys and transactions, apart from those of records. */
export const KEY_WAITERS = 1_000_000_000;

/** One change of one key, however often it is sent. */
interface Change {
  readonly id: number;
  readonly namespace: string;
  readonly key: string;
  readonly isPut: boolean;
  readonly expectedCas: number;
  readonly ttlMs: number;
  calledAt: number;
  returnedAt: number | undefined;
  /** `weak`: acknowledged before it was certain that it stays. */
  fate: "open" | "stored" | "weak" | "refused" | "unknown";
  cas: number | undefined;
}

/** What one call sends, until it is over. */
interface Sent {
  readonly what: string;
  readonly client: Client;
  readonly call: Call;
  readonly attempt: number;
  readonly node: ClusterNode;
  readonly generation: number;
  readonly life: number;
  readonly produced: (outcome: Produced) => void;
  readonly refused: (refusal: Refusal) => void;
  isOver: boolean;
}

const nameOf = (namespace: string, key: string): string => `${namespace}/${key}`;

/** Keys as clients use them. */
export class KeyCalls {
  readonly seen: Operation[] = [];
  readonly #changes: Change[] = [];
  readonly #sent: Sent[] = [];
  readonly #world: ClusterWorld;
  readonly #clients: Clients;
  readonly #prng: Prng;

  constructor(world: ClusterWorld, clients: Clients, prng: Prng) {
    this.#world = world;
    this.#clients = clients;
    this.#prng = prng;
  }

  #pick<T>(choices: readonly T[]): T {
    return choices[this.#prng.below(choices.length)] as T;
  }

  /** A client does something with a key. */
  begin(client: Client, topic: LedgerTopic): void {
    const draw = this.#prng.below(100);
    const namespace = this.#pick(NAMESPACES);
    const key = this.#pick(KEYS);
    if (draw < 35) this.#read(client, namespace, key, draw < 28);
    else if (draw < 85) this.#write(client, namespace, key);
    else this.#transact(client, topic);
  }

  #read(client: Client, namespace: string, key: string, isLinearizable: boolean): void {
    const { plan, trace } = this.#world;
    client.target = this.#pick(this.#world.nodes);
    this.#clients.ask<{ readonly cas: number; readonly value: string | undefined }>(client, {
      what: `get ${isLinearizable ? "now" : "here"} ${nameOf(namespace, key)}`,
      isRepeatable: true,
      ask: async ({ broker }) => {
        if (broker === undefined) return { ok: false, error: { code: "not_ready" } };
        if (isLinearizable) {
          const barrier = await broker.readBarrier(plan.timeoutMs);
          if (!barrier.ok) return barrier;
        } else if (!broker.status().ready) return { ok: false, error: { code: "not_ready" } };
        let found = broker.readKey(namespace, encodeText(key));
        while (found instanceof Promise) {
          const ended = await found;
          if (!ended.ok) return ended;
          found = broker.readKey(namespace, encodeText(key));
        }
        const value = found === undefined ? undefined : decodeText(found.value);
        return { ok: true, value: { cas: found?.cas ?? 0, value } };
      },
      judge: ({ cas, value }, _node, { calledAt }) => {
        const returnedAt = trace.step;
        const name = nameOf(namespace, key);
        this.seen.push({
          kind: "keyRead",
          key: name,
          isLinearizable,
          cas,
          value,
          calledAt,
          returnedAt,
        });
      },
    });
  }

  #newChange(namespace: string, key: string, isPut: boolean): Change {
    const known = this.#world.ledger.keyState(nameOf(namespace, key));
    const isExpecting = this.#prng.chance(0.5);
    const present = known?.value === undefined ? 0 : known.cas;
    const change: Change = {
      id: this.#changes.length + 1,
      namespace,
      key,
      isPut,
      expectedCas: isExpecting ? Math.max(0, present + this.#pick([0, 0, 0, 1, -1])) : -1,
      ttlMs: isPut && this.#prng.chance(0.2) ? 1 + this.#prng.below(1500) : 0,
      calledAt: 0,
      returnedAt: undefined,
      fate: "open",
      cas: undefined,
    };
    this.#changes.push(change);
    return change;
  }

  #ack(): Ack {
    return this.#prng.chance(0.85) ? "configured" : this.#pick(["leader", "majority", "all"]);
  }

  #write(client: Client, namespace: string, key: string): void {
    const change = this.#newChange(namespace, key, this.#prng.chance(0.75));
    const { id, isPut, expectedCas, ttlMs } = change;
    const isKeyed = this.#prng.chance(0.5);
    const ack = this.#ack();
    const request = {
      namespace,
      key: encodeText(key),
      value: isPut ? encodeText(`w${id}`) : undefined,
      expectedCas,
      ttlMs,
      idempotencyKey: isKeyed ? encodeText(`kv-${id}`) : undefined,
      ack,
    };
    const what = `${isPut ? "put" : "delete"} ${id} ${nameOf(namespace, key)} cas ${expectedCas} ttl ${ttlMs} key ${isKeyed}`;
    change.calledAt = this.#world.trace.step;
    this.#clients.start(client, {
      what,
      isRepeatable: isKeyed && !this.#clients.hasSmallWindow,
      send: (node, attempt, call) =>
        this.hand(
          { what, client, call, attempt, node },
          (waiter) => node.broker?.writeKey(waiter, request),
          (outcome) => this.#changed(change, outcome.count > 0 ? outcome.firstOffset : 0, outcome),
          (refusal) => this.#mismatched(change, call, refusal),
        ),
      end: (outcome) => this.#ended(change, outcome),
    });
  }

  /** A record, a group, and two keys, or some of them. */
  #transact(client: Client, topic: LedgerTopic): void {
    const { trace, ledger } = this.#world;
    const partition = this.#prng.below(topic.partitions.length);
    const produce = this.#prng.chance(0.7) ? this.#newProduce(topic, partition) : undefined;
    const changes = this.#prng.chance(0.8)
      ? [this.#newChange("a", "k", true), this.#newChange("b", "x", this.#prng.chance(0.5))]
      : [];
    const known = topic.partitions[partition]?.records.length ?? 0;
    const commits = known > 0 && this.#prng.chance(0.5);
    if (produce === undefined && changes.length === 0 && !commits) {
      client.nextMs = this.#world.now + 1;
      return;
    }
    const id = this.#sent.length;
    const isKeyed = this.#prng.chance(0.6);
    const transaction: Transaction = {
      idempotencyKey: isKeyed ? encodeText(`txn-${id}`) : undefined,
      expect: changes
        .filter(({ expectedCas }) => expectedCas >= 0)
        .map(({ namespace, key, expectedCas }) => ({
          kind: "key",
          namespace,
          key: encodeText(key),
          cas: expectedCas,
        })),
      produce:
        produce === undefined
          ? []
          : [{ topic: topic.name, partition, key: produce.key, value: produce.value(0) }],
      commit: commits
        ? [{ topic: topic.name, group: "txn", partition, offset: this.#prng.below(known) }]
        : [],
      kv: changes.map(({ namespace, key, isPut, id: changeId, ttlMs }) => ({
        namespace,
        key: encodeText(key),
        value: isPut ? encodeText(`w${changeId}`) : undefined,
        ttlMs,
      })),
      ack: this.#ack(),
    };
    const what = `txn ${id} to ${topic.id}/${partition} produce ${produce?.id ?? "-"} keys ${changes.map((one) => one.id)} commits ${commits} key ${isKeyed}`;
    for (const change of changes) change.calledAt = trace.step;
    if (produce !== undefined) {
      produce.calledAt = trace.step;
      produce.isOpen = true;
    }
    this.#clients.start(client, {
      what,
      isRepeatable: isKeyed && !this.#clients.hasSmallWindow,
      send: (node, attempt, call) => {
        let came: TransactionOutcome | undefined;
        this.hand(
          { what, client, call, attempt, node },
          (waiter) => {
            // By now the name may stand for another topic.
            const isThere = ledger.byName(topic.name)?.id === topic.id;
            const isSame = node.broker?.topic(topic.name)?.id === topic.id;
            if (!isThere || !isSame) return { code: "topic_not_found" };
            return node.broker?.transact(waiter, transaction, (outcome) => {
              came = outcome;
            });
          },
          (outcome) => {
            claim(came !== undefined, `${what} is answered without what it came to`);
            for (const [i, change] of changes.entries())
              this.#changed(change, came.cas[i] ?? 0, outcome);
            const at = came.produced[0];
            if (produce === undefined || at === undefined) return;
            const said = { partition: at.partition, firstOffset: at.offset };
            this.#clients.said(produce, said, outcome.synced, node);
          },
          () => undefined,
        );
      },
      end: (outcome) => {
        for (const change of changes) this.#ended(change, outcome);
        if (produce !== undefined) this.#clients.ended(produce, outcome);
      },
    });
  }

  #newProduce(topic: LedgerTopic, partition: number): Produce {
    const { produces } = this.#clients;
    const produce = new Produce({
      id: produces.length + 1,
      topicId: topic.id,
      topic: topic.name,
      asked: partition,
      sizes: [8 + this.#prng.below(60)],
      hasKey: this.#prng.chance(0.2),
      idempotencyKey: undefined,
      rival: undefined,
      expectedOffset: -1,
      ack: "configured",
    });
    produces.push(produce);
    return produce;
  }

  // -- answers

  /** Sends something to a node under a waiter of its own. */
  hand(
    to: Pick<Sent, "what" | "client" | "call" | "attempt" | "node">,
    send: (waiter: number) => Refusal | undefined,
    produced: Sent["produced"],
    refused: Sent["refused"],
  ): void {
    const { node } = to;
    const { generation, life, broker } = node;
    if (broker === undefined) {
      this.#clients.refusedBy(to.client, to.call, to.attempt, { code: "not_ready" });
      return;
    }
    this.#sent.push({ ...to, generation, life, produced, refused, isOver: false });
    const waiter = KEY_WAITERS + this.#sent.length - 1;
    const refusal = broker.writeGate() ?? send(waiter);
    if (refusal !== undefined) this.refused(node, generation, waiter, refusal);
  }

  #taken(node: ClusterNode, generation: number, waiter: number): Sent {
    const sent = this.#sent[waiter - KEY_WAITERS];
    claim(
      sent?.node === node &&
        sent.generation === generation &&
        sent.life === node.life &&
        !sent.isOver,
      `${node.id} answers ${sent?.what} twice, or after its end`,
    );
    return sent;
  }

  /** A node says that it is done. */
  produced(node: ClusterNode, generation: number, waiter: number, outcome: Produced): void {
    const sent = this.#taken(node, generation, waiter);
    const isLater = outcome.synced === 2;
    sent.isOver = !isLater;
    this.#world.trace.event(
      "changed",
      `c${sent.client.id} ${sent.what}: ${JSON.stringify(outcome)}`,
    );
    sent.produced(outcome);
    if (!isLater) this.#clients.answered(sent.client, sent.call, sent.attempt, node);
  }

  /** A node refuses it. */
  refused(node: ClusterNode, generation: number, waiter: number, refusal: Refusal): void {
    const sent = this.#taken(node, generation, waiter);
    sent.isOver = true;
    this.#clients.refusedBy(sent.client, sent.call, sent.attempt, refusal);
    sent.refused(refusal);
  }

  #changed(change: Change, cas: number, { synced }: Produced): void {
    // Nothing was there to delete, which was so at some moment of the call; what is not committed may yet come to nothing.
    if (cas === 0) {
      const { calledAt } = change;
      const key = nameOf(change.namespace, change.key);
      const returnedAt = this.#world.trace.step;
      const isLinearizable = synced === 1;
      this.seen.push({ kind: "keyRead", key, isLinearizable, cas: 0, calledAt, returnedAt });
      return;
    }
    if (synced === 0) {
      if (change.fate !== "stored") change.fate = "weak";
      return;
    }
    if (change.fate !== "stored") change.returnedAt = this.#world.trace.step;
    change.fate = "stored";
    change.cas = cas;
  }

  /** A refused expectation tells what the key has: a linearizable read. */
  #mismatched(change: Change, { calledAt }: Call, refusal: Refusal): void {
    if (refusal.code !== "cas_mismatch") return;
    const cas = Number(refusal.fields?.["current"]);
    claim(cas !== change.expectedCas, `Change ${change.id} expected ${cas}, and is told so`);
    const key = nameOf(change.namespace, change.key);
    const returnedAt = this.#world.trace.step;
    this.seen.push({ kind: "keyRead", key, isLinearizable: true, cas, calledAt, returnedAt });
  }

  #ended(change: Change, outcome: Outcome): void {
    if (change.fate === "stored" || change.fate === "weak") return;
    change.returnedAt = this.#world.trace.step;
    const isRefused = outcome.kind === "refused" && change.fate === "open";
    if (outcome.kind !== "ok") change.fate = isRefused ? "refused" : "unknown";
  }

  /** All changes and all that was seen, with what the log has. */
  history(): readonly Operation[] {
    const writes = this.#changes
      // Of a deletion that nobody knows of, and of one that found nothing, there is nothing to say.
      .filter(({ fate, isPut, cas }) => fate !== "open" && (isPut || cas !== undefined))
      .map((change): KeyWrite => {
        const { id, namespace, key, isPut, calledAt, returnedAt, fate, cas, expectedCas } = change;
        return {
          kind: "keyWrite",
          key: nameOf(namespace, key),
          value: isPut ? `w${id}` : undefined,
          calledAt,
          returnedAt,
          outcome: fate === "stored" || fate === "refused" ? fate : "unknown",
          cas,
          expected: expectedCas < 0 ? undefined : expectedCas,
        };
      });
    const states = [...this.#world.ledger.keyStates()].map(
      ([key, known]): Operation => ({ kind: "keyStates", key, states: known }),
    );
    return [...writes, ...this.seen, ...states];
  }
}
