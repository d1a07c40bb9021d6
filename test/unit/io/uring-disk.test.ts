// The disk on io_uring keeps the promises of the port, where this machine has one.

import { diskSuite } from "../../suites/disk.ts";
import { hasRing, realDisk } from "../../support/real-disk.ts";

diskSuite("uring", () => realDisk("uring"), { isAvailable: await hasRing() });
