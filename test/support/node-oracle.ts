// What must be true of a log after a crash. Values tell who they are and their bytes follow from that, so the oracle
// checks every byte of every record and keeps only a number per offset.

import { Prng } from "../../src/lib/prng.ts";
import { committedOffset, readFrom, type WriteReply } from "./node-client.ts";

const LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+-";
/** Text that values are cut out of; long enough that two cuts differ. */
const POOL = (() => {
  const random = new Prng(1);
  return Array.from({ length: 1 << 18 }, () => LETTERS[random.below(64)]).join("");
})();

/** The value of the record `id`, which is one of `count` in its request: its name, and letters that follow from it. */
export function recordValue(id: string, place: number, count: number, bytes: number): string {
  const name = `${id}/${place}/${count}/${bytes}:`;
  const start = Number(Bun.hash.wyhash(name) & 0xff_ffn) % POOL.length;
  return name + POOL.slice(start, start + Math.max(0, bytes - name.length));
}

/** The values of one request. */
export const recordValues = (id: string, count: number, bytes: number): string[] =>
  Array.from({ length: count }, (_, place) => recordValue(id, place, count, bytes));

/** Whether a value is one that a request has sent, byte for byte. */
function parseValue(
  value: string,
): { readonly id: string; readonly place: number; readonly count: number } | undefined {
  const match = /^([^/]+)\/(\d+)\/(\d+)\/(\d+):/.exec(value);
  if (match === null) return undefined;
  const [, id = "", place, count, bytes] = match;
  const expected = recordValue(id, Number(place), Number(count), Number(bytes));
  return value === expected ? { id, place: Number(place), count: Number(count) } : undefined;
}

/** Follows one topic over any number of crashes. */
export class LogOracle {
  /** Every broken promise, in words; the test expects none. */
  readonly faults: string[] = [];
  acknowledged = 0;
  readonly #topic: string;
  /** Per partition and offset: a number that stands for the request and the record's place in it. */
  readonly #seen: bigint[][];
  /** Acknowledged and not seen yet, by partition and offset. */
  readonly #awaited: Map<number, bigint>[];
  /** Requests that have been seen: none may come twice. */
  readonly #requests = new Set<bigint>();
  readonly #commits = new Map<string, { sure: number; asked: number }>();

  constructor(topic: string, partitions: number) {
    this.#topic = topic;
    this.#seen = Array.from({ length: partitions }, () => []);
    this.#awaited = Array.from({ length: partitions }, () => new Map());
  }

  /** Records seen in all partitions. */
  get seen(): number {
    return this.#seen.reduce((sum, partition) => sum + partition.length, 0);
  }

  /** Takes the reply to a request that went well. */
  acknowledge(id: string, count: number, reply: WriteReply): void {
    if (reply.count !== count) this.faults.push(`${id}: acknowledged ${reply.count} of ${count}`);
    for (let place = 0; place < count; place++) {
      const offset = reply.offset + place;
      const mark = markOf(id, place);
      const known = this.#seen[reply.partition]?.[offset];
      const awaited = this.#awaited[reply.partition];
      const other = known ?? awaited?.get(offset);
      if (other !== undefined && other !== mark)
        this.faults.push(`${id}: offset ${offset} of ${reply.partition} was given to another`);
      if (known === undefined) awaited?.set(offset, mark);
    }
    this.acknowledged += count;
  }

  /** A commit was sent. */
  commitAsked(partition: number, offset: number): void {
    const commits = this.#commitsOf(partition);
    commits.asked = Math.max(commits.asked, offset);
  }

  /** A commit was acknowledged. */
  commitAcknowledged(partition: number, offset: number): void {
    const commits = this.#commitsOf(partition);
    commits.sure = Math.max(commits.sure, offset);
  }

  #commitsOf(partition: number): { sure: number; asked: number } {
    const found = this.#commits.get(String(partition));
    if (found !== undefined) return found;
    const fresh = { sure: -1, asked: -1 };
    this.#commits.set(String(partition), fresh);
    return fresh;
  }

  /**
   * Reads the node and compares. Nobody may be writing.
   * @param isWhole Reads from the first offset; else from where the last check ended.
   */
  async check(url: string, isWhole: boolean): Promise<void> {
    for (let partition = 0; partition < this.#seen.length; partition++) {
      await this.#checkPartition(url, partition, isWhole);
      const commits = this.#commits.get(String(partition));
      if (commits === undefined) continue;
      const committed = await committedOffset(url, this.#topic, "workers", partition);
      if (committed < commits.sure || committed > commits.asked)
        this.faults.push(`commit of ${partition}: ${committed}, not ${JSON.stringify(commits)}`);
      // What a reader has been shown may not go back either.
      commits.sure = Math.max(commits.sure, committed);
    }
  }

  async #checkPartition(url: string, partition: number, isWhole: boolean): Promise<void> {
    const seen = this.#seen[partition] as bigint[];
    let next = isWhole ? 0 : seen.length;
    let rest = 0;
    let batch = "";
    for await (const page of readFrom(url, this.#topic, partition, next)) {
      for (const { offset, value } of page) {
        const where = `offset ${offset} of ${partition}`;
        if (offset !== next) this.faults.push(`${where}: expected ${next}`);
        const parsed = parseValue(value);
        if (parsed === undefined) {
          this.faults.push(`${where}: not what was sent: ${value.slice(0, 60)}`);
          next = offset + 1;
          continue;
        }
        const { id, place, count } = parsed;
        if (rest > 0 ? id !== batch || count - place !== rest : place !== 0)
          this.faults.push(`${where}: record ${place} of ${id} stands alone`);
        batch = id;
        rest = count - place - 1;
        this.#take(partition, offset, markOf(id, place), place === 0 ? id : undefined, where);
        next = offset + 1;
      }
    }
    if (rest > 0) this.faults.push(`${batch} in ${partition}: ${rest} of its records are missing`);
    if (next < seen.length)
      this.faults.push(`${partition}: ends at ${next}, and once had ${seen.length}`);
    const lost = [...(this.#awaited[partition]?.keys() ?? [])];
    if (lost.length > 0)
      this.faults.push(`${partition}: ${lost.length} acknowledged lost, first ${lost[0]}`);
    this.#awaited[partition]?.clear();
  }

  #take(
    partition: number,
    offset: number,
    mark: bigint,
    id: string | undefined,
    where: string,
  ): void {
    const seen = this.#seen[partition] as bigint[];
    const awaited = this.#awaited[partition] as Map<number, bigint>;
    if (offset < seen.length) {
      if (seen[offset] !== mark) this.faults.push(`${where}: another record than before`);
      return;
    }
    const expected = awaited.get(offset);
    if (expected !== undefined && expected !== mark)
      this.faults.push(`${where}: another record than acknowledged`);
    awaited.delete(offset);
    seen.push(mark);
    if (id === undefined) return;
    const request = markOf(id, -1);
    if (this.#requests.has(request)) this.faults.push(`${where}: ${id} is there twice`);
    this.#requests.add(request);
  }
}

const markOf = (id: string, place: number): bigint => Bun.hash.wyhash(`${id} ${place}`);
