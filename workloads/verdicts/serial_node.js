// One event loop computes everything. The cure divides the work among worker threads.
const { Worker, isMainThread, workerData } = require("node:worker_threads");
const { availableParallelism } = require("node:os");

function compute(rounds) {
  let state = 1;
  for (let i = 0; i < rounds; i++) state = (Math.imul(state, 1664525) + 1013904223) | 0;
  return state;
}

const ROUNDS = 1.6e9;
if (!isMainThread) compute(workerData);
else if (process.argv[2] === "cure") {
  const count = availableParallelism();
  for (let i = 0; i < count; i++) new Worker(__filename, { workerData: ROUNDS / count });
} else compute(ROUNDS);
