import { type DataFrame, type GrafanaTheme2, LoadingState, rangeUtil } from "@grafana/data";
import { PanelChrome, useTheme2 } from "@grafana/ui";
import { useEffect, useState } from "react";
import type { Choice } from "./choice";
import { prepare } from "./fields";
import { AS_TABLE, KINDS } from "./kinds";
import type { Panel } from "./model";
import { frames as framesOf, type Prometheus } from "./prometheus";

/** Where panels get their data, and what the reader has chosen. */
export interface Source {
  choice: Choice;
  prometheus: Prometheus;
  /** From one scrape to the next. */
  scrapeMs: number;
  /** Changes whenever panels are to ask again. */
  round: number;
}

interface Props extends Source {
  panel: Panel;
  width: number;
  height: number;
}

type State = { loading: true } | { loading: false; frames: DataFrame[] } | { loading: false; error: string };

async function load({ panel, choice, prometheus, scrapeMs, width }: Props, theme: GrafanaTheme2): Promise<DataFrame[]> {
  const range = choice.timeRange();
  const [from, to] = [range.from.valueOf(), range.to.valueOf()];
  const points = panel.maxDataPoints ?? Math.max(1, Math.floor(width));
  const { intervalMs } = rangeUtil.calculateInterval(range, points, `${scrapeMs}ms`);
  const asked = panel.targets.map(async (target) => {
    const expr = choice.expression(target.expr, intervalMs, scrapeMs);
    const series = target.instant ? await prometheus.instant(expr, to) : await prometheus.range(expr, from, to, intervalMs);
    return framesOf(target, series, panel.targets.length > 1, intervalMs);
  });
  return prepare(panel, (await Promise.all(asked)).flat(), choice, theme);
}

/** A panel in its frame. What it holds is told by `data-state`: loading, data, empty or error. */
export function PanelView(props: Props) {
  const { panel, choice, round, width, height } = props;
  const theme = useTheme2();
  const [state, setState] = useState<State>({ loading: true });
  useEffect(() => {
    let isCurrent = true;
    const finish = (next: State) => isCurrent && setState(next);
    load(props, theme).then(
      (frames) => finish({ loading: false, frames }),
      (error: unknown) => {
        console.error(`${panel.title}:`, error);
        finish({ loading: false, error: String(error) });
      },
    );
    return () => {
      isCurrent = false;
    };
    // What else could change makes a new choice.
  }, [panel, choice, round, width]);

  const Kind = KINDS[panel.type];
  const isEmpty = "frames" in state && state.frames.every((frame) => frame.length === 0);
  const word = state.loading ? "loading" : "error" in state ? "error" : isEmpty ? "empty" : "data";
  const note = AS_TABLE.includes(panel.type) ? ` (what the ${panel.type.replace("-", " ")} is drawn from)` : "";
  return (
    <div data-panel={panel.title} data-kind={panel.type} data-state={word}>
      <PanelChrome
        title={choice.interpolate(panel.title) + note}
        description={panel.description}
        width={width}
        height={height}
        loadingState={state.loading ? LoadingState.Loading : LoadingState.Done}
        statusMessage={"error" in state ? state.error : undefined}
        padding={panel.type === "table" ? "none" : "md"}
      >
        {(innerWidth, innerHeight) =>
          "frames" in state && !isEmpty && Kind ? (
            <Kind {...{ panel, choice }} frames={state.frames} timeRange={choice.timeRange()} width={innerWidth} height={innerHeight} />
          ) : (
            <div style={{ color: theme.colors.text.secondary }}>{word === "empty" ? "No data" : word === "error" ? "Failed" : ""}</div>
          )
        }
      </PanelChrome>
    </div>
  );
}
