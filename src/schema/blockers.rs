//! Finds out which sessions hold what another session waits for.

use std::fmt;
use std::time::{Duration, Instant};

use crate::database::PgPool;

/// A wait that is shorter than this is not looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// The same wait is told again after this time.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// A session that holds what another one waits for. What it runs is left out: a statement may contain personal data.
#[derive(Debug, Clone, sqlx::FromRow)]
pub(super) struct Blocker {
    pid: i32,
    login: Option<String>,
    application: Option<String>,
    /// Other logins see it only with `pg_read_all_stats`.
    state: Option<String>,
    open_for_s: Option<i64>,
}

impl fmt::Display for Blocker {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.pid == 0 {
            return write!(out, "a prepared transaction");
        }
        let login = self.login.as_deref().unwrap_or("somebody");
        write!(out, "session {} of {login}", self.pid)?;
        let application = self.application.clone().filter(|name| !name.is_empty());
        let open = self.open_for_s.map(|seconds| format!("in a transaction for {seconds} s"));
        let facts: Vec<_> = [application, self.state.clone(), open].into_iter().flatten().collect();
        if facts.is_empty() { Ok(()) } else { write!(out, " ({})", facts.join(", ")) }
    }
}

/// The sessions for which the session `pid` waits now.
async fn of(pool: &PgPool, pid: i32) -> sqlx::Result<Vec<Blocker>> {
    sqlx::query_as(
        "select distinct blocker as pid, s.usename::text as login, s.application_name as application, s.state,
                extract(epoch from clock_timestamp() - s.xact_start)::bigint as open_for_s
         from unnest(pg_blocking_pids($1)) blocker left join pg_stat_activity s on s.pid = blocker
         order by pid",
    )
    .bind(pid)
    .fetch_all(pool)
    .await
}

pub(super) fn list(blockers: &[Blocker]) -> String {
    blockers.iter().map(Blocker::to_string).collect::<Vec<_>>().join(", ")
}

/// Does the work, which runs on the session `pid`, and tells meanwhile what that session waits for. A session cannot look
/// at itself while it waits, so this looks from another one. Returns also for whom it was last seen waiting.
pub(super) async fn watched<T>(
    pool: &PgPool,
    pid: i32,
    tell: &mut (dyn FnMut(&str) + Send),
    work: impl Future<Output = T>,
) -> (T, Vec<Blocker>) {
    let mut last: Vec<Blocker> = Vec::new();
    let watch = async {
        let mut told: Option<Instant> = None;
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let found = of(pool, pid).await.unwrap_or_default();
            if found.is_empty() {
                continue;
            }
            if told.is_none_or(|told| told.elapsed() >= TELL_EVERY) {
                tell(&format!("waiting for {}", list(&found)));
                told = Some(Instant::now());
            }
            last = found;
        }
    };
    let ended = tokio::select! {
        ended = work => ended,
        never = watch => never,
    };
    (ended, last)
}
