// What the cluster has agreed on: every entry that any node has applied, once, in order. Whoever applies another entry at the
// same index breaks the one promise on which all others stand. From the entries a shadow is built in plain maps and arrays,
// and a state of the production kind, which every node must equal.

import { BrokerState, modeNumber } from "../../../src/broker/mod.ts";
import { KvState } from "../../../src/kv/mod.ts";
import { decodeText, viewOf } from "../../../src/lib/bytes.ts";
import { ENTRY_HEADER_BYTES, ENTRY_KIND, type EntryHeader } from "../../../src/log/mod.ts";
import type { Membership } from "../../../src/model/cluster.ts";
import { COMMAND, CommandCursor, type ControlCommand } from "../../../src/model/command-codec.ts";
import { KvReader } from "../../../src/model/kv-codec.ts";
import { RecordCursor } from "../../../src/model/record.ts";
import { Applier } from "../../../src/replica/apply.ts";
import { hashState } from "../../../src/replica/mod.ts";
import { claim } from "../shadow.ts";
import type { Produce } from "./operations.ts";

/** An entry that was applied somewhere. */
export interface LedgerEntry {
  readonly term: number;
  readonly checksum: number;
}

/** A record: which produce it is of, and its place there. */
export interface LedgerRecord {
  readonly produce: Produce;
  readonly place: number;
}

/** One partition. */
export interface LedgerPartition {
  readonly records: LedgerRecord[];
  floor: number;
}

/** One topic, alive or not. */
export interface LedgerTopic {
  readonly id: number;
  readonly name: string;
  readonly partitions: readonly LedgerPartition[];
  /** Committed offsets, by `partition/group`. */
  readonly groups: Map<string, number>;
  isAlive: boolean;
}

const applyFirst = Applier.prototype.apply;
type ApplyArguments = Parameters<Applier["apply"]>;

/** Called after an entry was applied by any replica. */
export type ApplyObserver = (header: EntryHeader, bytes: Uint8Array, at: number) => void;

let observer: ApplyObserver | undefined;
Applier.prototype.apply = function observed(this: Applier, ...args: ApplyArguments): void {
  applyFirst.apply(this, args);
  const [bytes, , at, header] = args;
  observer?.(header, bytes, at);
};

/** Lets somebody see what replicas apply, until it is taken back with `undefined`. */
export function observeApplied(by: ApplyObserver | undefined): void {
  observer = by;
}

/** All of it. */
export class Ledger {
  /** By index, from 1. */
  readonly #entries: LedgerEntry[] = [];
  readonly topics = new Map<number, LedgerTopic>();
  /** Memberships in the order in which they were agreed on. */
  readonly memberships: { readonly index: number; readonly membership: Membership }[] = [];
  records = 0;
  /** The topic whose records are in memory only; it is none of `topics`. */
  rocketId: number | undefined;
  readonly #produceOf: (id: number) => Produce | undefined;
  readonly #state = new BrokerState();
  readonly #kv = new KvState();
  readonly #applier = new Applier(this.#state, this.#kv, 0);
  readonly #commands = new CommandCursor();
  readonly #cursor = new RecordCursor();
  readonly #key = new KvReader();
  readonly #keyStates = new Map<string, Map<number, string | undefined>>();
  readonly #keyState = new Map<
    string,
    { readonly cas: number; readonly value: string | undefined }
  >();

  constructor(produceOf: (id: number) => Produce | undefined) {
    this.#produceOf = produceOf;
  }

  get lastIndex(): number {
    return this.#entries.length;
  }

  /** The entry at `index`; undefined when nobody has applied one. */
  at(index: number): LedgerEntry | undefined {
    return this.#entries[index - 1];
  }

  /** The newest membership; undefined while that of the beginning holds. */
  get membership(): Membership | undefined {
    return this.memberships.at(-1)?.membership;
  }

  /** Somebody has applied an entry. */
  applied(who: string, header: EntryHeader, bytes: Uint8Array, at: number): void {
    const { index, term, checksum } = header;
    claim(index <= this.lastIndex + 1, `${who} applied ${index}, after ${this.lastIndex}`);
    if (index <= this.lastIndex) {
      this.agrees(who, index, term, checksum);
      return;
    }
    this.#entries.push({ term, checksum });
    const copy = bytes.slice(at, at + header.bytes);
    applyFirst.call(this.#applier, copy, viewOf(copy), 0, header);
    if (header.kind === ENTRY_KIND.commands) this.#take(copy, header);
  }

  /** Checks what somebody has at an index against what was agreed on. */
  agrees(who: string, index: number, term: number, checksum: number): void {
    const known = this.at(index);
    claim(
      known?.term === term && known.checksum === checksum,
      `${who} has at ${index} an entry of term ${term}, ${checksum.toString(16)}; agreed on was ${known?.term}, ${known?.checksum.toString(16)}`,
    );
  }

  /** Hash of the state that everything so far makes. */
  hash(): string {
    return hashState(this.#state, this.#kv);
  }

  /** A topic by the name that it has now. */
  byName(name: string): LedgerTopic | undefined {
    for (const topic of this.topics.values())
      if (topic.isAlive && topic.name === name) return topic;
    return undefined;
  }

  #take(bytes: Uint8Array, header: EntryHeader): void {
    const start = ENTRY_HEADER_BYTES + header.dataBytes;
    const commands = this.#commands.reset(bytes, viewOf(bytes), start, start + header.commandBytes);
    let data = ENTRY_HEADER_BYTES;
    while (commands.next()) {
      if (commands.kind === COMMAND.chunk) {
        this.#chunk(commands, bytes, data, header.index);
        data += commands.chunkDataBytes;
      } else if (commands.kind === COMMAND.groupCommitted) this.#commit(commands);
      else if (this.#key.read(commands)) this.#keyChanged();
      else if (commands.kind !== COMMAND.remembered) {
        const control = commands.control();
        claim(
          control !== undefined,
          `Entry ${header.index} holds a command of kind ${commands.kind}`,
        );
        this.#control(control, header.index);
      }
    }
  }

  #chunk(commands: CommandCursor, bytes: Uint8Array, start: number, index: number): void {
    const { topicId, partition, chunkBaseOffset, chunkCount } = commands;
    const where = `topic ${topicId}/${partition}`;
    const topic = this.topics.get(topicId);
    const known = topic?.partitions[partition];
    claim(topic?.isAlive === true && known !== undefined, `Entry ${index} writes to ${where}`);
    claim(
      chunkBaseOffset === known.records.length,
      `Entry ${index} goes on at ${chunkBaseOffset} of ${where}, which ends at ${known.records.length}`,
    );
    const cursor = this.#cursor.reset(bytes, start, start + commands.chunkDataBytes);
    let produce: Produce | undefined;
    let place = 0;
    for (let i = 0; i < chunkCount; i++) {
      claim(cursor.next(), `Record ${i} of entry ${index} is broken`);
      const value = bytes.subarray(cursor.valueStart, cursor.valueEnd);
      if (produce === undefined || place === produce.sizes.length) {
        produce = this.#produceOf(viewOf(value).getUint32(0, true));
        place = 0;
        claim(produce !== undefined, `Entry ${index} holds what nobody sent`);
        claim(
          produce.stored === undefined,
          `Produce ${produce.id} is stored twice: at ${produce.stored?.firstOffset} of topic ${produce.topicId}/${produce.stored?.partition}, and at ${known.records.length} of ${where}, entry ${index}`,
        );
        claim(
          produce.topicId === topicId && (produce.asked < 0 || produce.asked === partition),
          `Produce ${produce.id} to topic ${produce.topicId}/${produce.asked} is in ${where}`,
        );
        claim(
          produce.rival === undefined,
          `Produce ${produce.id} is stored at ${known.records.length} of ${where} under the key of produce ${produce.rival?.id}`,
        );
        claim(
          produce.fate !== "refused",
          `Produce ${produce.id} was refused, and is stored at ${known.records.length} of ${where}`,
        );
        produce.stored = { partition, firstOffset: known.records.length, index };
      }
      claim(
        produce.isRecord(place, value, cursor),
        `Produce ${produce.id} has other bytes at ${known.records.length} of ${where}`,
      );
      known.records.push({ produce, place });
      this.records += 1;
      place += 1;
    }
    claim(
      !cursor.next() && place === produce?.sizes.length,
      `Produce ${produce?.id} is stored in part: ${place} of ${produce?.sizes.length}`,
    );
  }

  #keyChanged(): void {
    const { bytes, namespaceId, cas, isPut, keyStart, keyEnd, valueStart, valueEnd } = this.#key;
    const key = decodeText(bytes.subarray(keyStart, keyEnd));
    const name = `${this.#kv.byId(namespaceId)?.name}/${key}`;
    const states = this.#keyStates.get(name) ?? new Map<number, string | undefined>();
    this.#keyStates.set(name, states);
    claim(!states.has(cas), `Key ${name} has cas ${cas} twice`);
    states.set(cas, isPut ? decodeText(bytes.subarray(valueStart, valueEnd)) : undefined);
    this.#keyState.set(name, { cas, value: states.get(cas) });
  }

  /** Every key with all that it ever was, by `cas`. */
  keyStates(): ReadonlyMap<string, ReadonlyMap<number, string | undefined>> {
    return this.#keyStates;
  }

  /** What a key is now. */
  keyState(name: string): { readonly cas: number; readonly value: string | undefined } | undefined {
    return this.#keyState.get(name);
  }

  #commit(commands: CommandCursor): void {
    const topic = this.topics.get(commands.topicId);
    if (topic?.isAlive !== true) return;
    const group = decodeText(commands.bytes.subarray(commands.groupStart, commands.bodyEnd));
    const key = `${commands.partition}/${group}`;
    topic.groups.set(key, Math.max(topic.groups.get(key) ?? -1, commands.committedOffset));
  }

  #control(command: ControlCommand, index: number): void {
    switch (command.kind) {
      case "topicCreated":
        claim(!this.topics.has(command.topicId), `Topic id ${command.topicId} was given twice`);
        claim(this.byName(command.name) === undefined, `Topic ${command.name} was created twice`);
        if (command.mode === modeNumber("rocket")) {
          claim(this.rocketId === undefined, `Topic ${command.name} was created twice`);
          this.rocketId = command.topicId;
          return;
        }
        this.topics.set(command.topicId, {
          id: command.topicId,
          name: command.name,
          partitions: Array.from({ length: command.partitions }, () => ({ records: [], floor: 0 })),
          groups: new Map(),
          isAlive: true,
        });
        return;
      case "topicDeleted": {
        const topic = this.topics.get(command.topicId);
        claim(topic?.isAlive === true, `Topic ${command.topicId} was deleted and was not there`);
        topic.isAlive = false;
        return;
      }
      case "floorRaised": {
        const known = this.topics.get(command.topicId)?.partitions[command.partition];
        if (known === undefined) return;
        claim(
          command.startOffset <= known.records.length,
          `The floor of topic ${command.topicId}/${command.partition} rose to ${command.startOffset}, past ${known.records.length}`,
        );
        known.floor = Math.max(known.floor, command.startOffset);
        return;
      }
      case "configured":
        this.memberships.push({ index, membership: command.membership });
        return;
      default:
        return;
    }
  }
}
