// The key that an address names: percent-decoded once, from the address itself, since routers decode some of it.

import { isUtf8 } from "node:buffer";
import { decodeText } from "../lib/bytes.ts";
import { fail, type Result, succeed } from "../lib/result.ts";
import type { Refusal } from "../model/errors.ts";
import { KV_KEY_BYTES_MAX } from "../model/kv.ts";
import { invalidParameter } from "./schemas/check.ts";
import { decodePathBytes } from "./schemas/parameters.ts";

/** What an address of a key is about. */
export interface KeyPlace {
  readonly key: Uint8Array;
  /** What is known of the key, not its value. */
  readonly isMeta: boolean;
}

const ROOT = "/kv/";
const META = "/meta";
const RULE = `must have 1 to ${KV_KEY_BYTES_MAX} bytes of UTF-8, percent-encoded, and not end with the part meta`;

/** Reads `/kv/{namespace}/{key}`, and `/meta` behind it. */
export function keyPlaceOf(url: string): Result<KeyPlace, Refusal> {
  const host = url.indexOf("://");
  const start = url.indexOf(ROOT, host < 0 ? 0 : host + 3) + ROOT.length;
  const query = url.indexOf("?", start);
  const path = url.slice(start, query < 0 ? undefined : query);
  const slash = path.indexOf("/");
  const raw = slash < 0 ? "" : path.slice(slash + 1);
  const isMeta = raw.endsWith(META);
  const key = decodePathBytes(isMeta ? raw.slice(0, -META.length) : raw);
  if (key === undefined || !isKey(key)) return fail(invalidParameter("key", raw, RULE));
  return succeed({ key, isMeta });
}

/** Whether bytes may be a key. One that ends like the address of its own metadata could not be told from that. */
export function isKey(key: Uint8Array): boolean {
  if (key.length === 0 || key.length > KV_KEY_BYTES_MAX || !isUtf8(key)) return false;
  const text = decodeText(key);
  return text !== "meta" && !text.endsWith(META);
}
