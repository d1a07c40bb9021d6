// What the replica needs of the world besides a disk and a clock.

/** Asks for a turn soon, outside of the present one. Asking twice before it comes is one turn. */
export type RequestTurn = () => void;
