//! Columns that line up, without frames.

use comfy_table::{CellAlignment, ContentArrangement, presets::NOTHING};

/// A table of clean strings.
pub(super) struct Table(comfy_table::Table);

impl Table {
    /// One sign per column: `<` for text, `>` for figures.
    pub(super) fn new(alignments: &str) -> Table {
        let mut table = comfy_table::Table::new();
        // A row stays one line whatever the width: callers put a key before it.
        table.load_preset(NOTHING).set_content_arrangement(ContentArrangement::Disabled);
        // Columns exist only once a row does.
        table.add_row(alignments.chars().map(|_| ""));
        for (column, sign) in table.column_iter_mut().zip(alignments.chars()) {
            column.set_padding((0, 2));
            column.set_cell_alignment(if sign == '>' { CellAlignment::Right } else { CellAlignment::Left });
        }
        Table(table)
    }

    /// Adds a row.
    pub(super) fn row<Row: IntoIterator<Item = String>>(&mut self, cells: Row) {
        self.0.add_row(cells);
    }

    /// The rows, indented by two columns.
    pub(super) fn lines(&self) -> impl Iterator<Item = String> {
        let lines: Vec<String> = self.0.lines().skip(1).map(|line| format!("  {}", line.trim_end())).collect();
        lines.into_iter()
    }
}
