// Judges what clients saw of a log, from plain data: whether all of it has one order that respects real time (linearizability).
// Since an append is told its offset, the order is given: an append stands at its offset, a read at the end that it saw. What
// remains to be checked takes one walk through time: nobody who began after somebody else was done may stand before him.
//
// Times are any numbers that grow; two that are equal are taken to be at once. Every append to a partition is to be told.

/** Records of one partition, appended together. Ids are unique; the record at place 3 of append `a` is called `a/3`. */
export interface AppendOperation {
  readonly kind: "append";
  readonly partition: string;
  readonly id: string;
  readonly count: number;
  readonly calledAt: number;
  /** Undefined: no answer ever came. */
  readonly returnedAt: number | undefined;
  /** `stored`: acknowledged as committed. `refused`: certainly not stored. `unknown`: either, now or later. */
  readonly outcome: "stored" | "refused" | "unknown";
  /** Of the first record, when it is `stored`. */
  readonly offset?: number;
  /** Appends with the same key are one; it is stored once. */
  readonly key?: string | undefined;
  /** Stored only if the partition ended there. */
  readonly expectedOffset?: number | undefined;
}

/** What somebody was shown of a partition: where it ends, and records from `from` on. */
export interface ReadOperation {
  readonly kind: "read";
  readonly partition: string;
  /** Otherwise it may be old, and is still of the one log. */
  readonly isLinearizable: boolean;
  readonly calledAt: number;
  readonly returnedAt: number;
  readonly from: number;
  readonly nextOffset: number;
  /** First readable offset, where it was told: it never goes back. */
  readonly startOffset?: number | undefined;
  /** Names of the records from `from` on, without a gap. */
  readonly records: readonly string[];
  /** Who answered. What one source says never goes back, whatever its level. */
  readonly source?: string | undefined;
}

/** A number that only grows, like the committed offset of a group. */
export interface RaiseOperation {
  readonly kind: "raise";
  readonly register: string;
  readonly value: number;
  readonly calledAt: number;
  readonly returnedAt: number | undefined;
  readonly outcome: "stored" | "refused" | "unknown";
}

/** What somebody was told of such a number; -1 for none. */
export interface RegisterRead {
  readonly kind: "registerRead";
  readonly register: string;
  readonly isLinearizable: boolean;
  readonly value: number;
  readonly calledAt: number;
  readonly returnedAt: number;
}

/** A change of a key: put, or deleted when it has no value. Values of one key are unique. */
export interface KeyWrite {
  readonly kind: "keyWrite";
  readonly key: string;
  readonly value: string | undefined;
  readonly calledAt: number;
  readonly returnedAt: number | undefined;
  readonly outcome: "stored" | "refused" | "unknown";
  /** What the key was said to have from then on, when it is `stored`. */
  readonly cas?: number | undefined;
  /** It was to happen only if the key had this; 0: no value. */
  readonly expected?: number | undefined;
}

/** What somebody was told of a key. */
export interface KeyRead {
  readonly kind: "keyRead";
  readonly key: string;
  readonly isLinearizable: boolean;
  /** 0: it has no value. */
  readonly cas: number;
  /** Where it was told. */
  readonly value?: string | undefined;
  readonly calledAt: number;
  readonly returnedAt: number;
}

/** Everything that a key ever was, as the log has it. */
export interface KeyStates {
  readonly kind: "keyStates";
  readonly key: string;
  /** By `cas`: its value, undefined when it had none. */
  readonly states: ReadonlyMap<number, string | undefined>;
}

/** One thing that a client did, and what came of it. */
export type Operation =
  | AppendOperation
  | ReadOperation
  | RaiseOperation
  | RegisterRead
  | KeyWrite
  | KeyRead
  | KeyStates;

/** Everything that is wrong with a history, in words; empty when there is one order for all of it. */
export function checkHistory(operations: readonly Operation[]): string[] {
  const faults: string[] = [];
  const logs = new Map<string, (AppendOperation | ReadOperation)[]>();
  const registers = new Map<string, (RaiseOperation | RegisterRead)[]>();
  const keys = new Map<string, (KeyWrite | KeyRead | KeyStates)[]>();
  for (const operation of operations) {
    if (operation.kind === "append" || operation.kind === "read")
      listOf(logs, operation.partition).push(operation);
    else if (
      operation.kind === "keyWrite" ||
      operation.kind === "keyRead" ||
      operation.kind === "keyStates"
    )
      listOf(keys, operation.key).push(operation);
    else listOf(registers, operation.register).push(operation);
  }
  for (const [key, ofIt] of keys) checkKey(key, ofIt, faults);
  checkIdentities(operations, faults);
  for (const [partition, ofIt] of logs) checkLog(partition, ofIt, faults);
  for (const [register, ofIt] of registers) checkRegister(register, ofIt, faults);
  return faults;
}

function listOf<T>(lists: Map<string, T[]>, key: string): T[] {
  const list = lists.get(key) ?? [];
  lists.set(key, list);
  return list;
}

/** Every append has an id of its own, and a key stands for one place at the most. */
function checkIdentities(operations: readonly Operation[], faults: string[]): void {
  const ids = new Set<string>();
  for (const operation of operations) {
    if (operation.kind !== "append") continue;
    if (ids.has(operation.id)) faults.push(`Append ${operation.id} is there twice in the history`);
    ids.add(operation.id);
  }
}

/** A stretch of time in which something with a place in the order happened. */
interface Span {
  readonly what: string;
  readonly calledAt: number;
  /** `Infinity`: not known to have been over at any time. */
  readonly returnedAt: number;
  /** Where it stands: nothing that was over before it began may stand behind this. */
  readonly from: number;
  /** Where it ends: nothing that begins after it may stand before this. */
  readonly to: number;
  /** Only its end counts: it may be old. */
  readonly isStaleAllowed: boolean;
}

/** What is known to lie at each offset of a partition, and who said so. */
class Contents {
  readonly #records: (string | undefined)[] = [];
  readonly #offsetOf = new Map<string, number>();
  readonly #partition: string;
  readonly #faults: string[];

  constructor(partition: string, faults: string[]) {
    this.#partition = partition;
    this.#faults = faults;
  }

  put(offset: number, record: string, who: string): void {
    const known = this.#records[offset];
    if (known === undefined) this.#records[offset] = record;
    else if (known !== record)
      this.#faults.push(
        `${who}: offset ${offset} of ${this.#partition} has ${record}, and had ${known}`,
      );
    const other = this.#offsetOf.get(record);
    if (other === undefined) this.#offsetOf.set(record, offset);
    else if (other !== offset)
      this.#faults.push(
        `${who}: record ${record} is at ${offset} of ${this.#partition}, and at ${other}`,
      );
  }

  offsetOf(record: string): number | undefined {
    return this.#offsetOf.get(record);
  }

  /** Offsets before `end` at which nothing is known to lie. */
  missing(end: number): number {
    let known = 0;
    for (let offset = 0; offset < end; offset++)
      if (this.#records[offset] !== undefined) known += 1;
    return end - known;
  }
}

function checkLog(
  partition: string,
  operations: readonly (AppendOperation | ReadOperation)[],
  faults: string[],
): void {
  const contents = new Contents(partition, faults);
  const appends = new Map<string, AppendOperation>();
  const spans: Span[] = [];
  for (const operation of operations) {
    if (operation.kind !== "append") continue;
    appends.set(operation.id, operation);
    if (operation.outcome !== "stored") continue;
    const { id, count, offset = -1, expectedOffset } = operation;
    if (expectedOffset !== undefined && expectedOffset !== offset)
      faults.push(
        `Append ${id} expected offset ${expectedOffset} of ${partition} and got ${offset}`,
      );
    for (let place = 0; place < count; place++)
      contents.put(offset + place, `${id}/${place}`, `Append ${id}`);
  }
  for (const operation of operations) {
    if (operation.kind !== "read") continue;
    checkRead(operation, appends, contents, faults);
    const { calledAt, returnedAt, nextOffset, isLinearizable, source } = operation;
    spans.push({
      what: `the ${isLinearizable ? "" : "local "}read${source === undefined ? "" : ` of ${source}`} that ends at ${nextOffset}`,
      calledAt,
      returnedAt,
      from: nextOffset,
      to: nextOffset,
      isStaleAllowed: !isLinearizable,
    });
  }
  for (const append of appends.values()) checkAppend(append, partition, contents, spans, faults);
  checkGaps(partition, [...appends.values()], contents, spans, faults);
  checkKeys(partition, [...appends.values()], contents, faults);
  checkOrder(partition, spans, faults);
  checkSources(partition, operations, faults);
}

/** What was read was sent before it was read, was not refused, and hangs together. */
function checkRead(
  read: ReadOperation,
  appends: ReadonlyMap<string, AppendOperation>,
  contents: Contents,
  faults: string[],
): void {
  const { partition, from, records, nextOffset } = read;
  if (records.length > 0 && from + records.length > nextOffset)
    faults.push(
      `A read of ${partition} shows ${records.length} from ${from}, and ends at ${nextOffset}`,
    );
  for (const [i, record] of records.entries()) {
    const offset = from + i;
    contents.put(offset, record, "A read");
    const append = appends.get(record.slice(0, record.lastIndexOf("/")));
    if (append === undefined) {
      faults.push(`A read of ${partition} shows ${record} at ${offset}, which nobody sent`);
      continue;
    }
    if (append.outcome === "refused")
      faults.push(`A read of ${partition} shows ${record} at ${offset}, which was refused`);
    if (append.calledAt > read.returnedAt)
      faults.push(`A read of ${partition} shows ${record} at ${offset} before it was sent`);
  }
}

/** The records of an append stand side by side, in order; it has its place among the others, if it was stored at all. */
function checkAppend(
  append: AppendOperation,
  partition: string,
  contents: Contents,
  spans: Span[],
  faults: string[],
): void {
  const { id, count, calledAt, returnedAt, outcome } = append;
  let first: number | undefined;
  for (let place = 0; place < count; place++) {
    const offset = contents.offsetOf(`${id}/${place}`);
    if (offset === undefined) continue;
    first ??= offset - place;
    if (first !== offset - place)
      faults.push(
        `Record ${id}/${place} is at ${offset} of ${partition}, its append begins at ${first}`,
      );
  }
  if (first === undefined) return;
  const isKnown = outcome === "stored" && returnedAt !== undefined;
  spans.push({
    what: `append ${id} at ${first}`,
    calledAt,
    returnedAt: isKnown ? returnedAt : Number.POSITIVE_INFINITY,
    from: first,
    to: first + count,
    isStaleAllowed: false,
  });
}

/** Offsets are given without a gap: where nothing was seen, there must be something whose fate is unknown. */
function checkGaps(
  partition: string,
  appends: readonly AppendOperation[],
  contents: Contents,
  spans: readonly Span[],
  faults: string[],
): void {
  const end = spans.reduce((furthest, { to }) => Math.max(furthest, to), 0);
  const missing = contents.missing(end);
  const unseen = appends
    .filter(
      ({ id, outcome }) => outcome === "unknown" && contents.offsetOf(`${id}/0`) === undefined,
    )
    .reduce((sum, { count }) => sum + count, 0);
  if (missing > unseen)
    faults.push(
      `${partition} reaches to ${end} with ${missing} offsets of which nobody knows, and ${unseen} records that could lie there`,
    );
}

/** Of the appends with one key, one is stored at the most. */
function checkKeys(
  partition: string,
  appends: readonly AppendOperation[],
  contents: Contents,
  faults: string[],
): void {
  const owners = new Map<string, AppendOperation>();
  for (const append of appends) {
    if (append.key === undefined || contents.offsetOf(`${append.id}/0`) === undefined) continue;
    const owner = owners.get(append.key);
    if (owner === undefined) owners.set(append.key, append);
    else
      faults.push(
        `Key ${append.key} is stored twice in ${partition}: as ${owner.id} and as ${append.id}`,
      );
  }
}

/** One walk through time: who begins must not stand before anybody who was over by then. */
function checkOrder(where: string, spans: readonly Span[], faults: string[]): void {
  const byCall = [...spans].sort((left, right) => left.calledAt - right.calledAt);
  const byReturn = spans
    .filter(({ returnedAt }) => returnedAt !== Number.POSITIVE_INFINITY)
    .sort((left, right) => left.returnedAt - right.returnedAt);
  let over = 0;
  let furthest: Span | undefined;
  for (const span of byCall) {
    for (; (byReturn[over]?.returnedAt ?? Number.POSITIVE_INFINITY) < span.calledAt; over++) {
      const ended = byReturn[over] as Span;
      if (furthest === undefined || ended.to > furthest.to) furthest = ended;
    }
    if (furthest === undefined || span.isStaleAllowed || span.from >= furthest.to) continue;
    faults.push(
      `${where}: ${span.what} began at ${span.calledAt}, after ${furthest.what} was over at ${furthest.returnedAt}, and stands before it`,
    );
  }
}

/** What one source says of a partition never goes back, and neither does the floor of linearizable reads. */
function checkSources(
  partition: string,
  operations: readonly (AppendOperation | ReadOperation)[],
  faults: string[],
): void {
  const ends = new Map<string, Span[]>();
  const floors: Span[] = [];
  for (const operation of operations) {
    if (operation.kind !== "read") continue;
    const { calledAt, returnedAt, nextOffset, startOffset, source, isLinearizable } = operation;
    const at = { calledAt, returnedAt, isStaleAllowed: false };
    const what = `a read that ends at ${nextOffset}`;
    if (source !== undefined)
      listOf(ends, source).push({ ...at, what, from: nextOffset, to: nextOffset });
    if (startOffset !== undefined)
      floors.push({
        ...at,
        isStaleAllowed: !isLinearizable,
        what: `a read that begins at ${startOffset}`,
        from: startOffset,
        to: startOffset,
      });
  }
  for (const [source, spans] of ends) checkOrder(`${partition} at ${source}`, spans, faults);
  checkOrder(`The floor of ${partition}`, floors, faults);
}

function checkRegister(
  register: string,
  operations: readonly (RaiseOperation | RegisterRead)[],
  faults: string[],
): void {
  const spans: Span[] = [];
  const raises = operations.filter((operation) => operation.kind === "raise");
  for (const operation of operations) {
    const { calledAt, value } = operation;
    if (operation.kind === "registerRead") {
      const { returnedAt, isLinearizable } = operation;
      const isAsked = raises.some(
        (raise) =>
          raise.value === value && raise.calledAt <= returnedAt && raise.outcome !== "refused",
      );
      if (value >= 0 && !isAsked)
        faults.push(`${register} is shown to be ${value}, which nobody made it by then`);
      const what = `the read of ${value}`;
      spans.push({
        what,
        calledAt,
        returnedAt,
        from: value,
        to: value,
        isStaleAllowed: !isLinearizable,
      });
    } else if (operation.outcome === "stored" && operation.returnedAt !== undefined) {
      const { returnedAt } = operation;
      const what = `the raise to ${value}`;
      // A raise to less than there is does nothing, and is right.
      spans.push({ what, calledAt, returnedAt, from: value, to: value, isStaleAllowed: true });
    }
  }
  checkOrder(register, spans, faults);
}

/**
 * A key's `cas` is the order of its states. A write stands where its state begins, a read at the state that it saw. One that
 * saw no value may stand at any state without one: it is given the earliest that respects real time.
 */
function checkKey(
  key: string,
  operations: readonly (KeyWrite | KeyRead | KeyStates)[],
  faults: string[],
): void {
  const states = new Map<number, string | undefined>([[0, undefined]]);
  for (const operation of operations) {
    if (operation.kind !== "keyStates") continue;
    for (const [cas, value] of operation.states) states.set(cas, value);
  }
  const casOf = new Map<string, number>();
  for (const [cas, value] of states) {
    if (value === undefined) continue;
    const other = casOf.get(value);
    if (other !== undefined) faults.push(`${key}: ${value} is there as cas ${other} and as ${cas}`);
    casOf.set(value, cas);
  }
  const spans: Span[] = [];
  for (const operation of operations)
    if (operation.kind === "keyWrite") checkKeyWrite(operation, states, casOf, spans, faults);
  /** When the state was first asked for, where somebody knows. */
  const begunAt = new Map(spans.map(({ from, calledAt }) => [from, calledAt]));
  const reads = operations
    .filter((operation) => operation.kind === "keyRead")
    .sort((one, other) => one.calledAt - other.calledAt);
  const empty = [...states]
    .filter(([, value]) => value === undefined)
    .map(([cas]) => cas)
    .sort((one, other) => one - other);
  for (const read of reads) {
    const { cas, value, calledAt, returnedAt, isLinearizable } = read;
    const what = `the read of ${cas === 0 ? "no value" : `cas ${cas}`}`;
    if (
      cas > 0 &&
      (states.get(cas) === undefined || (value ?? states.get(cas)) !== states.get(cas))
    )
      faults.push(`${key}: ${what} shows ${value}, and the log has ${states.get(cas)}`);
    if (cas > 0 && (begunAt.get(cas) ?? 0) > returnedAt)
      faults.push(`${key}: ${what} was over at ${returnedAt}, before anybody asked for it`);
    let at: number | undefined = cas;
    if (cas === 0) {
      const over = spans.filter((span) => span.returnedAt < calledAt);
      const least = over.reduce((furthest, { to }) => Math.max(furthest, to), 0);
      const isPossible = (state: number): boolean =>
        state >= least && (begunAt.get(state) ?? 0) <= returnedAt;
      at = isLinearizable ? empty.find(isPossible) : 0;
      if (at === undefined) {
        faults.push(`${key}: ${what} began at ${calledAt}, after cas ${least} was there to stay`);
        continue;
      }
    }
    spans.push({ what, calledAt, returnedAt, from: at, to: at, isStaleAllowed: !isLinearizable });
  }
  checkOrder(key, spans, faults);
}

/** A write that was stored is where it was said to be, and where it was expected; one that was refused is nowhere. */
function checkKeyWrite(
  write: KeyWrite,
  states: ReadonlyMap<number, string | undefined>,
  casOf: ReadonlyMap<string, number>,
  spans: Span[],
  faults: string[],
): void {
  const { key, value, calledAt, returnedAt, outcome, expected } = write;
  const what = value === undefined ? "the deletion" : `the put of ${value}`;
  const found = value === undefined ? undefined : casOf.get(value);
  if (outcome === "refused" && found !== undefined)
    faults.push(`${key}: ${what} was refused, and is there as cas ${found}`);
  const at = outcome === "stored" ? (write.cas ?? found) : found;
  if (at === undefined) {
    if (outcome === "stored" && value !== undefined)
      faults.push(`${key}: ${what} was stored, and is nowhere`);
    return;
  }
  if (!states.has(at) || states.get(at) !== value)
    faults.push(`${key}: ${what} is said to be cas ${at}, where the log has ${states.get(at)}`);
  const before = states.get(at - 1);
  const isExpected =
    expected === undefined || (expected === 0 ? before === undefined : at === expected + 1);
  if (!isExpected) faults.push(`${key}: ${what} expected cas ${expected} and became ${at}`);
  const isKnown = outcome === "stored" && returnedAt !== undefined;
  spans.push({
    what: `${what} as cas ${at}`,
    calledAt,
    returnedAt: isKnown ? returnedAt : Number.POSITIVE_INFINITY,
    from: at,
    to: at,
    isStaleAllowed: false,
  });
}
