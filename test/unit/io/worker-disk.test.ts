// The disk on a worker thread keeps the promises of the port.

import { diskSuite } from "../../suites/disk.ts";
import { realDisk } from "../../support/real-disk.ts";

diskSuite("worker", () => realDisk("worker"));
