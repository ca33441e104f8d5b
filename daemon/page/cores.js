// Why one workload does not use more of the cores: the daemon's sentence on its last window, and where the cores went in it.

import { fill } from './bar.js';
import { CORES, swatch } from './colours.js';
import { percent, short, time } from './units.js';

const byId = (id) => document.getElementById(id);

/** Says it of the workload that the view has chosen. */
export function showCores({ history, chosen }) {
  const workload = history.workloads.get(chosen);
  const last = workload?.last_window;
  byId('asked').textContent = workload?.name ?? '–';
  byId('window').textContent = last ? `the last ${time(last.wall_ns)}` : '';
  byId('sentence').textContent = last?.sentence ?? 'It has no threads now.';
  byId('advice').textContent = last?.advice ?? '';
  byId('advice').hidden = !last?.advice;
  const parts = last ? { used: last.used_ns, ...last.lost_ns } : {};
  const shown = fill(byId('cores'), CORES.map(([key, colour, words]) => [key, colour, words, parts[key] ?? 0]));
  byId('cores').dataset.parts = JSON.stringify(parts);
  byId('cores-words').replaceChildren(...shown.map(({ key, colour, words, share }) => {
    const entry = document.createElement('span');
    entry.className = 'key';
    entry.append(swatch(colour), `${words}: ${short(parts[key] / last.wall_ns)} (${percent(share)})`);
    return entry;
  }));
}
