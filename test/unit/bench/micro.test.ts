// Runs every micro bench with its tiny size, so that none rots.

import { expect, test } from "bun:test";
import { loadMicro, microFiles } from "../../../bench/micro/micro.ts";

for (const file of microFiles()) {
  test(`bench/micro/${file} runs and gives finite figures`, async () => {
    const { run } = await loadMicro(file);

    const { name, figures } = await run({ size: "tiny" });

    expect(`${name}.ts`).toBe(file);
    expect(Object.keys(figures).length).toBeGreaterThan(0);
    expect(Object.values(figures).every(Number.isFinite)).toBe(true);
  });
}
