// The page: what the daemon tells is drawn once a second, or not while it is frozen.

import { charts } from './charts.js';
import { ofWorkload, swatch } from './colours.js';
import { CoreMap } from './core_map.js';
import { showCores } from './cores.js';
import { follow } from './feed.js';
import { History, derived, doing, whole } from './history.js';
import { Table } from './table.js';
import { count, clock, short, span } from './units.js';

const byId = (id) => document.getElementById(id);
const history = new History();
const chosen = { seconds: 120, picked: null, frozen: false };
const dark = matchMedia('(prefers-color-scheme: dark)');
const map = new CoreMap();
const overTime = charts();
const table = new Table(pick);

/** Everything that the parts of the page draw from. */
function view() {
  const samples = history.recent(chosen.seconds);
  const sums = history.sums(chosen.seconds);
  const figures = new Map([...sums.rows].map(([id, row]) => [id, derived(row, sums.wall_ns)]));
  const order = [...sums.rows.keys()].filter((id) => sums.rows.get(id).threads > 0 || figures.get(id).running > 0)
    .sort((a, b) => (a === 0) - (b === 0) || figures.get(b).running - figures.get(a).running || a - b);
  const end = history.date(history.taken_ns);
  // A young history fills the width as soon as there is half a minute of it.
  const begin = samples.length ? history.date(samples[0].taken_ns - samples[0].wall_ns) : end;
  const picked = history.workloads.has(chosen.picked) ? chosen.picked : null;
  return {
    history,
    samples,
    sums,
    derived: figures,
    order,
    picked,
    // What is told of one workload is told of the busiest if none is picked.
    chosen: picked ?? order.find((id) => id !== 0) ?? 0,
    times: samples.map((sample) => history.date(sample.taken_ns)),
    middles: samples.map((sample) => history.date(sample.taken_ns - sample.wall_ns / 2)),
    range: [Math.min(begin, end - 30), end],
    theme: dark.matches,
  };
}

function draw() {
  if (history.epoch === 0) return;
  const now = view();
  showHost(now);
  showLosses();
  map.show(now);
  showLegend(now);
  table.show(now);
  showCores(now);
  overTime.show(now);
  document.body.dataset.samples = history.samples.length;
}

function showHost({ samples, sums }) {
  const wall_ns = Math.max(samples.reduce((wall, sample) => wall + sample.wall_ns, 0), 1);
  const cpus = history.cpus();
  const idle = cpus.reduce((total, cpu) => total + samples.reduce((ns, sample) => ns + (sample.idle_ns[cpu] ?? 0), 0), 0);
  byId('busy').textContent = samples.length ? `${short(Math.max(cpus.length - idle / wall_ns, 0))} of ${cpus.length}` : '–';
  let [switches, runnable] = [0, 0];
  for (const row of sums.rows.values()) {
    switches += row.voluntary + row.preempted + row.yielded;
    runnable += doing(row).runnable;
  }
  byId('switches').textContent = `${short((switches * 1e9) / sums.wall_ns)} /s`;
  byId('waiting').textContent = `${short(runnable / sums.wall_ns)} threads`;
}

/** What was missed; with what the kernel's own accounts made good, of which the figures are none the worse. */
function showLosses() {
  const [missing, repaired] = [whole(history.missing), whole(history.repaired)];
  byId('missing').textContent = count(missing);
  byId('missing').className = missing > 0 ? 'bad' : '';
  byId('repaired').textContent = repaired > 0 ? `and ${count(repaired)} repaired` : '';
  const reasons = [history.missing, history.repaired, history.details].flatMap((losses) => Object.entries(losses));
  byId('missing').parentElement.title = reasons.map(([reason, count]) => `${reason}: ${count}`).join('\n');
}

function showLegend({ order, picked }) {
  const shown = order.filter((id) => id === 0 || history.workloads.get(id).colour != null);
  const place = byId('legend');
  const buttons = new Map([...place.children].map((button) => [Number(button.dataset.id), button]));
  shown.forEach((id, at) => {
    const workload = history.workloads.get(id);
    const button = buttons.get(id) ?? document.createElement('button');
    if (!buttons.has(id)) {
      button.type = 'button';
      button.dataset.id = id;
      button.addEventListener('click', () => pick(id));
    }
    buttons.delete(id);
    if (place.children[at] !== button) place.insertBefore(button, place.children[at] ?? null);
    button.setAttribute('aria-pressed', String(picked === id));
    button.replaceChildren(swatch(ofWorkload(workload)), workload.name);
  });
  for (const button of buttons.values()) button.remove();
}

function pick(id) {
  chosen.picked = chosen.picked === id ? null : id;
  draw();
}

function showStatus(status) {
  byId('version').textContent = `schedscope ${status.version} on Linux ${status.kernel}.`;
  const missing = status.programs.filter((program) => !program.attached).map((program) => `${program.name} (${program.failure})`);
  const sentences = [];
  if (status.failure) sentences.push(`The daemon cannot read its counters: ${status.failure}.`);
  if (missing.length) sentences.push(`Not everything is traced here, for these programs are missing: ${missing.join('; ')}.`);
  byId('trouble').hidden = sentences.length === 0;
  byId('trouble').textContent = sentences.join(' ');
}

function say(state, text) {
  byId('state').dataset.state = state;
  // Said again it would be read out again.
  if (byId('state').textContent !== text) byId('state').textContent = text;
}

byId('windows').addEventListener('click', (event) => {
  const button = event.target.closest('button');
  if (!button) return;
  chosen.seconds = Number(button.dataset.seconds);
  for (const other of byId('windows').querySelectorAll('button')) other.setAttribute('aria-pressed', String(other === button));
  draw();
});
byId('freeze').addEventListener('click', () => {
  chosen.frozen = !chosen.frozen;
  byId('freeze').setAttribute('aria-pressed', String(chosen.frozen));
});
dark.addEventListener('change', draw);

/** How long it is said that the daemon was started again. */
const NEWS_MS = 15000;
let since = null;
let restarted = 0;
follow(history, {
  told: (answer) => {
    since = null;
    document.body.classList.remove('gone');
    if (chosen.frozen) {
      // What is not taken now is asked for again.
      say('live', 'Frozen. Nothing is lost: the daemon keeps five minutes.');
      return;
    }
    if (history.take(answer)) restarted = Date.now();
    const age = (history.taken_ns - history.began_ns) / 1e9;
    if (Date.now() - restarted < NEWS_MS) {
      say('live', 'Live. The daemon was started again; what it had counted before is gone.');
    } else {
      say('live', history.samples.length ? `Live. Tracing for ${span(age)}.` : 'Live. The first column comes after two seconds.');
    }
    draw();
  },
  status: showStatus,
  lost: (reason) => {
    since ??= Date.now() / 1000;
    document.body.classList.add('gone');
    say('gone', `Since ${clock(since)} ${reason}. What you see is what was known then; asking again every second.`);
  },
}).catch((error) => {
  say('gone', 'This page has failed, which is a fault of ours: the browser’s console has the details. Reload it to go on.');
  throw error;
});
