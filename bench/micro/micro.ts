// What a micro bench looks like: a file `bench/micro/<room>-<what>.ts` that exports `run`.

/** `tiny` proves that the bench still works, in milliseconds; `real` measures, in seconds. */
export type MicroSize = "tiny" | "real";

/** What a bench found; a figure's name ends in its unit. */
export interface MicroResult {
  readonly name: string;
  readonly figures: Readonly<Record<string, number>>;
}

/** What a bench's file exports. */
export interface MicroBench {
  run(options: { readonly size: MicroSize }): Promise<MicroResult>;
}

// These two belong to the runner.
const NOT_BENCHES = new Set(["micro.ts", "run.ts"]);

/** Finds the benches of this folder, in order of their names. */
export function microFiles(): string[] {
  const files = [...new Bun.Glob("*.ts").scanSync(import.meta.dir)];
  return files.filter((file) => !NOT_BENCHES.has(file)).sort();
}

/** Loads one of them. */
export async function loadMicro(file: string): Promise<MicroBench> {
  const loaded: Partial<MicroBench> = await import(`./${file}`);
  if (typeof loaded.run !== "function")
    throw new Error(`bench/micro/${file} exports no function run`);
  return loaded as MicroBench;
}

/**
 * Times `act` in a loop: the median of five blocks, so that one interruption does not count.
 * @returns nanoseconds of one call.
 */
export function nanosecondsPerCall(calls: number, act: (i: number) => void): number {
  const blocks = Array.from({ length: 5 }, () => {
    const from = Bun.nanoseconds();
    for (let i = 0; i < calls; i++) act(i);
    return (Bun.nanoseconds() - from) / calls;
  });
  blocks.sort((a, b) => a - b);
  return Math.round(blocks[2]! * 10) / 10;
}
