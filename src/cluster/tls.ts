// Mutual TLS between nodes: the three files, and the names in a peer's certificate. A chain to the CA and a name together
// make an identity: any node of the cluster has a certificate of the CA, but only one has that name.

import { readFileSync } from "node:fs";
import type { ClusterConfig } from "../config/mod.ts";
import { FatalError } from "../lib/fatal.ts";

/** Paths of CA certificate, own certificate and own key, PEM. */
export type TlsPaths = NonNullable<ClusterConfig["tls"]>;

/** Their contents. */
export interface TlsMaterial {
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
}

/** Reads the files. Throws `FatalError` when one cannot be read. */
export function readTlsMaterial(paths: TlsPaths): TlsMaterial {
  const read = (path: string): string => {
    try {
      return readFileSync(path, "utf8");
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      throw new FatalError("invalid_configuration", `Cannot read ${path}: ${why}`);
    }
  };
  return { ca: read(paths.caPath), cert: read(paths.certPath), key: read(paths.keyPath) };
}

/** What a TLS socket tells of the other side. */
export interface PeerCertificate {
  readonly subject?: { readonly CN?: unknown };
  readonly subjectaltname?: unknown;
}

/** The common names and DNS names of a certificate, as they are written there. */
export function namesIn(certificate: PeerCertificate | undefined): string[] {
  const common = certificate?.subject?.CN;
  const names = (Array.isArray(common) ? common : [common]).filter(
    (name): name is string => typeof name === "string",
  );
  const alternatives = certificate?.subjectaltname;
  if (typeof alternatives !== "string") return names;
  for (const entry of alternatives.split(", ")) {
    // A name with a comma or quote in it is quoted there, and no node id: it never equals one.
    if (entry.startsWith("DNS:")) names.push(entry.slice("DNS:".length));
  }
  return names;
}

/**
 * Whether the other side's certificate is one of the CA.
 * @param code What TLS found wrong; a name that differs from what was dialled is judged by `namesIn`, the same way on both sides.
 */
export const isOfAuthority = (isAuthorized: boolean, code: string | undefined): boolean =>
  isAuthorized || code === "ERR_TLS_CERT_ALTNAME_INVALID";
