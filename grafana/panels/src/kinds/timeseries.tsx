import { applyNullInsertThreshold, getFieldDisplayName, type DataFrame, type TimeRange } from "@grafana/data";
import { PanelContextProvider, SeriesVisibilityChangeMode, TimeSeries, TooltipPlugin, type PanelContext } from "@grafana/ui";
import { useMemo, useState } from "react";
import type { KindProps } from "./props";
import { EVENTS } from "../events";

/** Lines and areas. A click on a name in the legend leaves that series alone on the chart, another brings all back. */
export function Lines({ frames, panel, timeRange, width, height }: KindProps) {
  const [chosen, setChosen] = useState<string[]>([]);
  // The frames are new whenever the time is.
  const whole = useMemo(() => frames.map((frame) => withGaps(frame, timeRange)), [frames]);
  const shown = useMemo(() => whole.map((frame) => hidden(frame, whole, chosen)), [whole, chosen]);
  const context: PanelContext = {
    eventsScope: "schedscope",
    eventBus: EVENTS,
    onToggleSeriesVisibility: (label, mode) => setChosen((before) => toggled(before, label, mode)),
  };
  const { legend, tooltip } = panel.options;
  return (
    <PanelContextProvider value={context}>
      <TimeSeries
        frames={shown}
        // The library draws anew what has another structure.
        structureRev={revision(shown)}
        timeRange={timeRange}
        timeZone="browser"
        width={width}
        height={height}
        legend={legend}
      >
        {(config, alignedFrame) => (
          <TooltipPlugin config={config} data={alignedFrame} mode={tooltip.mode} sortOrder={tooltip.sort} timeZone="browser" />
        )}
      </TimeSeries>
    </PanelContextProvider>
  );
}

/** A line must not lead over times of which nothing is known. The library sees to that for the first series only. */
function withGaps(frame: DataFrame, { from, to }: TimeRange): DataFrame {
  return applyNullInsertThreshold({ frame, refFieldPseudoMin: from.valueOf(), refFieldPseudoMax: to.valueOf() });
}

function toggled(before: string[], label: string | string[] | null, mode: SeriesVisibilityChangeMode): string[] {
  const labels = label === null ? [] : [label].flat();
  if (mode === SeriesVisibilityChangeMode.AppendToSelection) {
    return [...before.filter((known) => !labels.includes(known)), ...labels.filter((known) => !before.includes(known))];
  }
  return before.length === 1 && labels.includes(before[0]!) ? [] : labels;
}

function hidden(frame: DataFrame, frames: DataFrame[], chosen: string[]): DataFrame {
  const fields = frame.fields.map((field) => {
    const isHidden = field.type !== "time" && chosen.length > 0 && !chosen.includes(getFieldDisplayName(field, frame, frames));
    const custom = { ...field.config.custom, hideFrom: { viz: isHidden, legend: false, tooltip: isHidden } };
    return { ...field, config: { ...field.config, custom }, state: { ...field.state } };
  });
  return { ...frame, fields };
}

const revisions = new WeakMap<DataFrame[], number>();
let latest = 0;

function revision(frames: DataFrame[]): number {
  if (!revisions.has(frames)) {
    revisions.set(frames, (latest += 1));
  }
  return revisions.get(frames)!;
}
