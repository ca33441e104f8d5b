import { useState } from "react";
import { ALL, Choice } from "./choice";
import type { Panel, Section } from "./model";
import { PanelView, type Source } from "./panel";

/** Grafana's grid. */
const [COLUMNS, ROW_PX, GAP_PX] = [24, 30, 8];

interface Props extends Source {
  section: Section;
  /** Of the page. */
  width: number;
  /** Values of the variable by which panels are repeated. */
  workloads: string[];
}

interface Placed {
  panel: Panel;
  choice: Choice;
  x: number;
  y: number;
  w: number;
}

/** A panel, or one for each value that its `repeat` asks for, three in a line. */
function placed(panel: Panel, choice: Choice, workloads: string[]): Placed[] {
  const { x, y, w, h } = panel.gridPos;
  const { repeat } = panel;
  if (repeat === undefined) {
    return [{ panel, choice, x, y, w }];
  }
  const chosen = choice.values(repeat);
  const third = COLUMNS / 3;
  return (chosen.includes(ALL) ? workloads : chosen).map((value, index) => ({
    panel,
    choice: new Choice(choice.dashboard, choice.with(repeat, [value])),
    x: (index % 3) * third,
    y: y + Math.floor(index / 3) * h,
    w: third,
  }));
}

/** A row of the dashboard, which can be folded. */
export function SectionView({ section, width, workloads, ...source }: Props) {
  const { row, panels } = section;
  const [isFolded, setFolded] = useState(row.collapsed ?? false);
  const column = (width - (COLUMNS - 1) * GAP_PX) / COLUMNS;
  const px = (count: number, unit: number) => count * unit + (count - 1) * GAP_PX;
  const top = Math.min(...panels.map(({ gridPos }) => gridPos.y));
  const heading = { background: "none", border: 0, color: "inherit", fontSize: 16, padding: "8px 0" };
  const grid = { display: "grid", gap: GAP_PX, gridTemplateColumns: `repeat(${COLUMNS}, ${column}px)`, gridAutoRows: ROW_PX };
  return (
    <section>
      <button data-row={row.title} aria-expanded={!isFolded} onClick={() => setFolded(!isFolded)} style={heading}>
        {isFolded ? "›" : "⌄"} {row.title}
      </button>
      {!isFolded && (
        <div style={grid}>
          {panels
            .flatMap((panel) => placed(panel, source.choice, workloads))
            .map(({ panel, choice, x, y, w }, index) => {
              const { h } = panel.gridPos;
              return (
                <div key={index} style={{ gridColumn: `${x + 1} / span ${w}`, gridRow: `${y - top + 1} / span ${h}` }}>
                  <PanelView {...source} {...{ panel, choice }} width={px(w, column)} height={px(h, ROW_PX)} />
                </div>
              );
            })}
        </div>
      )}
    </section>
  );
}
