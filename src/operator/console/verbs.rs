//! What people do with an action, as the buttons of pages name it.

use super::form::Form;
use super::problem::Problem;
use crate::operator::desk::{ActionVerb, Actor, Desk, DeskError, Seen, Words};
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
    /// As pages offer them.
    const ALL: [Self; 11] = [
        Self::Claim,
        Self::Done,
        Self::HandOver,
        Self::Return,
        Self::Release,
        Self::Withdraw,
        Self::Dismiss,
        Self::TakeOver,
        Self::Confirm,
        Self::Note,
        Self::ScreenChanged,
    ];

    /// Those that can be done with many actions at once. Each of several colleagues would be asked before their work is
    /// taken over.
    pub(super) fn many() -> impl Iterator<Item = Self> {
        let is_for_many =
            |verb: &Self| *verb != Self::TakeOver && ActionVerb::AT_ONCE.contains(&verb.act());
        Self::ALL.into_iter().filter(is_for_many)
    }

    /// What the desk does.
    pub(super) fn act(self) -> ActionVerb {
        match self {
            Self::Claim | Self::TakeOver => ActionVerb::Claim,
            Self::Done => ActionVerb::Done,
            Self::Release => ActionVerb::Release,
            Self::HandOver => ActionVerb::HandOver,
            Self::Dismiss => ActionVerb::Dismiss,
            Self::Return => ActionVerb::Return,
            Self::Withdraw => ActionVerb::Withdraw,
            Self::Confirm => ActionVerb::Confirm,
            Self::Note => ActionVerb::Note,
            Self::ScreenChanged => ActionVerb::ScreenChanged,
        }
    }

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
        let known = Self::many().find(|verb| Some(verb.word()) == word);
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
        self == Self::TakeOver || self.act().needs_note()
    }

    /// The words of a form, if none is missing.
    pub(super) fn words(self, form: &Form) -> Result<Words<'_>, Problem> {
        let note = match self {
            Self::TakeOver => Some(form.needed("note", "This needs a note: say why.")?),
            _ => form.get("note").filter(|_| self.takes_note()),
        };
        let words = Words { note, to: form.get("to") };
        self.act().check(words).map_err(DeskError::from)?;
        Ok(words)
    }

    pub(super) async fn run(
        self,
        desk: &Desk,
        actor: &Actor,
        seen: Seen,
        form: &Form,
    ) -> Result<(), Problem> {
        Ok(desk.act(actor, self.act(), seen, self.words(form)?).await?)
    }
}
