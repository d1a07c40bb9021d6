// What the files of TLS must hold. They are looked at with everything else, so that a wrong one has the name of its
// variable: what listens later would only say that it cannot.

import { createPrivateKey, X509Certificate } from "node:crypto";
import type { ConfigProblem } from "./load.ts";
import type { Variable } from "./schema.ts";

/** A file that a variable names. */
export interface NamedFile {
  readonly variable: Variable;
  readonly path: string;
}

/** Files that belong together, as far as they are given. */
export interface TlsFiles {
  readonly ca?: NamedFile | undefined;
  readonly cert: NamedFile | undefined;
  readonly key: NamedFile | undefined;
}

/** Says everything that is wrong with the files. */
export function tlsProblems(
  { ca, cert, key }: TlsFiles,
  readFile: (path: string) => string | undefined,
): readonly ConfigProblem[] {
  const problems: ConfigProblem[] = [];
  const read = <T>(file: NamedFile | undefined, what: string, parse: (text: string) => T) => {
    if (file === undefined) return undefined;
    const { variable, path } = file;
    const text = readFile(path);
    if (text === undefined) {
      problems.push({ variable, value: path, range: "a path to a readable file" });
      return undefined;
    }
    try {
      return parse(text);
    } catch (error) {
      problems.push({ variable, value: path, range: `a file with ${what} (${whyOf(error)})` });
      return undefined;
    }
  };
  read(ca, "certificates in PEM", certificatesIn);
  const certificate = read(cert, "a certificate in PEM, or a chain of them", certificatesIn);
  const privateKey = read(key, "a private key in PEM, without a passphrase", createPrivateKey);
  if (cert && key && certificate && privateKey && !certificate.checkPrivateKey(privateKey)) {
    const range = `the private key of the certificate in ${cert.variable}, ${cert.path}`;
    problems.push({ variable: key.variable, value: key.path, range });
  }
  return problems;
}

const CERTIFICATE = /-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----/gs;

/** Reads all certificates of a text in PEM, and gives the first, which is the owner's. Throws when one cannot be read. */
export function certificatesIn(text: string): X509Certificate {
  const [first = text, ...others] = text.match(CERTIFICATE) ?? [];
  const certificate = new X509Certificate(first);
  for (const other of others) new X509Certificate(other);
  return certificate;
}

/** The last part of `error:0900006e:PEM routines:OPENSSL_internal:NO_START_LINE` says it. */
const whyOf = (error: unknown): string => {
  const message = error instanceof Error ? error.message : String(error);
  return message.split(":").at(-1) ?? message;
};
