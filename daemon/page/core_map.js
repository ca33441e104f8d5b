// The core map: uPlot gives time, rows and the cursor; the cells are painted here.

import { SYNC, axis, keys, readOut, timeAxis } from './charts.js';
import { ofWorkload, value } from './colours.js';
import { percent } from './units.js';

/** Heights in CSS pixels. */
const ROW = { most: 44, least: 9, wanted: 260 };
const AXES = 34;
/** CPUs that are told in words to those who cannot see the map. */
const TOLD = 16;

/** [workload id, share of the time] by CPU, of samples that were drawn before. */
const known = new WeakMap();

function sharesByCpu(sample) {
  let cpus = known.get(sample);
  if (!cpus) {
    cpus = {};
    for (const [id, figures] of Object.entries(sample.workloads)) {
      for (const [cpu, ns] of Object.entries(figures.on_cpu_ns ?? {})) (cpus[cpu] ??= []).push([Number(id), ns / sample.wall_ns]);
    }
    known.set(sample, cpus);
  }
  return cpus;
}

/** What ran on a CPU in a sample, those with a colour first, in the order of the colours. */
function shares(sample, cpu, workloads) {
  const rank = (id) => workloads.get(id)?.colour ?? 1000 + id;
  return (sharesByCpu(sample)[cpu] ?? []).toSorted(([a], [b]) => rank(a) - rank(b));
}

function busy(sample, cpu) {
  const idle_ns = sample.idle_ns[cpu];
  return idle_ns === undefined ? 0 : Math.min(Math.max(1 - idle_ns / sample.wall_ns, 0), 1);
}

export class CoreMap {
  constructor() {
    this.box = document.getElementById('map');
    this.readout = document.getElementById('map-readout');
    this.plot = null;
    this.shape = '';
    this.row = 0;
    keys(this.box, () => this.plot, (step) => this.move(step));
    new ResizeObserver(() => this.resize()).observe(this.box);
  }

  show(view) {
    this.view = view;
    this.cpus = view.history.cpus();
    this.box.dataset.rows = this.cpus.length;
    this.box.dataset.columns = view.samples.length;
    this.box.setAttribute('aria-label', this.words());
    const shape = JSON.stringify([this.cpus, view.theme]);
    const data = [view.middles, view.middles.map(() => 0)];
    if (shape !== this.shape) {
      this.shape = shape;
      this.plot?.destroy();
      this.plot = new uPlot(this.options(), data, this.box);
    } else {
      this.plot.setData(data);
    }
    this.read();
  }

  height() {
    return Math.round(Math.min(Math.max(ROW.wanted / Math.max(this.cpus.length, 1), ROW.least), ROW.most) * this.cpus.length) + AXES;
  }

  resize() {
    if (this.plot) this.plot.setSize({ width: this.box.clientWidth, height: this.height() });
  }

  options() {
    const count = this.cpus.length;
    // A label needs 14 pixels.
    const every = Math.ceil((14 * count) / Math.max(this.height() - AXES, 1));
    const labelled = this.cpus.map((_, row) => row).filter((row) => row % every === 0);
    return {
      width: this.box.clientWidth,
      height: this.height(),
      padding: [4, 8, 0, 0],
      legend: { show: false },
      cursor: { sync: SYNC, y: false, drag: { x: false, y: false }, points: { show: false } },
      scales: { x: { range: () => this.view.range }, y: { dir: -1, range: [0, Math.max(count, 1)] } },
      axes: [timeAxis(), axis({
        size: 62,
        grid: { show: false },
        ticks: { show: false },
        splits: () => labelled.map((row) => row + 0.5),
        values: (_, splits) => splits.map((split) => `CPU ${this.cpus[Math.floor(split)]}`),
      })],
      series: [{}, { paths: () => null, points: { show: false } }],
      hooks: { draw: [(plot) => this.paint(plot)], setCursor: [() => this.point()] },
    };
  }

  paint(plot) {
    const { ctx } = plot;
    const { samples, history, picked } = this.view;
    const gap = this.height() / Math.max(this.cpus.length, 1) > 20 ? 2 * devicePixelRatio : 1;
    const colours = new Map([...history.workloads].map(([id, workload]) => [id, value(ofWorkload(workload))]));
    const [ground, unnamed] = [value('cell'), value('unnamed')];
    const rows = this.cpus.map((_, row) => [plot.valToPos(row, 'y', true) + gap / 2, plot.valToPos(row + 1, 'y', true) - gap / 2]);
    ctx.save();
    ctx.beginPath();
    ctx.rect(plot.bbox.left, plot.bbox.top, plot.bbox.width, plot.bbox.height);
    ctx.clip();
    for (const sample of samples) {
      const end = history.date(sample.taken_ns);
      const left = Math.round(plot.valToPos(end - sample.wall_ns / 1e9, 'x', true));
      const width = Math.max(Math.round(plot.valToPos(end, 'x', true)) - left, 1);
      this.cpus.forEach((cpu, row) => {
        const [top, bottom] = rows[row];
        ctx.globalAlpha = 1;
        ctx.fillStyle = ground;
        ctx.fillRect(left, top, width, bottom - top);
        let at = bottom;
        const band = (share, colour, alpha) => {
          const height = Math.min(share * (bottom - top), at - top);
          ctx.globalAlpha = alpha;
          ctx.fillStyle = colour;
          ctx.fillRect(left, at - height, width, height);
          at -= height;
        };
        let named = 0;
        for (const [id, share] of shares(sample, cpu, history.workloads)) {
          band(share, colours.get(id) ?? unnamed, picked == null || picked === id ? 1 : 0.18);
          named += share;
        }
        // What no workload accounts for: the kernel's own work between two tasks, and rounding.
        band(Math.max(busy(sample, cpu) - named, 0), unnamed, picked == null ? 1 : 0.18);
      });
    }
    ctx.restore();
  }

  /** The pointer chose the row. */
  point() {
    const { cursor } = this.plot ?? {};
    // A cursor that another chart moved has no row of its own.
    if (cursor && cursor.event && cursor.top >= 0) this.row = Math.floor(this.plot.posToVal(cursor.top, 'y'));
    this.read();
  }

  move(step) {
    this.row = Math.min(Math.max(this.row + step, 0), this.cpus.length - 1);
  }

  read() {
    const { plot, view } = this;
    if (!plot || plot.cursor.left < 0 || plot.cursor.idx == null) return;
    const sample = view.samples[plot.cursor.idx];
    const cpu = this.cpus[Math.min(this.row, this.cpus.length - 1)];
    if (!sample || cpu === undefined) return;
    const parts = shares(sample, cpu, view.history.workloads).filter(([, share]) => share >= 0.005).sort(([, a], [, b]) => b - a);
    readOut(this.readout, view.history.date(sample.taken_ns), [
      ['cell', `CPU ${cpu}: ${percent(busy(sample, cpu))} busy`],
      ...parts.slice(0, 6).map(([id, share]) => {
        const workload = view.history.workloads.get(id);
        return [ofWorkload(workload), `${workload?.name ?? id} ${percent(share)}`];
      }),
    ]);
  }

  /** The map in words. */
  words() {
    const { samples, history } = this.view;
    const told = this.cpus.slice(0, TOLD).map((cpu) => {
      const used = new Map();
      let mean = 0;
      for (const sample of samples) {
        mean += busy(sample, cpu) / samples.length;
        for (const [id, share] of shares(sample, cpu, history.workloads)) used.set(id, (used.get(id) ?? 0) + share);
      }
      const most = [...used].sort(([, a], [, b]) => b - a)[0];
      return `CPU ${cpu} ${percent(mean)} busy${most ? `, most with ${history.workloads.get(most[0])?.name}` : ''}`;
    });
    return `Core map of ${this.cpus.length} CPUs over ${samples.length} samples. ${told.join('; ')}.`;
  }
}
