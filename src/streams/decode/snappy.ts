// Undoes Snappy's raw format: a length, then literals and copies of what was written before.

import { DecodeError } from "./decoder.ts";

const broken = (): DecodeError => new DecodeError("A block is not Snappy");

/** Uncompresses a block. @param bytesMax Most bytes that may come out. */
export function unsnap(source: Uint8Array, bytesMax: number): Uint8Array {
  let at = 0;
  const byte = (): number => {
    const value = source[at++];
    if (value === undefined) throw broken();
    return value;
  };
  const little = (count: number): number => {
    let value = 0;
    for (let i = 0; i < count; i++) value += byte() * 256 ** i;
    return value;
  };
  let length = 0;
  for (let shift = 0; ; shift += 7) {
    const part = byte();
    length += (part & 127) * 2 ** shift;
    if (part < 128) break;
    if (shift === 28) throw broken();
  }
  if (length > bytesMax) throw new DecodeError(`A block has more than ${bytesMax} bytes`);
  const target = new Uint8Array(length);
  let end = 0;
  while (at < source.length) {
    const tag = byte();
    const kind = tag & 3;
    if (kind === 0) {
      const short = tag >> 2;
      const size = (short < 60 ? short : little(short - 59)) + 1;
      if (at + size > source.length || end + size > length) throw broken();
      target.set(source.subarray(at, at + size), end);
      at += size;
      end += size;
      continue;
    }
    const size = kind === 1 ? ((tag >> 2) & 7) + 4 : (tag >> 2) + 1;
    const back = kind === 1 ? ((tag >> 5) << 8) | byte() : little(kind === 2 ? 2 : 4);
    if (back === 0 || back > end || end + size > length) throw broken();
    // A copy may overlap what it writes: byte by byte it repeats itself.
    for (let i = 0; i < size; i++, end++) target[end] = target[end - back] as number;
  }
  if (end !== length) throw broken();
  return target;
}
