//! Follows the trail from line to line, and loses none that is committed late.
//!
//! Ids are given when a line is written and not when it is committed, so a line may become visible after lines with
//! higher ids. Therefore a reader first notes the latest visible line and which transactions write to the trail at that
//! moment. Once these have ended, no line up to the noted one can appear any more, and the reader returns them. It waits
//! only for transactions that have written to the trail, not for any other one that stays open.

use super::{Actor, Desk, DeskError, Refusal, RefusalKind};
use crate::history::{self, EventLine, Horizon};

const BATCH: i64 = 500;

/// How far somebody has read the trail.
#[derive(Debug)]
pub struct TrailReader {
    /// The last line that was returned, or up to which nothing can appear any more; `None` before the first read.
    after: Option<i64>,
    /// Up to which line the reader wants to go on, once the transactions that wrote then have ended.
    horizon: Option<Horizon>,
}

impl TrailReader {
    /// Goes on after a line; `None` begins after the latest one.
    pub fn new(after: Option<i64>) -> Self {
        Self { after, horizon: None }
    }

    /// Refuses a place beyond the end of the trail, after which a reader would wait for ever: the database has been restored
    /// from a backup since, or it is another one.
    pub async fn check(&self, desk: &Desk) -> Result<(), DeskError> {
        let Some(after) = self.after else { return Ok(()) };
        let latest = history::horizon(&desk.pool).await?.latest;
        if after <= latest {
            return Ok(());
        }
        Err(Refusal {
            kind: RefusalKind::Invalid,
            message: format!("the trail ends at line {latest}, before line {after}"),
            hint: Some(
                "The database may have been restored from a backup. Begin without a place, and read again what you \
                 keep of its rows."
                    .to_owned(),
            ),
        }
        .into())
    }

    /// The line after which the reader goes on.
    pub fn position(&self) -> Option<i64> {
        self.after
    }

    /// Further lines that the actor may see, in the order of their ids; none if there are none yet.
    pub async fn read(&mut self, desk: &Desk, actor: &Actor) -> Result<Vec<EventLine>, DeskError> {
        let horizon = match self.horizon.take() {
            Some(horizon) => horizon,
            None => history::horizon(&desk.pool).await?,
        };
        if history::is_any_open(&desk.pool, &horizon.writers).await? {
            self.horizon = Some(horizon);
            return Ok(Vec::new());
        }
        let Some(after) = self.after else {
            self.after = Some(horizon.latest);
            return Ok(Vec::new());
        };
        let mut tx = desk.begin(actor).await?;
        let lines = history::between(&mut tx, after, horizon.latest, BATCH).await?;
        let is_all = (lines.len() as i64) < BATCH;
        self.after = match lines.last() {
            Some(last) if !is_all => {
                self.horizon = Some(Horizon { writers: Vec::new(), ..horizon });
                Some(last.id)
            }
            _ => Some(after.max(horizon.latest)),
        };
        Ok(lines)
    }
}
