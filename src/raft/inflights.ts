// What was sent to one follower and is not answered yet: a window bounded by messages and by bytes.

/** A queue of (last index, bytes) per message, oldest first. */
export class Inflights {
  readonly #bytesMax: number;
  readonly #messagesMax: number;
  #indexes: number[] = [];
  #sizes: number[] = [];
  #head = 0;
  #bytes = 0;

  /** @param messagesMax At least one; the message that passes `bytesMax` is still taken. */
  constructor(bytesMax: number, messagesMax: number) {
    this.#bytesMax = bytesMax;
    this.#messagesMax = messagesMax;
  }

  get bytes(): number {
    return this.#bytes;
  }

  get messages(): number {
    return this.#indexes.length - this.#head;
  }

  get isFull(): boolean {
    return this.messages >= this.#messagesMax || this.#bytes >= this.#bytesMax;
  }

  /** Notes a message whose last entry is `lastIndex`. */
  add(lastIndex: number, bytes: number): void {
    this.#indexes.push(lastIndex);
    this.#sizes.push(bytes);
    this.#bytes += bytes;
  }

  /** Frees what ends at or below `index`. */
  freeUpTo(index: number): void {
    while (this.messages > 0 && (this.#indexes[this.#head] as number) <= index) {
      this.#bytes -= this.#sizes[this.#head] as number;
      this.#head += 1;
    }
    // The freed front is dropped now and then, so that a step costs no more than what it frees.
    if (this.messages === 0) this.clear();
    else if (this.#head * 2 > this.#indexes.length) {
      this.#indexes = this.#indexes.slice(this.#head);
      this.#sizes = this.#sizes.slice(this.#head);
      this.#head = 0;
    }
  }

  /** Frees everything. */
  clear(): void {
    if (this.#indexes.length > 0) {
      this.#indexes = [];
      this.#sizes = [];
    }
    this.#head = 0;
    this.#bytes = 0;
  }
}
