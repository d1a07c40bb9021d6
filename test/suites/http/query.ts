// Queries: the reference's example, paging, every format, bad input by name, streaming, partitions merged by time.

import { describe, expect, test } from "bun:test";
import avsc from "avsc";
import protobuf from "protobufjs";
import { type ContractClient, freshName, type Reply } from "./client.ts";

const lines = (reply: Reply) =>
  reply.text
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line));
const NDJSON = { headers: { accept: "application/x-ndjson" } };

/** Tests of `POST /broker/query`. */
export function queryTests(client: () => ContractClient): void {
  const query = (source: object, rest: object = {}, search = "") =>
    client().post(`/broker/query${search}`, { source, ...rest });

  describe("query", () => {
    test("filters, windows, groups, measures and projects as the reference shows", async () => {
      const topic = await client().topic();
      await client().produce(
        topic,
        '{"name":"Ann","id":1,"region":"us","score":95,"spent":100.5,"ts":1}',
        '{"name":"Dan","id":2,"region":"us","score":90,"spent":95,"ts":59999}',
        '{"name":"Hanna","id":3,"region":"eu","score":"91","spent":1,"ts":"1970-01-01T00:01:00Z"}',
        '{"name":"Bob","id":4,"region":"us","score":99,"spent":1,"ts":1}',
        '{"name":"Ian","id":5,"region":"ap","score":99,"spent":1,"ts":1}',
        "not json",
        "[1]",
      );

      const { status, json } = await query(
        { topic, group: "g", partition: 0, offset: 0, limit: 200, decode: { type: "json" } },
        {
          filter: [
            { field: "score", op: "ge", value: 90 },
            { field: "region", op: "in", value: ["us", "eu"] },
            { field: "name", op: "contains", value: "an" },
          ],
          window: { type: "tumbling", size_ms: 60_000, field: "ts" },
          aggregate: {
            group_by: ["region"],
            measures: [
              { op: "count" },
              { op: "sum", field: "spent", as: "spent_total" },
              { op: "avg", field: "spent" },
            ],
          },
          transform: { left_fields: ["name", "id"], emit_rows: 10 },
        },
      );

      expect(status).toBe(200);
      expect(json).toEqual({
        ok: true,
        rows: [
          { name: "Dan", id: 2 },
          { name: "Hanna", id: 3 },
        ],
        aggregates: [
          {
            key: "region=us",
            group: { region: "us" },
            window_start_ms: 0,
            window_end_ms: 60_000,
            count: 1,
            spent_total: 95,
            avg_spent: 95,
          },
          {
            key: "region=eu",
            group: { region: "eu" },
            window_start_ms: 60_000,
            window_end_ms: 120_000,
            count: 1,
            spent_total: 1,
            avg_spent: 1,
          },
        ],
        source: { topic, group: "g", partition: 0, next_offset: 7, consumed: 7 },
        stats: {
          scanned: 7,
          matched: 2,
          skipped: 2,
          first_skipped: { offset: 5, partition: 0, reason: expect.any(String) },
          rows: 2,
          rows_left_out: 0,
          groups: 2,
          late: 0,
          without_time: 0,
          not_measured: 0,
          covers: "all",
        },
      });
    });

    test("integers beyond 2^53 keep their value in the body, in filters, in sums and in rows", async () => {
      const topic = await client().topic();
      await client().produce(
        topic,
        '{"n":9007199254740993}',
        '{"n":9007199254740992}',
        '{"n":18446744073709551615}',
        '{"n":1e999}',
      );

      const { text } = await client().post(
        "/broker/query",
        `{"source":{"topic":"${topic}","offset":0},"filter":[{"field":"n","op":"ge","value":9007199254740993}],"aggregate":{"measures":[{"op":"sum","field":"n"}]},"transform":{"emit_rows":5}}`,
      );

      expect(text).toContain('"rows":[{"n":9007199254740993},{"n":18446744073709551615}]');
      expect(text).toContain('"sum_n":18455751272964292608');
      expect(text).toContain('"skipped":1');
    });

    test("begins after the group's commit, and pages by next_offset without a gap", async () => {
      const topic = await client().topic();
      await client().produce(topic, ...Array.from({ length: 25 }, (_, n) => `{"n":${n}}`));
      await client().post("/broker/commit", { topic, group: "g", partition: 0, offset: 19 });
      const committed = await query({ topic, group: "g" }, { transform: { emit_rows: 100 } });

      const seen: number[] = [];
      let offset = 0;
      for (let page = 0; page < 20; page++) {
        const { json } = await query(
          { topic, offset, limit: 7 },
          {
            filter: [{ field: "n", op: "ne", value: 3 }],
            transform: { emit_rows: 2 },
          },
        );
        seen.push(...json.rows.map(({ n }: { n: number }) => n));
        if (json.source.consumed === 0) break;
        expect(json.stats.covers).toBe(
          offset === 0 && json.source.next_offset === 25 ? "all" : "page",
        );
        offset = json.source.next_offset;
      }

      expect(committed.json.rows.map(({ n }: { n: number }) => n)).toEqual([20, 21, 22, 23, 24]);
      expect(seen).toEqual(Array.from({ length: 25 }, (_, n) => n).filter((n) => n !== 3));
      expect((await query({ topic, offset: 99 })).json.source).toMatchObject({
        next_offset: 99,
        consumed: 0,
      });
      expect((await query({ topic, offset: -5 })).json.source).toMatchObject({
        next_offset: 25,
        consumed: 25,
      });
    });

    test("all partitions are merged by time, and paged by a list of offsets", async () => {
      const topic = await client().topic(3);
      for (let n = 0; n < 9; n++) {
        await client().post(
          `/broker/topics/${topic}/produce?partition=${(n * 2) % 3}`,
          `{"n":${n}}`,
        );
        // Times have milliseconds: records of one and the same come in the order of partitions.
        await Bun.sleep(3);
      }
      const all = await query(
        { topic, partition: "*", offset: 0 },
        { transform: { emit_rows: 100 } },
      );

      const seen: number[] = [];
      let offset: number | number[] = 0;
      for (let page = 0; page < 5; page++) {
        const { json } = await query(
          { topic, partition: "*", offset, limit: 2 },
          { transform: { emit_rows: 9 } },
        );
        seen.push(...json.rows.map(({ n }: { n: number }) => n));
        offset = json.source.next_offset;
      }

      expect(all.json.rows.map(({ n }: { n: number }) => n)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8]);
      expect(all.json.source).toMatchObject({
        partition: "*",
        next_offset: [3, 3, 3],
        consumed: 9,
      });
      expect(seen).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8]);
      await client().refused(
        query({ topic, partition: "*", offset: [0] }),
        400,
        "invalid_parameter",
      );
    });

    test("reads Avro and Protobuf", async () => {
      const schema = {
        type: "record",
        name: "Order",
        fields: [
          { name: "id", type: "long" },
          { name: "tag", type: ["null", "string"], default: null },
        ],
      };
      const proto = 'syntax = "proto3"; message Pay { int64 txn_id = 1; string currency = 2; }';
      const pay = protobuf.parse(proto, { keepCase: true }).root.lookupType("Pay");
      const [orders, pays, json] = [
        await client().topic(),
        await client().topic(),
        await client().topic(),
      ];
      await client().produce(
        orders,
        new Uint8Array(avsc.Type.forSchema(schema as avsc.Schema).toBuffer({ id: 5, tag: "x" })),
        new Uint8Array([255]),
      );
      await client().produce(
        pays,
        new Uint8Array(pay.encode({ txn_id: 7, currency: "EUR" }).finish()),
      );
      await client().produce(json, '{"txnId":"9007199254740993","currency":"USD"}');
      const rows = { transform: { emit_rows: 5 } };

      const avro = await query(
        { topic: orders, decode: { type: "avro", encoding: "binary", schema } },
        rows,
      );
      const text = await query(
        { topic: orders, decode: { type: "avro", schema_text: JSON.stringify(schema) } },
        rows,
      );
      const binary = await query(
        { topic: pays, decode: { type: "protobuf", schema_text: proto } },
        rows,
      );
      const aliased = await query(
        {
          topic: json,
          decode: {
            type: "proto",
            encoding: "json",
            schema_text: proto,
            field_aliases: { txn_id: ["transactionId", "txnId"] },
          },
        },
        rows,
      );

      expect(avro.json.rows).toEqual([{ id: 5, tag: "x" }]);
      expect(avro.json.stats).toMatchObject({
        skipped: 1,
        first_skipped: { offset: 1, reason: "Ends too early" },
      });
      expect(text.json.rows).toEqual([{ id: 5, tag: "x" }]);
      expect(binary.json.rows).toEqual([{ txn_id: 7, currency: "EUR" }]);
      expect(aliased.text).toContain('"rows":[{"txn_id":9007199254740993,"currency":"USD"}]');
    });

    test("a record that does not decode ends the query where that is asked, with its offset", async () => {
      const topic = await client().topic();
      await client().produce(topic, "{}", "{", "{}");

      const refused = await client().refused(
        query({ topic, decode: { type: "json", on_error: "fail" } }),
        422,
        "undecodable_record",
      );

      expect(refused).toMatchObject({ offset: 1, partition: 0 });
    });

    test("streams lines when asked to, with everything else in the last one", async () => {
      const topic = await client().topic();
      const body = Array.from(
        { length: 20_000 },
        (_, n) => `{"n":${n},"pad":"${"x".repeat(20)}"}`,
      ).join("\n");
      await client().post(`/broker/topics/${topic}/produce-ndjson?partition=0`, body);
      const request = {
        source: { topic, limit: 100_000 },
        aggregate: {},
        transform: { emit_rows: 20_000 },
      };

      const reply = await client().post("/broker/query", request, NDJSON);
      const read = lines(reply);

      expect(reply.headers.get("content-type")).toBe("application/x-ndjson");
      expect(read.slice(0, 20_000).every(({ row }, n) => row.n === n)).toBe(true);
      expect(read[20_000]).toEqual({ aggregate: { key: "", group: {}, count: 20_000 } });
      expect(read[20_001]).toMatchObject({
        ok: true,
        source: { next_offset: 20_000 },
        stats: { rows: 20_000 },
      });
      expect(read).toHaveLength(20_002);
      await client().refused(client().post("/broker/query", request), 400, "invalid_parameter");
      const broken = await client().post(
        "/broker/query",
        { source: { topic, decode: { type: "avro", schema: "int", on_error: "fail" } } },
        NDJSON,
      );
      expect(lines(broken)).toMatchObject([{ ok: false, error: "undecodable_record" }]);
    });

    test("linearizable reads see what was acknowledged before", async () => {
      const topic = await client().topic();
      await client().produce(topic, '{"a":1}');

      const { json } = await query(
        { topic },
        { transform: { emit_rows: 1 } },
        "?consistency=linearizable&timeout_ms=5000",
      );

      expect(json.rows).toEqual([{ a: 1 }]);
    });

    test("a rocket topic is read like any other", async () => {
      const topic = freshName();
      await client().post("/broker/topics", { name: topic, partitions: 2, mode: "rocket" });
      await client().produce(topic, '{"n":1}', '{"n":2}');

      const { json } = await query(
        { topic, partition: "*" },
        { aggregate: { measures: [{ op: "sum", field: "n" }] }, transform: { emit_rows: 5 } },
      );

      expect(json.rows).toEqual([{ n: 1 }, { n: 2 }]);
      expect(json.aggregates).toEqual([{ key: "", group: {}, sum_n: 3 }]);
    });

    test("too many groups are refused by name", async () => {
      const topic = await client().topic();
      const body = Array.from({ length: 60_000 }, (_, n) => `{"n":${n}}`).join("\n");
      await client().post(`/broker/topics/${topic}/produce-ndjson?partition=0`, body);
      const window = { type: "hopping", size_ms: 3_600_000, hop_ms: 1_200_000 };

      const refused = await client().refused(
        query({ topic, limit: "all" }, { window, aggregate: { group_by: ["n"] } }),
        422,
        "limit_exceeded",
      );

      expect(refused).toMatchObject({ limit: "groups", max: 100_000 });
    });

    test("a query over its time is refused by name, and one whose client has gone leaves the node alone", async () => {
      const topic = await client().topic();
      const body = Array.from(
        { length: 100_000 },
        (_, n) => `{"n":${n},"pad":"${"x".repeat(40)}"}`,
      ).join("\n");
      await client().post(`/broker/topics/${topic}/produce-ndjson?partition=0`, body);
      const request = { source: { topic, limit: "all" }, aggregate: { group_by: ["n"] } };

      const refused = await client().refused(
        client().post("/broker/query?timeout_ms=1", request),
        422,
        "limit_exceeded",
      );
      // More than may run at the same time: were they not to end, the last ones would be refused.
      for (let i = 0; i < 20; i++) {
        const gone = fetch(`${client().url}/broker/query`, {
          method: "POST",
          headers: { authorization: "Bearer dev" },
          body: JSON.stringify(request),
          signal: AbortSignal.timeout(5),
        });
        await gone.then((reply) => reply.text()).catch(() => undefined);
      }

      expect(refused).toMatchObject({ limit: "time_ms", max: 1 });
      let after = await client().post("/broker/query", request);
      for (let i = 0; i < 50 && after.status === 503; i++) {
        await Bun.sleep(20);
        after = await client().post("/broker/query", request);
      }
      expect(after.json).toMatchObject({ ok: true, stats: { groups: 100_000 } });
    });

    test("what is missing or wrong is named", async () => {
      const topic = await client().topic(1);
      const refused = (body: object, status: number, code: string) =>
        client().refused(client().post("/broker/query", body), status, code);
      const source = { topic };

      await refused({}, 400, "missing_source");
      await refused({ source: {} }, 400, "missing_topic");
      await refused({ source: { topic: "absent" } }, 404, "topic_not_found");
      await refused({ source: { topic, partition: 1 } }, 404, "partition_not_found");
      for (const limit of [0, -1, 100_001, 1.5, "some"])
        await refused({ source: { topic, limit } }, 400, "invalid_parameter");
      for (const emit_rows of [-1, 5001, "1"])
        await refused({ source, transform: { emit_rows } }, 400, "invalid_parameter");
      for (const filter of [
        [{ field: "a", op: "like", value: 1 }],
        [{ field: "a", op: "lt", value: null }],
        [{ field: "a", op: "in", value: 1 }],
        [{ field: "a", op: "eq" }],
        [{ any: [{ field: "", op: "exists" }] }],
        [{ op: "eq" }],
        "x",
      ])
        await refused({ source, filter }, 400, "invalid_parameter");
      for (const size_ms of [0, -1, 0.5])
        await refused({ source, window: { type: "tumbling", size_ms } }, 400, "invalid_parameter");
      await refused({ source, window: { type: "tumbling" } }, 400, "invalid_parameter");
      await refused(
        { source, aggregate: { measures: [{ op: "median" }] } },
        400,
        "invalid_parameter",
      );
      await refused({ source: { topic, decode: { type: "xml" } } }, 400, "invalid_parameter");
      await refused({ source: { topic, decode: { type: "avro" } } }, 400, "missing_fields");
      await refused(
        { source: { topic, decode: { type: "avro", schema_text: "{" } } },
        400,
        "invalid_schema",
      );
      await refused(
        { source: { topic, decode: { type: "proto", schema_text: "message" } } },
        400,
        "invalid_schema",
      );
      await client().refused(client().post("/broker/query", "{"), 400, "invalid_json");
      await client().refused(
        client().post("/broker/query", `${"[".repeat(100_000)}`),
        400,
        "invalid_json",
      );
      await client().refused(
        client().post("/broker/query?timeout_ms=0", { source }),
        400,
        "invalid_parameter",
      );
    });

    test("is a read: the scope read is enough, and a token covers its topics", async () => {
      const topic = await client().topic();
      const body = { source: { topic } };

      expect((await client().post("/broker/query", body, { token: "reader" })).status).toBe(200);
      await client().refused(
        client().post("/broker/query", body, { token: "exact" }),
        403,
        "forbidden",
      );
      await client().refused(
        client().post("/broker/query", body, { token: null }),
        401,
        "unauthorized",
      );
    });
  });
}
