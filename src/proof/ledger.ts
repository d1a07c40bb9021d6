// What was sent, what was acknowledged, what was read, and every way in which they can contradict each other. Pure: it is
// told, and it judges. A record's value names its request and its place in it, and the rest of its bytes follow from that.

/** A write of one record, or of several that must stay together. */
export interface WriteRequest {
  readonly id: string;
  /** Who sent it; each writer waits for a reply before it goes on. */
  readonly writer: number;
  /** Undefined: the node chooses. */
  readonly partition: number | undefined;
  readonly count: number;
  readonly idempotencyKey: string | undefined;
}

/** Where the node says that a write is. */
export interface Placement {
  readonly partition: number;
  readonly offset: number;
  readonly count: number;
  readonly isDuplicate: boolean;
}

/** One record as it was read. */
export interface ReadRecord {
  readonly offset: number;
  readonly value: string;
}

/** The kinds of broken promises, by what the report calls them. */
export const FAULT_KINDS = [
  "lost",
  "doubled",
  "reordered",
  "altered",
  "gaps",
  "commits_lost",
  "nodes_differ",
] as const;

/** A kind of broken promise. */
export type FaultKind = (typeof FAULT_KINDS)[number];

/** How many of each kind. */
export type FaultCounts = Readonly<Record<FaultKind, number>>;

/** Broken promises that are told in words; all are counted. */
const FAULTS_TOLD_MAX = 20;
const FILLER_CHARS = 80;
const FILLER = "abcdefghijklmnopqrstuvwxyz0123456789".repeat(4);

const nameOf = (id: string, place: number, count: number): string => `${id}/${place}/${count}`;

/** The value of one record of a request. */
export function recordValue(id: string, place: number, count: number): string {
  const name = nameOf(id, place, count);
  let sum = 0;
  for (let i = 0; i < name.length; i++) sum = (sum * 31 + name.charCodeAt(i)) % 36;
  return `${name}:${FILLER.slice(sum, sum + FILLER_CHARS)}`;
}

/** The values of a request. */
export const recordValues = ({ id, count }: WriteRequest): string[] =>
  Array.from({ length: count }, (_, place) => recordValue(id, place, count));

/** Reads the name out of a value; undefined when it is not, byte for byte, one that a writer makes. */
function parseValue(value: string) {
  const match = /^([^/]+)\/(\d+)\/(\d+):/.exec(value);
  if (match === null) return undefined;
  const [, id = "", placeText, countText] = match;
  const place = Number(placeText);
  const count = Number(countText);
  return value === recordValue(id, place, count) ? { id, place, count } : undefined;
}

const at = (partition: number, offset: number): string => `offset ${offset} of ${partition}`;

/** Follows one topic through everything that happens to its nodes. */
export class Ledger {
  /** Broken promises in words, the first of them. */
  readonly faults: string[] = [];
  readonly #counts = Object.fromEntries(FAULT_KINDS.map((kind) => [kind, 0])) as Record<
    FaultKind,
    number
  >;
  readonly #sent = new Set<string>();
  /** By partition and offset: the name of the record that was acknowledged there, or seen there by a reader. */
  readonly #known: Map<number, string>[];
  /** By name: where it was acknowledged. */
  readonly #acknowledged = new Map<
    string,
    { readonly partition: number; readonly offset: number }
  >();
  /** By writer and partition: the last offset that it was given. */
  readonly #last = new Map<string, number>();

  constructor(partitions: number) {
    this.#known = Array.from({ length: partitions }, () => new Map());
  }

  /** Records that were acknowledged. */
  get acknowledgedRecords(): number {
    return this.#acknowledged.size;
  }

  get counts(): FaultCounts {
    return { ...this.#counts };
  }

  get isClean(): boolean {
    return FAULT_KINDS.every((kind) => this.#counts[kind] === 0);
  }

  /** Notes a broken promise. */
  fault(kind: FaultKind, words: string): void {
    this.#counts[kind] += 1;
    if (this.faults.length < FAULTS_TOLD_MAX) this.faults.push(words);
  }

  /** A request leaves, for the first time or again. */
  sent(request: WriteRequest): void {
    this.#sent.add(request.id);
  }

  /** A request was acknowledged, for the first time or again. */
  acknowledge(request: WriteRequest, placement: Placement): void {
    const { id, count, writer } = request;
    const { partition, offset } = placement;
    if (placement.count !== count)
      this.fault("altered", `${id}: ${placement.count} of ${count} records were acknowledged`);
    if (request.partition !== undefined && request.partition !== partition)
      this.fault("altered", `${id}: acknowledged in partition ${partition}, not in its own`);
    for (let place = 0; place < count; place++)
      this.#acknowledgeRecord(nameOf(id, place, count), partition, offset + place);
    const order = `${writer} ${partition}`;
    const last = this.#last.get(order) ?? -1;
    if (offset <= last && !placement.isDuplicate)
      this.fault("reordered", `${id}: ${at(partition, offset)} comes after ${last}`);
    this.#last.set(order, Math.max(last, offset));
  }

  #acknowledgeRecord(name: string, partition: number, offset: number): void {
    const before = this.#acknowledged.get(name);
    if (before !== undefined) {
      if (before.partition !== partition || before.offset !== offset)
        this.fault(
          "doubled",
          `${name}: acknowledged at ${at(before.partition, before.offset)} and ${at(partition, offset)}`,
        );
      return;
    }
    this.#acknowledged.set(name, { partition, offset });
    this.#know(name, partition, offset, "acknowledged");
  }

  /** A reader was shown records of a partition, each following the one before it. */
  shown(partition: number, records: readonly ReadRecord[]): void {
    let next = records[0]?.offset ?? 0;
    for (const { offset, value } of records) {
      if (offset !== next) this.fault("gaps", `${at(partition, offset)}: expected ${next}`);
      next = offset + 1;
      const name = this.#nameOf(partition, offset, value);
      if (name !== undefined) this.#know(name, partition, offset, "shown");
    }
  }

  #nameOf(partition: number, offset: number, value: string): string | undefined {
    const parsed = parseValue(value);
    if (parsed !== undefined && this.#sent.has(parsed.id))
      return nameOf(parsed.id, parsed.place, parsed.count);
    this.fault("altered", `${at(partition, offset)}: not what was sent: ${value.slice(0, 60)}`);
    return undefined;
  }

  #know(name: string, partition: number, offset: number, how: string): void {
    const known = this.#known[partition];
    const other = known?.get(offset);
    if (other !== undefined && other !== name)
      this.fault(
        "lost",
        `${at(partition, offset)}: ${how} for ${name}, and before that for ${other}`,
      );
    known?.set(offset, name);
  }

  /**
   * Compares the whole topic, read from its first record to its last while nobody writes.
   * @returns how many acknowledged records were looked for.
   */
  check(partitions: readonly (readonly ReadRecord[])[]): number {
    const found = new Map<string, { readonly partition: number; readonly offset: number }>();
    for (const [partition, records] of partitions.entries())
      this.#checkPartition(partition, records, found);
    for (const [name, { partition, offset }] of this.#acknowledged) {
      const place = found.get(name);
      if (place === undefined)
        this.fault("lost", `${name}: acknowledged at ${at(partition, offset)}, and not there`);
      else if (place.partition !== partition || place.offset !== offset)
        this.fault(
          "reordered",
          `${name}: acknowledged at ${at(partition, offset)}, and found at ${at(place.partition, place.offset)}`,
        );
    }
    return this.#acknowledged.size;
  }

  #checkPartition(
    partition: number,
    records: readonly ReadRecord[],
    found: Map<string, { readonly partition: number; readonly offset: number }>,
  ): void {
    let next = 0;
    let rest = 0;
    let batch = "";
    for (const { offset, value } of records) {
      if (offset !== next) this.fault("gaps", `${at(partition, offset)}: expected ${next}`);
      next = offset + 1;
      const name = this.#nameOf(partition, offset, value);
      if (name === undefined) continue;
      const { id = "", place = 0, count = 1 } = parseValue(value) ?? {};
      if (rest > 0 ? id !== batch || count - place !== rest : place !== 0)
        this.fault("altered", `${at(partition, offset)}: record ${place} of ${id} stands alone`);
      batch = id;
      rest = count - place - 1;
      if (found.has(name))
        this.fault("doubled", `${at(partition, offset)}: ${name} is there twice`);
      found.set(name, { partition, offset });
      this.#know(name, partition, offset, "read");
    }
    if (rest > 0) this.fault("altered", `${batch}: its last ${rest} records are missing`);
    let seen = -1;
    for (const offset of this.#known[partition]?.keys() ?? []) seen = Math.max(seen, offset);
    if (seen >= next)
      this.fault("lost", `${partition}: ends before ${next}, and had ${at(partition, seen)}`);
  }
}
