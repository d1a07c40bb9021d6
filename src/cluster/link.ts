// One connection from its first byte to its end: handshake, then frames. Knows its socket and nothing of other connections.

import type { Socket } from "bun";
import type { PeerHello } from "../replica/mod.ts";
import { type FrameFault, SEQUENCE_MAX } from "./frame.ts";
import { type HandshakeStep, type RefusalReason, refusalOf } from "./handshake.ts";
import { type Word, WordReader } from "./hello.ts";
import type { SessionKeys, Side } from "./keys.ts";
import { MessageReader } from "./message-reader.ts";
import { Outbox } from "./outbox.ts";

/** Why a connection ended. */
export interface LinkEnd {
  readonly reason: RefusalReason | "closed" | "silent" | "replaced" | "let_go" | "unreachable";
  /** The other side refused us, not we it. */
  readonly isTheirs?: boolean;
  /** More of the reason: a fault, an error code. */
  readonly detail?: string | undefined;
  /** Who the other side said it was, where nothing is proven. */
  readonly claimed?: string | undefined;
}

/** Whom a link tells. */
export interface LinkEvents {
  /** The other side has proven who it is: `link.peer`. */
  opened(link: Link): void;
  message(link: Link, bytes: Uint8Array): void;
  /** What came with one event of the socket is all parsed. */
  received(link: Link): void;
  /** Once, whatever happened before. */
  ended(link: Link, end: LinkEnd): void;
}

/** Either side's handshake. */
interface Handshake {
  receive(word: Word, body: Uint8Array): HandshakeStep;
}

type State = "connecting" | "greeting" | "open" | "ended";

/** One connection. */
export class Link {
  readonly side: Side;
  readonly startedMs: number;
  /** Whom the dialler means; undefined for the listener. */
  readonly target: string | undefined;
  peer: PeerHello | undefined;
  /** When it was opened, and when anything was last heard. */
  openedMs = 0;
  heardMs: number;
  bytesReceived = 0;
  isPaused = false;
  readonly #events: LinkEvents;
  #state: State = "connecting";
  #socket: Socket<Link> | undefined;
  #handshake: Handshake | undefined;
  readonly #words = new WordReader();
  /** Handshake bytes that the kernel did not take yet. */
  #greeting = new Uint8Array(0);
  #reader: MessageReader | undefined;
  #outbox: Outbox | undefined;
  #hasRoom = true;

  constructor(side: Side, target: string | undefined, events: LinkEvents, nowMs: number) {
    this.side = side;
    this.target = target;
    this.#events = events;
    this.startedMs = nowMs;
    this.heardMs = nowMs;
  }

  get isOpen(): boolean {
    return this.#state === "open";
  }

  /** Whether there is a socket: the other side's machine has answered. */
  get isAttached(): boolean {
    return this.#socket !== undefined;
  }

  get isEnded(): boolean {
    return this.#state === "ended";
  }

  get unsentBytes(): number {
    return this.#outbox?.unsentBytes ?? 0;
  }

  get bytesSent(): number {
    return this.#outbox?.bytesSent ?? 0;
  }

  get messagesReceived(): number {
    return this.#reader?.messages ?? 0;
  }

  /** The socket is there, but must not be talked on before `greet`. */
  attach(socket: Socket<Link>): void {
    if (this.isEnded) {
      socket.terminate();
      return;
    }
    this.#socket = socket;
    socket.setNoDelay(true);
  }

  /** Begins the handshake. @param first What to say first; undefined on the side that listens. */
  greet(handshake: Handshake, first: Uint8Array | undefined): void {
    if (this.#state !== "connecting") return;
    this.#state = "greeting";
    this.#handshake = handshake;
    if (first !== undefined) this.#say(first);
  }

  /** Takes bytes from the socket. */
  receive(chunk: Uint8Array, nowMs: number): void {
    this.heardMs = nowMs;
    this.bytesReceived += chunk.length;
    if (this.#state === "open") this.#receiveFrames(chunk);
    else if (this.#state === "greeting") this.#receiveWords(chunk, nowMs);
    // Bytes before TLS has said who is there.
    else if (this.#state === "connecting") this.end({ reason: "malformed" });
  }

  /** The kernel takes bytes again. */
  drained(): void {
    this.#hasRoom = true;
    this.flush();
  }

  /** Takes one message; false when there is no room for it or nobody to send it to. */
  send(priority: "urgent" | "bulk", parts: readonly Uint8Array[]): boolean {
    const outbox = this.#outbox;
    if (this.#state !== "open" || outbox === undefined) return false;
    if (outbox.push(priority, parts)) return true;
    this.flush();
    return this.isOpen && outbox.push(priority, parts);
  }

  /** Says that this side is there, unless something waits anyway. */
  sendAlive(): void {
    this.#outbox?.pushAlive();
    this.flush();
  }

  /** Hands what is unsent to the kernel, as much as it takes. */
  flush(): void {
    if (this.isEnded || !this.#hasRoom) return;
    if (this.#greeting.length > 0) {
      const bytes = this.#greeting;
      this.#greeting = bytes.slice(Math.max(0, this.#write(bytes, 0, bytes.length)));
      if (this.#greeting.length > 0) {
        this.#hasRoom = false;
        return;
      }
    }
    const outbox = this.#outbox;
    if (outbox === undefined) return;
    this.#hasRoom = outbox.flush(this.#write);
    if (outbox.isExhausted)
      this.end({ reason: "closed", detail: `${SEQUENCE_MAX} frames were sent` });
  }

  /** Stops taking bytes from the kernel, so that the other side has to wait. */
  pause(): void {
    if (this.isPaused || this.isEnded) return;
    this.isPaused = true;
    this.#socket?.pause();
  }

  /** Goes on. */
  resume(nowMs: number): void {
    if (!this.isPaused || this.isEnded) return;
    this.isPaused = false;
    // What was not read was not heard: silence counts from here.
    this.heardMs = nowMs;
    this.#socket?.resume();
  }

  /** Ends the connection from this side. What the kernel has is still delivered unless the other side did wrong. */
  end(end: LinkEnd): void {
    if (this.isEnded) return;
    if (this.#state === "open" && end.reason === "let_go") this.flush();
    this.#state = "ended";
    if (end.reason === "let_go") this.#socket?.end();
    else this.#socket?.terminate();
    this.#forget(end);
  }

  /** The socket has ended or failed, or was never made. */
  closed(detail: string | undefined): void {
    if (this.isEnded) return;
    const reason = this.isAttached ? "closed" : "unreachable";
    this.#state = "ended";
    this.#socket?.terminate();
    this.#forget({ reason, detail, claimed: this.target });
  }

  #forget(end: LinkEnd): void {
    this.#events.ended(this, end);
    this.#outbox = undefined;
    this.#reader = undefined;
    this.#handshake = undefined;
  }

  #receiveFrames(chunk: Uint8Array): void {
    const fault: FrameFault | undefined = this.#reader?.receive(chunk);
    if (fault !== undefined) this.end({ reason: "bad_frame", detail: fault });
  }

  #receiveWords(chunk: Uint8Array, nowMs: number): void {
    if (!this.#words.receive(chunk)) {
      this.#refuse({ reason: "malformed" });
      return;
    }
    while (this.#state === "greeting") {
      const next = this.#words.next();
      if (next === undefined) return;
      if (next === "malformed" || this.#handshake === undefined) {
        this.#refuse({ reason: "malformed" });
        return;
      }
      const step = this.#handshake.receive(next.word, next.body);
      if (step.kind === "refused") {
        const end = { reason: step.reason, claimed: step.peer };
        if (step.bytes === undefined) this.end({ ...end, isTheirs: true });
        else this.#refuse(end);
      } else {
        if (step.bytes !== undefined) this.#say(step.bytes);
        if (step.kind === "done") this.#open(step.peer, step.session, nowMs);
      }
    }
    const rest = this.#words.rest();
    if (this.isOpen && rest.length > 0) this.#receiveFrames(rest);
  }

  #open(peer: PeerHello, session: SessionKeys | undefined, nowMs: number): void {
    if (this.isEnded) return;
    const other: Side = this.side === "dialler" ? "listener" : "dialler";
    this.#outbox = new Outbox(session?.[this.side]);
    this.#reader = new MessageReader(session?.[other], (bytes) =>
      this.#events.message(this, bytes),
    );
    this.#state = "open";
    this.peer = peer;
    this.openedMs = nowMs;
    this.#handshake = undefined;
    this.#events.opened(this);
  }

  /** Tells why, then ends. */
  #refuse(end: LinkEnd & { readonly reason: RefusalReason }): void {
    this.#say(refusalOf(end.reason));
    if (this.isEnded) return;
    this.#state = "ended";
    this.#socket?.end();
    this.#forget(end);
  }

  #say(bytes: Uint8Array): void {
    const joined = new Uint8Array(this.#greeting.length + bytes.length);
    joined.set(this.#greeting);
    joined.set(bytes, this.#greeting.length);
    this.#greeting = joined;
    this.flush();
  }

  readonly #write = (bytes: Uint8Array, at: number, length: number): number =>
    // All three: without a length, Bun refuses every offset but 0.
    this.#socket?.write(bytes, at, length) ?? 0;
}
