// Lines and stacked areas over time, drawn by uPlot, with a line of text below each that reads out what is under the cursor.

import { STATES, ofWorkload, swatch, value } from './colours.js';
import { derived, doing } from './history.js';
import { clock, short, tick } from './units.js';

/** Cursors of all charts move together. */
export const SYNC = { key: 'time', scales: ['x', null], setSeries: false };
/** More lines than this cannot be told apart. */
const LINES = 8;
const HEIGHT = 180;

/** Style of an axis. */
export function axis(more) {
  return {
    stroke: value('faint'),
    font: '12px system-ui, sans-serif',
    grid: { stroke: value('line'), width: 1 },
    ticks: { stroke: value('line'), width: 1, size: 4 },
    ...more,
  };
}

/** The axis of time. */
export function timeAxis() {
  return axis({ size: 28, space: 80, values: (_, splits) => splits.map(clock) });
}

/** Writes a moment and what holds then: entries are [colour, text]. */
export function readOut(place, seconds, entries) {
  const time = document.createElement('span');
  time.className = 'time';
  time.textContent = clock(seconds);
  const parts = entries.map(([colour, text]) => {
    const part = document.createElement('span');
    part.append(swatch(colour), text);
    return part;
  });
  place.replaceChildren(time, ...parts);
}

/** Lets the arrow keys move the cursor; `up` is called with -1 and 1 for rows. */
export function keys(box, plot, up = () => {}) {
  box.addEventListener('keydown', (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity }[event.key];
    const row = { ArrowUp: -1, ArrowDown: 1 }[event.key];
    const chart = plot();
    if (!chart || (step === undefined && row === undefined)) return;
    event.preventDefault();
    if (row) up(row);
    const xs = chart.data[0];
    const at = Math.min(Math.max((chart.cursor.idx ?? xs.length - 1) + (step ?? 0), 0), xs.length - 1);
    if (xs.length > 0) chart.setCursor({ left: chart.valToPos(xs[at], 'x'), top: chart.over.clientHeight / 2 });
  });
}

/** A chart in the element `id`. */
class Chart {
  constructor(id) {
    this.box = document.getElementById(id);
    this.readout = this.box.parentElement.querySelector('.readout');
    this.shape = '';
    this.plot = null;
    this.entries = () => [];
    keys(this.box, () => this.plot);
    new ResizeObserver(() => this.plot?.setSize({ width: this.box.clientWidth, height: HEIGHT })).observe(this.box);
  }

  /** Draws `columns`, a mean over a second in the middle of it; `series` is made anew only when `shape` differs. */
  draw(view, shape, series, columns, more = {}) {
    this.range = view.range;
    this.times = view.times;
    const data = [view.middles, ...columns];
    if (shape !== this.shape) {
      this.plot?.destroy();
      this.shape = shape;
      this.plot = new uPlot({
        width: this.box.clientWidth,
        height: HEIGHT,
        legend: { show: false },
        cursor: { sync: SYNC, y: false, drag: { x: false, y: false }, points: { size: 6 } },
        scales: { x: { range: () => this.range }, y: { range: (_, low, high) => [0, Math.max(high * 1.08, more.least ?? 1)] } },
        axes: [timeAxis(), axis({ size: 46, values: (_, splits) => splits.map(tick) })],
        series: [{}, ...series],
        hooks: { setCursor: [(plot) => this.read(plot)] },
        ...more.options,
      }, data, this.box);
    } else {
      this.plot.setData(data);
    }
    this.read(this.plot);
  }

  read(plot) {
    const xs = plot.data[0];
    const index = plot.cursor.left >= 0 ? plot.cursor.idx : xs.length - 1;
    if (index != null && index >= 0 && xs.length > index) readOut(this.readout, this.times[index], this.entries(index));
  }
}

/** The busiest workloads in a window, the one that is picked always among them. */
function lines(view) {
  const busy = view.order.filter((id) => view.derived.get(id).running >= 0.005 && view.history.workloads.get(id).colour != null);
  const shown = busy.slice(0, LINES);
  if (view.picked != null && !shown.includes(view.picked) && view.history.workloads.has(view.picked)) shown.push(view.picked);
  return shown;
}

/** One line for each workload. */
class Lines extends Chart {
  constructor(id, key, least) {
    super(id);
    this.key = key;
    this.least = least;
  }

  show(view) {
    const ids = lines(view);
    const workloads = ids.map((id) => view.history.workloads.get(id));
    const colours = workloads.map(ofWorkload);
    const data = ids.map((id) => view.samples.map((sample) => {
      const figures = sample.workloads[id];
      return figures ? derived({ on_cpu_ns: {}, voluntary: 0, preempted: 0, yielded: 0, ...figures }, sample.wall_ns)[this.key] : 0;
    }));
    this.entries = (index) => workloads.map((it, at) => [colours[at], `${it.name} ${short(data[at][index])}`]);
    const series = ids.map((id, at) => ({
      stroke: value(colours[at]),
      width: view.picked === id ? 3 : 1.6,
      alpha: view.picked == null || view.picked === id ? 1 : 0.35,
      points: { show: false },
    }));
    this.box.dataset.lines = ids.length;
    const shape = JSON.stringify([ids, colours, view.picked, view.theme]);
    this.draw(view, shape, series, data, { least: this.least });
  }
}

/** What the threads of one workload did. */
class Doing extends Chart {
  show(view) {
    const id = view.chosen;
    const workload = view.history.workloads.get(id);
    document.getElementById('chosen').textContent = workload?.name ?? '–';
    const parts = view.samples.map((sample) => [doing(sample.workloads[id] ?? {}), sample.wall_ns]);
    const found = STATES.filter(([state]) => parts.some(([part, wall_ns]) => (part[state] ?? 0) > wall_ns / 1000));
    const mean = (state) => parts.map(([part, wall_ns]) => (part[state] ?? 0) / wall_ns);
    const layers = found.map(([state]) => mean(state));
    const tops = [];
    for (const layer of layers) {
      const below = tops.at(-1);
      tops.push(layer.map((threads, index) => threads + (below ? below[index] : 0)));
    }
    this.entries = (index) => found.map(([state, words], at) => [state, `${words} ${short(layers[at][index])}`]);
    // The tallest first, so that each lower one is drawn over it.
    const series = found.map(([state]) => ({ stroke: value(state), fill: value(state), width: 0.5, points: { show: false } })).reverse();
    this.draw(view, JSON.stringify([found, view.theme]), series, tops.reverse());
  }
}

/** Every chart over time. */
export function charts() {
  const all = [new Lines('running', 'running', 1), new Lines('demand', 'demand', 1), new Lines('rates', 'switches', 10), new Doing('doing')];
  return { show: (view) => all.forEach((chart) => chart.show(view)) };
}
