// The one schema of the configuration: every variable with its description, default and range.
// `load.ts` reads it, `describe.ts` prints it, and `docs/reference/configuration.md` is that print.

import * as v from "valibot";
import {
  address,
  LOG_LEVELS,
  notYet,
  oneOf,
  onOff,
  optionalPath,
  reserved,
  text,
  tokenList,
  webAddress,
  wholeNumber,
} from "./fields.ts";
import { SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN, WRITE_TIMEOUT_MS_MAX } from "./limits.ts";

const MIB = 1_048_576;
const later = "Of clustering. Taken and without effect in this version.";

/** Every variable by name; values come in as text, from flags, environment or file alike. */
export const ConfigSchema = v.object({
  RF_HTTP_ADDR: address(
    "Where to listen. The default host is 127.0.0.1, and 0.0.0.0 when RF_BEARER_TOKENS is set; the default port is 1109.",
  ),
  PORT: wholeNumber(
    undefined,
    0,
    65_535,
    "The port alone, over the one in RF_HTTP_ADDR. 0 takes a free one.",
    "--port",
  ),
  RF_DATA_DIR: text(
    "./data",
    "The directory that holds the log. One process at a time owns it.",
    "--data",
  ),
  RF_BEARER_TOKENS: tokenList(
    "Who may call. Scopes are `scope` or `admin` (everything), `write` and `read`, each also narrowed to topics as in `write=orders.*`. Unset, the single token is `dev`.",
  ),
  RF_LOG_LEVEL: oneOf(
    "info",
    LOG_LEVELS,
    "The least severe diagnostics that are written, as JSON lines on standard error.",
    "--log-level",
  ),
  RF_SEGMENT_BYTES: wholeNumber(
    64 * MIB,
    SEGMENT_BYTES_MIN,
    SEGMENT_BYTES_MAX,
    "Bytes of one log file. It must hold the largest request and 64 KiB more.",
  ),
  RF_DISK: oneOf(
    "auto",
    ["auto", "uring", "worker"],
    "How the log is written: `uring` by io_uring, `worker` by a thread, `auto` by the first where the kernel allows it.",
  ),
  RF_WRITE_TIMEOUT_MS: wholeNumber(
    5000,
    1,
    WRITE_TIMEOUT_MS_MAX,
    "Milliseconds that a write waits for its confirmation when the request has no `timeout_ms`.",
  ),
  RF_INFLIGHT_BYTES: wholeNumber(
    256 * MIB,
    MIB,
    64 * 1024 * MIB,
    "Bytes of request bodies held at the same time. Over it, requests are refused with `overloaded` before their body is read.",
  ),
  RF_BODY_BYTES_MAX: wholeNumber(16 * MIB, 1024, 256 * MIB, "Bytes of one request body."),
  RF_RECORD_BYTES_MAX: wholeNumber(MIB, 1, 64 * MIB, "Bytes of one record's value."),
  RF_IDEMPOTENCY_TTL_MS: wholeNumber(
    86_400_000,
    1000,
    31_536_000_000,
    "Milliseconds for which an idempotency key is remembered.",
  ),
  RF_IDEMPOTENCY_KEYS_MAX: wholeNumber(
    1_000_000,
    1,
    100_000_000,
    "How many idempotency keys are remembered; the oldest go first.",
  ),
  RF_AUTO_CREATE_TOPICS: onOff(
    false,
    "A produce to a topic that does not exist creates it, with 8 partitions.",
  ),
  RF_TLS_CERT: optionalPath("Certificate chain for HTTPS, PEM. Needs RF_TLS_KEY."),
  RF_TLS_KEY: optionalPath("Private key for HTTPS, PEM. Needs RF_TLS_CERT."),
  RF_METRICS_OPEN: onOff(true, "`/metrics` answers without a token."),
  RF_DOCS_OPEN: onOff(true, "`/swagger`, `/openapi.json` and `/docs` answer without a token."),
  RF_DOCS_URL: webAddress("https://ayder.dev/docs", "The base of the `docs` address in errors."),
  RF_ROCKET: notYet("the rocket mode", "Makes `rocket` the mode of new topics."),
  RF_SHARED_ENTRIES: reserved(
    "How many key-value entries may live in memory. Taken and without effect in this version.",
  ),
  RF_HA_ENABLED: notYet("clustering", "Turns clustering on."),
  RF_HA_NODE_ID: reserved(later),
  RF_HA_NODES: reserved(later),
  RF_HA_BOOTSTRAP_LEADER: reserved(later),
  RF_HA_WRITE_CONCERN: reserved(later),
  RF_HA_SYNC_MODE: reserved(later),
  RF_HA_DEDICATED_WORKER: reserved(later),
  RF_HA_TLS: reserved(later),
  RF_HA_TLS_CA: reserved(later),
  RF_HA_TLS_CERT: reserved(later),
  RF_HA_TLS_KEY: reserved(later),
  RF_HA_HEARTBEAT_MS: reserved(later),
  RF_HA_ELECTION_TIMEOUT_MS: reserved(later),
  RF_HA_SECRET: reserved(later),
  RF_HA_INSECURE: reserved(later),
  RF_HA_REDIRECT_STATUS: reserved(later),
  RF_HTTP_ADVERTISE: reserved(later),
});

/** A variable's name. */
export type Variable = keyof typeof ConfigSchema.entries;

/** Every variable's name, in the order of the reference. */
export const VARIABLES = Object.keys(ConfigSchema.entries) as readonly Variable[];
