// The comparison: one row for each workload, updated in place.

import { fill } from './bar.js';
import { STATES, ofWorkload, swatch } from './colours.js';
import { doing } from './history.js';
import { percent, short, time } from './units.js';

/** Key, title, and what it means. */
const COLUMNS = [
  ['name', 'Workload', 'Name, and the concurrency model that it shows'],
  ['tasks', 'Threads', 'Threads alive, and in how many processes'],
  ['running', 'C', 'Threads on a CPU, on average'],
  ['demand', 'D', 'Threads on a CPU or waiting for one, on average'],
  ['effective_cpus', 'Effective CPUs', 'CPUs that its time is spread over'],
  ['switches', 'Switches/s', 'Context switches per second; below, how many of them were preemptions'],
  ['migrations', 'Migrations/s', 'Moves from one CPU to another per second'],
  ['wakeup_wait', 'Wake-up latency', 'From a wake-up to running, on average'],
  ['preempt_wait', 'Preemption wait', 'From losing the CPU to running again, on average'],
  ['time', 'Where its threads’ time goes', 'Every thread is running, waiting for a CPU or blocked'],
];

function element(name, className, text = '') {
  const made = document.createElement(name);
  made.className = className;
  made.textContent = text;
  return made;
}

export class Table {
  constructor(pick) {
    this.body = document.querySelector('#table tbody');
    this.pick = pick;
    this.rows = new Map();
    const head = document.createElement('tr');
    for (const [key, title, meaning] of COLUMNS) {
      const cell = element('th', key === 'name' || key === 'time' ? 'text' : '', title);
      cell.scope = 'col';
      cell.title = meaning;
      head.append(cell);
    }
    document.querySelector('#table thead').append(head);
    for (const [state, words] of STATES) {
      const key = element('span', 'key');
      key.append(swatch(state), words);
      document.getElementById('states').append(key);
    }
  }

  show(view) {
    for (const [id, row] of this.rows) {
      if (!view.order.includes(id)) {
        row.line.remove();
        this.rows.delete(id);
      }
    }
    view.order.forEach((id, place) => {
      const row = this.rows.get(id) ?? this.make(id);
      this.fill(row, view, id);
      if (this.body.children[place] !== row.line) this.body.insertBefore(row.line, this.body.children[place] ?? null);
    });
    const empty = document.getElementById('empty');
    empty.hidden = view.order.some((id) => id !== 0);
    empty.textContent = 'No program has used a tenth of a second of CPU time yet, so that all count as “other”. Start one, or name '
      + 'workloads by rules in the daemon’s configuration.';
  }

  make(id) {
    const line = document.createElement('tr');
    const cells = {};
    for (const [key, title] of COLUMNS) {
      const cell = element('td', { name: 'text first', time: 'text time' }[key] ?? '');
      cell.dataset.title = title;
      cell.dataset.key = key;
      cells[key] = cell;
      line.append(cell);
    }
    const name = element('button', 'name');
    name.type = 'button';
    name.addEventListener('click', () => this.pick(id));
    const model = element('small', 'model');
    cells.name.append(name, model);
    const parts = element('div', 'parts');
    const words = element('small', 'words');
    cells.time.append(parts, words);
    const row = { line, cells, name, model, parts, words };
    this.rows.set(id, row);
    return row;
  }

  fill(row, view, id) {
    const workload = view.history.workloads.get(id);
    const sums = view.sums.rows.get(id);
    const derived = view.derived.get(id);
    row.line.className = view.picked === id ? 'picked' : '';
    row.line.dataset.workload = workload.name;
    row.name.setAttribute('aria-pressed', String(view.picked === id));
    row.name.replaceChildren(swatch(ofWorkload(workload)), workload.name);
    // What it was while it did something says more than that it does nothing now.
    row.model.textContent = workload.model === 'idle' && sums.model ? `${sums.model}; idle now` : workload.model;
    const text = {
      tasks: [String(sums.threads), sums.processes === 1 ? '1 process' : `${sums.processes} processes`, sums.threads],
      running: [short(derived.running), '', derived.running],
      demand: [short(derived.demand), '', derived.demand],
      effective_cpus: [short(derived.effective_cpus), '', derived.effective_cpus],
      switches: [short(derived.switches), this.preempted(sums), derived.switches],
      migrations: [short(derived.migrations), '', derived.migrations],
      wakeup_wait: [sums.wakeup_waits ? time(derived.wakeup_wait_ns) : '–', '', derived.wakeup_wait_ns],
      preempt_wait: [sums.preempt_waits ? time(derived.preempt_wait_ns) : '–', '', derived.preempt_wait_ns],
    };
    for (const [key, [value, below, raw]] of Object.entries(text)) {
      const cell = row.cells[key];
      cell.replaceChildren(value);
      if (below) cell.append(element('small', '', below));
      cell.dataset.value = raw;
    }
    this.fillTime(row, sums);
    const { voluntary, preempted, yielded, migrations } = sums;
    row.line.dataset.sums = JSON.stringify({ ...doing(sums), voluntary, preempted, yielded, migrations });
  }

  preempted(sums) {
    const all = sums.voluntary + sums.preempted + sums.yielded;
    return all > 0 && sums.preempted / all >= 0.005 ? `${percent(sums.preempted / all)} preempted` : '';
  }

  fillTime(row, sums) {
    const parts = doing(sums);
    const shown = fill(row.parts, STATES.map(([state, words]) => [state, state, words, parts[state] ?? 0]));
    row.words.textContent = shown.slice(0, 3).map(({ words, share }) => `${percent(share)} ${words}`).join(', ');
  }
}
