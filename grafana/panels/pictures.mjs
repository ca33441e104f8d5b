// Takes pictures of dashboards: node pictures.mjs PAGE PROMETHEUS FROM_MS TO_MS DIRECTORY [WORKLOAD...]
import { join } from "node:path";
import { chromium } from "playwright-core";

const [page, prometheus, from, to, directory, ...workloads] = process.argv.slice(2);
const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: ["--no-sandbox", "--disable-gpu"] });
for (const [dashboard, height] of [["core-map", 1010], ["models", 1945], ["latency", 1500]]) {
  const view = await browser.newPage({ viewport: { width: 1300, height } });
  const params = new URLSearchParams({ dashboard: `schedscope-${dashboard}`, prometheus, from, to });
  workloads.forEach((workload) => params.append("var-workload", workload));
  await view.goto(`${page}?${params}`);
  await view.waitForFunction(() => {
    const states = [...document.querySelectorAll("[data-panel]")].map((panel) => panel.dataset.state);
    return states.length > 0 && states.every((state) => state !== "loading");
  });
  await view.waitForTimeout(1500);
  await view.screenshot({ path: join(directory, `dashboard-${dashboard}.png`) });
  await view.close();
}
await browser.close();
