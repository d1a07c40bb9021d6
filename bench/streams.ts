// What queries and joins cost: a grouped window over a million JSON records, Avro joined with Protobuf, the same in DuckDB and
// SQLite over the same data as NDJSON, and what a produce waits while a query runs.
// Usage: bun bench/streams.ts [--records 1000000] [--pairs 100000] [--rate 2000] [--seconds 5] [--binary dist/ayder-linux-x64]

import { Database } from "bun:sqlite";
import { rmSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { DuckDBInstance } from "@duckdb/node-api";
import avsc from "avsc";
import protobuf from "protobufjs";
import { type LoadResult, produceWork, runLoad } from "../src/load/mod.ts";
import { circumstances, keepResult, printTable } from "./load/report.ts";
import { freePort, scratchDirectory, startProcess } from "./load/servers.ts";

const { values } = parseArgs({
  options: {
    records: { type: "string", default: "1000000" },
    pairs: { type: "string", default: "100000" },
    rate: { type: "string", default: "2000" },
    seconds: { type: "string", default: "5" },
    binary: { type: "string", default: "dist/ayder-linux-x64" },
    name: { type: "string", default: "streams" },
  },
});
const records = Number(values.records);
const pairs = Number(values.pairs);
const ROUNDS = 3;
const BATCH = 10_000;
const PER_TRANSACTION = 500;
const WINDOW_MS = 60_000;
const headers = { authorization: "Bearer dev" };

const REGIONS = ["us", "eu", "ap", "sa", "af"];
const jsonRecord = (i: number): string =>
  JSON.stringify({
    user: `user-${(i * 7919) % 10_000}`,
    region: REGIONS[i % REGIONS.length],
    amount: ((i * 31) % 10_000) / 100,
    items: (i * 17) % 9,
    ts: 1_700_000_000_000 + i * 10,
  });
const orderOf = (i: number) => ({
  uid: String((i * 7919) % pairs),
  city: "NY",
  at: 1_700_000_000_000 + ((i * 7919) % pairs),
});
const paymentOf = (i: number) => ({
  user: (i * 104_729) % pairs,
  amount: i / 100,
  at: 1_700_000_000_000 + ((i * 104_729) % pairs) + 500,
});

const ORDER = {
  type: "record",
  name: "Order",
  fields: [
    { name: "uid", type: "string" },
    { name: "city", type: "string" },
    { name: "at", type: "long" },
  ],
};
const PAYMENT =
  'syntax = "proto3"; message Payment { int64 user = 1; double amount = 2; int64 at = 3; }';

const median = (numbers: readonly number[]): number =>
  [...numbers].sort((left, right) => left - right)[numbers.length >> 1] ?? 0;

/** Runs something a few times. @returns the median of milliseconds, and what the last run gave. */
async function timed<T>(
  run: () => Promise<T>,
): Promise<{ readonly ms: number; readonly value: T }> {
  const times: number[] = [];
  let value = await run();
  for (let i = 0; i < ROUNDS; i++) {
    const startedMs = performance.now();
    value = await run();
    times.push(performance.now() - startedMs);
  }
  return { ms: median(times), value };
}

const memoryOf = async (pid: number) => {
  const status = await Bun.file(`/proc/${pid}/status`).text();
  const mib = (name: string) =>
    Math.round(Number(new RegExp(`${name}:\\s+(\\d+)`).exec(status)?.[1]) / 1024);
  return { residentMiB: mib("VmRSS"), peakMiB: mib("VmHWM") };
};

const directory = scratchDirectory("streams");
try {
  const port = freePort();
  const url = `http://127.0.0.1:${port}`;
  await using node = await startProcess({
    command: [values.binary, "--port", String(port), "--data", join(directory, "data")],
    environment: { RF_LOG_LEVEL: "warn" },
    directory: scratchDirectory("streams-log"),
    isReady: async () => (await fetch(`${url}/ready`)).ok,
  });
  const post = async (path: string, body: string | object, more: Record<string, string> = {}) => {
    const reply = await fetch(url + path, {
      method: "POST",
      headers: { ...headers, ...more },
      body: typeof body === "string" ? body : JSON.stringify(body),
    });
    if (!reply.ok) throw new Error(await reply.text());
    return reply;
  };
  for (const name of ["events", "orders", "payments", "live"])
    await post("/broker/topics", { name, partitions: 1 });

  const eventsPath = join(directory, "events.ndjson");
  const lines: string[] = [];
  for (let first = 0; first < records; first += BATCH) {
    const batch = Array.from({ length: Math.min(BATCH, records - first) }, (_, i) =>
      jsonRecord(first + i),
    ).join("\n");
    lines.push(batch);
    await (await post("/broker/topics/events/produce-ndjson?partition=0", batch)).text();
  }
  await Bun.write(eventsPath, `${lines.join("\n")}\n`);
  lines.length = 0;
  const order = avsc.Type.forSchema(ORDER as avsc.Schema);
  const payment = protobuf.parse(PAYMENT).root.lookupType("Payment");
  const b64 = (bytes: Uint8Array): string => Buffer.from(bytes).toString("base64");
  for (let first = 0; first < pairs; first += PER_TRANSACTION) {
    const produce = Array.from({ length: PER_TRANSACTION }, (_, i) => first + i).flatMap((i) => [
      { topic: "orders", partition: 0, value_b64: b64(order.toBuffer(orderOf(i))) },
      {
        topic: "payments",
        partition: 0,
        value_b64: b64(payment.encode(payment.fromObject(paymentOf(i))).finish()),
      },
    ]);
    await (await post("/broker/txn", { produce })).text();
  }
  const ndjson = (of: (i: number) => object) =>
    `${Array.from({ length: pairs }, (_, i) => JSON.stringify(of(i))).join("\n")}\n`;
  const [ordersPath, paymentsPath] = [
    join(directory, "orders.ndjson"),
    join(directory, "payments.ndjson"),
  ];
  await Bun.write(ordersPath, ndjson(orderOf));
  await Bun.write(paymentsPath, ndjson(paymentOf));

  const query = {
    source: { topic: "events", offset: 0, limit: "all" },
    filter: [{ field: "items", op: "gt", value: 0 }],
    window: { type: "tumbling", size_ms: WINDOW_MS, field: "ts" },
    aggregate: {
      group_by: ["region"],
      measures: [{ op: "count" }, { op: "sum", field: "amount" }, { op: "max", field: "amount" }],
    },
  };
  const joinRequest = {
    left: {
      topic: "orders",
      offset: 0,
      limit: pairs,
      decode: { type: "avro", encoding: "binary", schema: ORDER },
    },
    right: {
      topic: "payments",
      offset: 0,
      limit: pairs,
      decode: { type: "proto", encoding: "binary", schema_text: PAYMENT },
    },
    on: { left_key: "uid", right_key: "user" },
    window: { size_ms: 1000, left_field: "at", right_field: "at", allowed_lateness_ms: 10 * pairs },
    emit: { left_fields: ["uid", "city"], right_fields: ["amount"], max_rows: pairs },
  };
  const before = await memoryOf(node.pid);
  const queried = await timed(
    async () =>
      (await (await post("/broker/query", query)).json()) as {
        aggregates: unknown[];
        stats: { matched: number };
      },
  );
  const afterQuery = await memoryOf(node.pid);
  const joined = await timed(async () => {
    const text = await (
      await post("/broker/join", joinRequest, { accept: "application/x-ndjson" })
    ).text();
    return JSON.parse(text.slice(text.trimEnd().lastIndexOf("\n") + 1)) as {
      stats: { rows: number };
    };
  });
  const afterJoin = await memoryOf(node.pid);

  // The others: from NDJSON to the last row, as ours goes from the log to the last row.
  const duck = await DuckDBInstance.create(":memory:");
  const connection = await duck.connect();
  const rowsOf = async (sql: string) => (await connection.runAndReadAll(sql)).getRows().length;
  const duckQuery = `select region, ts // ${WINDOW_MS} as w, count(*), sum(amount), max(amount) from read_json('${eventsPath}', format='newline_delimited') where items > 0 group by region, w order by w`;
  const duckJoin = `select o.uid, o.city, p.amount from read_json('${ordersPath}', format='newline_delimited', columns={'uid':'VARCHAR','city':'VARCHAR','at':'BIGINT'}) o join read_json('${paymentsPath}', format='newline_delimited') p on cast(o.uid as bigint) = p.user where abs(o."at" - p."at") <= 1000`;
  const duckAll = {
    query: await timed(() => rowsOf(duckQuery)),
    join: await timed(() => rowsOf(duckJoin)),
  };
  await connection.run("set threads = 1");
  const duckOne = {
    query: await timed(() => rowsOf(duckQuery)),
    join: await timed(() => rowsOf(duckJoin)),
  };
  connection.closeSync();

  const sqlite = await timed(async () => {
    const database = new Database(":memory:");
    database.run("create table events (json text)");
    const insert = database.prepare("insert into events values (?)");
    const text = await Bun.file(eventsPath).text();
    database.transaction(() => {
      for (const line of text.split("\n")) if (line !== "") insert.run(line);
    })();
    const rows = database
      .query(
        `select json ->> 'region' as region, (json ->> 'ts') / ${WINDOW_MS} as w, count(*), sum(json ->> 'amount'), max(json ->> 'amount') from events where json ->> 'items' > 0 group by region, w order by w`,
      )
      .values().length;
    database.close();
    return rows;
  });

  // What a produce waits.
  const load = {
    url,
    work: produceWork({ topic: "live", partition: 0, token: "dev" }, 100),
    connections: 16,
    warmupMs: 1000,
    durationMs: Number(values.seconds) * 1000,
    protocol: "http1" as const,
    ratePerSecond: Number(values.rate),
    serverPids: [node.pid],
  };
  const idle: LoadResult[] = [];
  const busy: LoadResult[] = [];
  let queries = 0;
  for (let round = 0; round < ROUNDS; round++) {
    idle.push(await runLoad(load));
    let isOver = false;
    const asking = (async () => {
      while (!isOver) {
        await (await post("/broker/query", query)).text();
        queries += 1;
      }
    })();
    busy.push(await runLoad(load));
    isOver = true;
    await asking;
  }
  const p99 = (results: readonly LoadResult[]) => median(results.map(({ latency }) => latency.p99));
  const p50 = (results: readonly LoadResult[]) => median(results.map(({ latency }) => latency.p50));

  const rate = (count: number, ms: number): number => Math.round((count / ms) * 1000);
  printTable(
    ["what", "ms", "records/s"],
    [
      ["query, Ayder", queried.ms.toFixed(0), String(rate(records, queried.ms))],
      ["query, DuckDB", duckAll.query.ms.toFixed(0), String(rate(records, duckAll.query.ms))],
      [
        "query, DuckDB, 1 thread",
        duckOne.query.ms.toFixed(0),
        String(rate(records, duckOne.query.ms)),
      ],
      ["query, SQLite", sqlite.ms.toFixed(0), String(rate(records, sqlite.ms))],
      ["join, Ayder", joined.ms.toFixed(0), String(rate(2 * pairs, joined.ms))],
      ["join, DuckDB", duckAll.join.ms.toFixed(0), String(rate(2 * pairs, duckAll.join.ms))],
      [
        "join, DuckDB, 1 thread",
        duckOne.join.ms.toFixed(0),
        String(rate(2 * pairs, duckOne.join.ms)),
      ],
    ],
  );
  console.log(
    `rows: query ${queried.value.aggregates.length} ${duckAll.query.value} ${sqlite.value}, join ${joined.value.stats.rows} ${duckAll.join.value}; memory ${JSON.stringify({ before, afterQuery, afterJoin })}`,
  );
  console.log(
    `produce at ${values.rate}/s: p50 ${p50(idle).toFixed(2)} ms idle, ${p50(busy).toFixed(2)} ms beside queries; p99 ${p99(idle).toFixed(2)} ms idle, ${p99(busy).toFixed(2)} ms beside ${queries} queries`,
  );
  const result = {
    circumstances: await circumstances(directory),
    records,
    bytes: Bun.file(eventsPath).size,
    pairs,
    rounds: ROUNDS,
    query: {
      ayderMs: queried.ms,
      recordsPerSecond: rate(records, queried.ms),
      duckdbMs: duckAll.query.ms,
      duckdbOneThreadMs: duckOne.query.ms,
      sqliteMs: sqlite.ms,
      rows: {
        ayder: queried.value.aggregates.length,
        duckdb: duckAll.query.value,
        sqlite: sqlite.value,
      },
    },
    join: {
      ayderMs: joined.ms,
      recordsPerSecond: rate(2 * pairs, joined.ms),
      duckdbMs: duckAll.join.ms,
      duckdbOneThreadMs: duckOne.join.ms,
      rows: { ayder: joined.value.stats.rows, duckdb: duckAll.join.value },
    },
    memory: { before, afterQuery, afterJoin },
    produce: {
      ratePerSecond: Number(values.rate),
      idle: {
        p50Ms: p50(idle),
        p99Ms: p99(idle),
        p99MsOfRounds: idle.map(({ latency }) => latency.p99),
      },
      besideQueries: {
        p50Ms: p50(busy),
        p99Ms: p99(busy),
        p99MsOfRounds: busy.map(({ latency }) => latency.p99),
        queries,
      },
    },
  };
  console.log(`kept in ${await keepResult(values.name, result)}`);
} finally {
  rmSync(directory, { recursive: true, force: true });
}
