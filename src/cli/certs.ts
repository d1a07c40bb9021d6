// `ayder certs`: an authority and a certificate for each node, for a trial cluster. Writes files and never over others.

import { createPrivateKey } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { isIP } from "node:net";
import { join } from "node:path";
import type { X509Certificate } from "@peculiar/x509";
import { NODE_ID, NODE_ID_RANGE } from "../config/mod.ts";
import { attempt } from "../io/mod.ts";
import { EXIT_CODES, FatalError } from "../lib/fatal.ts";
import { usageOf } from "./help.ts";
import type { Given } from "./parse.ts";
import type { Voice } from "./terminal.ts";

const CURVE = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" } as const;
const DAY_MS = 86_400_000;
/** Clocks of the nodes may differ by this much. */
const BACKDATED_MS = 3_600_000;
/** Common names are no longer (X.520); a longer id is in the DNS names alone. */
const COMMON_NAME_CHARS_MAX = 64;

/** What is asked for. */
interface Wanted {
  readonly directory: string;
  readonly nodes: readonly string[];
  readonly days: number;
  /** Names and addresses that every certificate has besides its node's. */
  readonly hosts: readonly string[];
}

const wrong = (message: string): FatalError => new FatalError("invalid_arguments", message);
const unusable = (message: string): FatalError => new FatalError("data_unusable", message);

interface Authority {
  readonly certificate: X509Certificate;
  readonly key: CryptoKey;
}

type X509 = typeof import("@peculiar/x509");

/** Makes what is asked for. Returns the exit status; throws why nothing, or not all, was written. */
export async function certs({ values }: Given<"certs">, { print }: Voice): Promise<number> {
  const files = await make(wantedOf(values));
  if (values.json) print(JSON.stringify({ ok: true, files }));
  else for (const file of files) print(file);
  return EXIT_CODES.ok;
}

function wantedOf({
  out,
  nodes: nodeList,
  days,
  hosts: hostList,
}: Given<"certs">["values"]): Wanted {
  const nodes = listOf(nodeList);
  const hosts = listOf(hostList);
  for (const node of nodes) {
    if (!NODE_ID.test(node)) throw wrong(`Node ${node} is not ${NODE_ID_RANGE}`);
    if (node === "ca") throw wrong("Node ca would take the files of the authority");
  }
  if (new Set(nodes).size !== nodes.length) throw wrong("A node is there twice");
  if (nodes.length === 0) throw wrong(usageOf("certs"));
  for (const host of hosts) {
    if (isIP(host) === 0 && !NODE_ID.test(host))
      throw wrong(`Host ${host} is neither a name nor an address`);
    // In every certificate, it would let every node be that one.
    if (nodes.includes(host) || existsSync(join(out, `${host}.pem`)))
      throw wrong(`Host ${host} is the id of a node: leave it out`);
  }
  return { directory: out, nodes, days, hosts };
}

const listOf = (text: string): string[] =>
  text
    .split(",")
    .map((piece) => piece.trim())
    .filter((piece) => piece !== "");

/** Makes everything first and writes it then. Returns the paths of what was written. */
async function make({ directory, nodes, days, hosts }: Wanted): Promise<string[]> {
  const caPath = join(directory, "ca.pem");
  const caKeyPath = join(directory, "ca.key");
  const present = nodes
    .flatMap((node) => [join(directory, `${node}.pem`), join(directory, `${node}.key`)])
    .filter((path) => existsSync(path));
  if (present.length > 0) throw unusable(`There is already ${present.join(", ")}`);
  const hasAuthority = existsSync(caPath);
  if (hasAuthority !== existsSync(caKeyPath))
    throw unusable(`Of ${caPath} and ${caKeyPath} one is missing`);

  // Loaded here, since no other command needs it. It asks for the first of the two to be there.
  await import("reflect-metadata");
  const x509 = await import("@peculiar/x509");
  x509.cryptoProvider.set(crypto);
  const files: [path: string, pem: string][] = [];
  const authority = hasAuthority
    ? await readAuthority(x509, caPath, caKeyPath)
    : await makeAuthority(x509, days);
  if (!hasAuthority) {
    files.push([caPath, pemOf(authority.certificate)]);
    files.push([caKeyPath, await keyPemOf(x509, authority.key)]);
  }
  for (const node of nodes) {
    const { certificate, key } = await makeNode(x509, authority, node, hosts, days);
    files.push([join(directory, `${node}.pem`), pemOf(certificate)]);
    files.push([join(directory, `${node}.key`), await keyPemOf(x509, key)]);
  }
  attempt(`make ${directory}`, () => mkdirSync(directory, { recursive: true, mode: 0o700 }));
  for (const [path, pem] of files)
    attempt(`write ${path}`, () => writeFileSync(path, pem, { flag: "wx", mode: 0o600 }));
  return files.map(([path]) => path);
}

async function makeAuthority(x509: X509, days: number): Promise<Authority> {
  const keys = await makeKeys();
  const usages = x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign;
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    serialNumber: serialNumber(),
    name: "CN=ayder cluster",
    ...validity(days),
    keys,
    signingAlgorithm: CURVE,
    extensions: [
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.KeyUsagesExtension(usages, true),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  return { certificate, key: keys.privateKey };
}

async function makeNode(
  x509: X509,
  authority: Authority,
  node: string,
  hosts: readonly string[],
  days: number,
): Promise<Authority> {
  const keys = await makeKeys();
  const names = [node, ...hosts].map((value) => ({
    type: isIP(value) === 0 ? ("dns" as const) : ("ip" as const),
    value,
  }));
  // The id itself is a name even where it looks like an address: that is how nodes compare it.
  names[0] = { type: "dns", value: node };
  const { serverAuth, clientAuth } = x509.ExtendedKeyUsage;
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: serialNumber(),
    subject: node.length > COMMON_NAME_CHARS_MAX ? "CN=ayder node" : `CN=${node}`,
    issuer: authority.certificate.subject,
    ...validity(days),
    publicKey: keys.publicKey,
    signingKey: authority.key,
    signingAlgorithm: CURVE,
    extensions: [
      new x509.BasicConstraintsExtension(false),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
      new x509.ExtendedKeyUsageExtension([serverAuth, clientAuth]),
      new x509.SubjectAlternativeNameExtension(names),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
      await x509.AuthorityKeyIdentifierExtension.create(authority.certificate.publicKey),
    ],
  });
  return { certificate, key: keys.privateKey };
}

async function readAuthority(x509: X509, caPath: string, keyPath: string): Promise<Authority> {
  try {
    const certificate = new x509.X509Certificate(readFileSync(caPath, "utf8"));
    const der = createPrivateKey(readFileSync(keyPath, "utf8")).export({
      type: "pkcs8",
      format: "der",
    });
    const key = await crypto.subtle.importKey("pkcs8", new Uint8Array(der), CURVE, true, ["sign"]);
    return { certificate, key };
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw unusable(`Cannot use the authority in ${caPath}: ${why}`);
  }
}

const makeKeys = (): Promise<CryptoKeyPair> =>
  crypto.subtle.generateKey(CURVE, true, ["sign", "verify"]);

function validity(days: number): { readonly notBefore: Date; readonly notAfter: Date } {
  const now = Date.now();
  return { notBefore: new Date(now - BACKDATED_MS), notAfter: new Date(now + days * DAY_MS) };
}

/** 127 random bits: positive, and never handed out twice. */
function serialNumber(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[0] = ((bytes[0] ?? 0) & 0x3f) | 0x40;
  return bytes.toHex();
}

const pemOf = (certificate: X509Certificate): string => `${certificate.toString("pem")}\n`;

async function keyPemOf(x509: X509, key: CryptoKey): Promise<string> {
  const bytes = await crypto.subtle.exportKey("pkcs8", key);
  return `${x509.PemConverter.encode(bytes, "PRIVATE KEY")}\n`;
}
