// The simulated disk keeps the promises of the port, and its crashes lose what a crash may lose and nothing else.

import { Prng } from "../../../src/lib/prng.ts";
import { diskSuite } from "../../suites/disk.ts";
import { SimDisk, type SimDiskOptions } from "../../support/sim-disk.ts";

for (const reads of ["microtask", "step"] as const) {
  diskSuite(`simulated, reads by ${reads}`, () => {
    const disk = simDisk(1, { reads });
    return Promise.resolve({
      disk,
      step: () => disk.completeAll(),
      makeFullFile: (name: string) => {
        disk.files.create(name);
        disk.failNextAppend("no_space");
      },
      makeUnreadableFile: (name: string) => {
        disk.files.create(name);
        disk.failNextRead("io");
      },
      clean: () => undefined,
    });
  });
}

function simDisk(seed: number, options: Partial<SimDiskOptions> = {}): SimDisk {
  return new SimDisk({ prng: new Prng(seed), ...options });
}
