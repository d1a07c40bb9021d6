// The page of the sandbox: what it connects when it has loaded.

import { connectForms } from "./forms.ts";
import { watchNode } from "./node-view.ts";
import { connectProof } from "./proof-view.ts";

connectProof();
connectForms();
await watchNode();
