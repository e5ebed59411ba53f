//! Whether a report may be applied. Pure.
//!
//! An apply removes members from Cerby, and from the app by automation. A truncated reading once deleted
//! whole directories at a peer (awslabs/ssosync#194, slashdevops/idp-scim-sync#70), so a report is applied
//! only if it is whole, fresh and this very one, and only up to a few removals that nobody asked for.

use std::time::Duration;

use crate::config;

/// What is known of a report before its apply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// How old it is, if it says.
    pub age: Option<Duration>,
    /// Members read and members there are, by the backend's word.
    pub read_of_total: Option<(u64, u64)>,
    /// Members it removes.
    pub removed: u32,
    /// Those of them whose removal nobody asked for.
    pub unexpected: u32,
    /// Unexpected removals applied for this integration in the last 24 hours.
    pub unexpected_before: u32,
    /// Whether a person approved exactly this report.
    pub approved: bool,
}

/// What the guard says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ruling {
    /// Apply it.
    Apply,
    /// A person decides.
    Hold(String),
    /// Not this one: read anew. No approval helps.
    Refuse(String),
}

/// Rules on one report.
pub fn rule(limits: &config::Guard, max_age: Duration, facts: &Facts) -> Ruling {
    if let Some(age) = facts.age.filter(|age| *age > max_age) {
        return Ruling::Refuse(format!("the report is {} s old", age.as_secs()));
    }
    if facts.removed == 0 {
        return Ruling::Apply;
    }
    if facts.age.is_none() && !facts.approved {
        return Ruling::Hold("the report does not say how old it is".to_owned());
    }
    let Some((read, total)) = facts.read_of_total else {
        return hold_unless(
            facts.approved,
            "the report does not say whether its reading was complete".to_owned(),
        );
    };
    if read != total {
        return Ruling::Refuse(format!("the report rests on {read} of {total} members"));
    }
    let unexpected = facts.unexpected + facts.unexpected_before;
    if facts.unexpected == 0 {
        return Ruling::Apply;
    }
    // The total counts those who are still there; the removed were members before.
    let members = total + u64::from(facts.removed);
    let percent = u64::from(unexpected) * 100;
    let too_many = unexpected > limits.max_unexpected_removals
        || percent > members * u64::from(limits.max_unexpected_percent);
    if too_many {
        return hold_unless(
            facts.approved,
            format!("{unexpected} unexpected removals in 24 hours among {members} members"),
        );
    }
    Ruling::Apply
}

fn hold_unless(approved: bool, reason: String) -> Ruling {
    if approved { Ruling::Apply } else { Ruling::Hold(reason) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMITS: config::Guard =
        config::Guard { max_unexpected_removals: 3, max_unexpected_percent: 10 };
    const HOUR: Duration = Duration::from_secs(3600);

    fn facts() -> Facts {
        Facts {
            age: Some(Duration::from_secs(5)),
            read_of_total: Some((100, 100)),
            removed: 1,
            unexpected: 0,
            unexpected_before: 0,
            approved: false,
        }
    }

    fn kind(facts: &Facts) -> &'static str {
        match rule(&LIMITS, HOUR, facts) {
            Ruling::Apply => "apply",
            Ruling::Hold(_) => "hold",
            Ruling::Refuse(_) => "refuse",
        }
    }

    #[test]
    fn reports_are_ruled_by_this_table() {
        let table = [
            ("expected removals only", facts(), "apply"),
            ("up to the count", Facts { removed: 3, unexpected: 3, ..facts() }, "apply"),
            ("over the count", Facts { removed: 4, unexpected: 4, ..facts() }, "hold"),
            (
                "small steps add up",
                Facts { unexpected: 1, unexpected_before: 3, ..facts() },
                "hold",
            ),
            (
                "over the percentage of a small app",
                Facts { unexpected: 1, read_of_total: Some((4, 4)), ..facts() },
                "hold",
            ),
            ("approved", Facts { removed: 9, unexpected: 9, approved: true, ..facts() }, "apply"),
            ("completeness unknown", Facts { read_of_total: None, ..facts() }, "hold"),
            ("nothing removed", Facts { removed: 0, read_of_total: None, ..facts() }, "apply"),
            ("incomplete", Facts { read_of_total: Some((20, 100)), ..facts() }, "refuse"),
            (
                "incomplete although approved",
                Facts { read_of_total: Some((20, 100)), approved: true, ..facts() },
                "refuse",
            ),
            ("age unknown", Facts { age: None, ..facts() }, "hold"),
            ("age unknown, approved", Facts { age: None, approved: true, ..facts() }, "apply"),
            ("age unknown, nothing removed", Facts { age: None, removed: 0, ..facts() }, "apply"),
            (
                "age unknown and incomplete although approved",
                Facts { age: None, read_of_total: Some((20, 100)), approved: true, ..facts() },
                "refuse",
            ),
            (
                "stale although approved",
                Facts { age: Some(2 * HOUR), approved: true, ..facts() },
                "refuse",
            ),
        ];
        for (case, facts, expected) in table {
            assert_eq!(kind(&facts), expected, "{case}");
        }
    }

    proptest! {
        #[test]
        fn no_series_of_reports_removes_more_unexpected_members_than_allowed(
            steps in prop::collection::vec(0_u32..5, 1..30),
        ) {
            let mut before = 0;
            for unexpected in steps {
                let facts = Facts { removed: unexpected, unexpected, unexpected_before: before, ..facts() };
                if rule(&LIMITS, HOUR, &facts) == Ruling::Apply {
                    before += unexpected;
                }
                prop_assert!(before <= LIMITS.max_unexpected_removals);
            }
        }
    }
}
