// Joins: the reference's example, every type, Avro joined with Protobuf, paging, bad input by name.

import { describe, expect, test } from "bun:test";
import avsc from "avsc";
import protobuf from "protobufjs";
import type { ContractClient } from "./client.ts";

const ORDER = {
  type: "record",
  name: "Order",
  fields: [
    { name: "uid", type: "string" },
    { name: "city", type: "string" },
    { name: "at", type: { type: "long", logicalType: "timestamp-millis" } },
  ],
};
const PAYMENT = `syntax = "proto3";
package shop;
message Payment { int64 user = 1; string city = 2; int64 at = 3; }`;

/** Tests of `POST /broker/join`. */
export function joinTests(client: () => ContractClient): void {
  const join = (body: object) => client().post("/broker/join", body);
  const on = { left_keys: ["uid", "city"], right_keys: ["uid", "city"] };
  const window = { size_ms: 600_000, allowed_lateness_ms: 0 };

  async function sides(left: readonly string[], right: readonly string[]) {
    const [leftTopic, rightTopic] = [await client().topic(), await client().topic()];
    await client().produce(leftTopic, ...left);
    await client().produce(rightTopic, ...right);
    return {
      left: { topic: leftTopic, group: "gl", partition: 0, offset: 0, limit: 500 },
      right: { topic: rightTopic, group: "gr", partition: 0, offset: 0, limit: 500 },
    };
  }

  describe("join", () => {
    test("answers rows, next offsets and stats as the reference shows", async () => {
      const sources = await sides(
        ['{"uid":1,"city":"NY","name":"Ann"}', '{"uid":2,"city":"LA","name":"Bob"}'],
        ['{"uid":"1","city":"NY","item":"pen"}', '{"uid":3,"city":"SF","item":"cup"}', "{"],
      );

      const { status, json } = await join({
        ...sources,
        on,
        join: { type: "inner" },
        window,
        dedupe_once: false,
        emit: { left_fields: ["name"], right_fields: ["item"], max_rows: 200, missing_as: "null" },
      });
      const full = await join({
        ...sources,
        on,
        window,
        join: { type: "full" },
        emit: { missing_as: "empty" },
      });

      expect(status).toBe(200);
      expect(json.rows).toEqual([
        {
          key: "1|NY",
          left_ts_ms: expect.any(Number),
          right_ts_ms: expect.any(Number),
          left: { name: "Ann" },
          right: { item: "pen" },
        },
      ]);
      expect(json.next_offsets).toEqual({ left: 2, right: 3 });
      expect(json.stats).toMatchObject({
        left_scanned: 2,
        right_scanned: 3,
        rows: 1,
        watermark_ms: expect.any(Number),
        outer_left: 0,
        outer_right: 0,
        dedupe_once: false,
        late: 0,
        skipped: 1,
        covers: "all",
      });
      expect(full.json.rows.map(({ key }: { key: string }) => key)).toEqual([
        "1|NY",
        "2|LA",
        "3|SF",
      ]);
      expect(full.json.rows[1].right).toEqual({});
      expect(full.json.rows[2].left).toEqual({});
      expect(full.json.stats).toMatchObject({ outer_left: 1, outer_right: 1 });
    });

    test("Avro meets Protobuf: a text that spells a number is the number", async () => {
      const [orders, payments] = [await client().topic(), await client().topic()];
      const order = avsc.Type.forSchema(ORDER as avsc.Schema);
      const payment = protobuf.parse(PAYMENT).root.lookupType("shop.Payment");
      await client().produce(
        orders,
        ...["7", "8", "9007199254740993"].map(
          (uid) => new Uint8Array(order.toBuffer({ uid, city: "NY", at: 1000 })),
        ),
      );
      await client().produce(
        payments,
        ...["7", "9", "9007199254740992", "9007199254740993"].map(
          (user) =>
            new Uint8Array(
              payment.encode(payment.fromObject({ user, city: "NY", at: 1500 })).finish(),
            ),
        ),
      );

      const { text, json } = await join({
        left: { topic: orders, decode: { type: "avro", schema: ORDER } },
        right: { topic: payments, decode: { type: "proto", schema_text: PAYMENT } },
        on: { left_keys: ["uid", "city"], right_keys: ["user", "city"] },
        window: { size_ms: 500, left_field: "at", right_field: "at" },
        emit: { left_fields: ["uid"], right_fields: ["user"] },
      });

      expect(json.rows.map(({ key }: { key: string }) => key)).toEqual([
        "7|NY",
        "9007199254740993|NY",
      ]);
      expect(text).toContain(
        '"left_ts_ms":1000,"right_ts_ms":1500,"left":{"uid":"9007199254740993"},"right":{"user":9007199254740993}',
      );
    });

    test("dedupe keeps each pair once, or each record", async () => {
      const record = '{"uid":1,"city":"NY"}';
      const sources = await sides([record, record, record], [record, record, record]);

      const all = await join({ ...sources, on, window });
      const once = await join({ ...sources, on, window, dedupe_once: true });
      const named = await join({ ...sources, on, window, dedupe: { mode: "once" } });
      const single = await join({
        ...sources,
        on,
        window,
        dedupe: { mode: "one_to_one" },
        emit: { max_rows: 2 },
      });

      expect(all.json.stats.rows).toBe(9);
      expect(once.json.stats).toMatchObject({ rows: 6, dedupe_once: true });
      expect(named.json.stats).toMatchObject({ rows: 6, dedupe_once: true });
      expect(single.json.stats).toMatchObject({ rows: 2, rows_left_out: 1 });
    });

    test("pages see their own pairs, and say so", async () => {
      const record = '{"uid":1,"city":"NY"}';
      const sources = await sides([record, record], [record, record]);
      const page = { ...sources, left: { ...sources.left, limit: 1 } };

      const first = await join({ ...page, on, window });
      const second = await join({
        ...page,
        left: { ...page.left, offset: first.json.next_offsets.left },
        on,
        window,
      });

      expect(first.json).toMatchObject({
        next_offsets: { left: 1, right: 2 },
        stats: { rows: 2, covers: "page" },
      });
      expect(second.json).toMatchObject({
        next_offsets: { left: 2, right: 2 },
        stats: { rows: 2, covers: "page" },
      });
    });

    test("lines, all partitions, single keys", async () => {
      const sources = await sides(['{"uid":1}'], ['{"uid":1}', '{"uid":1}']);
      const reply = await client().post(
        "/broker/join",
        {
          left: { ...sources.left, partition: "*" },
          right: { ...sources.right, partition: "*" },
          on: { left_key: "uid", right_key: "uid" },
          window,
          emit: { max_rows: 100_000 },
        },
        { headers: { accept: "application/x-ndjson" } },
      );
      const read = reply.text
        .trim()
        .split("\n")
        .map((line) => JSON.parse(line));

      expect(read).toHaveLength(3);
      expect(read[0]).toMatchObject({ row: { key: "1", left: { uid: 1 } } });
      expect(read[2]).toMatchObject({
        ok: true,
        next_offsets: { left: [1, 0], right: [2, 0] },
        stats: { rows: 2 },
      });
    });

    test("what is missing or wrong is named", async () => {
      const sources = await sides([], []);
      const refused = (body: object, status: number, code: string) =>
        client().refused(join(body), status, code);

      await refused({ on, window }, 400, "missing_source");
      await refused({ left: sources.left, on, window }, 400, "missing_source");
      await refused({ ...sources, left: {}, on, window }, 400, "missing_topic");
      await refused({ ...sources, window }, 400, "missing_join_keys");
      await refused({ ...sources, on: {}, window }, 400, "missing_join_keys");
      await refused(
        { ...sources, on: { left_keys: [], right_keys: [] }, window },
        400,
        "missing_join_keys",
      );
      await refused(
        { ...sources, on: { left_keys: ["a", "b"], right_keys: ["a"] }, window },
        400,
        "invalid_parameter",
      );
      await refused({ ...sources, on }, 400, "missing_fields");
      await refused({ ...sources, on, window: { size_ms: 0 } }, 400, "invalid_parameter");
      await refused({ ...sources, on, window: { size_ms: -5 } }, 400, "invalid_parameter");
      await refused({ ...sources, on, window, join: { type: "cross" } }, 400, "invalid_parameter");
      await refused({ ...sources, on, window, emit: { max_rows: 0 } }, 400, "invalid_parameter");
      await refused({ ...sources, on, window, emit: { max_rows: 5001 } }, 400, "invalid_parameter");
      await refused({ ...sources, right: { topic: "absent" }, on, window }, 404, "topic_not_found");
      await client().refused(
        client().post("/broker/join", { ...sources, on, window }, { token: "exact" }),
        403,
        "forbidden",
      );
    });
  });
}
