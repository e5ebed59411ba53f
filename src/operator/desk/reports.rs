//! Reports: which app to fix first, and the evidence of a month.

use super::{Actor, Desk, DeskError, Refusal, RefusalKind};
use crate::reports::evidence::{EvidenceHead, EvidenceLine, Place};
use crate::reports::period::{Period, PeriodError};
use crate::reports::store::{self, EvidenceFilter};
use crate::reports::work::{self, WorkReport};

/// Of which actions a report is asked for.
#[derive(Debug, Clone, Copy, Default)]
pub struct AskedWork<'a> {
    pub workspace: Option<&'a str>,
    /// The first and the last day; the last thirty days if both are `None`.
    pub from: Option<&'a str>,
    pub to: Option<&'a str>,
    /// Whether all requests are counted, too, which takes longer.
    pub requests: bool,
}

/// Which evidence is asked for.
#[derive(Debug, Clone, Copy, Default)]
pub struct AskedEvidence<'a> {
    /// The only one of the actor, if it is `None`.
    pub workspace: Option<&'a str>,
    /// As 2026-11; the present one if it is `None`.
    pub month: Option<&'a str>,
    /// Only lines that come after this one in the list.
    pub after: Option<Place>,
    pub limit: u32,
}

impl Desk {
    /// Which app to fix first, by the actions that were opened from one day to another.
    pub async fn work_report(
        &self,
        actor: &Actor,
        asked: AskedWork<'_>,
    ) -> Result<WorkReport, DeskError> {
        let mut tx = self.begin(actor).await?;
        let workspace = actor.workspace_or(asked.workspace);
        let today = store::now(&mut tx).await?.date_naive();
        let period = Period::between(asked.from, asked.to, today).map_err(wrong)?;
        let since = store::figures_since(&mut tx, workspace).await?;
        let figures = store::figures(&mut tx, workspace, period).await?;
        let requests = match asked.requests {
            true => store::requests(&mut tx, workspace, period).await?,
            false => Vec::new(),
        };
        Ok(work::report(period, since, figures, requests))
    }

    /// The evidence of a month in one workspace: what is not proven first.
    pub async fn evidence(
        &self,
        actor: &Actor,
        asked: AskedEvidence<'_>,
    ) -> Result<(EvidenceHead, Vec<EvidenceLine>), DeskError> {
        let mut tx = self.begin(actor).await?;
        let workspace = actor.workspace_or(asked.workspace).ok_or_else(no_workspace)?;
        let read_at = store::now(&mut tx).await?;
        let period = Period::month(asked.month, read_at.date_naive()).map_err(wrong)?;
        let filter = EvidenceFilter { workspace, period, limit: asked.limit };
        let totals = store::totals(&mut tx, workspace, period).await?;
        let head = EvidenceHead::new(workspace, period, read_at, totals);
        Ok((head, store::unproven_first(&mut tx, filter, asked.after).await?))
    }

    /// A batch of the same evidence for whoever reads all of it, in the order in which it was asked for.
    pub async fn evidence_after(
        &self,
        actor: &Actor,
        workspace: &str,
        period: Period,
        after: Option<i64>,
        limit: u32,
    ) -> Result<Vec<EvidenceLine>, DeskError> {
        let mut tx = self.begin(actor).await?;
        let filter = EvidenceFilter { workspace, period, limit };
        Ok(store::evidence(&mut tx, filter, None, after).await?)
    }
}

fn wrong(error: PeriodError) -> Refusal {
    Refusal::new(RefusalKind::Invalid, error.to_string())
}

fn no_workspace() -> Refusal {
    Refusal {
        kind: RefusalKind::Invalid,
        message: "evidence is about one workspace, and none is named".to_owned(),
        hint: Some("Name the workspace that it is about.".to_owned()),
    }
}
