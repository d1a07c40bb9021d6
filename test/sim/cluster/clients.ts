// Clients of a cluster: each does one thing at a time, at any node, follows redirects, tries again where nothing entered the
// log, repeats under the same key what it is unsure of, and otherwise remembers that it does not know. Whatever a node says
// is held against the ledger at once, and goes into the history that is judged at the end.

import type { Prng } from "../../../src/lib/prng.ts";
import { fail, type Result, succeed } from "../../../src/lib/result.ts";
import type { ErrorCode, Refusal } from "../../../src/model/errors.ts";
import type { Operation } from "../../support/history.ts";
import type { Produced } from "../outcomes.ts";
import { recordsOf } from "../settle.ts";
import { claim } from "../shadow.ts";
import { KEY_WAITERS, KeyCalls } from "./keys.ts";
import type { LedgerTopic } from "./ledger.ts";
import { type ClusterNode, urlOf } from "./node.ts";
import { Produce } from "./operations.ts";
import { RocketCalls } from "./rockets.ts";
import type { ClusterWorld } from "./world.ts";

const NEVER = Number.POSITIVE_INFINITY;
const TOPIC_NAMES = ["orders", "events", "logs"];
const GROUPS = ["g1", "billing"];
/** What a create says of retention: nothing, and so it is for topics of any rule. */
const NO_RULES = { ttlMs: undefined, maxBytes: undefined };
/** Nothing of what was refused so is in the log: it may be sent elsewhere. */
const ELSEWHERE: readonly ErrorCode[] = [
  "redirect_to_leader",
  "not_leader",
  "not_ready",
  "no_quorum",
  "overloaded",
  "disk_full",
  "change_in_progress",
];
/** What these say of a produce that is stored would not be so. */
const REVEALING: readonly ErrorCode[] = ["offset_mismatch", "idempotency_key_reused"];
/** Fates after which a produce may be sent once more. */
const AGAIN: readonly Produce["fate"][] = ["stored", "weak", "unknown"];
const BACK_OFF_MS_MAX = 60;
const NOT_READY_MS_MAX = 300;
const HURRY_MS = 500;

/** How a call ended. */
export type Outcome =
  | { readonly kind: "ok" }
  | { readonly kind: "refused"; readonly code: ErrorCode }
  | { readonly kind: "unknown" };

/** One thing that a client wants, until it has it or gives up. */
export interface Call {
  readonly what: string;
  /** Number of the event in which it began. */
  readonly calledAt: number;
  giveUpMs: number;
  /** Whether it may be sent again when nobody knows what became of it. */
  readonly isRepeatable: boolean;
  /** Sends it once; the answer comes by `answered`, `refusedBy` or never. */
  readonly send: (node: ClusterNode, attempt: number, call: Call) => void;
  readonly end: (outcome: Outcome, call: Call) => void;
  attempts: number;
  /** An attempt may have entered a log, and nobody said so. */
  isUncertain: boolean;
  /** Where the present attempt is; undefined between two. */
  at: { readonly node: ClusterNode; readonly life: number } | undefined;
}

/** One of many. */
export interface Client {
  readonly id: number;
  nextMs: number;
  call: Call | undefined;
  /** Whom it takes for the leader. */
  target: ClusterNode | undefined;
}

/** All clients. */
export class Clients {
  readonly produces: Produce[] = [];
  /** What was seen, but for produces, which tell of themselves. */
  readonly seen: Operation[] = [];
  /** Waiters of produces, in the order in which they were sent. */
  readonly #waiters: {
    readonly produce: Produce;
    readonly client: Client;
    readonly call: Call;
    readonly attempt: number;
    readonly node: ClusterNode;
    readonly generation: number;
    readonly life: number;
    /** Whether it was known to be stored when it was sent this time. */
    readonly wasStored: boolean;
    isOver: boolean;
  }[] = [];
  readonly #clients: Client[];
  readonly #world: ClusterWorld;
  readonly #prng: Prng;
  readonly keys: KeyCalls;
  readonly #rockets: RocketCalls;
  /** Whether nothing new is begun. */
  isClosing = false;
  acknowledged = 0;

  constructor(world: ClusterWorld, prng: Prng) {
    this.#world = world;
    this.#prng = prng;
    this.keys = new KeyCalls(world, this, world.keyPrng);
    this.#rockets = new RocketCalls(world, this, world.rocketPrng);
    this.#clients = Array.from({ length: world.plan.clients }, (_, id) => ({
      id,
      nextMs: prng.below(200),
      call: undefined,
      target: undefined,
    }));
  }

  /** Whether keys may be forgotten while somebody still relies on them. */
  get hasSmallWindow(): boolean {
    return this.#world.plan.settings.some(({ idempotencyKeysMax }) => idempotencyKeysMax < 100);
  }

  get nextMs(): number {
    return this.#clients.reduce((next, client) => Math.min(next, client.nextMs), NEVER);
  }

  /** Whether nobody waits for anything. */
  get isIdle(): boolean {
    return this.#clients.every(({ call }) => call === undefined);
  }

  #pick<T>(choices: readonly T[]): T {
    return choices[this.#prng.below(choices.length)] as T;
  }

  /** Lets the client whose turn it is do something. */
  act(): void {
    const { now } = this.#world;
    const client = this.#clients.find(({ nextMs }) => nextMs <= now);
    if (client === undefined) return;
    const { call } = client;
    if (call === undefined) this.#begin(client);
    else if (call.at === undefined) this.#try(client, call);
    else this.#lost(client, call, "in time");
  }

  /** A process is gone: its connections with it. */
  nodeEnded(node: ClusterNode): void {
    for (const client of this.#clients) {
      const { call } = client;
      if (call?.at?.node === node) this.#lost(client, call, "its connection");
    }
  }

  /** Nobody waits for long any more, and from here on everybody produces. */
  hurry(): void {
    const soonMs = this.#world.now + HURRY_MS;
    for (const client of this.#clients) {
      client.nextMs = Math.min(client.nextMs, soonMs);
      if (client.call !== undefined) client.call.giveUpMs = Math.min(client.call.giveUpMs, soonMs);
    }
  }

  // -- one call

  /** A client begins something. */
  start(
    client: Client,
    fields: Omit<Call, "calledAt" | "giveUpMs" | "attempts" | "isUncertain" | "at">,
  ): void {
    const { now, trace, plan } = this.#world;
    const call: Call = {
      ...fields,
      calledAt: trace.step,
      giveUpMs: now + plan.timeoutMs * (fields.isRepeatable ? 4 : 2),
      attempts: 0,
      isUncertain: false,
      at: undefined,
    };
    client.call = call;
    trace.event("call", `c${client.id} ${call.what}`);
    this.#try(client, call);
  }

  #try(client: Client, call: Call): void {
    const { now, nodes, plan } = this.#world;
    if (now >= call.giveUpMs) {
      this.#end(
        client,
        call.isUncertain ? { kind: "unknown" } : { kind: "refused", code: "no_quorum" },
      );
      return;
    }
    const node = client.target ?? this.#pick(nodes);
    client.target = undefined;
    if (!node.isUp || node.broker === undefined) {
      this.#later(client);
      return;
    }
    call.attempts += 1;
    const { attempts } = call;
    call.at = { node, life: node.life };
    client.nextMs = Math.min(now + plan.timeoutMs, Math.max(call.giveUpMs, now + 1));
    const send = (): void => this.#world.guard(node, () => call.send(node, attempts, call));
    if (node.isPaused) node.deferred.push(send);
    else send();
  }

  #later(client: Client, elapsedMsMax = BACK_OFF_MS_MAX): void {
    client.nextMs = this.#world.now + 1 + this.#prng.below(elapsedMsMax);
  }

  /** Nobody says what became of an attempt. */
  #lost(client: Client, call: Call, what: string): void {
    this.#world.trace.event("lost", `c${client.id} ${call.what}: no answer (${what})`);
    call.at = undefined;
    call.isUncertain = true;
    if (call.isRepeatable) this.#later(client);
    else this.#end(client, { kind: "unknown" });
  }

  /** Whether an answer is to the present attempt. */
  #isAwaited(client: Client, call: Call, attempt: number): boolean {
    return client.call === call && call.at !== undefined && call.attempts === attempt;
  }

  /** A node did what an attempt asked. */
  answered(client: Client, call: Call, attempt: number, node: ClusterNode): void {
    if (!this.#isAwaited(client, call, attempt)) return;
    client.target = node;
    this.#end(client, { kind: "ok" });
  }

  /** A node refused an attempt. */
  refusedBy(client: Client, call: Call, attempt: number, refusal: Refusal): void {
    const { trace } = this.#world;
    trace.event("refused", `c${client.id} ${call.what}: ${refusal.code}`);
    if (!this.#isAwaited(client, call, attempt)) return;
    if (refusal.code === "timeout") {
      this.#lost(client, call, "unknown");
      return;
    }
    call.at = undefined;
    if (!ELSEWHERE.includes(refusal.code)) {
      this.#end(
        client,
        call.isUncertain ? { kind: "unknown" } : { kind: "refused", code: refusal.code },
      );
      return;
    }
    const url = refusal.fields?.["leader_url"];
    client.target = this.#world.nodes.find(({ id }) => urlOf(id) === url);
    this.#later(client, refusal.code === "not_ready" ? NOT_READY_MS_MAX : BACK_OFF_MS_MAX);
  }

  #end(client: Client, outcome: Outcome): void {
    const { call } = client;
    claim(call !== undefined, "What ends has begun");
    client.call = undefined;
    const detail = outcome.kind === "refused" ? outcome.code : "";
    this.#world.trace.event("done", `c${client.id} ${call.what}: ${outcome.kind} ${detail}`);
    client.nextMs = this.#world.now + this.#prng.below(this.#world.plan.thinkMsMax + 1);
    call.end(outcome, call);
    if (this.isClosing) client.nextMs = NEVER;
  }

  /** Asks for something whose answer is a promise. */
  ask<T>(
    client: Client,
    fields: {
      readonly what: string;
      readonly isRepeatable: boolean;
      readonly ask: (node: ClusterNode) => Promise<Result<T, Refusal>> | undefined;
      /** Judges a good answer, late or not. */
      readonly judge?: (value: T, node: ClusterNode, call: Call) => void;
      readonly end?: (outcome: Outcome) => void;
    },
  ): void {
    const { ask, judge, end } = fields;
    this.start(client, {
      what: fields.what,
      isRepeatable: fields.isRepeatable,
      end: (outcome) => end?.(outcome),
      send: (node, attempt, call) => {
        const answer = ask(node);
        if (answer === undefined) {
          this.refusedBy(client, call, attempt, { code: "not_ready" });
          return;
        }
        this.#world.later(node, answer, (result) => {
          if (!result.ok) return this.refusedBy(client, call, attempt, result.error);
          // What was given up while the node stood still is carried out all the same, and its answer is a promise.
          judge?.(result.value, node, call);
          this.answered(client, call, attempt, node);
        });
      },
    });
  }

  // -- what they do

  #begin(client: Client): void {
    const { plan, ledger } = this.#world;
    if (this.isClosing) {
      client.nextMs = NEVER;
      return;
    }
    const alive = [...ledger.topics.values()].filter((topic) => topic.isAlive);
    if (alive.length === 0) {
      this.#create(client);
      return;
    }
    const topic = this.#pick(alive);
    if (this.#world.isHealed) this.#produce(client, topic);
    else if (this.#rockets.isNext()) this.#rockets.begin(client);
    else if (this.#world.keyPrng.chance(plan.keyShare)) this.keys.begin(client, topic);
    else if (this.#prng.chance(plan.controlShare)) this.#control(client, topic, alive.length);
    else if (this.#prng.chance(plan.readShare)) this.#read(client, topic, this.#prng.chance(0.6));
    else this.#produce(client, topic);
  }

  #control(client: Client, topic: LedgerTopic, count: number): void {
    const { plan } = this.#world;
    const act = this.#prng.below(100);
    if (plan.isWasteful && act % 2 === 0) this.#deleteBefore(client, topic);
    else if (act < 45) this.#commit(client, topic);
    else if (act < 60) this.#deleteBefore(client, topic);
    else if (act < 75 && count < plan.topics) this.#create(client);
    else if (act < 80) this.#delete(client, topic);
    else if (plan.hasRetention) this.#retain(client, topic);
    // There was nothing to do.
    if (client.call === undefined) client.nextMs = this.#world.now + 1 + this.#prng.below(20);
  }

  #create(client: Client): void {
    const name = this.#pick(TOPIC_NAMES.slice(0, this.#world.plan.topics));
    const partitions = 1 + this.#prng.below(this.#world.plan.partitionsMax);
    const request = { name, partitions, mode: "sealed" as const, ...NO_RULES };
    this.ask(client, {
      what: `create ${name} ${partitions}`,
      isRepeatable: true,
      ask: (node) => node.broker?.createTopic(request),
      judge: ({ topicId }) => {
        const topic = this.#world.ledger.topics.get(topicId);
        claim(
          topic?.name === name && topic.partitions.length === partitions,
          `Topic ${topicId} is said to be ${name} with ${partitions} partitions`,
        );
      },
    });
  }

  #delete(client: Client, topic: LedgerTopic): void {
    this.ask(client, {
      what: `delete ${topic.name} ${topic.id}`,
      isRepeatable: false,
      ask: (node) => node.broker?.deleteTopic(topic.name),
      judge: () => claim(!topic.isAlive, `Topic ${topic.id} is said to be deleted`),
    });
  }

  #commit(client: Client, topic: LedgerTopic): void {
    const partition = this.#prng.below(topic.partitions.length);
    const group = this.#pick(GROUPS);
    const { length } = topic.partitions[partition]?.records ?? [];
    if (length === 0) return;
    const offset = this.#prng.below(length);
    const calledAt = this.#world.trace.step;
    const register = `${group} of ${topic.id}/${partition}`;
    if (this.#prng.chance(0.4)) {
      this.#committed(client, topic, partition, group);
      return;
    }
    this.ask(client, {
      what: `commit ${topic.id}/${partition} ${group} ${offset}`,
      isRepeatable: true,
      ask: ({ broker }) => {
        // By now the name may stand for another topic.
        if (broker?.writeGate() === undefined && broker?.topic(topic.name)?.id !== topic.id)
          return Promise.resolve(fail({ code: "topic_not_found" }));
        return broker?.commit({ topic: topic.name, group, partition, offset });
      },
      judge: () => {
        const committed = topic.groups.get(`${partition}/${group}`) ?? -1;
        claim(
          committed >= offset || !topic.isAlive,
          `Group ${group} of ${topic.id}/${partition} is said to be at ${offset}, and is at ${committed}`,
        );
      },
      end: (ended) => {
        claim(
          ended.kind !== "refused" || ended.code !== "invalid_parameter" || !topic.isAlive,
          `Group ${group} cannot commit ${offset} of ${topic.id}/${partition}, which had ${length} records`,
        );
        const outcome = ended.kind === "ok" ? "stored" : ended.kind;
        const returnedAt = this.#world.trace.step;
        this.seen.push({ kind: "raise", register, value: offset, calledAt, returnedAt, outcome });
      },
    });
  }

  /** Asks how far a group has got. */
  #committed(client: Client, topic: LedgerTopic, partition: number, group: string): void {
    client.target = this.#pick(this.#world.nodes);
    this.ask<undefined>(client, {
      what: `committed ${topic.id}/${partition} ${group}`,
      isRepeatable: true,
      ask: (node) => node.broker?.readBarrier(this.#world.plan.timeoutMs),
      judge: (_value, { broker }, { calledAt }) => {
        if (broker?.topic(topic.name)?.id !== topic.id) return;
        this.seen.push({
          kind: "registerRead",
          register: `${group} of ${topic.id}/${partition}`,
          isLinearizable: true,
          value: broker.committedOffset(topic.id, partition, group) ?? -1,
          calledAt,
          returnedAt: this.#world.trace.step,
        });
      },
    });
  }

  #deleteBefore(client: Client, topic: LedgerTopic): void {
    const partition = this.#prng.below(topic.partitions.length);
    const known = topic.partitions[partition];
    if (known === undefined) return;
    const beforeOffset = this.#prng.below(known.records.length + 3);
    const request = { topic: topic.name, partition, beforeOffset };
    const floor = Math.min(beforeOffset, known.records.length);
    this.ask<number>(client, {
      what: `delete-before ${topic.id}/${partition} ${beforeOffset}`,
      isRepeatable: true,
      ask: ({ broker }) =>
        broker?.deleteBefore(request).then((result) => (result.ok ? succeed(floor) : result)),
      judge: (floor) =>
        claim(
          known.floor >= floor || !topic.isAlive,
          `The floor of ${topic.id}/${partition} is said to be ${floor}, and is ${known.floor}`,
        ),
    });
  }

  #retain(client: Client, topic: LedgerTopic): void {
    const limits = { ttlMs: this.#pick([0, 300, 5000]), maxBytes: this.#pick([0, 500, 20_000]) };
    const request = { topic: topic.name, partition: undefined, ...limits };
    this.ask(client, {
      what: `retention ${topic.id} ${JSON.stringify(limits)}`,
      isRepeatable: true,
      ask: (node) => node.broker?.setRetention(request),
    });
  }

  // -- reads

  #read(client: Client, topic: LedgerTopic, isLinearizable: boolean): void {
    const { ledger, plan, trace } = this.#world;
    const partition = this.#prng.below(topic.partitions.length);
    const lookBack = this.#pick([1, 10, 1000]);
    const end = topic.partitions[partition]?.records.length ?? 0;
    const from = Math.max(0, end - this.#prng.below(lookBack) - 1);
    const maxBytes = this.#pick([200, 4000, 1 << 18]);
    const isAliveBefore = topic.isAlive;
    client.target = this.#pick(this.#world.nodes);
    this.ask<undefined>(client, {
      what: `read ${isLinearizable ? "now" : "here"} ${topic.id}/${partition} from ${from}`,
      isRepeatable: true,
      ask: (node) => {
        const { broker } = node;
        if (isLinearizable) return broker?.readBarrier(plan.timeoutMs);
        return broker?.status().ready === true
          ? Promise.resolve({ ok: true, value: undefined })
          : undefined;
      },
      judge: (_value, node, call) => {
        const { broker } = node;
        if (broker === undefined) return;
        if (broker.topic(topic.name)?.id !== topic.id) {
          claim(
            !isLinearizable || !isAliveBefore || !topic.isAlive,
            `A linearizable read at ${node.id} does not find topic ${topic.id}`,
          );
          return;
        }
        const { calledAt } = call;
        const { startOffset, nextOffset } = broker.partition(topic.id, partition);
        const offset = Math.max(from, startOffset);
        const see = (records: readonly string[]): void => {
          this.seen.push({
            kind: "read",
            isLinearizable,
            partition: `${topic.id}/${partition}`,
            calledAt,
            returnedAt: trace.step,
            from: offset,
            startOffset,
            nextOffset,
            records,
            source: node.id,
          });
          trace.event(
            "read",
            `c${client.id} ${node.id} ${topic.id}/${partition} ${startOffset}-${nextOffset}: ${records.length}`,
          );
        };
        if (offset >= nextOffset) {
          see([]);
          return;
        }
        const request = { topicId: topic.id, partition, offset, maxRecords: 50, maxBytes };
        const judge = (found: {
          readonly slices: Parameters<typeof recordsOf>[0];
          readonly startOffset: number;
        }): void => {
          const records = recordsOf(found.slices, offset);
          // What it began to read may be deleted, and its space given back.
          const isGone = offset < found.startOffset || broker.topic(topic.name)?.id !== topic.id;
          claim(
            records.length > 0 || isGone,
            `Reading ${topic.id}/${partition} at ${node.id} ends at ${offset} of ${nextOffset}`,
          );
          see(
            records.map((record) => {
              const agreed = ledger.topics.get(topic.id)?.partitions[partition]?.records[
                record.offset
              ];
              const { value, key } = record;
              const cursor = {
                bytes: key ?? value,
                keyStart: key === undefined ? -1 : 0,
                keyEnd: key?.length ?? -1,
              };
              claim(
                agreed?.produce.isRecord(agreed.place, value, cursor) === true,
                `${node.id} gives at ${record.offset} of ${topic.id}/${partition} not what produce ${agreed?.produce.id} put there`,
              );
              return `${agreed.produce.id}/${agreed.place}`;
            }),
          );
        };
        const found = broker.read(request);
        if (found instanceof Promise) this.#world.later(node, found, judge);
        else judge(found);
      },
    });
  }

  // -- produces

  #produce(client: Client, topic: LedgerTopic): void {
    const { plan } = this.#world;
    const hasOld = this.#prng.chance(0.15) && this.produces.length > 0;
    const old = hasOld ? this.#pick(this.produces) : undefined;
    const isAgain =
      old?.idempotencyKey !== undefined && old.topicId === topic.id && !this.hasSmallWindow;
    if (isAgain && this.#prng.chance(0.7) && !old.isOpen && AGAIN.includes(old.fate)) {
      this.#send(client, old);
      return;
    }
    const rival = isAgain && old.fate === "stored" ? old : undefined;
    const id = this.produces.length + 1;
    const isBatch = this.#prng.chance(0.3);
    const count = isBatch ? 1 + this.#prng.below(this.#pick([3, 20])) : 1;
    const bytesMax = Math.max(1, Math.floor(plan.valueBytesMax / count));
    const asked = this.#prng.chance(0.85) ? this.#prng.below(topic.partitions.length) : -1;
    const present = topic.partitions[asked]?.records.length ?? 0;
    const isExpecting = asked >= 0 && this.#prng.chance(0.15);
    const isKeyed = this.#prng.chance(plan.keyedShare);
    const produce = new Produce({
      id,
      topicId: topic.id,
      topic: topic.name,
      asked,
      sizes: Array.from({ length: count }, () => 8 + this.#prng.below(bytesMax)),
      hasKey: this.#prng.chance(0.2),
      idempotencyKey: rival?.idempotencyKey ?? (isKeyed ? `key-${id}` : undefined),
      rival,
      expectedOffset: isExpecting ? Math.max(0, present + this.#pick([0, 0, 0, 1, -1])) : -1,
      ack: this.#prng.chance(0.85)
        ? "configured"
        : this.#pick(["leader", "majority", "all"] as const),
    });
    this.produces.push(produce);
    this.#send(client, produce);
  }

  #send(client: Client, produce: Produce): void {
    const { trace } = this.#world;
    const { id, topicId, asked, sizes, idempotencyKey, expectedOffset, ack } = produce;
    if (produce.fate === "open") produce.calledAt = trace.step;
    produce.isOpen = true;
    this.start(client, {
      what: `produce ${id} to ${topicId}/${asked} count ${sizes.length} key ${idempotencyKey ?? "-"} expect ${expectedOffset} ack ${ack}`,
      isRepeatable: idempotencyKey !== undefined && !this.hasSmallWindow,
      send: (node, attempt, call) => this.#hand(client, call, produce, node, attempt),
      end: (outcome) => this.ended(produce, outcome),
    });
  }

  #hand(client: Client, call: Call, produce: Produce, node: ClusterNode, attempt: number): void {
    const { broker } = node;
    if (broker === undefined) {
      this.refusedBy(client, call, attempt, { code: "not_ready" });
      return;
    }
    const { generation, life } = node;
    const waiter = this.#waiters.length + 1;
    const wasStored = produce.fate === "stored";
    const sent = { produce, client, call, attempt, node, generation, life, wasStored };
    this.#waiters.push({ ...sent, isOver: false });
    const refusal = broker.writeGate() ?? broker.produce(waiter, produce.request());
    if (refusal !== undefined) this.refused(node, generation, waiter, refusal);
  }

  /** A node says that a produce is stored. */
  produced(node: ClusterNode, generation: number, waiter: number, outcome: Produced): void {
    if (waiter >= KEY_WAITERS) {
      this.keys.produced(node, generation, waiter, outcome);
      return;
    }
    const found = this.#waiters[waiter - 1];
    claim(found !== undefined, `${node.id} answers waiter ${waiter}, who is nobody`);
    const { produce, client, call, attempt } = found;
    const { firstOffset, count, partition, synced, duplicate } = outcome;
    const isLater = synced === 2;
    claim(
      found.node === node &&
        found.generation === generation &&
        found.life === node.life &&
        !found.isOver,
      `${node.id} answers produce ${produce.id} twice, or after its end`,
    );
    found.isOver = !isLater;
    const { trace } = this.#world;
    trace.event(
      "produced",
      `c${client.id} produce ${produce.id} by ${node.id}: ${JSON.stringify(outcome)}`,
    );
    claim(
      count === produce.sizes.length,
      `Produce ${produce.id} has ${produce.sizes.length} records, not ${count}`,
    );
    claim(
      duplicate === (produce.idempotencyKey === undefined ? -1 : duplicate === 1 ? 1 : 0),
      `Produce ${produce.id} has duplicate ${duplicate}`,
    );
    claim(
      produce.rival === undefined,
      `Produce ${produce.id} is said to be stored, under the key of produce ${produce.rival?.id}`,
    );
    this.said(produce, { partition, firstOffset }, synced, node);
    const isExpected = produce.expectedOffset < 0 || produce.expectedOffset === firstOffset;
    claim(
      isExpected,
      `Produce ${produce.id} expected ${produce.expectedOffset} and got ${firstOffset}`,
    );
    if (isLater) return;
    this.acknowledged += 1;
    this.answered(client, call, attempt, node);
  }

  /** A node said where a produce is. */
  said(
    produce: Produce,
    at: { readonly partition: number; readonly firstOffset: number },
    synced: number,
    node: ClusterNode,
  ): void {
    if (synced === 0) {
      if (produce.fate !== "stored") produce.fate = "weak";
      return;
    }
    if (produce.fate !== "stored") produce.returnedAt = this.#world.trace.step;
    produce.fate = "stored";
    produce.said = at;
    // What is committed is answered, and applied in the same turn.
    this.#world.afterwards(node, () => produce.checkStored());
  }

  /** A node refuses a produce. */
  refused(node: ClusterNode, generation: number, waiter: number, refusal: Refusal): void {
    if (waiter >= KEY_WAITERS) {
      this.keys.refused(node, generation, waiter, refusal);
      return;
    }
    const found = this.#waiters[waiter - 1];
    claim(
      found?.node === node &&
        found.generation === generation &&
        found.life === node.life &&
        !found.isOver,
      `${node.id} refuses waiter ${waiter} twice, or after its end`,
    );
    found.isOver = true;
    const { produce, client, call, attempt, wasStored } = found;
    claim(
      !wasStored || !REVEALING.includes(refusal.code),
      `Produce ${produce.id} is stored and sent again, and refused with ${refusal.code}`,
    );
    this.refusedBy(client, call, attempt, refusal);
    if (refusal.code === "offset_mismatch") this.#mismatched(produce, call, refusal);
  }

  /** A refused expectation tells how long the partition is: a linearizable read. */
  #mismatched(produce: Produce, call: Call, refusal: Refusal): void {
    const nextOffset = Number(refusal.fields?.["next_offset"]);
    const { topicId, asked: partition } = produce;
    const { calledAt } = call;
    const present =
      this.#world.ledger.topics.get(topicId)?.partitions[partition]?.records.length ?? 0;
    claim(
      nextOffset !== produce.expectedOffset && nextOffset <= present,
      `Produce ${produce.id} expected ${produce.expectedOffset} and is told ${nextOffset} of ${present}`,
    );
    this.seen.push({
      kind: "read",
      isLinearizable: true,
      partition: `${topicId}/${partition}`,
      calledAt,
      returnedAt: this.#world.trace.step,
      from: nextOffset,
      nextOffset,
      records: [],
    });
  }

  /** A call that was to store it is over. */
  ended(produce: Produce, outcome: Outcome): void {
    produce.isOpen = false;
    if (produce.fate === "stored" || produce.fate === "weak") return;
    produce.returnedAt = this.#world.trace.step;
    // What was sent before and not answered may be stored yet, whatever this call came to.
    const isRefused = outcome.kind === "refused" && produce.fate === "open";
    produce.fate = isRefused ? "refused" : "unknown";
    claim(
      produce.fate !== "refused" || produce.stored === undefined,
      `Produce ${produce.id} is refused, and stored at ${produce.stored?.firstOffset}`,
    );
  }
}
