//! What there is to do, counted.

use crate::manual_action::review::WorkLine;
use crate::operator::cli::terminal::{Clock, List};
use crate::text::printable;

pub(super) fn listed(lines: &[WorkLine]) -> List<'_, WorkLine, 9> {
    List {
        lines,
        heads: [
            "INTEGRATION",
            "APP",
            "OPERATION",
            "CAUSE",
            "ACTIONS",
            "UNCLAIMED",
            "OVERDUE",
            "NEXT DUE",
            "WORKSPACE",
        ],
        wide: &["WORKSPACE"],
        cells,
        nothing: "nobody has to do anything",
        below: String::new(),
    }
}

fn cells(line: &WorkLine, clock: Clock) -> [String; 9] {
    let app = match line.integration_status.as_str() {
        "active" => printable(&line.integration_name),
        status => format!("{} ({status})", printable(&line.integration_name)),
    };
    [
        printable(&line.integration_id),
        app,
        line.operation.clone(),
        printable(&line.cause),
        line.actions.to_string(),
        line.unclaimed.to_string(),
        line.overdue.to_string(),
        clock.minute(line.next_due_at),
        printable(&line.workspace_id),
    ]
}
