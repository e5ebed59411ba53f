//! `/v1/reports`: which app to fix first, and the evidence of a month.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::Door;
use super::access::Caller;
use super::page::{Cursor, Limit, Page};
use super::problem::Problem;
use super::request::Parameters;
use crate::operator::desk::{AskedEvidence, AskedWork};
use crate::reports::evidence::{EvidenceHead, EvidenceLine};
use crate::reports::work::WorkReport;

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Days {
    workspace: Option<String>,
    /// The first day, in UTC, such as 2026-11-01; thirty days up to the last one without it.
    #[param(format = Date)]
    from: Option<String>,
    /// The last day; today without it. A period has 366 days at most.
    #[param(format = Date)]
    to: Option<String>,
    /// Whether all requests are counted, too, which takes longer.
    #[serde(default)]
    requests: bool,
}

/// Which app to fix first: what automation failed on, and the minutes of manual work that it took.
#[utoipa::path(get, path = "/v1/reports/work", tag = "reports", params(Days),
    responses((status = 200, body = WorkReport)))]
pub(super) async fn work(
    State(door): State<Door>,
    caller: Caller,
    Parameters(asked): Parameters<Days>,
) -> Result<Json<WorkReport>, Problem> {
    let work = AskedWork {
        workspace: asked.workspace.as_deref(),
        from: asked.from.as_deref(),
        to: asked.to.as_deref(),
        requests: asked.requests,
    };
    Ok(Json(door.desk.work_report(&caller.actor, work).await?))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Month {
    /// The workspace that it is about; the only one of the token without it.
    workspace: Option<String>,
    /// Of what was asked for in this month, in UTC, such as 2026-11; the present one without it.
    #[param(pattern = "^[0-9]{4}-(0[1-9]|1[0-2])$")]
    month: Option<String>,
    #[param(value_type = Option<String>)]
    cursor: Option<Cursor>,
    #[serde(default)]
    #[param(value_type = u32, minimum = 1, maximum = 200, required = false)]
    limit: Limit,
}

/// The evidence of a month, page by page.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Evidence {
    #[serde(flatten)]
    head: EvidenceHead,
    #[serde(flatten)]
    page: Page<EvidenceLine>,
}

/// Who asked for what in a month, who did it, and what proves it: what is not proven first.
#[utoipa::path(get, path = "/v1/reports/evidence", tag = "reports", params(Month),
    responses((status = 200, body = Evidence)))]
pub(super) async fn evidence(
    State(door): State<Door>,
    caller: Caller,
    Parameters(asked): Parameters<Month>,
) -> Result<Json<Evidence>, Problem> {
    let evidence = AskedEvidence {
        workspace: asked.workspace.as_deref(),
        month: asked.month.as_deref(),
        after: asked.cursor.as_ref().map(Cursor::place).transpose()?,
        limit: asked.limit.get(),
    };
    let (head, lines) = door.desk.evidence(&caller.actor, evidence).await?;
    let Json(page) = Page::new(lines, asked.limit, EvidenceLine::place);
    Ok(Json(Evidence { head, page }))
}
