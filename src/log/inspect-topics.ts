// Which topics a data directory tells of. What is taken may come in any order and twice: ids are never given away again,
// and offsets and floors only rise.

import { COMMAND, CommandCursor } from "../model/command-codec.ts";
import { FileError, type Files } from "./disk.ts";
import { ENTRY_HEADER_BYTES, fileName } from "./format.ts";
import type { Manifest } from "./metadata.ts";
import { PARTITIONS_PER_TOPIC_MAX } from "./offset-index.ts";
import type { EntryVisitor } from "./segment-scan.ts";
import { StateFileReader } from "./state-file.ts";

/** One topic, all partitions together. */
export interface TopicReport {
  readonly name: string;
  readonly topicId: number;
  readonly mode: "sealed" | "rocket";
  readonly partitions: number;
  /** Records that can be read. */
  readonly records: number;
  /** Records ever written. */
  readonly written: number;
}

/** Gathers topics. */
export class TopicTally {
  readonly #topics = new Map<number, Omit<TopicReport, "records" | "written">>();
  readonly #deleted = new Set<number>();
  /** By partition, as `topicId * PARTITIONS_PER_TOPIC_MAX + partition`. */
  readonly #ends = new Map<number, number>();
  readonly #floors = new Map<number, number>();
  readonly #cursor = new CommandCursor();
  #isWhole = true;

  /** Reads base and deltas. What cannot be read is left out. */
  readState(files: Files, manifest: Manifest): void {
    const baseIndex = manifest.base?.lastIndex ?? 0;
    const deltas = manifest.segments.filter(
      ({ isDerived, lastIndex }) => isDerived && lastIndex > baseIndex,
    );
    const names = deltas.map(({ sequence }) => fileName(sequence, "delta"));
    if (manifest.base !== null) names.unshift(fileName(manifest.base.sequence, "base"));
    for (const name of names) {
      try {
        const reader = new StateFileReader(
          files,
          name,
          (message) => new FileError("damaged", message),
        );
        while (reader.next()) this.#take(reader.item);
      } catch (error) {
        if (!(error instanceof FileError)) throw error;
        this.#isWhole = false;
      }
    }
  }

  /** Takes the commands of an entry. */
  readonly visit: EntryVisitor = (bytes, view, at, header) => {
    const start = at + ENTRY_HEADER_BYTES + header.dataBytes;
    const cursor = this.#cursor.reset(bytes, view, start, start + header.commandBytes);
    while (cursor.next()) this.#take(cursor);
  };

  #take(item: CommandCursor): void {
    if (item.kind === COMMAND.chunk) {
      const key = item.topicId * PARTITIONS_PER_TOPIC_MAX + item.partition;
      raise(this.#ends, key, item.chunkBaseOffset + item.chunkCount);
      return;
    }
    if (!CONTROLS.has(item.kind)) return;
    const command = item.control();
    switch (command?.kind) {
      case "topicCreated": {
        const { topicId, name, partitions, mode } = command;
        this.#topics.set(topicId, {
          name,
          topicId,
          mode: mode === 0 ? "sealed" : "rocket",
          partitions,
        });
        return;
      }
      case "topicDeleted":
        this.#deleted.add(command.topicId);
        return;
      case "progressed":
        raise(this.#ends, keyOf(command), command.nextOffset);
        return;
      case "floorRaised":
        raise(this.#floors, keyOf(command), command.startOffset);
        return;
      default:
        return;
    }
  }

  /** The topics that are there, by name. */
  report(): readonly TopicReport[] {
    const alive = [...this.#topics.values()].filter(({ topicId }) => !this.#deleted.has(topicId));
    const reports = alive.map((topic) => {
      let records = 0;
      let written = 0;
      for (let partition = 0; partition < topic.partitions; partition++) {
        const key = topic.topicId * PARTITIONS_PER_TOPIC_MAX + partition;
        const end = this.#ends.get(key) ?? 0;
        written += end;
        records += Math.max(0, end - (this.#floors.get(key) ?? 0));
      }
      return { ...topic, records, written };
    });
    return reports.sort((left, right) => (left.name < right.name ? -1 : 1));
  }

  /** First live offset of each partition; undefined when something could not be read. Call it before entries are taken. */
  floors(): ((key: number) => number) | undefined {
    if (!this.#isWhole) return undefined;
    const topics = new Set(this.#topics.keys()).difference(this.#deleted);
    const floors = new Map(this.#floors);
    return (key) =>
      topics.has(Math.floor(key / PARTITIONS_PER_TOPIC_MAX))
        ? (floors.get(key) ?? 0)
        : Number.POSITIVE_INFINITY;
  }
}

const CONTROLS: ReadonlySet<number> = new Set([
  COMMAND.topicCreated,
  COMMAND.topicDeleted,
  COMMAND.progressed,
  COMMAND.floorRaised,
]);

const keyOf = (command: { readonly topicId: number; readonly partition: number }): number =>
  command.topicId * PARTITIONS_PER_TOPIC_MAX + command.partition;

function raise(map: Map<number, number>, key: number, value: number): void {
  map.set(key, Math.max(map.get(key) ?? 0, value));
}
