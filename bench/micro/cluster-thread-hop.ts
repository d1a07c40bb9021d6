// What a thread of its own for replication would add to each message: the way to another thread, and back. The messages are
// as large as the small ones of `cluster-transport`, whose figures these stand beside.

import type { MicroResult, MicroSize } from "./micro.ts";

const MESSAGE_BYTES = 1024;
const COUNTS = {
  tiny: { oneWay: 20, trips: 5 },
  real: { oneWay: 200_000, trips: 5000 },
} as const;

/** Answers a message with itself; of a row it answers the last alone, whose first byte says so. */
const ECHO = "onmessage = ({ data }) => { if (data[0] === 1) postMessage(data); };";

/** Measures one way and both. */
export async function run({ size }: { readonly size: MicroSize }): Promise<MicroResult> {
  const { oneWay, trips } = COUNTS[size];
  const source = URL.createObjectURL(new Blob([ECHO]));
  const worker = new Worker(source);
  const message = new Uint8Array(MESSAGE_BYTES);
  const answered = new Uint8Array(MESSAGE_BYTES).fill(1, 0, 1);
  const hop = (): Promise<void> =>
    new Promise((resolve) => {
      worker.onmessage = () => resolve();
      worker.postMessage(answered);
    });
  try {
    // It has loaded.
    await hop();
    const row = await measured(async () => {
      for (let i = 1; i < oneWay; i++) worker.postMessage(message);
      await hop();
    });
    const micros: number[] = [];
    const pairs = await measured(async () => {
      for (let i = 0; i < trips; i++) {
        const started = Bun.nanoseconds();
        await hop();
        micros.push((Bun.nanoseconds() - started) / 1000);
      }
    });
    micros.sort((one, other) => one - other);
    return {
      name: "cluster-thread-hop",
      figures: {
        small_per_s: Math.round(oneWay / row.seconds),
        small_cpu_us: Math.round((row.cpuMicros / oneWay) * 10) / 10,
        trip_p50_us: Math.round(micros[micros.length >> 1] ?? 0),
        trip_p99_us: Math.round(micros[Math.floor(micros.length * 0.99)] ?? 0),
        trip_cpu_us: Math.round((pairs.cpuMicros / trips) * 10) / 10,
      },
    };
  } finally {
    worker.terminate();
    URL.revokeObjectURL(source);
  }
}

/** Seconds and processor time, of all threads. */
async function measured(
  act: () => Promise<void>,
): Promise<{ readonly seconds: number; readonly cpuMicros: number }> {
  const started = performance.now();
  const before = process.cpuUsage();
  await act();
  const { user, system } = process.cpuUsage(before);
  return { seconds: (performance.now() - started) / 1000, cpuMicros: user + system };
}
