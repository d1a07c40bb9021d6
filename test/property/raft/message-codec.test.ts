// Messages come back as they were, and no bytes at all make the decoder throw.

import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { decodeMessage, encodeMessage, type RaftMessage } from "../../../src/raft/mod.ts";

const number = fc.oneof(fc.nat(), fc.maxSafeNat());
const id = fc.oneof(
  fc.constantFrom("a", "node-1", "", "knoten-ä"),
  fc.string({ maxLength: 30, unit: "grapheme-ascii" }),
);
const envelope = { from: id, to: id, term: number };

const append: fc.Arbitrary<RaftMessage> = fc
  .record({
    from: id,
    to: id,
    prevIndex: fc.nat(),
    prevTerm: fc.nat(9),
    commitIndex: number,
    lengths: fc.array(fc.tuple(fc.integer({ min: 1, max: 9 }), fc.nat(3)), { maxLength: 12 }),
    ahead: fc.nat(5),
  })
  .map(({ lengths, ahead, ...rest }) => {
    let [index, term] = [rest.prevIndex + 1, rest.prevTerm];
    const runs = lengths.map(([length, rise]) => {
      term += rise;
      const run = { index, term };
      index += length;
      return run;
    });
    return { kind: "append", ...rest, term: term + ahead, lastIndex: index - 1, runs } as const;
  });

const message: fc.Arbitrary<RaftMessage> = fc.oneof(
  append,
  fc.record({
    kind: fc.constant("appendReply" as const),
    ...envelope,
    index: number,
    isRejected: fc.boolean(),
    hintIndex: number,
    hintTerm: number,
  }),
  fc.record({
    kind: fc.constant("heartbeat" as const),
    ...envelope,
    commitIndex: number,
    round: number,
  }),
  fc.record({ kind: fc.constant("heartbeatReply" as const), ...envelope, round: number }),
  fc.record({
    kind: fc.constantFrom("vote" as const, "preVote" as const),
    ...envelope,
    lastIndex: number,
    lastTerm: number,
    isTransfer: fc.boolean(),
  }),
  fc.record({
    kind: fc.constantFrom("voteReply" as const, "preVoteReply" as const),
    ...envelope,
    isRejected: fc.boolean(),
    commitIndex: number,
    commitTerm: number,
  }),
  fc.record({
    kind: fc.constant("snapshot" as const),
    ...envelope,
    index: number,
    indexTerm: number,
  }),
  fc.record({ kind: fc.constant("timeoutNow" as const), ...envelope }),
  fc.record({ kind: fc.constant("readIndex" as const), ...envelope, context: number }),
  fc.record({
    kind: fc.constant("readIndexReply" as const),
    ...envelope,
    context: number,
    index: number,
  }),
);

test("a message comes back as it was, and what is behind it is left alone", () => {
  fc.assert(
    fc.property(message, fc.uint8Array({ maxLength: 20 }), (original, behind) => {
      const bytes = encodeMessage(original);
      const decoded = decodeMessage(Buffer.concat([bytes, behind]));

      expect(decoded).toEqual({ message: original, end: bytes.length });
    }),
    { numRuns: 3000 },
  );
});

describe("bytes that are no message", () => {
  test("are refused, whatever they are", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        const decoded = decodeMessage(bytes);
        // What is read is written again just so, up to what is behind it and what is no text.
        if (decoded !== undefined)
          expect(decodeMessage(encodeMessage(decoded.message))?.message).toEqual(decoded.message);
      }),
      { numRuns: 5000 },
    );
  });

  test("are refused when anything is cut off", () => {
    fc.assert(
      fc.property(message, fc.nat(), (original, cut) => {
        const bytes = encodeMessage(original);
        expect(decodeMessage(bytes.subarray(0, cut % bytes.length))).toBeUndefined();
      }),
      { numRuns: 2000 },
    );
  });

  test("never throw when a bit is wrong", () => {
    fc.assert(
      fc.property(message, fc.nat(), fc.nat(7), (original, at, bit) => {
        const bytes = encodeMessage(original).slice();
        bytes[at % bytes.length] = (bytes[at % bytes.length] ?? 0) ^ (1 << bit);
        decodeMessage(bytes);
      }),
      { numRuns: 2000 },
    );
  });

  const whole = {
    kind: "append",
    from: "a",
    to: "b",
    term: 5,
    prevIndex: 10,
    prevTerm: 3,
    commitIndex: 1,
    lastIndex: 12,
    runs: [
      { index: 11, term: 3 },
      { index: 12, term: 5 },
    ],
  } as const;

  test.each([
    ["runs that begin too late", { runs: [{ index: 12, term: 5 }] }],
    ["runs that begin too early", { runs: [{ index: 10, term: 5 }] }],
    ["runs that go too far", { lastIndex: 11 }],
    ["no runs for its entries", { runs: [] }],
    ["runs for no entries", { lastIndex: 10 }],
    ["an end before its beginning", { lastIndex: 9, runs: [] }],
    ["a term that falls", { prevTerm: 4 }],
    ["a term that is later than its own", { term: 4 }],
    ["a run twice", { runs: [whole.runs[0], whole.runs[0]] }],
  ])("are refused as an append with %s", (_, over) => {
    expect(decodeMessage(encodeMessage(whole))).toBeDefined();
    expect(decodeMessage(encodeMessage({ ...whole, ...over }))).toBeUndefined();
  });

  test("are refused with an id of more than 120 bytes, which is not written either", () => {
    const bytes = encodeMessage({ kind: "timeoutNow", from: "a", to: "b", term: 1 });
    const long = Buffer.concat([bytes.subarray(0, 1), Buffer.from([121]), Buffer.alloc(200, 97)]);

    expect(decodeMessage(long)).toBeUndefined();
    expect(() =>
      encodeMessage({ kind: "timeoutNow", from: "x".repeat(121), to: "b", term: 1 }),
    ).toThrow("longer than 120 bytes");
  });
});
