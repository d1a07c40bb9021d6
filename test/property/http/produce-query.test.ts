// The lean parser of the hot path and the schema say the same of every query.

import { expect, test } from "bun:test";
import fc from "fast-check";
import { ProduceQuery, readProduceQuery } from "../../../src/http/produce-query.ts";
import { checkQuery } from "../../../src/http/schemas/check.ts";
import { ProduceQuerySchema } from "../../../src/http/schemas/requests.ts";

const names = fc.constantFrom(
  "partition",
  "key",
  "idempotency_key",
  "timeout_ms",
  "timing",
  "expected_offset",
  "ack",
  "unknown",
  "part%69tion",
  "keys",
  "",
);

const values = fc.oneof(
  fc.integer({ min: -5, max: 200_000 }).map(String),
  fc.constantFrom(
    "",
    "0",
    "1",
    "00",
    "1.5",
    "1e3",
    "-0",
    "+1",
    "%31",
    "%ZZ",
    "%",
    "9007199254740991",
    "9007199254740992",
    "123456789012345",
    "1234567890123456",
  ),
  fc.constantFrom("leader", "majority", "all", "none"),
  fc.string({ unit: "binary", maxLength: 20 }).map(encodeURIComponent),
  fc.stringMatching(/^[a-z%+0-9]{0,12}$/),
  fc.integer({ min: 250, max: 260 }).map((length) => "k".repeat(length)),
);

const pairs = fc.array(
  fc.oneof(
    fc.tuple(names, values).map(([name, value]) => `${name}=${value}`),
    names,
    fc.constant("&"),
  ),
  { maxLength: 5 },
);

test("the lean parser agrees with the schema on every query", () => {
  fc.assert(
    fc.property(pairs, fc.boolean(), (query, hasQuery) => {
      const url = `http://localhost:1109/broker/topics/a/produce${hasQuery ? `?${query.join("&")}` : ""}`;
      const lean = new ProduceQuery();

      const read = readProduceQuery(url, lean);
      const checked = checkQuery(ProduceQuerySchema, url);

      expect(read.ok).toBe(checked.ok);
      if (!checked.ok) return;
      const said = checked.value;
      expect({ ...lean }).toEqual({
        partition: said.partition ?? -1,
        key: said.key,
        idempotencyKey: said.idempotency_key,
        expectedOffset: said.expected_offset ?? -1,
        ack: said.ack ?? "configured",
        timeoutMs: said.timeout_ms ?? -1,
        hasTiming: said.timing ?? false,
      });
    }),
    { numRuns: 5000 },
  );
});
