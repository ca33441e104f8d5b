import { getDisplayValueAlignmentFactors, getFieldDisplayValues, VizOrientation, type FieldDisplay } from "@grafana/data";
import { BarGauge, BigValue, useTheme2, VizRepeater } from "@grafana/ui";
import type { KindProps } from "./props";

function useValues({ frames, panel, choice }: KindProps): FieldDisplay[] {
  const theme = useTheme2();
  const { reduceOptions } = panel.options;
  const replaceVariables = choice.interpolate;
  return getFieldDisplayValues({ data: frames, fieldConfig: panel.fieldConfig, reduceOptions, replaceVariables, theme });
}

/** Numbers. */
export function Stats(props: KindProps) {
  const theme = useTheme2();
  const values = useValues(props);
  const { colorMode, graphMode, justifyMode, textMode, wideLayout } = props.panel.options;
  return (
    <VizRepeater
      source={props.frames}
      getValues={() => values}
      renderCounter={0}
      width={props.width}
      height={props.height}
      orientation={VizOrientation.Auto}
      autoGrid
      renderValue={({ value, width, height, count }) => (
        <BigValue
          value={value.display}
          theme={theme}
          width={width}
          height={height}
          count={count}
          {...{ colorMode, graphMode, justifyMode, textMode, wideLayout }}
        />
      )}
    />
  );
}

/** A bar for each series. */
export function Bars(props: KindProps) {
  const theme = useTheme2();
  const values = useValues(props);
  const { displayMode, valueMode, namePlacement, showUnfilled, minVizWidth, minVizHeight, maxVizHeight } = props.panel.options;
  return (
    <VizRepeater
      source={props.frames}
      getValues={() => values}
      getAlignmentFactors={getDisplayValueAlignmentFactors}
      renderCounter={0}
      width={props.width}
      height={props.height}
      orientation={VizOrientation.Horizontal}
      itemSpacing={10}
      {...{ minVizWidth, minVizHeight, maxVizHeight }}
      renderValue={({ value, width, height, orientation, alignmentFactors, count }) => (
        <BarGauge
          value={value.display}
          field={value.field}
          display={value.view?.getFieldDisplayProcessor(value.colIndex!)}
          theme={theme}
          {...{ width, height, orientation, alignmentFactors, displayMode, namePlacement, showUnfilled }}
          valueDisplayMode={valueMode}
          isOverflow={height * count > props.height}
        />
      )}
    />
  );
}
