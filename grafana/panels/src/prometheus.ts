// Prometheus's HTTP API, and its answers as the frames that Grafana's data source makes of them.
import { FieldType, type DataFrame, type Field } from "@grafana/data";
import type { Target } from "./model";

type Labels = Record<string, string>;

/** A series: labels, and values by time in seconds. */
export interface Series {
  metric: Labels;
  values: Array<[number, string]>;
}

export class Prometheus {
  constructor(private readonly url: string) {}

  async instant(expr: string, atMs: number): Promise<Series[]> {
    const found = await this.ask("query", { query: expr, time: String(atMs / 1e3) });
    return found.result.map(({ metric, value }: { metric: Labels; value: [number, string] }) => ({ metric, values: [value] }));
  }

  async range(expr: string, fromMs: number, toMs: number, stepMs: number): Promise<Series[]> {
    const step = stepMs / 1e3;
    // Grafana asks at multiples of the step, so that points stay where they are when the range moves.
    const [start, end] = [Math.floor(fromMs / stepMs) * step, Math.floor(toMs / stepMs) * step];
    return (await this.ask("query_range", { query: expr, start: String(start), end: String(end), step: String(step) })).result;
  }

  /** Values of a label on the series that a selector has had in a time range. */
  async labelValues(selector: string, label: string, fromMs: number, toMs: number): Promise<string[]> {
    return this.ask(`label/${label}/values`, { "match[]": selector, start: String(fromMs / 1e3), end: String(toMs / 1e3) });
  }

  /** From one scrape to the next, of the job that has our daemons. */
  async scrapeMs(): Promise<number> {
    const { activeTargets } = await this.ask("targets", { state: "active" });
    const ours = activeTargets.find((target: any) => target.labels.job === "schedscope") ?? activeTargets[0];
    const [, amount, unit] = /^(\d+)(ms|s|m)$/.exec(ours?.scrapeInterval ?? "") ?? [];
    return amount ? Number(amount) * { ms: 1, s: 1000, m: 60_000 }[unit as "ms" | "s" | "m"] : 15_000;
  }

  private async ask(path: string, params: Record<string, string>): Promise<any> {
    const answer = await fetch(`${this.url}/api/v1/${path}?${new URLSearchParams(params)}`);
    const body = await answer.json().catch(() => ({ error: `answered ${answer.status} without JSON` }));
    if (body.status !== "success") {
      throw new Error(`Prometheus: ${body.error}`);
    }
    return body.data;
  }
}

/** A value of a field that is shown under a name of its own. */
function named(name: string, values: number[], labels: Labels): Field {
  return { name: "Value", type: FieldType.number, config: { displayNameFromDS: name }, labels, values };
}

/** `interval`: from point to point; a line breaks where one is missing. */
const time = (values: number[], interval?: number): Field => ({ name: "Time", type: FieldType.time, config: { interval }, values });

function legend(target: Target, metric: Labels): string {
  if (target.legendFormat !== "") {
    return target.legendFormat.replace(/\{\{\s*(\w+)\s*\}\}/g, (_, label) => metric[label] ?? "");
  }
  const { __name__: name = "", ...labels } = metric;
  const pairs = Object.entries(labels).map(([label, value]) => `${label}="${value}"`);
  return pairs.length === 0 && name !== "" ? name : `${name}{${pairs.join(", ")}}`;
}

/** The frames of one query. `isOneOfMany`: the panel has several, whose values must be told apart. */
export function frames(target: Target, series: Series[], isOneOfMany: boolean, stepMs: number): DataFrame[] {
  if (target.format === "table") {
    return series.length === 0 ? [] : [table(target, series, isOneOfMany)];
  }
  const ordered = target.format === "heatmap" ? buckets(series) : series;
  return ordered.map(({ metric, values }) => {
    const value = named(legend(target, metric), values.map(([, text]) => Number(text)), metric);
    return { refId: target.refId, length: values.length, fields: [time(values.map(([at]) => at * 1e3), stepMs), value] };
  });
}

/** A row for each sample, a column for each label. */
function table(target: Target, series: Series[], isOneOfMany: boolean): DataFrame {
  const rows = series.flatMap(({ metric, values }) => values.map(([at, value]) => ({ metric, at, value })));
  const labels = [...new Set(series.flatMap(({ metric }) => Object.keys(metric)))];
  const columns = labels.map((label): Field => ({
    name: label,
    type: FieldType.string,
    config: { filterable: true },
    values: rows.map(({ metric }) => metric[label] ?? ""),
  }));
  const value: Field = {
    name: isOneOfMany ? `Value #${target.refId}` : "Value",
    type: FieldType.number,
    config: {},
    values: rows.map(({ value }) => Number(value)),
  };
  return { refId: target.refId, length: rows.length, fields: [time(rows.map(({ at }) => at * 1e3)), ...columns, value] };
}

/** Cumulative buckets become single ones, lowest first. */
function buckets(series: Series[]): Series[] {
  const bound = ({ metric }: Series) => Number(metric.le === "+Inf" ? Infinity : metric.le);
  const ordered = [...series].sort((a, b) => bound(a) - bound(b));
  return ordered.map(({ metric, values }, index) => {
    const below = new Map(ordered[index - 1]?.values);
    return { metric, values: values.map(([at, count]) => [at, String(Math.max(0, Number(count) - Number(below.get(at) ?? 0)))]) };
  });
}
