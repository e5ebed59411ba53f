//! Requests that ended: whom they were about, and how many in a row got no usable answer.

use std::collections::BTreeSet;

use crate::backend::BackendError;
use crate::membership::MemberKey;

/// What a request is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::backend) enum About<'a> {
    /// One member of an app.
    Row(&'a str),
    /// A change of one member: an app may answer every look and no change.
    Change(&'a str),
    /// The app itself, or all of its members.
    App,
    /// Whether the app is known at all: an answer says nothing of what else works there.
    Existence,
    /// A job, which is asked for without its app.
    Job(&'a str),
}

/// Whose request it is, and what it is about.
#[derive(Debug, Clone, Copy)]
pub(in crate::backend) struct Subject<'a> {
    pub(in crate::backend) workspace: &'a str,
    pub(in crate::backend) integration: Option<&'a str>,
    pub(in crate::backend) about: About<'a>,
}

impl<'a> Subject<'a> {
    pub(in crate::backend) fn app(workspace: &'a str, integration: &'a str) -> Self {
        Self { workspace, integration: Some(integration), about: About::App }
    }

    pub(in crate::backend) fn existence(workspace: &'a str, integration: &'a str) -> Self {
        Self { about: About::Existence, ..Self::app(workspace, integration) }
    }

    pub(in crate::backend) fn member(key: &'a MemberKey) -> Self {
        Self { about: About::Row(&key.member), ..Self::app(&key.workspace, &key.integration) }
    }

    pub(in crate::backend) fn change(key: &'a MemberKey) -> Self {
        Self { about: About::Change(&key.member), ..Self::app(&key.workspace, &key.integration) }
    }

    pub(in crate::backend) fn job(workspace: &'a str, job: &'a str) -> Self {
        Self { workspace, integration: None, about: About::Job(job) }
    }
}

/// A request that ended.
#[derive(Debug, Clone, Copy)]
pub(in crate::backend) struct Ended<'a> {
    pub(in crate::backend) of: Subject<'a>,
    pub(in crate::backend) host: &'a str,
    /// The status of the answer, if one came.
    pub(in crate::backend) status: Option<u16>,
    pub(in crate::backend) error: Option<&'a BackendError>,
}

/// Requests in a row without a usable answer.
#[derive(Debug, Default)]
pub(super) struct Streak {
    pub(super) count: u32,
    /// Rows that they were about, as far as it matters how many.
    rows: BTreeSet<String>,
    /// Whether one was about more than a row.
    is_of_all: bool,
}

impl Streak {
    pub(super) fn add(&mut self, about: About<'_>, after: u32) {
        self.count = self.count.saturating_add(1);
        match about {
            About::Row(row) | About::Change(row) | About::Job(row) => {
                if self.rows.len() < after as usize {
                    self.rows.insert(row.to_owned());
                }
            }
            About::App | About::Existence => self.is_of_all = true,
        }
    }

    /// Whether it is long, and about more than a few rows.
    pub(super) fn is_outage(&self, after: u32) -> bool {
        self.count >= after && (self.is_of_all || self.rows.len() >= after as usize)
    }
}
