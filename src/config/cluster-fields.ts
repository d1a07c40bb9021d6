// The building blocks of the cluster's part of the schema: like those in `fields.ts`.

import * as v from "valibot";
import type { WriteConcern } from "./cluster.ts";
import { type Field, field, parseAddress } from "./fields.ts";
import { CLUSTER_NODES_MAX } from "./limits.ts";
import { type ClusterNode, NODE_ID, NODE_ID_RANGE, parseNodes } from "./topology.ts";

/** A node's id, or nothing. */
export const nodeId = (description: string): Field<string | undefined> =>
  field(v.pipe(v.string(), v.trim(), v.regex(NODE_ID)), description, { range: NODE_ID_RANGE });

/** The list of nodes; undefined when there is none. */
export const nodeList = (description: string): Field<readonly ClusterNode[] | undefined> =>
  field(
    v.pipe(
      v.string(),
      v.rawTransform(({ dataset, addIssue, NEVER }) => {
        const parsed = parseNodes(dataset.value);
        if (parsed.ok) return parsed.value;
        addIssue({ message: parsed.error });
        return NEVER;
      }),
    ),
    description,
    {
      range: `1 to ${CLUSTER_NODES_MAX} of id:host:raft_port:priority, separated by commas`,
      isExplained: true,
    },
  );

/** How many nodes must have a write; undefined when nothing is said. */
export const writeConcern = (description: string): Field<WriteConcern | undefined> =>
  field(
    v.pipe(
      v.string(),
      v.trim(),
      v.regex(/^([1-9]|majority|all)$/),
      v.transform((text) => (text === "majority" || text === "all" ? text : Number(text))),
    ),
    description,
    { range: "a whole number from 1 to the number of nodes, majority or all" },
  );

/** Text that is never shown. */
export const secret = (description: string): Field<string | undefined> =>
  field(v.pipe(v.string(), v.nonEmpty()), description, { range: "text", isSecret: true });

/** The base of this node's HTTP address, or its host and port, as text without a slash at its end. */
export const advertised = (description: string): Field<string | undefined> =>
  field(
    v.pipe(
      v.string(),
      v.trim(),
      v.transform((text) => text.replace(/\/+$/, "")),
      v.check(isAdvertisable),
    ),
    description,
    { range: "an http or https address without a path, or host:port" },
  );

/** It goes into `Location` headers as it is, with the path of a request behind it. */
function isAdvertisable(text: string): boolean {
  const scheme = /^https?:\/\//.exec(text)?.[0];
  const address = parseAddress(text.slice(scheme?.length ?? 0));
  if (address?.host === undefined || /[/@?#\\]/.test(address.host)) return false;
  if (scheme === undefined && address.port === undefined) return false;
  return URL.canParse(scheme === undefined ? `http://${text}` : text);
}
