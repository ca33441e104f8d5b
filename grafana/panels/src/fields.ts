// Field options: which there are, and what our dashboards set of them. Applying them is Grafana's own code.
import {
  applyFieldOverrides,
  cacheFieldDisplayNames,
  FieldColorModeId,
  FieldConfigOptionsRegistry,
  type FieldConfigPropertyItem,
  type DataFrame,
  type GrafanaTheme2,
  identityOverrideProcessor,
  standardTransformers,
  standardTransformersRegistry,
  ThresholdsMode,
  transformDataFrame,
} from "@grafana/data";
import { firstValueFrom } from "rxjs";
import type { Choice } from "./choice";
import type { Panel } from "./model";

// The library leaves this to the application. Some stand in its list under two names.
const transformers = new Map(Object.values(standardTransformers).map((info) => [info.id, info]));
standardTransformersRegistry.setInit(() =>
  [...transformers.values()].map((info) => ({
    id: info.id,
    name: info.name,
    transformation: () => Promise.resolve(info as any),
    editor: () => null,
    imageDark: "",
    imageLight: "",
  })),
);

/** What a kind of panel takes for the colour of a field that sets none. */
const COLOURED_BY_SERIES = ["timeseries", "state-timeline"];

const STANDARD = ["unit", "min", "max", "decimals", "displayName", "color", "noValue", "thresholds", "mappings", "links", "filterable"];

function option(id: string): FieldConfigPropertyItem {
  const isCustom = id.startsWith("custom.");
  return {
    id,
    path: isCustom ? id.slice("custom.".length) : id,
    isCustom,
    name: id,
    editor: () => null,
    override: () => null,
    process: identityOverrideProcessor,
    shouldApply: () => true,
  };
}

/** The standard options, and those of the panel's kind that it sets. */
function registry(panel: Panel): FieldConfigOptionsRegistry {
  const { defaults, overrides } = panel.fieldConfig;
  const overridden = overrides.flatMap(({ properties }) => properties.map(({ id }) => id));
  const custom = Object.keys(defaults.custom ?? {}).map((name) => `custom.${name}`);
  const ids = new Set([...STANDARD, ...custom, ...overridden]);
  return new FieldConfigOptionsRegistry(() => [...ids].map(option));
}

/** What the panel is drawn from: the transformations and then the field options. */
export async function prepare(panel: Panel, raw: DataFrame[], choice: Choice, theme: GrafanaTheme2): Promise<DataFrame[]> {
  const context = { interpolate: choice.interpolate };
  const data = await firstValueFrom(transformDataFrame(panel.transformations, raw, context));
  const { defaults, overrides } = panel.fieldConfig;
  const mode = COLOURED_BY_SERIES.includes(panel.type) ? FieldColorModeId.PaletteClassic : FieldColorModeId.Thresholds;
  const base = { mode: ThresholdsMode.Absolute, steps: [{ value: -Infinity, color: "green" }, { value: 80, color: "red" }] };
  const fieldConfig = { defaults: { color: { mode }, thresholds: base, ...defaults }, overrides };
  const replaceVariables = choice.interpolate;
  const frames = applyFieldOverrides({ data, fieldConfig, fieldConfigRegistry: registry(panel), replaceVariables, theme });
  // Tables take the names from here.
  cacheFieldDisplayNames(frames);
  return frames;
}
