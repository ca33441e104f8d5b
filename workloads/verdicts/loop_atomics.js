// Handlers that wait with a blocking call, in one event loop. The cure waits with a timer.
const cured = process.argv[2] === "cure";
const cell = new Int32Array(new SharedArrayBuffer(4));

async function handle() {
  await new Promise(setImmediate);
  if (cured) await new Promise((resolve) => setTimeout(resolve, 15));
  else Atomics.wait(cell, 0, 0, 15);
  await new Promise((resolve) => setTimeout(resolve, 1));
}

(async () => {
  for (let round = 0; round < 4; round++) await Promise.all(Array.from({ length: 15 }, handle));
})();
