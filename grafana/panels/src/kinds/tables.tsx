import { type DataFrame, type Field, FieldColorModeId, formattedValueToString, getDisplayProcessor, getValueFormat } from "@grafana/data";
import { TableNG } from "@grafana/ui/unstable";
import { TableCellBackgroundDisplayMode, TableCellDisplayMode, TableCellHeight } from "@grafana/schema";
import { useTheme2 } from "@grafana/ui";
import type { KindProps } from "./props";

/** Tables. */
export function Rows({ frames, panel, timeRange, width, height }: KindProps) {
  const { showHeader, cellHeight, enablePagination, frameIndex, sortBy } = panel.options;
  return (
    <TableNG
      data={frames[frameIndex] ?? frames[0]!}
      noHeader={!showHeader}
      initialRowIndex={undefined}
      resizable
      {...{ width, height, cellHeight, enablePagination, sortBy, timeRange }}
    />
  );
}

/**
 * What a state timeline or a heat map is drawn from, which the libraries cannot draw: a row for each time, newest first, a column for
 * each of its rows, the cells in its colours.
 */
export function Cells({ frames, panel, timeRange, width, height }: KindProps) {
  const theme = useTheme2();
  const wide = panel.type === "heatmap" ? joined(frames) : frames[0]!;
  const [time, ...rest] = wide.fields;
  const cellOptions = { type: TableCellDisplayMode.ColorBackground, mode: TableCellBackgroundDisplayMode.Basic, applyToRow: false };
  const isHeatmap = panel.type === "heatmap";
  // One scale for all cells.
  const values = isHeatmap ? rest.flatMap((field) => field.values).filter((value) => value !== null) : [];
  const { min = Math.min(...values), max = Math.max(...values) } = panel.options.color ?? {};
  const columns = rest.map((field): Field => {
    const color = isHeatmap ? { mode: FieldColorModeId.ContinuousViridis } : field.config.color;
    const config = { ...field.config, color, min, max, custom: { ...field.config.custom, cellOptions, align: "left" } };
    const shown = { ...field, config, state: { ...field.state, range: undefined } };
    return { ...shown, name: bound(field.name, panel.options.yAxis?.unit), display: getDisplayProcessor({ field: shown, theme }) };
  });
  const fields = [{ ...time!, config: { ...time!.config, custom: { width: 200 } } }, ...columns];
  return (
    <TableNG
      data={{ ...wide, fields }}
      cellHeight={TableCellHeight.Sm}
      sortBy={[{ displayName: time!.name, desc: true }]}
      {...{ width, height, timeRange }}
    />
  );
}

/** The name of a row, or the upper bound of a bucket as the heat map's axis has it. */
function bound(name: string, unit = "short"): string {
  return unit === "short" || Number.isNaN(Number(name)) ? name : formattedValueToString(getValueFormat(unit)(Number(name)));
}

/** Frames of one series each, side by side by time. */
function joined(frames: DataFrame[]): DataFrame {
  const times = [...new Set(frames.flatMap(({ fields }) => fields[0]!.values))].sort((a, b) => a - b);
  const columns = frames.map(({ fields: [time, value] }): Field => {
    const at = new Map(time!.values.map((moment, index) => [moment, value!.values[index]]));
    return { ...value!, name: value!.config.displayNameFromDS ?? value!.name, values: times.map((moment) => at.get(moment) ?? null) };
  });
  return { length: times.length, fields: [{ ...frames[0]!.fields[0]!, values: times }, ...columns] };
}
