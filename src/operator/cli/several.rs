//! One verb for one row or for many: the ids, a preview before many, an answer for each, and the exit code.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::io::{IsTerminal, Read};
use std::process::ExitCode;
use std::str::FromStr;

use anyhow::{Context, bail};

use super::Acting;
use super::terminal::{complain, print};
use crate::operator::desk::{Actor, Desk, DeskError};

/// Some were done and some were refused.
const PARTLY: u8 = 3;

/// As for other wrong command lines: more than one id, and no `--yes`.
const USAGE: u8 = 2;

/// Rows by their ids, and who acts.
#[derive(Debug, clap::Args)]
pub(super) struct Several {
    /// The ids; - reads them from standard input
    #[arg(required = true, value_name = "ID")]
    ids: Vec<String>,
    /// Do it for more than one without a preview
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    acting: Acting,
}

/// What is done, and to which rows, in the words of the command line.
#[derive(Debug, Clone, Copy)]
pub(super) struct Verb {
    pub(super) verb: &'static str,
    pub(super) rows: &'static str,
}

impl Several {
    pub(super) async fn actor(&self, desk: &Desk) -> anyhow::Result<Actor> {
        self.acting.actor(desk).await
    }

    fn reads_stdin(&self) -> bool {
        self.ids.iter().any(|word| word == "-")
    }

    fn ids<T: FromStr + Ord>(&self, rows: &str) -> anyhow::Result<BTreeSet<T>> {
        let mut text = self.ids.join(" ");
        if self.reads_stdin() {
            let mut read = String::new();
            std::io::stdin().read_to_string(&mut read).context("standard input cannot be read")?;
            text = format!("{text} {read}");
        }
        let words = text.split([',', ' ', '\t', '\r', '\n']);
        let words = words.filter(|word| !word.is_empty() && *word != "-");
        let ids = words.map(|word| match word.parse() {
            Ok(id) => Ok(id),
            Err(_) => bail!("{word:?} is not an id of {rows}"),
        });
        let ids: BTreeSet<T> = ids.collect::<anyhow::Result<_>>()?;
        if ids.is_empty() {
            bail!("no id was given");
        }
        Ok(ids)
    }

    /// Does it for each row and says what became of it. For more than one, a person agrees first, to what `preview`
    /// shows.
    pub(super) async fn each<T: FromStr + Ord + Clone + Display>(
        &self,
        verb: Verb,
        preview: impl AsyncFn(&[T]) -> anyhow::Result<String>,
        act: impl AsyncFn(T) -> Result<String, DeskError>,
    ) -> anyhow::Result<ExitCode> {
        let ids: Vec<T> = self.ids(verb.rows)?.into_iter().collect();
        if ids.len() > 1 && !self.yes {
            print(&preview(&ids).await?)?;
            if !self.is_agreed(verb, ids.len())? {
                return Ok(ExitCode::from(USAGE));
            }
        }
        let mut refused = 0;
        let all = ids.len();
        for id in ids {
            match act(id).await {
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
            refused if refused == all => ExitCode::FAILURE,
            _ => ExitCode::from(PARTLY),
        })
    }

    /// Asks only at a terminal: a script says --yes.
    fn is_agreed(&self, Verb { verb, rows }: Verb, many: usize) -> anyhow::Result<bool> {
        if self.reads_stdin() || !std::io::stdin().is_terminal() || !std::io::stdout().is_terminal()
        {
            complain(&format!("Nothing was done. To {verb} these {many} {rows}, give --yes."));
            return Ok(false);
        }
        print(&format!("{verb} these {many} {rows}? [y/N] "))?;
        let mut answer = String::new();
        std::io::stdin().read_line(&mut answer)?;
        let is_agreed = ["y", "yes"].contains(&answer.trim().to_lowercase().as_str());
        if !is_agreed {
            complain("Nothing was done.");
        }
        Ok(is_agreed)
    }
}
