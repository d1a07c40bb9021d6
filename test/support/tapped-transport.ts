// A transport through which a test looks at what comes to a node: it may change it, drop it and forge it.

import type {
  Delivery,
  PeerAddress,
  PeerHello,
  PeerLink,
  Transport,
} from "../../src/replica/ports.ts";

/** A transport whose deliveries a test may look at, change, drop and forge. */
export class TappedTransport implements Transport {
  readonly inner: Transport;
  /** Called with what came; gives what is taken of it. */
  tap: (delivery: Delivery) => Delivery | undefined = (delivery) => delivery;
  readonly #forged: Delivery[] = [];

  constructor(inner: Transport) {
    this.inner = inner;
  }

  get onWake(): () => void {
    return this.inner.onWake;
  }

  set onWake(wake: () => void) {
    this.inner.onWake = wake;
  }

  forge(delivery: Delivery): void {
    this.#forged.push(delivery);
    this.inner.onWake();
  }

  introduce(hello: PeerHello): void {
    this.inner.introduce(hello);
  }

  setPeers(peers: readonly PeerAddress[]): void {
    this.inner.setPeers(peers);
  }

  link(nodeId: string): PeerLink {
    return this.inner.link(nodeId);
  }

  send(to: string, priority: "urgent" | "bulk", parts: readonly Uint8Array[]): boolean {
    return this.inner.send(to, priority, parts);
  }

  poll(): Delivery[] {
    const came = [...this.inner.poll(), ...this.#forged.splice(0)];
    return came.flatMap((delivery) => this.tap(delivery) ?? []);
  }

  close(): Promise<void> {
    return this.inner.close();
  }
}
