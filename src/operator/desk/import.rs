//! Rows that people import from a file.

use sqlx::Executor;

use super::{Actor, Desk, DeskError, Refusal, RefusalKind, commit};
use crate::database::PgConnection;
use crate::intake::inbound::{self, BadLines, Numbered};

const BATCH: usize = 500;

#[derive(Debug, PartialEq, Eq)]
pub struct Imported {
    pub inserted: u64,
    /// Lines whose source_id the workspace had already.
    pub known: u64,
    /// Lines whose requested_at has no zone. It was read as UTC.
    pub without_zone: usize,
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
        let mut tx = self.begin_change(actor).await?;
        let (mut inserted, mut refused) = (0, BadLines::default());
        for batch in lines.chunks(BATCH) {
            inserted += insert(&mut tx, batch, &mut refused).await?;
            progress(batch.len(), lines.len());
        }
        if !refused.is_empty() {
            return Err(Refusal::new(RefusalKind::Invalid, refused.to_string()).into());
        }
        commit(tx).await?;
        let without_zone = lines.iter().filter(|line| !line.task.requested_at.has_zone).count();
        Ok(Imported { inserted, known: lines.len() as u64 - inserted, without_zone })
    }
}

/// Inserts a batch; returns how many lines were new. If the database refuses the batch, the lines that it refuses are
/// found one by one.
async fn insert(
    connection: &mut PgConnection,
    batch: &[Numbered],
    refused: &mut BadLines,
) -> Result<u64, DeskError> {
    match insert_or_roll_back(connection, batch).await {
        Err(error) if Refusal::of(&error).is_some() => {
            for line in batch {
                insert_one(connection, line, refused).await?;
            }
            Ok(0)
        }
        inserted => Ok(inserted?),
    }
}

async fn insert_one(
    connection: &mut PgConnection,
    line: &Numbered,
    refused: &mut BadLines,
) -> Result<(), DeskError> {
    match insert_or_roll_back(connection, std::slice::from_ref(line)).await {
        Ok(_) => Ok(()),
        Err(error) => match Refusal::of(&error) {
            Some(refusal) => {
                refused.push(line.number, &refusal.to_string());
                Ok(())
            }
            None => Err(error.into()),
        },
    }
}

async fn insert_or_roll_back(
    connection: &mut PgConnection,
    lines: &[Numbered],
) -> sqlx::Result<u64> {
    connection.execute("savepoint lines").await?;
    let inserted = inbound::insert(connection, lines).await;
    let end =
        if inserted.is_ok() { "release savepoint lines" } else { "rollback to savepoint lines" };
    connection.execute(end).await?;
    inserted
}
