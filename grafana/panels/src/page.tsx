import { rangeUtil } from "@grafana/data";
import { TimeRangeInput, useTheme2 } from "@grafana/ui";
import { type CSSProperties, type MouseEvent, useEffect, useMemo, useState } from "react";
import { dashboardLink, useAddress } from "./address";
import { Choice } from "./choice";
import { Chooser, useOffered } from "./chooser";
import { type Dashboard, sections, type Variable } from "./model";
import { Prometheus } from "./prometheus";
import { SectionView } from "./section";

/** Left and right of the page. */
const MARGINS_PX = 32;

async function fetchJson(path: string): Promise<any> {
  const answer = await fetch(path);
  if (!answer.ok) {
    throw new Error(`${path}: ${answer.status} ${answer.statusText}`);
  }
  return answer.json();
}

/** The dashboards, and how often Prometheus scrapes; or what went wrong. */
function useSetup(prometheus: Prometheus) {
  const [setup, setSetup] = useState<{ dashboards: Dashboard[]; scrapeMs: number }>();
  const [failure, setFailure] = useState<string>();
  useEffect(() => {
    const load = async () => {
      const uids: string[] = await fetchJson("dashboards.json");
      const dashboards = await Promise.all(uids.map((uid) => fetchJson(`dashboards/${uid}.json`)));
      setSetup({ dashboards, scrapeMs: await prometheus.scrapeMs() });
    };
    load().catch((error: unknown) => setFailure(String(error)));
  }, [prometheus]);
  return { setup, failure };
}

/** Counts up whenever a time range that moves is to be shown anew. */
function useRounds(choice: Choice): number {
  const [round, setRound] = useState(0);
  useEffect(() => {
    if (!rangeUtil.isRelativeTimeRange(choice.timeRange().raw)) {
      return;
    }
    const timer = setInterval(() => setRound((last) => last + 1), rangeUtil.intervalToMs(choice.dashboard.refresh));
    return () => clearInterval(timer);
  }, [choice]);
  return round;
}

function useWidth(): number {
  const [width, setWidth] = useState(document.body.clientWidth - MARGINS_PX);
  useEffect(() => {
    const resized = () => setWidth(document.body.clientWidth - MARGINS_PX);
    const observer = new ResizeObserver(resized);
    observer.observe(document.body);
    return () => observer.disconnect();
  }, []);
  return width;
}

export function Page() {
  const theme = useTheme2();
  const [params, go] = useAddress();
  const url = params.get("prometheus") || "http://127.0.0.1:9090";
  const prometheus = useMemo(() => new Prometheus(url), [url]);
  const { setup, failure } = useSetup(prometheus);
  const dashboard = setup?.dashboards.find(({ uid }) => uid === params.get("dashboard")) ?? setup?.dashboards[0];
  if (!setup || !dashboard) {
    return <p style={{ color: theme.colors.text.primary }}>{failure ?? "Loading"}</p>;
  }
  const follow = (event: MouseEvent) => {
    const next = dashboardLink((event.target as Element).closest("a")?.getAttribute("href"), params);
    if (next) {
      event.preventDefault();
      go(next);
    }
  };
  return (
    <main onClick={follow} data-dashboard={dashboard.uid} style={{ color: theme.colors.text.primary }}>
      <nav>
        {setup.dashboards.map(({ uid, title }) => (
          <a key={uid} href={`/d/${uid}?${params}`} style={{ marginRight: 16, color: theme.colors.text.link, fontWeight: uid === dashboard.uid ? 600 : 400 }}>
            {title}
          </a>
        ))}
      </nav>
      <Shown key={dashboard.uid} {...{ dashboard, params, go, prometheus }} scrapeMs={setup.scrapeMs} />
    </main>
  );
}

interface ShownProps {
  dashboard: Dashboard;
  params: URLSearchParams;
  go: (params: URLSearchParams) => void;
  prometheus: Prometheus;
  scrapeMs: number;
}

/** The dashboard that is shown. */
function Shown({ dashboard, params, go, prometheus, scrapeMs }: ShownProps) {
  const choice = useMemo(() => new Choice(dashboard, params), [dashboard, params]);
  const round = useRounds(choice);
  const width = useWidth();
  const named = (name: string): Variable | undefined => dashboard.templating.list.find((variable) => variable.name === name);
  const job = useOffered(named("job"), choice, prometheus, round);
  const instance = useOffered(named("instance"), choice, prometheus, round);
  const workload = useOffered(named("workload"), choice, prometheus, round);
  const bar: CSSProperties = { display: "flex", gap: 16, flexWrap: "wrap", alignItems: "center", margin: "8px 0" };
  return (
    <>
      <div style={bar}>
        {Object.entries({ job, instance, workload }).map(([name, offered]) => {
          const variable = named(name);
          return variable && <Chooser key={name} {...{ variable, choice, offered, go }} />;
        })}
        <TimeRangeInput
          value={choice.timeRange()}
          onChange={({ raw }) => {
            const next = new URLSearchParams(params);
            next.set("from", String(raw.from.valueOf()));
            next.set("to", String(raw.to.valueOf()));
            go(next);
          }}
        />
      </div>
      {sections(dashboard).map((section) => (
        <SectionView key={section.row.title} {...{ section, choice, prometheus, scrapeMs, round, width }} workloads={workload} />
      ))}
    </>
  );
}
