//! Rows that people import from a file.

use sqlx::Executor;

use super::{Actor, Desk, DeskError, Refusal, RefusalKind, commit};
use crate::database::PgConnection;
use crate::intake::inbound::{self, Numbered};

const BATCH: usize = 500;

#[derive(Debug, PartialEq, Eq)]
pub struct Imported {
    pub inserted: u64,
    /// Lines whose source_id the workspace had already.
    pub known: u64,
}

impl Desk {
    /// Inserts lines of JSON with the columns of the inbound contract, all or none. `progress` is called with the size
    /// of each part and the total. An error names the bad line by number and column.
    pub async fn import(
        &self,
        actor: &Actor,
        text: &str,
        mut progress: impl FnMut(usize, usize),
    ) -> Result<Imported, DeskError> {
        let lines = inbound::parse(text)
            .map_err(|bad| Refusal::new(RefusalKind::Invalid, bad.to_string()))?;
        let mut tx = self.begin(actor).await?;
        let mut inserted = 0;
        for batch in lines.chunks(BATCH) {
            inserted += insert(&mut tx, batch).await?;
            progress(batch.len(), lines.len());
        }
        commit(tx).await?;
        Ok(Imported { inserted, known: lines.len() as u64 - inserted })
    }
}

async fn insert(connection: &mut PgConnection, batch: &[Numbered]) -> Result<u64, DeskError> {
    connection.execute("savepoint batch").await?;
    match inbound::insert(connection, batch).await {
        Ok(inserted) => {
            connection.execute("release savepoint batch").await?;
            Ok(inserted)
        }
        Err(sqlx::Error::Database(_)) => {
            connection.execute("rollback to savepoint batch").await?;
            Err(first_refused(connection, batch).await)
        }
        Err(error) => Err(error.into()),
    }
}

/// Finds the line that the database refuses by inserting one line at a time.
async fn first_refused(connection: &mut PgConnection, batch: &[Numbered]) -> DeskError {
    for line in batch {
        let Err(error) = inbound::insert(connection, std::slice::from_ref(line)).await else {
            continue;
        };
        return match Refusal::of(&error) {
            Some(refusal) => Refusal {
                message: format!("line {}: {refusal}\nnothing was inserted", line.number),
                hint: None,
                ..refusal
            }
            .into(),
            None => error.into(),
        };
    }
    let message = "the database refused a batch of which it takes every line: try again; nothing was inserted";
    Refusal::new(RefusalKind::Busy, message).into()
}
