// Numbers as people read them. All inputs are in base units, times in nanoseconds. A number and its unit stay on one line.

/** Three digits or so, without an exponent: 0.02, 1.03, 12.4, 512, 8.1 k. */
export function short(value) {
  const size = Math.abs(value);
  if (size >= 1e6) return `${digits(value / 1e6)} M`;
  if (size >= 1e4) return `${digits(value / 1e3)} k`;
  return digits(value);
}

/** How many there are: 3, 512, 12.3 k. */
export function count(value) {
  return value < 1e4 ? String(value) : short(value);
}

function digits(value) {
  const size = Math.abs(value);
  if (size === 0) return '0';
  if (size < 0.005) return '<0.01';
  return value.toFixed(size < 10 ? 2 : size < 100 ? 1 : 0);
}

/** A round number on an axis. */
export function tick(value) {
  return Math.abs(value) >= 1000 ? `${value / 1000} k` : String(value);
}

/** A duration. */
export function time(ns) {
  if (ns === 0) return '0';
  for (const [unit, size] of [['s', 1e9], ['ms', 1e6], ['µs', 1e3]]) {
    if (ns >= size) return `${digits(ns / size)}\u00a0${unit}`;
  }
  return `${Math.round(ns)}\u00a0ns`;
}

/** A share of one. */
export function percent(share) {
  if (share > 0 && share < 0.005) return '<1\u00a0%';
  return `${Math.round(share * 100)}\u00a0%`;
}

/** A time of day, from seconds since 1970. */
export function clock(seconds) {
  return new Date(seconds * 1000).toLocaleTimeString([], { hour12: false });
}

/** A length of time in words. */
export function span(seconds) {
  if (seconds < 90) return `${Math.round(seconds)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  return seconds < 129600 ? `${Math.round(seconds / 3600)} h` : `${Math.round(seconds / 86400)} d`;
}
