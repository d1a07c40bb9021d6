// Tells when the processors of this machine were slow: on shared machines the host may let them run at a fraction of their speed
// for some tens of milliseconds, which no counter inside shows. Does the same small work every other millisecond and prints
// `<start> <end>`, in milliseconds since the epoch, for each time that it took five times its usual processor time or more.
// Processor time, not time: that others were running is no slowness. Usage: bun bench/load/processor-probe.ts, until it is killed.

const EVERY_MS = 2;
const STEPS = 10_000;
const LEARN = 500;
const SLOW = 5;

let sink = 1;
function work(): void {
  for (let i = 0; i < STEPS; i++) sink = Math.imul(sink ^ i, 16_777_619);
}

const spent = (): number => {
  const { user, system } = process.cpuUsage();
  return user + system;
};

function look(): { readonly micros: number; readonly start: number; readonly end: number } {
  const start = performance.timeOrigin + performance.now();
  const before = spent();
  work();
  const micros = spent() - before;
  return { micros, start, end: performance.timeOrigin + performance.now() };
}

for (let i = 0; i < LEARN; i++) look();
const usual =
  Array.from({ length: LEARN }, () => look().micros).toSorted((a, b) => a - b)[LEARN >> 1] ?? 1;
for (;;) {
  Bun.sleepSync(EVERY_MS);
  const { micros, start, end } = look();
  if (micros >= SLOW * usual) process.stdout.write(`${start} ${end}\n`);
}
