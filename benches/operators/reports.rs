//! The reports of work and of evidence, for the token and for a login that sees all workspaces.

use cerby_reconciler::operator::desk::{Actor, AskedEvidence, AskedWork};
use cerby_reconciler::reports::evidence::Place;

use crate::person::Person;
use crate::times::{Group, Times};

/// What a page asks of the database has the time of the page.
const REPORTS: Group = Group::page("reports");

const WORKSPACE: &str = "workspace-3";

/// A month of which all actions are kept.
const MONTHS_BACK: chrono::Months = chrono::Months::new(2);

pub(crate) async fn measure(person: &Person, times: &mut Times) -> anyhow::Result<()> {
    let today: chrono::NaiveDate =
        sqlx::query_scalar("select current_date").fetch_one(&mut person.session().await?).await?;
    let month = (today - MONTHS_BACK).format("%Y-%m").to_string();
    let year = (today - chrono::Days::new(364)).to_string();
    let actors = [("own workspaces", &person.actor), ("all workspaces", &Actor::by_login())];
    for (who, actor) in actors {
        for workspace in [None, Some(WORKSPACE)] {
            let which = workspace.map_or(who.to_owned(), |one| format!("{one} of {who}"));
            for (name, from, requests) in [
                ("30 days", None, false),
                ("30 days and requests", None, true),
                ("a year", Some(year.as_str()), false),
                ("a year and requests", Some(year.as_str()), true),
            ] {
                let asked = AskedWork { workspace, from, to: None, requests };
                let desk = person.desk().await?;
                let ask = async || Ok(desk.work_report(actor, asked).await?.lines.len());
                times.ask(REPORTS, format!("{name}, {which}"), ask).await?;
            }
        }
        let after = Place { is_proven: true, id: person.examples.ended_action };
        for (name, after) in [("evidence", None), ("evidence, from the middle", Some(after))] {
            let asked =
                AskedEvidence { workspace: Some(WORKSPACE), month: Some(&month), after, limit: 50 };
            let desk = person.desk().await?;
            let ask = async || Ok(desk.evidence(actor, asked).await?.1.len());
            times.ask(REPORTS, format!("{name}, {who}"), ask).await?;
        }
    }
    Ok(())
}
