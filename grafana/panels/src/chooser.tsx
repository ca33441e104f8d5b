import { MultiCombobox } from "@grafana/ui";
import { useEffect, useState } from "react";
import { ALL, type Choice } from "./choice";
import type { Variable } from "./model";
import type { Prometheus } from "./prometheus";

/** Values that a variable can have in the time that is shown, with the choices that its query is limited by. */
export function useOffered(variable: Variable | undefined, choice: Choice, prometheus: Prometheus, round: number): string[] {
  const [offered, setOffered] = useState<string[]>([]);
  useEffect(() => {
    const [, selector, label] = /^label_values\((.*), (\w+)\)$/.exec(variable?.query.query ?? "") ?? [];
    if (!selector || !label) {
      return;
    }
    const { from, to } = choice.timeRange();
    const asked = prometheus.labelValues(choice.expression(selector, 0, 0), label, from.valueOf(), to.valueOf());
    asked.then(setOffered, (error: unknown) => console.error(`${variable?.name}:`, error));
  }, [variable, choice, prometheus, round]);
  return offered;
}

interface Props {
  variable: Variable;
  choice: Choice;
  offered: string[];
  go: (params: URLSearchParams) => void;
}

/** Lets the reader choose values of a variable. */
export function Chooser({ variable, choice, offered, go }: Props) {
  const options = [{ value: ALL, label: "All" }, ...offered.map((value) => ({ value }))];
  return (
    <label data-variable={variable.name}>
      {variable.label}{" "}
      <MultiCombobox
        width="auto"
        minWidth={16}
        options={options}
        value={choice.values(variable.name)}
        onChange={(picked) => {
          const values = picked.map(({ value }) => value);
          // All and some exclude each other; what was picked last holds.
          go(choice.with(variable.name, values.at(-1) === ALL ? [] : values.filter((value) => value !== ALL)));
        }}
      />
    </label>
  );
}
