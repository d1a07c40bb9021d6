// How Avro values that JSON has no word for come out: bytes as base64, decimals as exact texts, days and moments in ISO 8601.

import type { Numeric, Value } from "../compare.ts";
import { isoDay, isoMoment } from "../time.ts";
import type { Logical } from "./avro-schema.ts";
import type { Tap } from "./avro-tap.ts";
import { floatValue } from "./floats.ts";

/** Reads a value as bytes. */
type ReadBytes = (tap: Tap) => Uint8Array;

const hex = (bytes: Uint8Array): string => bytes.toHex();

/** The integer in two's complement, most significant byte first. */
export function signedInteger(bytes: Uint8Array): bigint {
  if (bytes.length === 0) return 0n;
  return BigInt.asIntN(8 * bytes.length, BigInt(`0x${hex(bytes)}`));
}

/** An integer with a point before its last `scale` digits. */
function decimalText(unscaled: bigint, scale: number): string {
  if (scale === 0) return unscaled.toString();
  const digits = (unscaled < 0n ? -unscaled : unscaled).toString().padStart(scale + 1, "0");
  const minus = unscaled < 0n ? "-" : "";
  return `${minus}${digits.slice(0, -scale)}.${digits.slice(-scale)}`;
}

/** Decimals beyond this many bytes are refused: their digits cost the square of it. */
const DECIMAL_BYTES_MAX = 512;

/** Shows bytes or a fixed. */
export function bytesReader(read: ReadBytes, logical: Logical | undefined): (tap: Tap) => Value {
  switch (logical?.kind) {
    case "decimal": {
      const { scale } = logical;
      return (tap) => {
        const bytes = read(tap);
        return bytes.length > DECIMAL_BYTES_MAX
          ? bytes.toBase64()
          : decimalText(signedInteger(bytes), scale);
      };
    }
    case "uuid":
      return (tap) => {
        const text = hex(read(tap));
        return [0, 8, 12, 16, 20].map((at, i, all) => text.slice(at, all[i + 1])).join("-");
      };
    case "duration":
      return (tap) => {
        const bytes = read(tap);
        const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
        const [months, days, millis] = [0, 4, 8].map((at) => view.getUint32(at, true));
        return { months: months ?? 0, days: days ?? 0, millis: millis ?? 0 };
      };
    default:
      return (tap) => read(tap).toBase64();
  }
}

/** Shows an integer. */
export function integerReader(
  read: (tap: Tap) => Numeric,
  logical: Logical | undefined,
): (tap: Tap) => Value {
  switch (logical?.kind) {
    case "date":
      return (tap) => isoDay(Number(read(tap)));
    case "timestamp-micros":
      return (tap) => `${isoMoment(BigInt(read(tap)), 1_000_000n, 6)}Z`;
    case "timestamp-nanos":
      return (tap) => `${isoMoment(BigInt(read(tap)), 1_000_000_000n, 9)}Z`;
    case "local-timestamp-micros":
      return (tap) => isoMoment(BigInt(read(tap)), 1_000_000n, 6);
    case "local-timestamp-nanos":
      return (tap) => isoMoment(BigInt(read(tap)), 1_000_000_000n, 9);
    default:
      return read;
  }
}

/** Shows a decimal number. */
export const floatReader =
  (read: (tap: Tap) => number): ((tap: Tap) => Value) =>
  (tap) =>
    floatValue(read(tap));
