// The rounds of a proof: writers write and readers commit, a node is killed in the middle of that, they go on, and once
// they rest everything that was acknowledged is looked for.

import type { Client } from "./client.ts";
import type { Ledger, ReadRecord } from "./ledger.ts";
import type { Nodes, ProvedNode } from "./nodes.ts";
import { waitUntil } from "./patience.ts";
import { Reader } from "./readers.ts";
import type { RoundReport, StateReport } from "./report.ts";
import { Route } from "./route.ts";
import { Writers } from "./writers.ts";

/** Partitions of the topic. */
export const PARTITIONS = 4;
const TOPIC = "proof";
const GROUP = "readers";
const WRITERS = 8;
/** Acknowledged requests before a kill, at least, and how many more by chance. */
const ANSWERS_BEFORE_MIN = 600;
const ANSWERS_BEFORE_SPREAD = 400;
/** Acknowledged requests after it, before the round is over. */
const ANSWERS_AFTER = 200;
/** Requests that are sent again with their keys after each round. */
const REPEATED = 40;
const STEP_MS_MAX = 60_000;

/** One thing that happens, as it happens. */
export interface ProofStep {
  readonly step: "start" | "write" | "kill" | "restart" | "check" | "compare";
  /** 0 before the first round. */
  readonly round: number;
  readonly text: string;
  readonly elapsed_ms: number;
  readonly acknowledged_records: number;
}

/** What rounds are made of. */
export interface RoundsTask {
  readonly nodes: Nodes;
  readonly token: string;
  readonly ledger: Ledger;
  readonly signal: AbortSignal;
  readonly startedMs: number;
  readonly progress: (step: ProofStep) => void;
}

/** A kill that happens at an acknowledgement, and what is seen of its consequences. */
interface Kill {
  readonly after: number;
  node: ProvedNode | undefined;
  atMs: number;
  nextWriteMs: number | undefined;
}

/** Runs the rounds of one proof, one after the other. */
export class Rounds {
  readonly #task: RoundsTask;
  readonly #writers: Writers;
  readonly #readers: readonly Reader[];
  #round = 0;
  #kill: Kill | undefined;

  constructor(task: RoundsTask) {
    this.#task = task;
    const { nodes, token, ledger, signal } = task;
    const newRoute = (): Route => new Route(() => nodes.urls, token);
    const acknowledged = (url: string, sentMs: number): void => this.#acknowledged(url, sentMs);
    const shared = { topic: TOPIC, ledger, newRoute, signal };
    this.#writers = new Writers({ ...shared, partitions: PARTITIONS, acknowledged });
    this.#readers = Array.from(
      { length: PARTITIONS },
      (_, partition) => new Reader(partition, { ...shared, group: GROUP }),
    );
  }

  /** Starts the nodes and makes the topic. */
  async start(): Promise<void> {
    const { nodes, signal } = this.#task;
    const { length: count } = nodes.all;
    this.#say("start", count === 1 ? "starting a node" : `starting ${count} nodes`);
    await nodes.start(signal);
    await this.#anywhere("the topic is there", async (client, route) => {
      const outcome = await client.createTopic(TOPIC, PARTITIONS);
      if (outcome.kind === "done") return true;
      route.turn(client, outcome.kind === "refused" ? outcome.leaderUrl : undefined);
      return undefined;
    });
  }

  /** One round. */
  async round(round: number): Promise<RoundReport> {
    this.#round = round;
    const { ledger } = this.#task;
    const before = this.#writers.counts;
    this.#say("write", `${WRITERS} writers and ${PARTITIONS} readers at work`);
    const work = Promise.all([
      this.#writers.run(WRITERS),
      ...this.#readers.map((reader) => reader.run()),
    ]);
    const ended = work.then(() => Promise.reject(new Error("The writers ended too early")));
    const { kill, atKill, readyMs } = await Promise.race([this.#killAndReturn(), ended]);
    this.#writers.stop();
    for (const reader of this.#readers) reader.stop();
    await work;
    this.#say("check", `reading everything, ${count(ledger.acknowledgedRecords)} records`);
    const after = this.#writers.counts;
    const repeated = await this.#writers.repeat(REPEATED);
    const checked = ledger.check(await this.#readAll());
    return {
      round,
      killed: kill.node?.id ?? "",
      acknowledged_records_at_kill: atKill,
      unanswered_writes: after.unanswered - before.unanswered,
      retried_writes: after.retried - before.retried,
      duplicates_answered: after.duplicates - before.duplicates,
      repeated_writes: repeated,
      ready_ms: tenth(readyMs),
      next_write_ms: tenth(kill.nextWriteMs ?? 0),
      partitions: this.#readers.flatMap(({ resumption }) =>
        resumption === undefined
          ? []
          : [
              {
                partition: resumption.partition,
                last_committed_offset: resumption.lastCommitted ?? null,
                commit_in_doubt: resumption.inDoubt ?? null,
                first_consumed_offset: resumption.firstConsumed,
              },
            ],
      ),
      records_checked: checked,
    };
  }

  /** Compares the state of all nodes. */
  async compare(): Promise<readonly StateReport[]> {
    const { nodes, signal, ledger } = this.#task;
    this.#say("compare", "comparing the state of all nodes");
    const states = await nodes.states(signal);
    if (new Set(states.map(({ hash }) => hash)).size > 1)
      ledger.fault("nodes_differ", "The nodes have applied the same log and hold different states");
    return states;
  }

  async #killAndReturn(): Promise<{ kill: Kill; atKill: number; readyMs: number }> {
    const { nodes, ledger, signal } = this.#task;
    const bound = { boundMs: STEP_MS_MAX, signal };
    const enough = ANSWERS_BEFORE_MIN + Math.floor(Math.random() * ANSWERS_BEFORE_SPREAD);
    await waitUntil(
      "every reader has committed",
      () => this.#readers.every(({ hasCommitted }) => hasCommitted),
      bound,
    );
    const after = this.#writers.counts.acknowledged + enough;
    const kill: Kill = { after, node: undefined, atMs: 0, nextWriteMs: undefined };
    this.#kill = kill;
    const killed = await waitUntil("a node is killed", () => kill.node, bound);
    const atKill = ledger.acknowledgedRecords;
    this.#say("kill", `SIGKILL to ${killed.id}`);
    await killed.gone();
    const isAlone = nodes.all.length === 1;
    if (!isAlone) await this.#nextWrite(kill);
    this.#say("restart", `starting ${killed.id} again`);
    const startedMs = performance.now();
    killed.start();
    await killed.ready(signal);
    const readyMs = performance.now() - startedMs;
    if (isAlone) await this.#nextWrite(kill);
    const { acknowledged } = this.#writers.counts;
    await waitUntil(
      "the readers have gone on and the writers have written more",
      () =>
        this.#readers.every(({ resumption }) => resumption !== undefined) &&
        this.#writers.counts.acknowledged >= acknowledged + ANSWERS_AFTER,
      bound,
    );
    return { kill, atKill, readyMs };
  }

  /** Kills the node whose acknowledgement is the last one of the round before the kill: the others are in flight. */
  #acknowledged(url: string, sentMs: number): void {
    const kill = this.#kill;
    if (kill === undefined) return;
    if (kill.node !== undefined) {
      if (sentMs > kill.atMs) kill.nextWriteMs ??= performance.now() - kill.atMs;
      return;
    }
    if (this.#writers.counts.acknowledged < kill.after) return;
    kill.node = this.#task.nodes.at(url);
    kill.node?.kill();
    kill.atMs = performance.now();
    for (const reader of this.#readers) reader.mark();
  }

  async #nextWrite(kill: Kill): Promise<void> {
    const bound = { boundMs: STEP_MS_MAX, signal: this.#task.signal };
    await waitUntil("a write is taken again", () => kill.nextWriteMs, bound);
  }

  async #readAll(): Promise<readonly (readonly ReadRecord[])[]> {
    const partitions: (readonly ReadRecord[])[] = [];
    for (let partition = 0; partition < PARTITIONS; partition++)
      partitions.push(await this.#readPartition(partition));
    return partitions;
  }

  async #readPartition(partition: number): Promise<readonly ReadRecord[]> {
    const records: ReadRecord[] = [];
    for (let next = 0; ; ) {
      const page = await this.#anywhere("a page is read", (client) =>
        client.consume(TOPIC, "checker", partition, { offset: next }),
      );
      records.push(...page.records);
      if (!page.isTruncated) return records;
      next = page.nextOffset;
    }
  }

  /** Asks one node after the other until one answers. */
  async #anywhere<T>(
    what: string,
    ask: (client: Client, route: Route) => Promise<T | undefined>,
  ): Promise<T> {
    const { nodes, token, signal } = this.#task;
    using route = new Route(() => nodes.urls, token);
    const asked = await waitUntil(
      what,
      async () => {
        const { client } = route;
        if (client === undefined) return undefined;
        const answer = await ask(client, route);
        if (answer === undefined && route.client === client) route.turn(client);
        return answer === undefined ? undefined : { answer };
      },
      { boundMs: STEP_MS_MAX, signal },
    );
    return asked.answer;
  }

  #say(step: ProofStep["step"], text: string): void {
    const { progress, startedMs, ledger } = this.#task;
    progress({
      step,
      round: this.#round,
      text,
      elapsed_ms: Math.round(performance.now() - startedMs),
      acknowledged_records: ledger.acknowledgedRecords,
    });
  }
}

const count = (value: number): string => value.toLocaleString("en");
const tenth = (value: number): number => Math.round(value * 10) / 10;
