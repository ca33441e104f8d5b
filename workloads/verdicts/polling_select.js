// Promises that look for a result every time round the event loop instead of being told. In the cure they are told. A worker computes
// the result meanwhile; it takes as long, and half the CPU.
const { Worker, isMainThread, parentPort } = require("node:worker_threads");

if (isMainThread) {
  const cured = process.argv[2] === "cure";
  const worker = new Worker(__filename);
  let done = false;
  worker.on("message", () => (done = true));
  const look = () => done || setTimeout(look, 0);
  if (!cured) for (let i = 0; i < 10; i++) look();
} else {
  let state = 1;
  for (let i = 0; i < 4e8; i++) state = (Math.imul(state, 1664525) + 1013904223) | 0;
  parentPort.postMessage(state);
}
