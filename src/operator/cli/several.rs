//! One verb for one action or for many: the ids, a preview before many, an answer for each, and the exit code.

use std::collections::BTreeSet;
use std::io::{IsTerminal, Read, Write};
use std::process::ExitCode;

use anyhow::{Context, bail};

use super::Acting;
use super::actions::listed;
use super::terminal::{complain, print};
use crate::manual_action::people::ActionFilter;
use crate::operator::desk::{Actor, Desk, DeskError};

/// Some were done and some were refused.
const PARTLY: u8 = 3;

/// As for other wrong command lines: more than one id, and no `--yes`.
const USAGE: u8 = 2;

/// Actions by their ids, and who acts.
#[derive(Debug, clap::Args)]
pub(super) struct ActionsArg {
    /// The actions' ids; - reads them from standard input
    #[arg(required = true, value_name = "ID")]
    ids: Vec<String>,
    /// Do it for more than one action without a preview
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    acting: Acting,
}

impl ActionsArg {
    pub(super) fn actor(&self) -> Actor {
        self.acting.actor()
    }

    fn reads_stdin(&self) -> bool {
        self.ids.iter().any(|word| word == "-")
    }

    fn ids(&self) -> anyhow::Result<BTreeSet<i64>> {
        let mut text = self.ids.join(" ");
        if self.reads_stdin() {
            let mut read = String::new();
            std::io::stdin().read_to_string(&mut read).context("standard input cannot be read")?;
            text = format!("{text} {read}");
        }
        let words = text.split_whitespace().filter(|word| *word != "-");
        let ids = words.map(|word| match word.parse() {
            Ok(id) => Ok(id),
            Err(_) => bail!("{word:?} is not the id of an action"),
        });
        let ids: BTreeSet<i64> = ids.collect::<anyhow::Result<_>>()?;
        if ids.is_empty() {
            bail!("no id was given");
        }
        Ok(ids)
    }

    /// Does it for each action and says what became of it. For more than one, a person agrees first.
    pub(super) async fn each(
        &self,
        desk: &Desk,
        verb: &str,
        act: impl AsyncFn(i64) -> Result<String, DeskError>,
    ) -> anyhow::Result<ExitCode> {
        let ids = self.ids()?;
        if ids.len() > 1 && !self.yes && !self.is_agreed(desk, verb, &ids).await? {
            return Ok(ExitCode::from(USAGE));
        }
        let mut refused = 0;
        for id in &ids {
            match act(*id).await {
                Ok(said) => print(&said)?,
                Err(DeskError::Refused(refusal)) => {
                    complain(&format!("error: {refusal}"));
                    refused += 1;
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(match refused {
            0 => ExitCode::SUCCESS,
            all if all == ids.len() => ExitCode::FAILURE,
            _ => ExitCode::from(PARTLY),
        })
    }

    /// Shows the actions. Asks only at a terminal: a script says --yes.
    async fn is_agreed(
        &self,
        desk: &Desk,
        verb: &str,
        ids: &BTreeSet<i64>,
    ) -> anyhow::Result<bool> {
        let ids: Vec<_> = ids.iter().copied().collect();
        let limit = u32::try_from(ids.len()).unwrap_or(u32::MAX);
        let found = desk
            .actions(&self.actor(), ActionFilter { ids: &ids, limit, ..ActionFilter::default() })
            .await?;
        print(&listed(&found))?;
        let many = ids.len();
        if self.reads_stdin() || !std::io::stdin().is_terminal() || !std::io::stdout().is_terminal()
        {
            complain(&format!("Nothing was done. To {verb} these {many} actions, give --yes."));
            return Ok(false);
        }
        print(&format!("{verb} these {many} actions? [y/N] "))?;
        std::io::stdout().flush()?;
        let mut answer = String::new();
        std::io::stdin().read_line(&mut answer)?;
        let is_agreed = ["y", "yes"].contains(&answer.trim().to_lowercase().as_str());
        if !is_agreed {
            complain("Nothing was done.");
        }
        Ok(is_agreed)
    }
}
