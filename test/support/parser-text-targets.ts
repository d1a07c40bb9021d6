// What people write: JSON, NDJSON, query strings, schemas and the records that go with them, tokens, nodes, configuration.

import { isDeepStrictEqual } from "node:util";
import { deflateRawSync } from "node:zlib";
import { loadConfig } from "../../src/config/mod.ts";
import { parseTokens } from "../../src/config/tokens.ts";
import { parseNodes } from "../../src/config/topology.ts";
import { inflate } from "../../src/http/inflate.ts";
import { keyPlaceOf } from "../../src/http/key-path.ts";
import { splitLines } from "../../src/http/ndjson.ts";
import { ProduceQuery, readProduceQuery } from "../../src/http/produce-query.ts";
import { checkJson, checkQuery } from "../../src/http/schemas/check.ts";
import * as requests from "../../src/http/schemas/requests.ts";
import * as streams from "../../src/http/schemas/streams.ts";
import { parseJson } from "../../src/lib/json.ts";
import { DecodeError } from "../../src/streams/decode/decoder.ts";
import { Decoders } from "../../src/streams/decode/make.ts";
import { unsnap } from "../../src/streams/decode/snappy.ts";
import type { ParserTarget } from "./parser-fuzz.ts";

const bytesOf = (text: string): Uint8Array => new Uint8Array(Buffer.from(text));
const textOf = (bytes: Uint8Array): string => Buffer.from(bytes).toString("utf8");

const AVRO = [
  '{"type":"record","name":"User","namespace":"a.b","aliases":["Old"],"fields":[{"name":"uid","type":"long","default":3},{"name":"tags","type":{"type":"array","items":"string"}},{"name":"m","type":{"type":"map","values":["null","double"]}},{"name":"e","type":{"type":"enum","name":"E","symbols":["A","B"]}},{"name":"f","type":{"type":"fixed","name":"F","size":4}},{"name":"next","type":["null","User"]}]}',
  '["null","string",{"type":"bytes","logicalType":"decimal","precision":4,"scale":2}]',
  '"long"',
];
const PROTO = [
  'syntax = "proto3"; package p; import "x.proto"; message M { int64 a = 1; repeated M m = 2 [packed=false]; map<string, bytes> k = 3; oneof o { string s = 4; double d = 5; } enum E { Z = 0; option allow_alias = true; } E e = 6; reserved 9 to 11, 15; } // end',
  'syntax = "proto2"; message Q { required group G = 1 { optional sint32 x = 2 [default = -3]; } extensions 100 to max; } /* c */ service S { rpc A (Q) returns (stream Q); }',
  'edition = "2023"; message N { string name = 1; }',
];
const SIMPLE_AVRO =
  '{"type":"record","name":"R","fields":[{"name":"a","type":"long"},{"name":"s","type":["null","string"]},{"name":"r","type":["null","R"]}]}';
const SIMPLE_PROTO =
  'syntax = "proto3"; message M { int64 a = 1; string s = 2; repeated M m = 3; map<string,int32> k = 4; }';

const decoders = new Decoders(inflate);

/** Records of one format: taken or refused with a reason. */
function records(
  name: string,
  spec: Parameters<Decoders["get"]>[0],
  seeds: readonly Uint8Array[],
): ParserTarget {
  return {
    name,
    seeds,
    run: (bytes) => {
      const decoder = decoders.get(spec, "decode");
      if (!decoder.ok) throw new Error(`The schema of ${name} is refused`);
      let taken = 0;
      const reason = decoder.value.decode(bytes.slice(), () => {
        taken += 1;
      });
      if (reason !== undefined && taken > 0 && spec.encoding !== "ocf")
        throw new Error(`A record was taken and refused: ${reason}`);
      return reason === undefined;
    },
  };
}

function schemas(name: string, type: "avro" | "proto", texts: readonly string[]): ParserTarget {
  return {
    name,
    seeds: texts.map(bytesOf),
    run: (bytes) => {
      const spec = {
        type,
        encoding: "json" as const,
        schema_text: textOf(bytes),
        message: undefined,
      };
      const decoder = new Decoders(inflate).get(spec, "decode");
      if (!decoder.ok) {
        // Which message is meant, or a file that is imported, is the request's to say.
        if (!["invalid_schema", "invalid_parameter", "missing_fields"].includes(decoder.error.code))
          throw new Error(`Refused with ${decoder.error.code}`);
        return texts.includes(textOf(bytes));
      }
      decoder.value.decode(bytesOf('{"a":1,"m":[{}]}'), () => undefined);
      return true;
    },
  };
}

const BODIES = [
  '{"name":"t","partitions":4,"mode":"sealed","retention":{"ttl_ms":1}}',
  '{"topic":"t","group":"g","partition":0,"offset":12345678901234567890}',
  '{"source":{"topic":"t","group":"g","partition":"*","offset":0,"limit":"all","decode":{"type":"avro","schema":{"type":"record"},"field_aliases":{"a":["b"]}}},"filter":[{"any":[{"field":"a.b","op":"in","value":[1,"2"]}]}],"window":{"type":"hopping","size_ms":1,"hop_ms":1},"aggregate":{"group_by":["a"],"measures":[{"op":"sum","field":"a","as":"b"}]},"transform":{"left_fields":["a"],"emit_rows":5}}',
  '{"left":{"topic":"l"},"right":{"topic":"r"},"on":{"left_keys":["a"],"right_keys":["b"]},"join":{"type":"full"},"window":{"size_ms":1},"emit":{"max_rows":3,"missing_as":"empty"},"dedupe":{"mode":"once"}}',
  '{"idempotency_key":"k","expect":[{"kv":"n/k","cas":1}],"produce":[{"topic":"t","partition":0,"key_b64":"a2V5","value":"v"}],"commit":[],"kv":[{"op":"put","key":"n/k","value_b64":"dg==","ttl_ms":1}]}',
  '{"node_id":"n","advertise_addr":"[::1]:7000","http_addr":"http://a:1","priority":1}',
];
const BODY_SCHEMAS = Object.entries({ ...requests, ...streams }).flatMap(([name, schema]) =>
  name.endsWith("Body") ? [schema as typeof requests.CommitBody] : [],
);
const QUERY_SCHEMAS = Object.entries({ ...requests, ...streams }).flatMap(([name, schema]) =>
  name.endsWith("Query") ? [schema as typeof requests.TailQuery] : [],
);

const OCF = (() => {
  const size = (value: number): number[] =>
    value < 64 ? [value * 2] : [((value * 2) & 127) | 128, (value * 2) >> 7];
  const text = (value: string): number[] => [...size(value.length), ...Buffer.from(value)];
  const schema = '{"type":"record","name":"R","fields":[{"name":"a","type":"long"}]}';
  const sync = Array.from({ length: 16 }, (_, i) => i);
  const block = [...deflateRawSync(Uint8Array.of(2, 4, 6))];
  return Uint8Array.from([
    ...[0x4f, 0x62, 0x6a, 1],
    ...[4, ...text("avro.schema"), ...text(schema), ...text("avro.codec"), ...text("deflate"), 0],
    ...sync,
    ...[6, block.length * 2, ...block],
    ...sync,
  ]);
})();

/** Every parser of what people write. */
export const TEXT_TARGETS: readonly ParserTarget[] = [
  {
    name: "JSON",
    weight: 3,
    seeds: [...BODIES, '[1e5,-0,"\\ud83d\\ude00",1234567890123456789,1.5e-3,[[[]]]]', "null"].map(
      bytesOf,
    ),
    run: (bytes) => {
      const text = textOf(bytes);
      let twin: unknown;
      let isJson = true;
      try {
        twin = JSON.parse(text);
      } catch {
        isJson = false;
      }
      try {
        const value = parseJson(text);
        if (!isJson) throw new Error("What is no JSON was taken");
        // Integers beyond 2^53 keep their value here and lose it there.
        const plain = JSON.stringify(value, (_, item) =>
          typeof item === "bigint" ? Number(item) : item,
        );
        if (!isDeepStrictEqual(JSON.parse(plain), JSON.parse(JSON.stringify(twin))))
          throw new Error("JSON was read as something else");
        return true;
      } catch (error) {
        if (error instanceof SyntaxError) return false;
        throw error;
      }
    },
  },
  {
    name: "bodies",
    weight: 3,
    seeds: BODIES.map(bytesOf),
    run: (bytes) => {
      let taken = BODIES.includes(textOf(bytes));
      for (const schema of BODY_SCHEMAS) if (checkJson(schema, bytes, parseJson).ok) taken = true;
      return taken;
    },
  },
  {
    name: "NDJSON",
    seeds: ['"a"\r\n\n{"b":1}\nplain\n', '"\\u0000\\ud800"\n', "\n\n\n"].map(bytesOf),
    run: (bytes) => {
      const lines = splitLines(bytes.slice(), 200);
      return (
        lines.ok ||
        lines.error.code === "payload_too_large" ||
        lines.error.code === "no_valid_messages"
      );
    },
  },
  {
    name: "queries of URLs",
    weight: 2,
    seeds: [
      "http://a/b?partition=1&key=a%2Fb+c&idempotency_key=%00&timeout_ms=5&ack=all&expected_offset=9007199254740991",
      "http://a/b?offset=-1&limit=10&encoding=b64&wait_ms=1&max_bytes=5&strict=1&consistency=local",
      "http://a/kv/n/a%2Fb/c/meta?cas=1&ttl_ms=2&prefix=%C3%A9&watch=1&from=3",
    ].map(bytesOf),
    run: (bytes) => {
      const url = textOf(bytes);
      readProduceQuery(url, new ProduceQuery());
      keyPlaceOf(url);
      for (const schema of QUERY_SCHEMAS) checkQuery(schema, url);
      return true;
    },
  },
  schemas("Avro schemas", "avro", AVRO),
  schemas("Protobuf schemas", "proto", PROTO),
  records("Avro records", { type: "avro", encoding: "binary", schema_text: SIMPLE_AVRO }, [
    Uint8Array.of(4, 0, 0),
    Uint8Array.of(4, 2, 6, 97, 98, 99, 2, 8, 0, 0),
  ]),
  records("Avro records in JSON", { type: "avro", encoding: "json", schema_text: SIMPLE_AVRO }, [
    bytesOf('{"a":1,"s":{"string":"x"},"r":{"R":{"a":2,"s":null,"r":null}}}'),
  ]),
  records("Avro files", { type: "avro", encoding: "ocf" }, [OCF]),
  records("Protobuf records", { type: "proto", encoding: "binary", schema_text: SIMPLE_PROTO }, [
    Uint8Array.of(8, 150, 1, 18, 2, 97, 98, 26, 4, 8, 1, 26, 0, 34, 5, 10, 1, 97, 16, 1),
  ]),
  records(
    "Protobuf records in JSON",
    { type: "proto", encoding: "json", schema_text: SIMPLE_PROTO },
    [bytesOf('{"a":"12","s":"x","m":[{"a":1}],"k":{"a":1}}')],
  ),
  {
    name: "Snappy",
    seeds: [Uint8Array.of(5, 16, 1, 2, 3, 4, 5), Uint8Array.of(8, 4, 1, 2, 25, 2)],
    run: (bytes) => {
      try {
        return unsnap(bytes, 100_000).length <= 100_000;
      } catch (error) {
        if (error instanceof DecodeError) return bytes.length === 6;
        throw error;
      }
    },
  },
  {
    name: "tokens",
    seeds: ["dev,a@read:b@write=x.*,c@10:20:30", "x@1e3:2:3"].map(bytesOf),
    run: (bytes) => {
      parseTokens(textOf(bytes));
      return true;
    },
  },
  {
    name: "nodes",
    seeds: [bytesOf("a:h:7000:1,b:[::1]:7001:100,c:1.2.3.4:65535:0")],
    run: (bytes) => {
      parseNodes(textOf(bytes));
      return true;
    },
  },
  {
    name: "configuration files",
    seeds: [
      'port = 1109\ndata_dir = "./data"\nlog_level = "debug"\nsegment_bytes = 67108864\nbearer_tokens = ["a", "b@read"]\n[table]\nx = 1979-05-27T07:32:00Z\n',
      'RF_HA_ENABLED = "1"\nRF_HA_NODES = "a:h:1:1"\nha_node_id = "a"\nha_write_concern = "majority"\n',
    ].map(bytesOf),
    run: (bytes) => {
      const text = textOf(bytes);
      const words = text.split("\n");
      loadConfig({
        argv: ["--config", "file", ...words.slice(0, 1)],
        env: { RF_HTTP_ADDR: words[1], RF_BEARER_TOKENS: words[2], [`RF_${words[3]}`]: "x" },
        readFile: () => text,
      });
      loadConfig({ argv: ["--config", "file"], env: {}, readFile: () => text });
      return true;
    },
  },
];
