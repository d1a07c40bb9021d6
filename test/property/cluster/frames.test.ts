// Whatever is sent, in whatever pieces the kernel takes and gives it: what comes out is what went in, or a fault.

import { expect, test } from "bun:test";
import fc from "fast-check";
import { FRAME_HEADER_BYTES, FrameKey, type Priority } from "../../../src/cluster/frame.ts";
import { type Word, WordReader } from "../../../src/cluster/hello.ts";
import { MessageReader } from "../../../src/cluster/message-reader.ts";
import { Outbox } from "../../../src/cluster/outbox.ts";

const keyOf = (hasKey: boolean): FrameKey | undefined =>
  hasKey ? new FrameKey(new Uint8Array(32).fill(9)) : undefined;

const messages = fc.array(
  fc.record({
    priority: fc.constantFrom<Priority>("urgent", "bulk"),
    // Mostly small, sometimes around the size of a piece, sometimes of several.
    bytes: fc.oneof(
      { weight: 6, arbitrary: fc.integer({ min: 0, max: 200 }) },
      { weight: 1, arbitrary: fc.integer({ min: 262_140, max: 262_150 }) },
      { weight: 1, arbitrary: fc.integer({ min: 500_000, max: 900_000 }) },
    ),
    cut: fc.double({ min: 0, max: 1, noNaN: true }),
    /** Bytes that the kernel takes before the next message is sent. */
    room: fc.oneof(fc.constant(0), fc.integer({ min: 1, max: 700_000 })),
  }),
  { maxLength: 12 },
);

/** A message that knows its number. */
function messageOf(index: number, bytes: number): Uint8Array {
  const message = new Uint8Array(bytes);
  for (let at = 0; at < bytes; at += 101) message[at] = index + at;
  return message;
}

test("messages come out as they went in, once and in order per priority", () => {
  fc.assert(
    fc.property(
      messages,
      fc.boolean(),
      fc.array(fc.integer({ min: 1, max: 400_000 })),
      (plan, hasKey, chunks) => {
        const outbox = new Outbox(keyOf(hasKey));
        const wire: Uint8Array[] = [];
        let room = 0;
        const write = (bytes: Uint8Array, at: number, length: number): number => {
          const taken = Math.min(room, length);
          wire.push(bytes.slice(at, at + taken));
          room -= taken;
          return taken;
        };
        const sent: Record<Priority, Uint8Array[]> = { urgent: [], bulk: [] };
        for (const [i, { priority, bytes, cut, room: more }] of plan.entries()) {
          const message = messageOf(i, bytes);
          const middle = Math.floor(cut * bytes);
          const parts = [message.subarray(0, middle), message.subarray(middle)];
          if (outbox.push(priority, parts)) sent[priority].push(message);
          room = more;
          outbox.flush(write);
        }
        room = Number.POSITIVE_INFINITY;
        expect(outbox.flush(write)).toBe(true);
        expect(outbox.unsentBytes).toBe(0);
        const bytes = new Uint8Array(Buffer.concat(wire));
        expect(outbox.bytesSent).toBe(bytes.length);

        const received: Uint8Array[] = [];
        const reader = new MessageReader(keyOf(hasKey), (message) => received.push(message));
        let at = 0;
        for (let i = 0; at < bytes.length; i++) {
          const size = chunks.length === 0 ? 65_536 : chunks[i % chunks.length]!;
          // Small chunks for the first bytes only: a run of a million of them proves nothing more.
          const end = Math.min(bytes.length, at + (i < 200 ? size : 500_000));
          expect(reader.receive(bytes.subarray(at, end))).toBeUndefined();
          at = end;
        }

        expect(reader.messages).toBe(received.length);
        const remaining = { urgent: [...sent.urgent], bulk: [...sent.bulk] };
        for (const message of received) {
          const from = (["urgent", "bulk"] as const).find(
            (priority) =>
              remaining[priority][0] !== undefined &&
              Buffer.compare(remaining[priority][0], message) === 0,
          );
          expect(from).toBeDefined();
          remaining[from!].shift();
        }
        expect(remaining).toEqual({ urgent: [], bulk: [] });
      },
    ),
    { numRuns: 60 },
  );
});

test("one changed bit is a fault, and nothing behind it is delivered", () => {
  fc.assert(
    fc.property(fc.boolean(), fc.nat(), fc.integer({ min: 0, max: 7 }), (hasKey, place, bit) => {
      const outbox = new Outbox(keyOf(hasKey));
      for (let i = 0; i < 5; i++) outbox.push(i % 2 === 0 ? "urgent" : "bulk", [messageOf(i, 60)]);
      const wire: Uint8Array[] = [];
      outbox.flush((bytes, at, length) => wire.push(bytes.slice(at, at + length)) && length);
      const bytes = new Uint8Array(Buffer.concat(wire));
      const at = place % bytes.length;
      bytes[at]! ^= 1 << bit;

      let delivered = 0;
      const reader = new MessageReader(keyOf(hasKey), () => {
        delivered += 1;
      });
      const fault = reader.receive(bytes);

      const frame = Math.floor(at / (bytes.length / 5));
      expect(delivered).toBe(frame);
      // A length that grew waits for bytes that never come, which the silence of the connection ends.
      const isLength = at % (bytes.length / 5) < 4;
      if (!isLength) expect(fault).toMatch(/^bad_/);
    }),
    { numRuns: 300 },
  );
});

test("any bytes are a fault or nothing, and take no more memory than a message may", () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: FRAME_HEADER_BYTES, maxLength: 300 }), (bytes) => {
      let delivered = 0;
      const reader = new MessageReader(keyOf(true), () => {
        delivered += 1;
      });
      reader.receive(bytes);
      expect(delivered).toBe(0);
    }),
  );
});

test("any bytes are a word, or malformed, or too few", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), fc.boolean(), (body, isFramed) => {
      const bytes = new Uint8Array(isFramed ? 16 + body.length : body.length);
      if (isFramed) {
        bytes.set(new TextEncoder().encode("ayder/1\n"));
        const view = new DataView(bytes.buffer);
        view.setUint32(8, body.length, true);
        view.setUint32(12, Bun.hash.crc32(body), true);
      }
      bytes.set(body, bytes.length - body.length);
      const reader = new WordReader();

      const next = reader.receive(bytes) ? reader.next() : "malformed";
      const kinds: (Word["kind"] | undefined)[] = ["hello", "proof", "accept", "refuse"];
      if (next !== undefined && next !== "malformed") expect(kinds).toContain(next.word.kind);
    }),
  );
});
