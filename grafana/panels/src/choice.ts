// What the reader has chosen, kept in the address as Grafana keeps it, and its place in expressions and links.
import { dateMath, dateTime, formattedValueToString, makeTimeRange, rangeUtil, type ScopedVars, type TimeRange } from "@grafana/data";
import type { Dashboard, Variable } from "./model";

/** Grafana's word for every value of a variable. */
export const ALL = "$__all";

export class Choice {
  constructor(
    readonly dashboard: Dashboard,
    readonly params: URLSearchParams,
  ) {}

  /** Values of a variable; `[ALL]` unless the reader said otherwise. */
  values(name: string): string[] {
    const given = this.params.getAll(`var-${name}`).filter((value) => value !== "All");
    return given.length === 0 ? [ALL] : given;
  }

  /** The same with one variable changed, as an address. */
  with(name: string, values: string[]): URLSearchParams {
    const params = new URLSearchParams(this.params);
    params.delete(`var-${name}`);
    values.filter((value) => value !== ALL).forEach((value) => params.append(`var-${name}`, value));
    return params;
  }

  timeRange(): TimeRange {
    const { from, to } = this.dashboard.time;
    const raw = { from: this.params.get("from") ?? from, to: this.params.get("to") ?? to };
    if (/^\d+$/.test(raw.from) && /^\d+$/.test(raw.to)) {
      return makeTimeRange(dateTime(Number(raw.from)), dateTime(Number(raw.to)));
    }
    const known = dateMath.isMathString(raw.from) && dateMath.isMathString(raw.to);
    return rangeUtil.convertRawToRange(known ? raw : { from, to });
  }

  /** A regular expression for the values of a variable, as Grafana's Prometheus data source makes it. */
  private pattern(variable: Variable): string {
    const values = this.values(variable.name);
    if (values.includes(ALL)) {
      return variable.allValue;
    }
    // Twice: for the regular expression, and for the string in which it stands.
    const escaped = values.map((value) => JSON.stringify(value.replace(/[\\^$.*+?()[\]{}|]/g, "\\$&")).slice(1, -1));
    return escaped.length === 1 ? escaped[0]! : `(${escaped.join("|")})`;
  }

  /** An expression as Prometheus is to get it. `stepMs` is the distance of two points. */
  expression(expr: string, stepMs: number, scrapeMs: number): string {
    // As documented: four scrapes, or the step and one scrape more.
    const rateMs = Math.max(stepMs + scrapeMs, 4 * scrapeMs);
    const { from, to } = this.timeRange();
    const times = { $__rate_interval: rateMs, $__interval: stepMs, $__range: to.valueOf() - from.valueOf() };
    let text = Object.entries(times).reduce((before, [name, ms]) => before.replaceAll(name, `${Math.max(1, Math.round(ms))}ms`), expr);
    for (const variable of this.dashboard.templating.list.filter((known) => known.type === "query")) {
      text = text.replaceAll(`$${variable.name}`, () => this.pattern(variable));
    }
    return text;
  }

  /** Text of a panel: titles and links. Of Grafana's formats those that our dashboards use. */
  interpolate = (text: string, scoped: ScopedVars = {}): string =>
    text.replace(/\$\{(\w+)(?:\.(\w+))?(?::(\w+))?\}|\$(\w+)/g, (whole, inside, key, format, plain) => {
      const name: string = inside ?? plain;
      if (format === "queryparam") {
        return this.values(name).map((value) => `var-${name}=${encodeURIComponent(value)}`).join("&");
      }
      const value = this.lookUp(name, key, scoped);
      return value === undefined ? whole : format === "percentencode" ? encodeURIComponent(value) : value;
    });

  private lookUp(name: string, key: string | undefined, scoped: ScopedVars): string | undefined {
    if (name === "__url_time_range") {
      const { from, to } = this.timeRange().raw;
      return `from=${from.valueOf()}&to=${to.valueOf()}`;
    }
    if (name === "__value" && key === "text") {
      // The cell that a link is in.
      const { field, rowIndex } = scoped.__dataContext?.value ?? {};
      const shown = rowIndex === undefined ? undefined : field?.display?.(field.values[rowIndex]);
      return shown && formattedValueToString(shown);
    }
    if (name === "datasource") {
      return "prometheus";
    }
    const variable = this.dashboard.templating.list.find((known) => known.name === name);
    return variable && this.values(name).map((value) => (value === ALL ? "All" : value)).join(" + ");
  }
}
