// What a body is refused with: a sentence about the field that is wrong, whatever stands there instead.

import { describe, expect, test } from "bun:test";
import { check, checkJson, type ParameterSchema } from "../../../src/http/schemas/check.ts";
import {
  AddNodeBody,
  CollectBody,
  CommitBody,
  CreateTopicBody,
  DeleteBeforeBody,
  NodeBody,
  RetentionBody,
  TransactionBody,
} from "../../../src/http/schemas/requests.ts";
import { JoinBody, QueryBody } from "../../../src/http/schemas/streams.ts";

const BODIES = {
  AddNodeBody,
  CollectBody,
  CommitBody,
  CreateTopicBody,
  DeleteBeforeBody,
  JoinBody,
  NodeBody,
  QueryBody,
  RetentionBody,
  TransactionBody,
} as unknown as Readonly<Record<string, ParameterSchema>>;

const VALUES = [5, 1e300, "x", "", true, null, [], {}, [5], [null], [[]], [{}], { mode: [] }];

const refusalOf = (schema: ParameterSchema, body: unknown) => {
  const checked = check(schema, body);
  return checked.ok ? undefined : checked.error;
};

describe("check()", () => {
  test.each(Object.entries(BODIES))("refuses every wrong field of %s in words", (_, schema) => {
    for (const name of Object.keys(schema.entries)) {
      for (const value of VALUES) {
        const refusal = refusalOf(schema, { [name]: value });
        if (refusal?.code !== "invalid_parameter") continue;
        expect(refusal.message).toMatch(/^Parameter \S+ is .+: it (must|needs) /);
        expect(refusal.message).not.toContain("xpected");
      }
    }
  });

  test.each([
    [
      CreateTopicBody,
      { name: "t", retention: 5 },
      "Parameter retention is 5: it must be an object",
    ],
    [TransactionBody, { kv: {} }, "Parameter kv is {}: it must be a list"],
    [TransactionBody, { commit: [5] }, "Parameter commit.0 is 5: it must be an object"],
    [QueryBody, { source: "t" }, "Parameter source is t: it must be an object"],
    [NodeBody, { node_id: "" }, "Parameter node_id is empty: it must be 1 to 120 characters"],
  ])("says what should be there instead", (schema, body, message) => {
    expect(refusalOf(schema as unknown as ParameterSchema, body)?.message).toStartWith(message);
  });

  test("names a part of a query that lacks what tells it apart", () => {
    const refusal = refusalOf(QueryBody as unknown as ParameterSchema, {
      source: { topic: "t", decode: {} },
    });

    expect(refusal).toMatchObject({
      code: "missing_fields",
      fields: { missing: "source.decode.type" },
    });
  });
});

test.each(["9007199254740993", "-9007199254740993", "1e400"])(
  "checkJson() shows no number in place of %s, which it cannot tell from others",
  (partitions) => {
    const body = Buffer.from(`{"name":"t","partitions":${partitions}}`);
    const checked = checkJson(CreateTopicBody, body);

    expect(checked.ok ? undefined : checked.error.message).toBe(
      "Parameter partitions is a number beyond 2^53: it must be a whole number from 1 to 256",
    );
  },
);

test("checkJson() shows an integer as it was written where the parser kept it", () => {
  const body = Buffer.from('{"name":"t","partitions":9007199254740993}');
  const parse = () => ({ name: "t", partitions: 9007199254740993n });
  const checked = checkJson(CreateTopicBody, body, parse);

  expect(checked.ok ? undefined : checked.error.message).toStartWith(
    "Parameter partitions is 9007199254740993: it",
  );
});
