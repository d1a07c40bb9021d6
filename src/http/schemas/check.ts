// Checks what a request says against a schema, and words the refusal when it does not fit.

import * as v from "valibot";
import { fail, type Result, succeed } from "../../lib/result.ts";
import { type Refusal, refuse } from "../../model/errors.ts";

const SHOWN_CHARS_MAX = 64;

/** A value as JSON. Integers beyond 2^53 come as bigints out of some bodies, and JSON.stringify throws on those. */
const asJson = (input: unknown): string | undefined =>
  JSON.stringify(input, (_, value: unknown) => (typeof value === "bigint" ? `${value}` : value));

/** A value as a sentence shows it. What a number beyond 2^53 was before it was read is not known. */
function shown(input: unknown): string {
  if (input === "") return "empty";
  if (typeof input === "bigint") return `${input}`;
  if (typeof input === "number" && Math.abs(input) > Number.MAX_SAFE_INTEGER)
    return "a number beyond 2^53";
  const text = typeof input === "string" ? input : (asJson(input) ?? "nothing");
  return text.length > SHOWN_CHARS_MAX ? `${text.slice(0, SHOWN_CHARS_MAX)}…` : text;
}

const nameOf = (issue: v.BaseIssue<unknown>): string =>
  issue.path?.map((item) => String(item.key)).join(".") ?? "body";

/** The refusal of a parameter. `rule` goes on after "it". */
export const invalidParameter = (name: string, value: unknown, rule: string): Refusal =>
  refuse("invalid_parameter", `Parameter ${name} is ${shown(value)}: it ${rule}`, {
    parameter: name,
  });

const TOPIC_NAMES = new Set(["topic", "name", "source.topic", "left.topic", "right.topic"]);
const SOURCE_NAMES = new Set(["source", "left", "right"]);

/** Whether it says that something is not there: a topic without a name is as good as none. */
const isMissing = (issue: v.BaseIssue<unknown>): boolean =>
  issue.input === undefined || (issue.input === "" && TOPIC_NAMES.has(nameOf(issue)));

function refusalOf(issues: readonly v.BaseIssue<unknown>[]): Refusal {
  const names = [...new Set(issues.filter(isMissing).map(nameOf))];
  if (names.length > 0) {
    const [only] = names;
    if (names.length === 1 && TOPIC_NAMES.has(only ?? "")) return refuse("missing_topic");
    if (names.some((name) => SOURCE_NAMES.has(name)))
      return refuse("missing_source", `Source is required: ${names.join(", ")}`);
    if (names.includes("on")) return refuse("missing_join_keys");
    return refuse("missing_fields", `Required fields are missing: ${names.join(", ")}`, {
      missing: names.join(","),
    });
  }
  const [issue] = issues;
  if (issue === undefined) return refuse("invalid_parameter");
  return invalidParameter(nameOf(issue), issue.input, issue.message);
}

/** What a schema wants that has no words of its own. Goes on after "it". */
function ruleOf({ expected }: v.BaseIssue<unknown>): string {
  if (expected === "Object") return "must be an object";
  if (expected === "Array") return "must be a list";
  return `must be ${expected}`;
}

/** Checks a value that was read already. */
export function check<Out>(
  schema: v.GenericSchema<unknown, Out>,
  input: unknown,
): Result<Out, Refusal> {
  const parsed = v.safeParse(schema, input, { message: ruleOf });
  return parsed.success ? succeed(parsed.output) : fail(refusalOf(parsed.issues));
}

/** A schema of an object whose entries are parameters. */
export type ParameterSchema = v.ObjectSchema<v.ObjectEntries, undefined>;

/** Reads the raw values of the parameters that `schema` knows; others are ignored. */
function rawQuery(url: string, schema: ParameterSchema): Result<Record<string, string>, Refusal> {
  const values: Record<string, string> = {};
  const start = url.indexOf("?");
  if (start < 0) return succeed(values);
  for (const pair of url.slice(start + 1).split("&")) {
    const equals = pair.indexOf("=");
    const name = equals < 0 ? pair : pair.slice(0, equals);
    if (!Object.hasOwn(schema.entries, name)) continue;
    const value = equals < 0 ? "" : pair.slice(equals + 1);
    if (Object.hasOwn(values, name))
      return fail(invalidParameter(name, value, "must be there once"));
    values[name] = value;
  }
  return succeed(values);
}

/** Checks the query of a URL. */
export function checkQuery<Schema extends ParameterSchema>(
  schema: Schema,
  url: string,
): Result<v.InferOutput<Schema>, Refusal> {
  const raw = rawQuery(url, schema);
  return raw.ok ? check(schema as v.GenericSchema<unknown, v.InferOutput<Schema>>, raw.value) : raw;
}

/** Checks the parameters of a path. */
export function checkPath<Schema extends ParameterSchema>(
  schema: Schema,
  params: Readonly<Record<string, string>>,
): Result<v.InferOutput<Schema>, Refusal> {
  return check(schema as v.GenericSchema<unknown, v.InferOutput<Schema>>, params);
}

/** Checks a JSON body, whatever its content type says. @param parse Reads the text; throws when it is no JSON. */
export function checkJson<Out>(
  schema: v.GenericSchema<unknown, Out>,
  bytes: Uint8Array,
  parse: (text: string) => unknown = JSON.parse,
): Result<Out, Refusal> {
  let value: unknown;
  try {
    value = parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    return fail(refuse("invalid_json", `Request body is not valid JSON: ${shown(reason)}`));
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    return fail(refuse("invalid_json"));
  }
  return check(schema, value);
}
