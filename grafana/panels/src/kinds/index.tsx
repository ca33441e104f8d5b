// How each kind of panel is drawn.
import type { DataFrame, TimeRange } from "@grafana/data";
import type { ComponentType } from "react";
import type { Choice } from "../choice";
import type { Panel } from "../model";
import { Cells, Rows } from "./tables";
import { Lines } from "./timeseries";
import { Bars, Stats } from "./values";

export interface KindProps {
  panel: Panel;
  frames: DataFrame[];
  choice: Choice;
  timeRange: TimeRange;
  width: number;
  height: number;
}

export const KINDS: Record<string, ComponentType<KindProps>> = {
  timeseries: Lines,
  stat: Stats,
  bargauge: Bars,
  table: Rows,
  "state-timeline": Cells,
  heatmap: Cells,
};

/** Kinds that Grafana draws in a way of its own, which its libraries do not have; we show what they are drawn from. */
export const AS_TABLE = ["state-timeline", "heatmap"];
