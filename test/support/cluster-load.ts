// Clients of a cluster: single records and batches, with keys and without, group commits, local and linearizable reads, at any
// node. They follow redirects by hand, send elsewhere what never entered a log, and repeat under its key what nobody knows the
// fate of. What was acknowledged goes to the oracle, what was seen is judged as one history.

import type { Prng } from "../../src/lib/prng.ts";
import { isRefused, type ReplyFields } from "./cluster-client.ts";
import { ClusterKeys } from "./cluster-keys.ts";
import type { Cluster, ClusterNode } from "./cluster-process.ts";
import { ClusterRocket } from "./cluster-rocket.ts";
import { type AppendOperation, checkHistory, type Operation } from "./history.ts";
import { readFrom } from "./node-client.ts";
import { LogOracle, recordValues } from "./node-oracle.ts";

const HEADERS = { authorization: "Bearer dev" };
const BATCH_RECORDS_MAX = 20;
const VALUE_BYTES_MAX = 400;
/** Of one attempt; the node is told less, so that a node that runs answers first. */
const ATTEMPT_MS_MAX = 4000;
const WRITE_MS_MAX = 3000;
const PAUSE_MS_MAX = 20;
const THINK_MS_MAX = 6;
const GROUP = "workers";
const FLOW = "flow";
const REACH_MS_MAX = 60_000;
/** A read begins so many records before what is known to be there. */
const READ_BACK = 20;

/** The name of a record, which its value begins with: of which request it is, and its place there. */
const nameOf = (value: string): string => value.split("/", 2).join("/");

/** What a load is made of. */
export interface ClusterLoadOptions {
  readonly topic: string;
  readonly partitions: number;
  readonly clients: number;
  readonly random: Prng;
  /** What a topic beside keeps at most, through which records go all the time; undefined: there is none. */
  readonly flowBytes?: number;
}

/** A write, so that it can be sent again as it was. */
interface Write {
  readonly id: string;
  readonly path: string;
  readonly body: string;
  readonly records: number;
  readonly hasKey: boolean;
  /** Undefined: the node chooses. */
  readonly partition: number | undefined;
  readonly calledMs: number;
}

/** How an attempt ended; undefined: nobody knows. */
type Answer = { readonly status: number; readonly fields: ReplyFields } | undefined;

/** Clients of one topic, for any number of rounds. */
export class ClusterLoad implements AsyncDisposable {
  readonly oracle: LogOracle;
  /** Answers that are no 200, by status and name. */
  readonly refusals = new Map<string, number>();
  /** Attempts without an answer. */
  unanswered = 0;
  duplicates = 0;
  reads = 0;
  /** When each write that was stored anew was sent, and when it was answered. */
  #accepted: { readonly calledMs: number; readonly returnedMs: number }[] = [];
  readonly #options: ClusterLoadOptions;
  readonly #cluster: Cluster;
  /** Writes with a key whose fate is not known when their round ended. */
  #open: Write[] = [];
  #isStopping = true;
  #clients: Promise<void>[] = [];
  #requests = 0;
  /** Per partition, what is known to be there. */
  readonly #ends: number[];
  readonly #history: Operation[] = [];
  readonly keys: ClusterKeys;
  readonly rocket = new ClusterRocket();
  /** Per partition, how far all nodes were compared. */
  readonly #compared: number[];
  #target: string | undefined;

  constructor(cluster: Cluster, options: ClusterLoadOptions) {
    this.#cluster = cluster;
    this.#options = options;
    const { topic, partitions } = options;
    this.oracle = new LogOracle(topic, partitions);
    this.#ends = Array.from({ length: partitions }, () => 0);
    this.#compared = Array.from({ length: partitions }, () => 0);
    this.keys = new ClusterKeys({
      random: options.random,
      isStopping: () => this.#isStopping,
      send: (method, path, body) => this.#send(method, path, body),
      read: async (path) => {
        const node = this.#any();
        return node && (await this.#attempt(node.url, "GET", path, undefined));
      },
    });
  }

  /** Makes the topic, and the one whose records do not stay. */
  async createTopic(): Promise<void> {
    const { topic, partitions, flowBytes } = this.#options;
    await this.#demand("/broker/topics", { name: topic, partitions });
    if (flowBytes === undefined) return;
    await this.#demand("/broker/topics", { name: FLOW, partitions: 1 });
    await this.#demand("/broker/retention", { topic: FLOW, max_bytes: flowBytes });
    await this.#demand("/broker/topics", this.rocket.shape);
  }

  async #demand(path: string, body: unknown): Promise<void> {
    const leader = await this.#cluster.leader();
    const reply = await leader.ask(path, { method: "POST", body: JSON.stringify(body) });
    if (reply.status !== 200) throw new Error(`${path} is refused: ${await reply.text()}`);
  }

  /** Lets the clients begin. */
  start(): void {
    this.#isStopping = false;
    this.#accepted = [];
    this.#clients = Array.from({ length: this.#options.clients }, () => this.#client());
    if (this.#options.flowBytes === undefined) return;
    const send = this.#send.bind(this);
    this.#clients.push(
      this.#flow(),
      this.rocket.run(send, () => this.#isStopping),
    );
  }

  /** Writes that were stored since the load began and were sent after `sinceMs`. */
  accepted(sinceMs = 0): number {
    return this.#accepted.filter(({ calledMs }) => calledMs >= sinceMs).length;
  }

  /** Waits until so many writes were stored that were sent from now on. */
  async more(writes: number): Promise<void> {
    const now = performance.now();
    await this.#cluster.until(
      `${writes} writes are stored`,
      () => this.accepted(now) >= writes,
      REACH_MS_MAX,
    );
  }

  /** Milliseconds from `sinceMs` to the first answer to a write that was sent after it. */
  firstAfter(sinceMs: number): number {
    const after = this.#accepted.filter(({ calledMs }) => calledMs >= sinceMs);
    return Math.min(...after.map(({ returnedMs }) => returnedMs)) - sinceMs;
  }

  /** Ends the round: no new requests; what has a key is sent until its fate is known. */
  async stop(): Promise<void> {
    this.#isStopping = true;
    await Promise.all(this.#clients);
    const open = this.#open;
    this.#open = [];
    for (const write of open) await this.#write(write, true);
  }

  /**
   * Reads every node and compares: with what was promised, with what was seen, and with each other. Nobody is writing.
   * @param isWhole Reads everything everywhere; else what is new.
   */
  async check(isWhole: boolean): Promise<readonly string[]> {
    const faults: string[] = this.rocket.faults.splice(0);
    await this.#cluster.same();
    const [first, ...others] = this.#cluster.running;
    for (const node of [first, ...(isWhole ? others : [])]) {
      if (node === undefined) throw new Error("Nobody runs");
      await this.oracle.check(node.url, isWhole);
      faults.push(...this.oracle.faults.splice(0).map((fault) => `${node.id}: ${fault}`));
    }
    for (const [partition, from] of this.#compared.entries()) {
      const calledAt = performance.now();
      const values = await this.#valuesFrom(first as ClusterNode, partition, from);
      for (const other of others)
        if (!Bun.deepEquals(values, await this.#valuesFrom(other, partition, from)))
          faults.push(`${other.id}: partition ${partition} is another one from ${from} on`);
      const nextOffset = from + values.length;
      this.#compared[partition] = nextOffset;
      const records = values.map(nameOf);
      const partitionName = String(partition);
      const read = { kind: "read", isLinearizable: true, from, nextOffset, records } as const;
      const returnedAt = performance.now();
      this.#history.push({ ...read, partition: partitionName, calledAt, returnedAt });
    }
    const keys = await this.keys.history(first as ClusterNode);
    return [...faults, ...checkHistory([...this.#history, ...keys])];
  }

  async #valuesFrom(node: ClusterNode, partition: number, offset: number): Promise<string[]> {
    const values: string[] = [];
    for await (const page of readFrom(node.url, this.#options.topic, partition, offset))
      values.push(...page.map(({ value }) => value));
    return values;
  }

  /** Ends the clients, whatever is open. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#isStopping = true;
    await Promise.allSettled(this.#clients);
  }

  // -- one client

  async #client(): Promise<void> {
    const { random } = this.#options;
    while (!this.#isStopping) {
      if (random.chance(0.25)) await this.keys.act();
      else if (random.chance(0.15)) await this.#commit();
      else if (random.chance(0.3)) await this.#read();
      else await this.#write(this.#draw(), false);
      await Bun.sleep(random.below(THINK_MS_MAX));
    }
  }

  /** A megabyte a second that nobody waits for or reads: space is given back all the time. */
  async #flow(): Promise<void> {
    const body = recordValues("flow", 20, 5000).join("\n");
    while (!this.#isStopping) {
      await this.#send("POST", `/broker/topics/${FLOW}/produce-ndjson?partition=0`, body);
      await Bun.sleep(100);
    }
  }

  #draw(): Write {
    const { random, topic, partitions } = this.#options;
    const id = `r${this.#requests++}`;
    const records = random.chance(0.3) ? 1 + random.below(BATCH_RECORDS_MAX) : 1;
    const isBatch = records > 1 || random.chance(0.1);
    const hasKey = random.chance(0.7);
    // Without a key its fate may stay unknown, and then nobody would tell where it is.
    const partition = hasKey && random.chance(0.2) ? undefined : random.below(partitions);
    const query = new URLSearchParams({ timeout_ms: String(WRITE_MS_MAX) });
    if (partition !== undefined) query.set("partition", String(partition));
    if (hasKey) query.set("idempotency_key", id);
    return {
      id,
      path: `/broker/topics/${topic}/${isBatch ? "produce-ndjson" : "produce"}?${query}`,
      body: recordValues(id, records, 40 + random.below(VALUE_BYTES_MAX)).join("\n"),
      records,
      hasKey,
      partition,
      calledMs: performance.now(),
    };
  }

  /** Sends a write until its fate is known, or nothing can be known of it. */
  async #write(write: Write, isLast: boolean): Promise<void> {
    const { id, hasKey, path, body } = write;
    for (;;) {
      if (this.#isStopping && !isLast) {
        if (hasKey) this.#open.push(write);
        else this.#ended(write, { outcome: "refused", returnedAt: performance.now() });
        return;
      }
      const sentMs = performance.now();
      const answer = await this.#send("POST", path, body);
      if (answer?.status === 200) {
        this.#stored(write, answer.fields, sentMs);
        return;
      }
      const isUnknown = answer === undefined || answer.status === 504;
      if (isUnknown && !hasKey) {
        this.#ended(write, { outcome: "unknown", returnedAt: undefined });
        return;
      }
      if (!isUnknown && !isElsewhere(answer.status))
        throw new Error(`${id}: ${answer.status} ${JSON.stringify(answer.fields)}`);
      await Bun.sleep(this.#options.random.below(PAUSE_MS_MAX));
    }
  }

  #ended(
    write: Write,
    end: Pick<AppendOperation, "outcome" | "returnedAt" | "offset">,
    partition = write.partition,
  ): void {
    const { id, records: count, hasKey, calledMs: calledAt } = write;
    const key = hasKey ? id : undefined;
    const name = String(partition);
    this.#history.push({ kind: "append", id, partition: name, count, key, calledAt, ...end });
  }

  #stored(write: Write, fields: ReplyFields, sentMs: number): void {
    const { id, records } = write;
    const returnedMs = performance.now();
    const { partition = -1, batch_id = 0 } = fields;
    const offset = fields.offset ?? fields.first_offset ?? -1;
    const count = fields.count ?? 1;
    const isDuplicate = fields.duplicate === true;
    const reply = { status: 200, offset, count, partition, batchId: batch_id, isDuplicate };
    this.oracle.acknowledge(id, records, { ...reply, error: "" });
    this.#ended(write, { outcome: "stored", returnedAt: returnedMs, offset }, partition);
    this.#ends[partition] = Math.max(this.#ends[partition] ?? 0, offset + count);
    if (isDuplicate) this.duplicates += 1;
    else this.#accepted.push({ calledMs: sentMs, returnedMs });
  }

  async #commit(): Promise<void> {
    const { random, topic, partitions } = this.#options;
    const partition = random.below(partitions);
    const end = this.#ends[partition] ?? 0;
    if (end === 0) return;
    // Now and then one that goes back, which changes nothing.
    const offset = random.chance(0.2) ? random.below(end) : end - 1;
    this.oracle.commitAsked(partition, offset);
    const body = JSON.stringify({ topic, group: GROUP, partition, offset });
    const calledAt = performance.now();
    const answer = await this.#send("POST", "/broker/commit", body);
    const isStored = answer?.status === 200;
    if (isStored) this.oracle.commitAcknowledged(partition, offset);
    else if (answer !== undefined && answer.status !== 504 && !isElsewhere(answer.status))
      throw new Error(`commit ${offset}: ${answer.status} ${JSON.stringify(answer.fields)}`);
    this.#history.push({
      kind: "raise",
      register: `commit of ${partition}`,
      value: offset,
      calledAt,
      returnedAt: isStored ? performance.now() : undefined,
      outcome: isStored ? "stored" : "unknown",
    });
  }

  async #read(): Promise<void> {
    const { random, topic, partitions } = this.#options;
    const partition = random.below(partitions);
    const end = this.#ends[partition] ?? 0;
    const isLinearizable = random.chance(0.5);
    const node = this.#any();
    if (node === undefined || end === 0) return;
    const from = Math.max(0, end - 1 - random.below(READ_BACK));
    const consistency = isLinearizable ? "linearizable" : "local";
    const query = `offset=${from}&limit=1000&consistency=${consistency}&timeout_ms=${WRITE_MS_MAX}`;
    const path = `/broker/consume/${topic}/${GROUP}/${partition}?${query}`;
    const calledAt = performance.now();
    const answer = await this.#attempt(node.url, "GET", path, undefined);
    const returnedAt = performance.now();
    if (answer?.status !== 200 || answer.fields.truncated === true) return;
    this.reads += 1;
    const { messages = [], next_offset: nextOffset = -1, committed_offset } = answer.fields;
    const seen = { isLinearizable, calledAt, returnedAt };
    const register = `commit of ${partition}`;
    this.#history.push({ ...seen, kind: "registerRead", register, value: committed_offset ?? -1 });
    // A node that lags may not have come as far, and then does not tell where it is.
    if (messages.length === 0 && !isLinearizable) return;
    this.#history.push({
      ...seen,
      kind: "read",
      partition: String(partition),
      from,
      nextOffset,
      records: messages.map(({ value }) => nameOf(value)),
      source: node.id,
    });
  }

  // -- requests

  #any(): ClusterNode | undefined {
    // Nodes that stand still are asked, too: nobody knows.
    const alive = this.#cluster.nodes.filter((node) => node.isAlive);
    return alive[this.#options.random.below(Math.max(1, alive.length))];
  }

  /** One write at one node, and where that node sends it. */
  async #send(method: string, path: string, body: string): Promise<Answer> {
    const known = this.#options.random.chance(0.8) ? this.#target : undefined;
    const url = known ?? this.#any()?.url;
    if (url === undefined) return { status: 503, fields: { error: "nobody is there" } };
    const answer = await this.#attempt(url, method, path, body);
    if (answer?.status === 200) this.#target = url;
    if (answer?.status !== 307) {
      if (answer?.status !== 200 && this.#target === url) this.#target = undefined;
      return answer;
    }
    const { leader_url, redirect } = answer.fields;
    if (leader_url === undefined || redirect?.location !== leader_url + path)
      throw new Error(`A redirect of ${path} leads to ${JSON.stringify(answer.fields)}`);
    const led = await this.#attempt(leader_url, method, path, body);
    if (led?.status === 200) this.#target = leader_url;
    return led;
  }

  async #attempt(
    url: string,
    method: string,
    path: string,
    body: string | undefined,
  ): Promise<Answer> {
    try {
      const reply = await fetch(url + path, {
        method,
        headers: HEADERS,
        redirect: "manual",
        // On a kept connection that closes, `fetch` sends by itself once more: refused then, it may have been taken before.
        keepalive: false,
        signal: AbortSignal.timeout(ATTEMPT_MS_MAX),
        ...(body !== undefined && { body }),
      });
      const fields = (await reply.json()) as ReplyFields;
      if (reply.status !== 200) this.#refused(`${reply.status} ${fields.error}`);
      return { status: reply.status, fields };
    } catch (error) {
      this.unanswered += 1;
      return isRefused(error) ? { status: 503, fields: { error: "refused" } } : undefined;
    }
  }

  #refused(name: string): void {
    this.refusals.set(name, (this.refusals.get(name) ?? 0) + 1);
  }
}

/** Nothing of what was answered so has entered a log: it may be sent to another node. */
const isElsewhere = (status: number): boolean => status === 307 || status === 503;
