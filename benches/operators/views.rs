//! The views, as people ask for them in a shell.

use crate::person::Person;
use crate::times::{Group, Times};

const VIEWS: Group = Group::query("views");

const STATEMENTS: [&str; 7] = [
    "select * from reconciler.my_work limit 100",
    "select * from reconciler.work_by_app",
    "select * from reconciler.overdue limit 100",
    "select * from reconciler.contradicted limit 100",
    "select * from reconciler.held_reports",
    "select * from reconciler.why_waiting limit 100",
    "select * from reconciler.integrations",
];

pub(crate) async fn measure(person: &Person, times: &mut Times) -> anyhow::Result<()> {
    let mut session = person.session().await?;
    for statement in STATEMENTS {
        let name = statement.trim_start_matches("select * from reconciler.");
        let ask = async || Ok(sqlx::raw_sql(statement).fetch_all(&mut session).await?.len());
        times.ask(VIEWS, name, ask).await?;
    }
    Ok(())
}
