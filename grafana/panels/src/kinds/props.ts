import type { DataFrame, TimeRange } from "@grafana/data";
import type { Choice } from "../choice";
import type { Panel } from "../model";

/** What every kind of panel is drawn from. */
export interface KindProps {
  panel: Panel;
  frames: DataFrame[];
  choice: Choice;
  timeRange: TimeRange;
  width: number;
  height: number;
}
