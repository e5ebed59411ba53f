//! Requests that ended: what they were about, and how many in a row got no usable answer.

use std::collections::BTreeSet;

use crate::backend::BackendError;
use crate::membership::MemberKey;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::backend) enum About<'a> {
    Row(&'a str),
    /// A change of one member. It is counted apart from reads, because an app may answer every read and no change.
    Change(&'a str),
    /// The app itself, or all of its members.
    App,
    /// Whether the app is known at all: an answer tells nothing about other requests there.
    Existence,
    /// A job. The request does not name its app.
    Job(&'a str),
}

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

    /// A person of the workspace, who may be in no app.
    pub(in crate::backend) fn person(workspace: &'a str, person: &'a str) -> Self {
        Self { workspace, integration: None, about: About::Row(person) }
    }

    pub(in crate::backend) fn job(workspace: &'a str, job: &'a str) -> Self {
        Self { workspace, integration: None, about: About::Job(job) }
    }
}

#[derive(Debug, Clone, Copy)]
pub(in crate::backend) struct Ended<'a> {
    pub(in crate::backend) of: Subject<'a>,
    pub(in crate::backend) host: &'a str,
    pub(in crate::backend) status: Option<u16>,
    pub(in crate::backend) error: Option<&'a BackendError>,
}

/// Requests in a row without a usable answer.
#[derive(Debug, Default)]
pub(super) struct Streak {
    pub(super) count: u32,
    /// The members and jobs that they were about, up to as many as matter.
    rows: BTreeSet<String>,
    /// Whether one was about more than one member or job.
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

    /// Whether it is long enough, and about the app itself or enough different members or jobs.
    pub(super) fn is_outage(&self, after: u32) -> bool {
        self.count >= after && (self.is_of_all || self.rows.len() >= after as usize)
    }
}
