//! What people do with an action, as the buttons of pages name it.

use super::form::Form;
use super::problem::Problem;
use crate::operator::desk::{Actor, Chosen, Desk, Seen};
use axum::http::StatusCode;

#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Verb {
    Claim,
    TakeOver,
    Done,
    Release,
    HandOver,
    Dismiss,
    Return,
    Withdraw,
    Confirm,
    Note,
    ScreenChanged,
}

impl Verb {
    /// Those that can be done with many actions at once.
    pub(super) const MANY: [Self; 7] = [
        Self::Claim,
        Self::Done,
        Self::HandOver,
        Self::Return,
        Self::Release,
        Self::Withdraw,
        Self::Dismiss,
    ];

    /// As the address has it.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Claim => "claim",
            Self::TakeOver => "take-over",
            Self::Done => "done",
            Self::Release => "release",
            Self::HandOver => "hand-over",
            Self::Dismiss => "dismiss",
            Self::Return => "return",
            Self::Withdraw => "withdraw",
            Self::Confirm => "confirm",
            Self::Note => "note",
            Self::ScreenChanged => "screen-changed",
        }
    }

    pub(super) fn of(word: Option<&str>) -> Result<Self, Problem> {
        let known = Self::MANY.into_iter().find(|verb| Some(verb.word()) == word);
        known.ok_or_else(|| {
            Problem::new(StatusCode::BAD_REQUEST, "The form does not say what to do.")
                .hint("Use a button of the page.")
        })
    }

    /// On a button.
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Claim => "Claim",
            Self::TakeOver => "Take over",
            Self::Done => "Done",
            Self::Release => "Release",
            Self::HandOver => "Hand over",
            Self::Dismiss => "Dismiss",
            Self::Return => "Return to automation",
            Self::Withdraw => "Withdraw",
            Self::Confirm => "Confirm",
            Self::Note => "Save note",
            Self::ScreenChanged => "The screen has changed",
        }
    }

    /// What follows, for the page that asks.
    pub(super) fn follows(self) -> &'static str {
        match self {
            Self::Claim => "They are yours, and your colleagues see that.",
            Self::Done => {
                "You state that the changes are made in the app. The app is then read, to prove it."
            }
            Self::HandOver => "They are your colleague's from then on.",
            Self::Return => "Automation tries them again at once.",
            Self::Release => "Anybody may claim them.",
            Self::Withdraw => "They are open again, if they were not judged yet.",
            Self::Dismiss => "They end, and the changes are not made. This cannot be undone.",
            Self::TakeOver | Self::Confirm | Self::Note | Self::ScreenChanged => "",
        }
    }

    /// Whether it asks for words.
    pub(super) fn takes_note(self) -> bool {
        !matches!(self, Self::Claim | Self::Release | Self::Withdraw | Self::Confirm)
    }

    /// Whether it cannot do without.
    pub(super) fn needs_note(self) -> bool {
        self.takes_note() && !matches!(self, Self::Done | Self::ScreenChanged)
    }

    /// Refuses a form that lacks words which the verb cannot do without.
    pub(super) fn check(self, form: &Form) -> Result<(), Problem> {
        if self == Self::HandOver {
            to(form)?;
        }
        if self.needs_note() {
            why(form)?;
        }
        Ok(())
    }

    pub(super) async fn run(
        self,
        desk: &Desk,
        actor: &Actor,
        seen: Seen,
        form: &Form,
    ) -> Result<(), Problem> {
        match self {
            Self::Claim => desk.claim(actor, seen, None).await?,
            Self::TakeOver => desk.claim(actor, seen, Some(why(form)?)).await?,
            Self::Done => drop(desk.done(actor, seen, form.get("note")).await?),
            Self::Release => desk.release(actor, seen).await?,
            Self::HandOver => {
                desk.assign(actor, seen, to(form)?.trim(), why(form)?).await?;
            }
            Self::Dismiss => desk.dismiss(actor, seen, why(form)?).await?,
            Self::Return => {
                desk.return_to_automation(actor, &Chosen::One(seen), why(form)?).await?;
            }
            Self::Withdraw => desk.withdraw(actor, seen).await?,
            Self::Confirm => desk.confirm(actor, seen).await?,
            Self::Note => desk.note(actor, seen, why(form)?).await?,
            Self::ScreenChanged => desk.screen_changed(actor, seen, form.get("note")).await?,
        }
        Ok(())
    }
}

fn why(form: &Form) -> Result<&str, Problem> {
    form.needed("note", "This needs a note: say why.")
}

fn to(form: &Form) -> Result<&str, Problem> {
    form.needed("to", "Say to whom: the colleague's name.")
}
