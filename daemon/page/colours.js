// Colours by meaning. style.css has the values, for dark and light.

/** What threads do, in the order in which it is drawn: the variable of the colour, and words. */
export const STATES = [
  ['running', 'running'],
  ['runnable', 'waiting for a CPU'],
  ['transit', 'woken, not yet in a run queue'],
  ['gil', 'blocked: GIL'],
  ['futex', 'blocked: lock or thread'],
  ['mmap_lock', 'blocked: lock of the address space'],
  ['kernel_lock', 'blocked: lock inside the kernel'],
  ['pipe_socket', 'blocked: pipe or socket'],
  ['disk', 'blocked: disk'],
  ['page_fault', 'blocked: page fault'],
  ['child_wait', 'blocked: child'],
  ['stopped', 'stopped'],
  ['poll', 'blocked: poll'],
  ['sleep', 'blocked: sleep'],
  ['other', 'blocked: other'],
  ['unknown', 'blocked: not known'],
];

/** Where cores go, in the order in which it is drawn: the daemon's name, the variable of the colour, and words. */
export const CORES = [
  ['used', 'running', 'used'],
  ['quota', 'quota', 'kept from it by a CPU quota'],
  ['mask', 'mask', 'kept from it by an affinity mask'],
  ['others', 'runnable', 'taken by others'],
  ['transit', 'transit', 'on the way to it'],
  ...STATES.slice(STATES.findIndex(([state]) => state === 'gil')).map(([state, words]) => [`wait_${state}`, state, words]),
  ['too_few_threads', 'nobody', 'too few threads'],
];

/** Value of a variable of style.css. */
export function value(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

/** The variable with a workload's colour. */
export function ofWorkload(workload) {
  return workload?.colour == null ? 'rest' : `w${workload.colour}`;
}

/** A small square of that colour. */
export function swatch(name) {
  const square = document.createElement('span');
  square.className = 'swatch';
  square.style.background = `var(--${name})`;
  return square;
}
