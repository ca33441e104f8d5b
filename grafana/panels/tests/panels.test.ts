// The dashboards on live data, drawn by Grafana's libraries in a real browser. `cargo xtask test` starts the servers and sets:
//   PAGE        where the page is served
//   PROMETHEUS  the server that has scraped the workloads
//   SCENE       JSON: what was run and what `schedscope run` measured of it
//   PICTURES    a directory for pictures of what was seen
import assert from "node:assert/strict";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { type Browser, chromium, type Locator, type Page } from "playwright-core";

/** A workload as `schedscope run` and Prometheus saw it; times in Unix seconds. */
interface Workload {
  name: string;
  model: string;
  threads: number;
  c: number;
  d: number;
  from: number;
  middle: number;
  to: number;
}

const env = (name: string): string => process.env[name] ?? assert.fail(`${name} is not set: run the tests by \`cargo xtask test\``);
const [PAGE, PROMETHEUS, PICTURES] = [env("PAGE"), env("PROMETHEUS"), env("PICTURES")];
const WORKLOADS: Workload[] = JSON.parse(env("SCENE"));
const ONE_FOR_EACH = "there is one for each workload of the whole hour, and not each has been alive in the time that is shown";
/** Panels that may be empty, and why. */
const EMPTY: Record<string, string> = {
  "Blocked threads of $workload": ONE_FOR_EACH,
  "Lost cores of $workload by cause": ONE_FOR_EACH,
  ...(WORKLOADS.some(({ model }) => model.includes("GIL")) ? {} : { "Switch interval": "no Python has waited for its lock" }),
};

let browser: Browser;
let page: Page;
let complaints: string[] = [];

before(async () => {
  await mkdir(PICTURES, { recursive: true });
  browser = await chromium.launch({
    executablePath: env("CHROMIUM"),
    // As root there is no sandbox; only our own page is opened. It has no business on the network.
    args: ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
  });
  // Tall, since tables draw only what is in view.
  page = await browser.newPage({ viewport: { width: 1400, height: 3200 } });
  page.on("console", (message) => ["error", "warning"].includes(message.type()) && complaints.push(message.text()));
  page.on("pageerror", (error) => complaints.push(String(error)));
});
after(() => browser?.close());

/** Opens a dashboard and waits until every panel has what it asked for. */
async function open(dashboard: string, from: number, to: number, workloads: string[] = []): Promise<void> {
  complaints = [];
  const params = new URLSearchParams({ dashboard, prometheus: PROMETHEUS, from: `${from * 1e3}`, to: `${to * 1e3}` });
  workloads.forEach((workload) => params.append("var-workload", workload));
  await page.goto(`${PAGE}?${params}`);
  await settled();
}

async function settled(): Promise<void> {
  await page.waitForFunction(() => {
    const panels = [...document.querySelectorAll<HTMLElement>("[data-panel]")];
    return panels.length > 0 && panels.every((panel) => panel.dataset.state !== "loading");
  });
  // What has come is drawn in the frames after this.
  await page.waitForTimeout(700);
}

async function unfold(): Promise<void> {
  await page.evaluate(() => document.querySelectorAll<HTMLElement>('[data-row][aria-expanded="false"]').forEach((row) => row.click()));
  await settled();
}

const panel = (title: string): Locator => page.locator(`[data-panel="${title}"]`);
const legend = (title: string, series: string): Locator => panel(title).locator("tbody tr").filter({ hasText: series });

/** Texts of a table, by column heading, a record for each row. */
async function rows(title: string): Promise<Array<Record<string, string>>> {
  const grid = panel(title).getByRole("grid");
  const headings = await grid.getByRole("columnheader").allInnerTexts();
  const cells = await grid.getByRole("row").filter({ has: page.getByRole("gridcell") }).all();
  return Promise.all(
    cells.map(async (row) => {
      const texts = await row.getByRole("gridcell").allInnerTexts();
      return Object.fromEntries(headings.map((heading, index) => [heading.trim(), texts[index]?.trim() ?? ""]));
    }),
  );
}

/** What Prometheus itself answers to an expression, by one label. */
async function ask(expr: string, at: number, label: string): Promise<Record<string, number>> {
  const answer = await fetch(`${PROMETHEUS}/api/v1/query?${new URLSearchParams({ query: expr, time: String(at) })}`);
  const series = (await answer.json()).data.result;
  return Object.fromEntries(series.map(({ metric, value }: any) => [metric[label], Number(value[1])]));
}

const picture = (name: string) => page.screenshot({ path: join(PICTURES, `${name}.png`), fullPage: true });
const [first, last] = [WORKLOADS[0]!, WORKLOADS.at(-1)!];
const names = WORKLOADS.map(({ name }) => name);

for (const dashboard of ["core-map", "models", "latency", "fleet", "health"]) {
  test(`every panel of ${dashboard} draws its data`, async () => {
    await open(`schedscope-${dashboard}`, first.from, last.to);
    await unfold();
    const panels = await page.locator("[data-panel]").all();
    assert.ok(panels.length > 8);
    for (const shown of panels) {
      const [title, state, kind] = await Promise.all(["panel", "state", "kind"].map((key) => shown.getAttribute(`data-${key}`)));
      if (state === "empty" && title! in EMPTY) {
        continue;
      }
      assert.equal(state, "data", title!);
      // Something that a reader can see, by kind.
      const seen: Record<string, Locator> = {
        timeseries: shown.locator("tbody tr").first(),
        stat: shown.getByText(/\d/).first(),
        bargauge: shown.getByText(/\d/).first(),
      };
      await (seen[kind!] ?? shown.getByRole("gridcell").first()).waitFor({ timeout: 5000 });
      if (kind === "timeseries") {
        assert.ok(await inked(shown.locator("canvas")), `${title}: nothing is drawn`);
      }
    }
    await picture(dashboard);
    assert.deepEqual(complaints, []);
  });
}

/** Whether a canvas has as many coloured pixels as a line takes. */
async function inked(canvas: Locator): Promise<boolean> {
  return (await canvas.evaluate(countInk)) > 20;
}

/** Coloured pixels of a canvas, or of some columns of it; grid and labels are grey. */
function countInk(element: Element, columns?: [number, number]): number {
  const canvas = element as HTMLCanvasElement;
  const [from, to] = columns ?? [0, canvas.width];
  const { data } = canvas.getContext("2d")!.getImageData(from, 0, to - from, canvas.height);
  let coloured = 0;
  for (let at = 0; at < data.length; at += 4) {
    const [red, green, blue] = [data[at]!, data[at + 1]!, data[at + 2]!];
    coloured += Math.max(red, green, blue) - Math.min(red, green, blue) > 40 ? 1 : 0;
  }
  return coloured;
}

test("curves and table show what run measured", async () => {
  for (const { name, c, d, threads, model, from, middle, to } of WORKLOADS) {
    // Without the seconds in which it starts and ends.
    await open("schedscope-models", from + 5, to - 1, [name]);
    for (const [title, expected] of [["C: CPUs in use", c], ["D: CPUs wanted", d]] as const) {
      const mean = Number(await legend(title, name).locator("td").nth(2).innerText());
      // The run's figure covers its start and its end, which may wait for other programs.
      assert.ok(Math.abs(mean - expected) <= 0.2 * expected + 0.1, `${name}: ${title} ${mean}, run says ${expected}`);
    }
    await open("schedscope-models", from + 5, middle, [name]);
    const [row, ...others] = await rows("The comparison");
    assert.ok(row && others.length === 0, `${name} has ${others.length + 1} rows`);
    assert.deepEqual([row.Workload, row.Model, Number(row.Threads)], [name, model, threads]);
    const selector = `schedscope_workload_on_cpu_seconds_total{workload="${name}"}[4s]`;
    const asked = await ask(`sum by (workload) (rate(${selector}))`, middle, "workload");
    assert.equal(row.C, asked[name]!.toFixed(2), name);
  }
  assert.deepEqual(complaints, []);
});

test("a line ends where nothing was measured", { skip: WORKLOADS.length < 3 && "no Python, so no third workload after two others" }, async () => {
  // The one that ran between the two is left out.
  await open("schedscope-latency", first.from, last.to, [first.name, last.name]);
  const chart = panel("Wake-up latency");
  const { x: left, width } = (await chart.locator(".u-over").boundingBox())!;
  const canvas = chart.locator("canvas");
  const start = left - (await canvas.boundingBox())!.x;
  // A second to each side; points reach as far back as a rate does.
  const column = (seconds: number) => Math.round(start + (width * (seconds - first.from)) / (last.to - first.from));
  // A line takes one pixel of each column at least; the edge of the grid may have a shade.
  const lines = async (at: number) => {
    const columns: [number, number] = [column(at - 1), column(at + 1)];
    return (await canvas.evaluate(countInk, columns)) / (columns[1] - columns[0]);
  };
  assert.ok((await lines(first.middle)) >= 1 && (await lines(last.middle)) >= 1, "no line where threads were woken");
  assert.ok((await lines(WORKLOADS[1]!.middle)) < 0.5, "a line where none was woken");
});

test("a click in the legend leaves one series, another brings all back", async () => {
  await open("schedscope-models", first.from, last.to, names);
  const canvas = panel("C: CPUs in use").locator("canvas");
  const drawn = () => canvas.evaluate((it) => (it as HTMLCanvasElement).toDataURL());
  const all = await drawn();
  const name = legend("C: CPUs in use", first.name).getByRole("button");
  await name.click();
  await page.waitForTimeout(500);
  assert.notEqual(await drawn(), all, "nothing has gone");
  await name.click();
  await page.waitForTimeout(500);
  assert.equal(await drawn(), all, "not all are back");
});

test("the pointer reads out every series, and the sign of a panel explains it", async () => {
  await open("schedscope-models", first.from, last.to, names);
  const chart = panel("C: CPUs in use");
  const { width, height } = (await chart.locator(".u-over").boundingBox())!;
  const at = (first.middle - first.from) / (last.to - first.from);
  await chart.locator(".u-over").hover({ position: { x: width * at, y: height / 2 } });
  const series = page.getByTestId("SeriesTableRow").filter({ hasText: first.name });
  assert.ok(Number((await series.innerText()).split(/\s/).at(-1)) > 0.3, await series.innerText());
  await chart.getByTestId("icon-info-circle").hover();
  await page.getByRole("tooltip").getByText("Mean number of the workload's threads on a CPU.").waitFor();
});

test("the core map has a row for each core, and a workload one colour on all of them", async () => {
  await open("schedscope-core-map", first.from, last.to);
  const cpus = Object.keys(await ask("schedscope_cpu_topology_info", last.to, "cpu")).length;
  const map = panel("Who had each core most");
  const [time, ...cores] = (await map.getByRole("columnheader").allInnerTexts()).map((text) => text.trim());
  assert.match(time!, /^Time/);
  assert.equal(cores.length, cpus);
  assert.ok(cores.every((core, index) => core.endsWith(` CPU ${String(index).padStart(3, "0")}`)), cores.join());
  const colours = new Map<string, Set<string>>();
  for (const { name, middle } of WORKLOADS) {
    // The rows that are in view are those of the end.
    await open("schedscope-core-map", first.from, middle);
    const cells = await map.getByRole("gridcell").filter({ hasText: name }).all();
    assert.ok(cells.length > 0, `${name} never had a core`);
    for (const cell of cells) {
      const colour = await cell.evaluate((it) => getComputedStyle(it).backgroundColor);
      colours.set(name, (colours.get(name) ?? new Set()).add(colour));
    }
  }
  const seen = [...colours.values()].map((set) => [...set]);
  assert.ok(seen.every((set) => set.length === 1), JSON.stringify([...colours.keys()]) + JSON.stringify(seen));
  assert.equal(new Set(seen.flat()).size, names.length, `${JSON.stringify(names)} share colours: ${JSON.stringify(seen)}`);
});

test("a name in the comparison leads to its cores", async () => {
  await open("schedscope-models", first.from, first.middle, names);
  await panel("The comparison").getByRole("link", { name: first.name }).click();
  await page.locator('[data-dashboard="schedscope-core-map"]').waitFor();
  await settled();
  assert.deepEqual(new URL(page.url()).searchParams.getAll("var-workload"), [first.name]);
  assert.deepEqual((await rows("Workload by core")).map((row) => row.Workload), [first.name]);
  await page.goBack();
  await page.locator('[data-dashboard="schedscope-models"]').waitFor();
});

test("a heading sorts the table", async () => {
  await open("schedscope-models", first.from, first.middle);
  const heading = panel("The comparison").getByRole("columnheader").filter({ hasText: "Threads" }).getByRole("button").first();
  const seen = new Set<string>();
  for (let clicks = 0; clicks < 2; clicks += 1) {
    await heading.click();
    await page.waitForTimeout(300);
    // Those in view; there may be more.
    const threads = (await rows("The comparison")).map((row) => Number(row.Threads));
    const rises = threads.every((value, index) => index === 0 || value >= threads[index - 1]!);
    const falls = threads.every((value, index) => index === 0 || value <= threads[index - 1]!);
    assert.ok(threads.length > 2 && rises !== falls, threads.join());
    seen.add(rises ? "rises" : "falls");
  }
  assert.equal(seen.size, 2, "the second click does not turn the order round");
});

test("what cannot be had is said", async () => {
  await page.goto(`${PAGE}?${new URLSearchParams({ prometheus: "http://127.0.0.1:1" })}`);
  await page.getByText("Failed to fetch").waitFor();
});
