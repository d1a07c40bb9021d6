// Reads the configuration once, at start: flags over environment over a TOML file over defaults.
// Every problem is reported, not the first; what is loaded never changes.

import * as v from "valibot";
import type { LogLevel } from "../lib/logger.ts";
import { fail, type Result, succeed } from "../lib/result.ts";
import { type ClusterConfig, clusterOf } from "./cluster.ts";
import type { FieldFacts } from "./fields.ts";
import { ENTRY_OVERHEAD_BYTES_MAX, KEY_BYTES_MIN } from "./limits.ts";
import { ConfigSchema, type Settings, type Variable } from "./schema.ts";
import { readSources } from "./sources.ts";
import { type NamedFile, tlsProblems } from "./tls.ts";
import type { Token } from "./tokens.ts";
import { isLoopback } from "./topology.ts";

/** The configuration of a node. Frozen. */
export interface Config {
  readonly httpHost: string;
  /** 0: a free one. */
  readonly httpPort: number;
  readonly dataDir: string;
  readonly tokens: readonly Token[];
  readonly logLevel: LogLevel;
  readonly segmentBytes: number;
  /** Newest sealed segments that are not reclaimed. */
  readonly segmentsKept: number;
  readonly disk: "auto" | "uring" | "worker";
  readonly writeTimeoutMs: number;
  readonly inflightBytesMax: number;
  readonly bodyBytesMax: number;
  readonly recordBytesMax: number;
  readonly idempotencyTtlMs: number;
  readonly idempotencyKeysMax: number;
  /** Keys that may have a value. */
  readonly keysMax: number;
  /** Bytes of keys and values. */
  readonly keyBytesMax: number;
  readonly createsTopics: boolean;
  readonly rocket: {
    /** Mode of topics that do not say theirs. */
    readonly defaultMode: "sealed" | "rocket";
    readonly bytesMax: number;
    readonly partitionBytesMax: number;
  };
  /** Paths of certificate chain and key. */
  readonly tls: { readonly certPath: string; readonly keyPath: string } | undefined;
  readonly isMetricsOpen: boolean;
  readonly isDocsOpen: boolean;
  readonly docsUrl: string;
  /** Whether the node stops when its standard input ends. */
  readonly stopsWithInput: boolean;
  /** Undefined: a node alone. */
  readonly cluster: ClusterConfig | undefined;
}

/** One thing that is wrong with the configuration. */
export interface ConfigProblem {
  readonly variable: string;
  /** As given; a secret is not repeated. */
  readonly value: string;
  /** What it may be. */
  readonly range: string;
}

/** One thing that the operator should know, as an event of the log. */
export interface ConfigNotice {
  readonly level: "info" | "warn";
  readonly event: string;
  readonly fields: Readonly<Record<string, string>>;
}

/** What a node starts with. */
export interface LoadedConfig {
  readonly config: Config;
  readonly notices: readonly ConfigNotice[];
}

/** Why no node starts, and what its operator should know besides. */
export interface RefusedConfig {
  readonly problems: readonly ConfigProblem[];
  readonly notices: readonly ConfigNotice[];
}

/** Where settings come from. */
export interface ConfigInput {
  /** Flags, without the program's name and command. */
  readonly argv: readonly string[];
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Reads a file as text; undefined when it cannot. */
  readonly readFile: (path: string) => string | undefined;
  /** Of the machine, or what a container may have of it. Undefined: not known, and 4 GiB are taken for it. */
  readonly memoryBytes?: number;
}

const MEMORY_BYTES_DEFAULT = 4 * 1024 ** 3;
/** What a key is taken to need when nobody says how many there may be. */
const BYTES_PER_KEY = 256;

/** Loads and checks the whole configuration. */
export function loadConfig(input: ConfigInput): Result<LoadedConfig, RefusedConfig> {
  const { values, notices, problems } = readSources(input);
  const parsed = v.safeParse(ConfigSchema, values);
  if (!parsed.success) {
    for (const issue of parsed.issues) {
      const variable = String(issue.path?.[0].key ?? "") as Variable;
      if (problems.some((problem) => problem.variable === variable)) continue;
      problems.push(problemOf(variable, values[variable] ?? "", issue.message));
    }
  }
  if (!parsed.success || problems.length > 0) return fail({ problems, notices });
  const settings = parsed.output;

  const hasTokens = settings.RF_BEARER_TOKENS !== undefined;
  const cert = fileOf(settings, "RF_TLS_CERT");
  const key = fileOf(settings, "RF_TLS_KEY");
  const { memoryBytes = MEMORY_BYTES_DEFAULT } = input;
  const keyBytesMax = settings.RF_KV_BYTES ?? Math.floor(memoryBytes / 4);
  const config: Config = {
    httpHost: settings.RF_HTTP_ADDR.host ?? (hasTokens ? "0.0.0.0" : "127.0.0.1"),
    httpPort: settings.PORT ?? settings.RF_HTTP_ADDR.port ?? 1109,
    dataDir: settings.RF_DATA_DIR,
    tokens: settings.RF_BEARER_TOKENS ?? [
      { secret: "dev", access: "full", scope: undefined, rate: undefined },
    ],
    logLevel: settings.RF_LOG_LEVEL,
    segmentBytes: settings.RF_SEGMENT_BYTES,
    segmentsKept: settings.RF_SEGMENTS_KEPT,
    disk: settings.RF_DISK,
    writeTimeoutMs: settings.RF_WRITE_TIMEOUT_MS,
    inflightBytesMax: settings.RF_INFLIGHT_BYTES,
    bodyBytesMax: settings.RF_BODY_BYTES_MAX,
    recordBytesMax: settings.RF_RECORD_BYTES_MAX,
    idempotencyTtlMs: settings.RF_IDEMPOTENCY_TTL_MS,
    idempotencyKeysMax: settings.RF_IDEMPOTENCY_KEYS_MAX,
    keysMax: settings.RF_SHARED_ENTRIES ?? Math.ceil(keyBytesMax / BYTES_PER_KEY),
    keyBytesMax,
    createsTopics: settings.RF_AUTO_CREATE_TOPICS,
    rocket: {
      defaultMode: settings.RF_ROCKET ? "rocket" : "sealed",
      bytesMax: settings.RF_ROCKET_BYTES,
      partitionBytesMax: settings.RF_ROCKET_PARTITION_BYTES,
    },
    tls: cert && key && { certPath: cert.path, keyPath: key.path },
    isMetricsOpen: settings.RF_METRICS_OPEN,
    isDocsOpen: settings.RF_DOCS_OPEN,
    docsUrl: settings.RF_DOCS_URL,
    stopsWithInput: settings.RF_STOP_WITH_STDIN,
    cluster: clusterOf(settings, values, input.readFile, { problems, notices }),
  };
  problems.push(
    ...contradictions(config, values),
    ...tlsProblems({ cert, key }, input.readFile),
    ...tooMuchMemory(config, memoryBytes),
  );
  if (!hasTokens) notices.push(defaultTokenNotice(config.httpHost));
  if (problems.length > 0) return fail({ problems, notices });
  return succeed({ config: Object.freeze(config), notices });
}

function fileOf(settings: Settings, variable: "RF_TLS_CERT" | "RF_TLS_KEY"): NamedFile | undefined {
  const path = settings[variable];
  return path === undefined ? undefined : { variable, path };
}

/** Rules between fields. */
function contradictions(config: Config, values: Readonly<Record<string, string>>): ConfigProblem[] {
  const problems: ConfigProblem[] = [];
  const problem = (variable: Variable, value: number | string, range: string): void => {
    problems.push({ variable, value: String(value), range });
  };
  if (config.recordBytesMax > config.bodyBytesMax) {
    problem(
      "RF_RECORD_BYTES_MAX",
      config.recordBytesMax,
      `at most RF_BODY_BYTES_MAX, ${config.bodyBytesMax}`,
    );
  }
  const largestEntry = config.bodyBytesMax + ENTRY_OVERHEAD_BYTES_MAX;
  if (config.segmentBytes < largestEntry) {
    problem(
      "RF_SEGMENT_BYTES",
      config.segmentBytes,
      `at least RF_BODY_BYTES_MAX and 64 KiB, ${largestEntry}`,
    );
  }
  if (config.inflightBytesMax < config.bodyBytesMax) {
    problem(
      "RF_INFLIGHT_BYTES",
      config.inflightBytesMax,
      `at least RF_BODY_BYTES_MAX, ${config.bodyBytesMax}`,
    );
  }
  const { bytesMax, partitionBytesMax } = config.rocket;
  if (partitionBytesMax > bytesMax) {
    problem("RF_ROCKET_PARTITION_BYTES", partitionBytesMax, `at most RF_ROCKET_BYTES, ${bytesMax}`);
  }
  for (const [one, other] of [
    ["RF_TLS_CERT", "RF_TLS_KEY"],
    ["RF_TLS_KEY", "RF_TLS_CERT"],
  ] as const) {
    if (values[one] !== undefined && values[other] === undefined) {
      problem(other, "", `a path, because ${one} is set`);
    }
  }
  return problems;
}

/** What would need more memory than there is. */
function tooMuchMemory(config: Config, memoryBytes: number): ConfigProblem[] {
  const problems: ConfigProblem[] = [];
  const bytesMax = Math.floor((memoryBytes / 4) * 3);
  if (config.keyBytesMax > bytesMax) {
    problems.push({
      variable: "RF_KV_BYTES",
      value: String(config.keyBytesMax),
      range: `at most ${bytesMax}: three quarters of the ${memoryBytes} bytes of memory that there are`,
    });
  }
  const keysMax = Math.floor(bytesMax / KEY_BYTES_MIN);
  if (config.keysMax > keysMax) {
    problems.push({
      variable: "RF_SHARED_ENTRIES",
      value: String(config.keysMax),
      range: `at most ${keysMax}: each takes at least ${KEY_BYTES_MIN} bytes, and there are ${memoryBytes} bytes of memory`,
    });
  }
  return problems;
}

function problemOf(variable: Variable, value: string, message: string): ConfigProblem {
  const { range, isSecret = false, isExplained = false } = factsOf(variable);
  return {
    variable,
    // Of a secret it is said how it is wrong, never what it is.
    value: isSecret ? "(not shown)" : value,
    range: isExplained ? `${range} (${message})` : range,
  };
}

/** What a variable says of itself. */
export function factsOf(variable: Variable): FieldFacts {
  return v.getMetadata(innermost(variable)) as unknown as FieldFacts;
}

/** A variable's description. */
export function descriptionOf(variable: Variable): string {
  return v.getDescription(innermost(variable)) ?? "";
}

/** The value a variable has when nothing is said, as text; undefined when it has none. */
export function defaultOf(variable: Variable): string | undefined {
  const fallback = (ConfigSchema.entries[variable] as { readonly default?: unknown }).default;
  return typeof fallback === "string" ? fallback : undefined;
}

function innermost(variable: Variable): v.GenericSchema {
  let schema = ConfigSchema.entries[variable] as v.GenericSchema & { wrapped?: v.GenericSchema };
  while (schema.wrapped !== undefined) schema = schema.wrapped;
  return schema;
}

function defaultTokenNotice(host: string): ConfigNotice {
  return isLoopback(host)
    ? {
        level: "warn",
        event: "default_token",
        fields: {
          message: "RF_BEARER_TOKENS is not set: the token is dev, on this machine only",
          host,
        },
      }
    : {
        level: "warn",
        event: "default_token_on_network",
        fields: {
          message: `ANYONE WHO REACHES ${host} CAN READ AND WRITE EVERYTHING WITH THE TOKEN dev: set RF_BEARER_TOKENS`,
          host,
        },
      };
}
