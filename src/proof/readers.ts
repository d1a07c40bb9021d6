// One consumer per partition, all of one group: reads from where the group stands, commits the last record that it was
// given, and begins again. After each kill it notes where it was and where it goes on.

import type { Ledger, ReadRecord } from "./ledger.ts";
import type { Route } from "./route.ts";

const PAGE_RECORDS = 100;
const WAIT_MS = 100;
const PAUSE_MS = 5;

/** Where a group stood before a kill, and where it went on after it. */
export interface Resumption {
  readonly partition: number;
  /** The last commit that was acknowledged before; undefined for none. */
  readonly lastCommitted: number | undefined;
  /** A commit that was under way when the node was killed: it may have been stored. */
  readonly inDoubt: number | undefined;
  readonly firstConsumed: number;
}

/** What a reader is given. */
export interface ReaderTask {
  readonly topic: string;
  readonly group: string;
  readonly ledger: Ledger;
  readonly newRoute: () => Route;
  readonly signal: AbortSignal;
}

/** The consumer of one partition. */
export class Reader {
  readonly partition: number;
  readonly #task: ReaderTask;
  #committed = -1;
  #asked = -1;
  #isMarked = false;
  #resumption: Resumption | undefined;
  #isStopping = false;

  constructor(partition: number, task: ReaderTask) {
    this.partition = partition;
    this.#task = task;
  }

  /** Whether it has committed anything. */
  get hasCommitted(): boolean {
    return this.#committed >= 0;
  }

  /** How it went on since `mark`; undefined: not yet. */
  get resumption(): Resumption | undefined {
    return this.#resumption;
  }

  /** The node is killed now. */
  mark(): void {
    this.#isMarked = true;
    this.#resumption = undefined;
  }

  stop(): void {
    this.#isStopping = true;
  }

  /** Consumes until `stop`. */
  async run(): Promise<void> {
    this.#isStopping = false;
    using route = this.#task.newRoute();
    while (!this.#isStopping && !this.#task.signal.aborted) {
      const records = await this.#read(route);
      const last = records?.at(-1);
      if (last !== undefined) await this.#commit(route, last.offset);
      else if (records === undefined) await Bun.sleep(PAUSE_MS);
    }
  }

  async #read(route: Route): Promise<readonly ReadRecord[] | undefined> {
    const { topic, group, ledger } = this.#task;
    const { client } = route;
    if (client === undefined) return undefined;
    // A page that was asked for before the kill says nothing about what comes after it.
    const isFirst = this.#isMarked;
    const committed = this.#committed;
    const asked = this.#asked;
    const page = await client.consume(topic, group, this.partition, {
      limit: PAGE_RECORDS,
      waitMs: WAIT_MS,
    });
    if (page === undefined) {
      route.turn(client);
      return undefined;
    }
    const { records } = page;
    const [first] = records;
    if (first === undefined) return records;
    this.#check(first.offset, committed, asked);
    ledger.shown(this.partition, records);
    if (isFirst && this.#isMarked) {
      this.#isMarked = false;
      this.#resumption = {
        partition: this.partition,
        lastCommitted: committed < 0 ? undefined : committed,
        inDoubt: asked > committed ? asked : undefined,
        firstConsumed: first.offset,
      };
    }
    return records;
  }

  #check(first: number, committed: number, asked: number): void {
    if (first >= committed + 1 && first <= asked + 1) return;
    this.#task.ledger.fault(
      "commits_lost",
      `partition ${this.partition}: the group goes on at ${first}, and had committed ${committed}`,
    );
  }

  async #commit(route: Route, offset: number): Promise<void> {
    const { topic, group } = this.#task;
    this.#asked = Math.max(this.#asked, offset);
    const { client } = route;
    if (client === undefined) return;
    const outcome = await client.commit(topic, group, this.partition, offset);
    if (outcome.kind === "done") this.#committed = offset;
    else route.turn(client, outcome.kind === "refused" ? outcome.leaderUrl : undefined);
  }
}
