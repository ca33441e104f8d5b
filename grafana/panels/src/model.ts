// What we use of a dashboard's JSON. The Rust side writes it and holds it against Grafana's published schema.
import type { DataTransformerConfig, FieldConfigSource } from "@grafana/data";

export interface Target {
  expr: string;
  format: "time_series" | "table" | "heatmap";
  instant: boolean;
  legendFormat: string;
  refId: string;
}

export interface Panel {
  id: number;
  type: string;
  title: string;
  description: string;
  gridPos: { x: number; y: number; w: number; h: number };
  fieldConfig: FieldConfigSource;
  options: Record<string, any>;
  targets: Target[];
  transformations: DataTransformerConfig[];
  maxDataPoints?: number;
  repeat?: string;
  // Of rows only.
  collapsed?: boolean;
  panels?: Panel[];
}

export interface Variable {
  name: string;
  label: string;
  type: "datasource" | "query";
  query: { query: string };
  allValue: string;
}

export interface Dashboard {
  uid: string;
  title: string;
  description: string;
  refresh: string;
  time: { from: string; to: string };
  templating: { list: Variable[] };
  panels: Panel[];
}

/** A row's heading with the panels below it, in the order of the page. */
export interface Section {
  row: Panel;
  panels: Panel[];
}

/** Folded rows hold their panels, open ones are followed by them. */
export function sections(dashboard: Dashboard): Section[] {
  const found: Section[] = [];
  for (const panel of dashboard.panels) {
    if (panel.type === "row") {
      found.push({ row: panel, panels: [...(panel.panels ?? [])] });
    } else {
      found.at(-1)?.panels.push(panel);
    }
  }
  return found;
}
