// What the daemon has told so far, and sums over a part of it.

/** As many samples as the daemon keeps. */
const SAMPLES = 300;
const COUNTS = ['wakeup_wait_ns', 'preempt_wait_ns', 'transit_ns', 'voluntary', 'preempted', 'yielded', 'migrations', 'wakeup_waits',
  'wakeup_waits_ns', 'preempt_waits', 'preempt_waits_ns'];

export class History {
  constructor() {
    this.forget();
  }

  forget() {
    this.epoch = 0;
    this.next = 0;
    this.samples = [];
    this.workloads = new Map();
    this.idle_ns = {};
    this.missing = {};
    this.repaired = {};
    this.details = {};
    this.began_ns = 0;
    this.taken_ns = 0;
    this.offset_s = Infinity;
  }

  /** Takes an answer in. True if it came from another daemon than the one before. */
  take(answer) {
    const restarted = this.epoch !== 0 && this.epoch !== answer.epoch;
    if (restarted) this.forget();
    for (const sample of answer.samples) {
      if (sample.number >= this.next) this.samples.push(sample);
    }
    this.samples.splice(0, this.samples.length - SAMPLES);
    this.epoch = answer.epoch;
    this.next = answer.next;
    this.idle_ns = answer.idle_ns;
    this.missing = answer.missing;
    this.repaired = answer.repaired;
    this.details = answer.details;
    this.began_ns = answer.began_ns;
    this.taken_ns = answer.taken_ns;
    this.workloads = new Map(answer.workloads.map((workload) => [workload.id, workload]));
    // The daemon's clock has no date. A reading arrives late, never early, so the smallest difference is the best.
    this.offset_s = Math.min(this.offset_s, Date.now() / 1000 - answer.taken_ns / 1e9);
    return restarted;
  }

  /** Time of day of a moment of the daemon's clock, in seconds since 1970. */
  date(ns) {
    return ns / 1e9 + this.offset_s;
  }

  /** CPUs that were seen switching, in order. */
  cpus() {
    return Object.keys(this.idle_ns).map(Number).sort((a, b) => a - b);
  }

  /** Samples of the last seconds; all of them for 0. */
  recent(seconds) {
    if (seconds === 0) return this.samples;
    const from_ns = this.taken_ns - seconds * 1e9;
    return this.samples.filter((sample) => sample.taken_ns > from_ns);
  }

  /** Sums over the last seconds; for 0, over everything since tracing began. */
  sums(seconds) {
    if (seconds === 0) {
      const model = (id) => mostly(this.samples.map((sample) => sample.workloads[id]).filter(Boolean));
      const rows = new Map([...this.workloads].map(([id, workload]) => [id, { ...filled(workload.totals), model: model(id) }]));
      return { wall_ns: Math.max(this.taken_ns - this.began_ns, 1), idle_ns: sum(this.samples.map((it) => it.idle_ns)), rows };
    }
    const samples = this.recent(seconds);
    const rows = new Map();
    for (const [id, workload] of this.workloads) {
      const grown = samples.map((sample) => sample.workloads[id]).filter(Boolean);
      rows.set(id, added(grown, workload.totals));
    }
    const wall_ns = Math.max(samples.reduce((wall, sample) => wall + sample.wall_ns, 0), 1);
    return { wall_ns, idle_ns: sum(samples.map((sample) => sample.idle_ns)), rows };
  }
}

function filled(figures) {
  const all = { model: '', on_cpu_ns: {}, blocked_ns: {}, threads: 0, processes: 0, ...figures };
  for (const key of COUNTS) all[key] ??= 0;
  return all;
}

function added(grown, standing) {
  const all = filled({ threads: standing.threads ?? 0, processes: standing.processes ?? 0 });
  for (const key of COUNTS) all[key] = grown.reduce((total, figures) => total + (figures[key] ?? 0), 0);
  all.model = mostly(grown);
  all.on_cpu_ns = sum(grown.map((figures) => figures.on_cpu_ns ?? {}));
  all.blocked_ns = sum(grown.map((figures) => figures.blocked_ns ?? {}));
  return all;
}

/** The model under which most of the on-CPU time was spent; nothing if it was idle throughout. */
function mostly(grown) {
  const spent = sum(grown.filter((figures) => figures.model).map((figures) => ({ [figures.model]: whole(figures.on_cpu_ns) })));
  return Object.entries(spent).sort(([, a], [, b]) => b - a)[0]?.[0] ?? '';
}

/** Sums of objects with numbers, by key. */
function sum(parts) {
  const total = {};
  for (const part of parts) {
    for (const [key, amount] of Object.entries(part)) total[key] = (total[key] ?? 0) + amount;
  }
  return total;
}

/** The sum of an object's numbers. */
export function whole(part = {}) {
  return Object.values(part).reduce((total, amount) => total + amount, 0);
}

/** What threads did, by the names of colours.js, in nanoseconds. */
export function doing(figures) {
  const runnable = (figures.wakeup_wait_ns ?? 0) + (figures.preempt_wait_ns ?? 0);
  return { running: whole(figures.on_cpu_ns), runnable, transit: figures.transit_ns ?? 0, ...figures.blocked_ns };
}

/** C, D and what else follows from sums over `wall_ns`. */
export function derived(figures, wall_ns) {
  const { running, runnable } = doing(figures);
  const per_second = 1e9 / wall_ns;
  const squares = Object.values(figures.on_cpu_ns).reduce((total, ns) => total + ns * ns, 0);
  return {
    running: running / wall_ns,
    demand: (running + runnable) / wall_ns,
    effective_cpus: squares > 0 ? (running * running) / squares : 0,
    switches: (figures.voluntary + figures.preempted + figures.yielded) * per_second,
    migrations: figures.migrations * per_second,
    wakeup_wait_ns: figures.wakeup_waits > 0 ? figures.wakeup_waits_ns / figures.wakeup_waits : 0,
    preempt_wait_ns: figures.preempt_waits > 0 ? figures.preempt_waits_ns / figures.preempt_waits : 0,
  };
}
