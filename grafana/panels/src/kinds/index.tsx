// How each kind of panel is drawn.
import type { ComponentType } from "react";
import type { KindProps } from "./props";
import { Cells, Rows } from "./tables";
import { Lines } from "./timeseries";
import { Bars, Stats } from "./values";

export const KINDS: Record<string, ComponentType<KindProps>> = {
  timeseries: Lines,
  stat: Stats,
  bargauge: Bars,
  table: Rows,
  "state-timeline": Cells,
  heatmap: Cells,
};

/** Kinds that Grafana's libraries cannot draw: the page shows a table of what they are drawn from. */
export const AS_TABLE = ["state-timeline", "heatmap"];
