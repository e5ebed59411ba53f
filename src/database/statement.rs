//! One statement: its time limit, what its failure means for the connection, and its name in errors.

use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::future::ready;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::{self, BoxStream};
use futures_util::{Stream, StreamExt, TryFutureExt, TryStreamExt};
use sqlx::error::{DatabaseError, ErrorKind};
use sqlx::postgres::{PgQueryResult, PgRow, PgStatement, PgTypeInfo, Postgres};
use sqlx::{Describe, Either, Execute, Executor, SqlStr};
use tokio::time::{Instant, Sleep, sleep, timeout};

use super::connection::PgConnection;
use super::{PgPool, Shared};
use crate::telemetry::metrics;

/// What is known of a connection from the statements that it ran.
pub(super) struct State {
    shared: Arc<Shared>,
    /// When the latest statement was sent.
    began: Instant,
    /// False while a statement waits for its answer: if the caller cancels it then, the connection cannot be used any
    /// more.
    pub(super) is_usable: bool,
}

impl State {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, began: Instant::now(), is_usable: true }
    }

    pub(super) fn settings_of_transactions(&self) -> Option<&str> {
        self.shared.settings_of_transactions.as_deref()
    }

    fn answer_within(&self) -> Duration {
        self.shared.answer_within
    }

    async fn answered<T>(
        &mut self,
        sql: &SqlStr,
        answer: impl Future<Output = sqlx::Result<T>>,
    ) -> sqlx::Result<T> {
        self.begin();
        let within = self.answer_within();
        match timeout(within, answer).await {
            Ok(Ok(answer)) => {
                self.worked(sql);
                Ok(answer)
            }
            Ok(Err(error)) => Err(self.failed(sql, error)),
            Err(_) => Err(self.silent(sql)),
        }
    }

    fn begin(&mut self) {
        self.is_usable = false;
        self.began = Instant::now();
    }

    /// Measures a statement that was answered or has failed.
    fn measure(&self, sql: &SqlStr) {
        metrics::statement_ended(measured_name(sql.as_str()), self.began.elapsed());
    }

    fn worked(&mut self, sql: &SqlStr) {
        self.is_usable = true;
        self.measure(sql);
        self.shared.refusals.worked(sql.as_str());
    }

    /// If the server refused a write because the session is read-only, all connections that were opened by then count
    /// as read-only.
    fn failed(&mut self, sql: &SqlStr, error: sqlx::Error) -> sqlx::Error {
        self.measure(sql);
        let code = error.as_database_error().and_then(DatabaseError::code);
        let is_read_only = code.as_deref() == Some("25006");
        if is_read_only {
            self.shared.distrust_all();
        }
        let is_broken =
            matches!(error, sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::Protocol(_));
        self.is_usable = !is_read_only && !is_broken;
        self.shared.refusals.failed(sql.as_str(), &error);
        named(sql, error)
    }

    fn silent(&mut self, sql: &SqlStr) -> sqlx::Error {
        self.measure(sql);
        self.shared.distrust_all();
        let what = format!(
            "the database did not answer within {} s (database.answer_timeout_s)",
            self.answer_within().as_secs_f64()
        );
        named(sql, sqlx::Error::Io(std::io::Error::new(std::io::ErrorKind::TimedOut, what)))
    }
}

/// `claim_tasks` of `-- claim_tasks\n select …`, or the first words of a short statement. Statements are part of the
/// program, so the name contains no data of rows.
pub(super) fn name(sql: &str) -> Cow<'_, str> {
    given_name(sql)
        .map(Cow::Borrowed)
        .unwrap_or_else(|| Cow::Owned(sql.split_whitespace().take(5).collect::<Vec<_>>().join(" ")))
}

fn given_name(sql: &str) -> Option<&str> {
    let first = sql.trim_start().lines().next()?;
    first.strip_prefix("-- ").map(str::trim)
}

/// The name under which a statement is measured: its own, or its text if it has none. Only the end of a transaction has a
/// text that is also a name.
fn measured_name(sql: &str) -> &str {
    given_name(sql).unwrap_or(sql)
}

/// The server's message alone: the driver adds a line about the server's source code.
pub(super) fn plain(error: sqlx::Error) -> sqlx::Error {
    match error {
        sqlx::Error::Database(error) => {
            sqlx::Error::Database(Box::new(Named { statement: None, error }))
        }
        error => error,
    }
}

/// An error with the name of its statement.
fn named(sql: &SqlStr, error: sqlx::Error) -> sqlx::Error {
    let name = || name(sql.as_str()).into_owned();
    match error {
        sqlx::Error::Database(error) => {
            sqlx::Error::Database(Box::new(Named { statement: Some(name()), error }))
        }
        sqlx::Error::Io(error) => {
            sqlx::Error::Io(std::io::Error::new(error.kind(), format!("{}: {error}", name())))
        }
        error => error,
    }
}

/// The server's message, with the name of the statement before it.
#[derive(Debug)]
struct Named {
    statement: Option<String>,
    error: Box<dyn DatabaseError>,
}

impl fmt::Display for Named {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(statement) = &self.statement {
            write!(out, "{statement}: ")?;
        }
        out.write_str(self.error.message())
    }
}

impl Error for Named {}

impl DatabaseError for Named {
    fn message(&self) -> &str {
        self.error.message()
    }

    fn code(&self) -> Option<Cow<'_, str>> {
        self.error.code()
    }

    fn as_error(&self) -> &(dyn Error + Send + Sync + 'static) {
        self.error.as_error()
    }

    fn as_error_mut(&mut self) -> &mut (dyn Error + Send + Sync + 'static) {
        self.error.as_error_mut()
    }

    fn into_error(self: Box<Self>) -> Box<dyn Error + Send + Sync + 'static> {
        self.error.into_error()
    }

    fn constraint(&self) -> Option<&str> {
        self.error.constraint()
    }

    fn table(&self) -> Option<&str> {
        self.error.table()
    }

    fn kind(&self) -> ErrorKind {
        self.error.kind()
    }
}

type Answer = sqlx::Result<Either<PgQueryResult, PgRow>>;

/// The answer of a statement, row by row. The time limit applies to each wait for the next row.
struct Answers<'c> {
    rows: BoxStream<'c, Answer>,
    sql: SqlStr,
    state: &'c mut State,
    query_timeout: Pin<Box<Sleep>>,
    has_moved: bool,
}

impl Stream for Answers<'_> {
    type Item = Answer;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Answer>> {
        let this = self.get_mut();
        match this.rows.as_mut().poll_next(context) {
            Poll::Ready(Some(Err(error))) => {
                Poll::Ready(Some(Err(this.state.failed(&this.sql, error))))
            }
            Poll::Ready(Some(row)) => {
                this.has_moved = true;
                Poll::Ready(Some(row))
            }
            Poll::Ready(None) => {
                this.state.worked(&this.sql);
                Poll::Ready(None)
            }
            Poll::Pending => {
                if std::mem::take(&mut this.has_moved) {
                    let until = Instant::now() + this.state.answer_within();
                    this.query_timeout.as_mut().reset(until);
                }
                let over = this.query_timeout.as_mut().poll(context);
                over.map(|()| Some(Err(this.state.silent(&this.sql))))
            }
        }
    }
}

/// The text of a query, and the query itself as text and arguments.
fn asked<'q>(
    mut query: impl Execute<'q, Postgres>,
) -> sqlx::Result<(SqlStr, (SqlStr, Option<sqlx::postgres::PgArguments>))> {
    let arguments = query.take_arguments().map_err(sqlx::Error::Encode)?;
    let sql = query.sql();
    Ok((sql.clone(), (sql, arguments)))
}

impl<'c> Executor<'c> for &'c mut PgConnection {
    type Database = Postgres;

    fn fetch_many<'e, 'q: 'e, E>(self, query: E) -> BoxStream<'e, Answer>
    where
        'c: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        if self.needs_transaction() {
            let asked = asked(query);
            let answer = self.in_own_transaction(async |own| {
                own.fetch_many(asked?.1).try_collect::<Vec<_>>().await
            });
            let rows = async move { answer.await.map(|rows| stream::iter(rows).map(Ok)) };
            return rows.try_flatten_stream().boxed();
        }
        let parts = asked(query).and_then(|asked| Ok((asked, self.parts()?)));
        match parts {
            Ok(((sql, query), (raw, state))) => {
                state.begin();
                let query_timeout = Box::pin(sleep(state.answer_within()));
                let rows = raw.fetch_many(query);
                Box::pin(Answers { rows, sql, state, query_timeout, has_moved: false })
            }
            Err(error) => stream::once(ready(Err(error))).boxed(),
        }
    }

    fn fetch_optional<'e, 'q: 'e, E>(self, query: E) -> BoxFuture<'e, sqlx::Result<Option<PgRow>>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        Box::pin(async move {
            let (sql, query) = asked(query)?;
            if self.needs_transaction() {
                return self.in_own_transaction(async |own| own.fetch_optional(query).await).await;
            }
            let (raw, state) = self.parts()?;
            state.answered(&sql, raw.fetch_optional(query)).await
        })
    }

    fn prepare_with<'e>(
        self,
        sql: SqlStr,
        parameters: &'e [PgTypeInfo],
    ) -> BoxFuture<'e, sqlx::Result<PgStatement>>
    where
        'c: 'e,
    {
        Box::pin(async move {
            let (raw, state) = self.parts()?;
            state.answered(&sql.clone(), raw.prepare_with(sql, parameters)).await
        })
    }

    fn describe<'e>(self, sql: SqlStr) -> BoxFuture<'e, sqlx::Result<Describe<Postgres>>>
    where
        'c: 'e,
    {
        Box::pin(async move {
            let (raw, state) = self.parts()?;
            state.answered(&sql.clone(), raw.describe(sql)).await
        })
    }
}

/// Each statement uses a connection of its own.
impl<'p> Executor<'p> for &'p PgPool {
    type Database = Postgres;

    fn fetch_many<'e, 'q: 'e, E>(self, query: E) -> BoxStream<'e, Answer>
    where
        'p: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        let answer = async move {
            let mut connection = self.acquire().await?;
            connection.fetch_many(query).try_collect::<Vec<_>>().await
        };
        stream::once(answer).map_ok(|rows| stream::iter(rows).map(Ok)).try_flatten().boxed()
    }

    fn fetch_optional<'e, 'q: 'e, E>(self, query: E) -> BoxFuture<'e, sqlx::Result<Option<PgRow>>>
    where
        'p: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        Box::pin(async move { self.acquire().await?.fetch_optional(query).await })
    }

    fn prepare_with<'e>(
        self,
        sql: SqlStr,
        parameters: &'e [PgTypeInfo],
    ) -> BoxFuture<'e, sqlx::Result<PgStatement>>
    where
        'p: 'e,
    {
        Box::pin(async move { self.acquire().await?.prepare_with(sql, parameters).await })
    }

    fn describe<'e>(self, sql: SqlStr) -> BoxFuture<'e, sqlx::Result<Describe<Postgres>>>
    where
        'p: 'e,
    {
        Box::pin(async move { self.acquire().await?.describe(sql).await })
    }
}
