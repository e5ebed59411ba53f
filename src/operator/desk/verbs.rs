//! What people do with a manual action, by the name of the verb: with one, or the same with many.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::{Actor, Chosen, Desk, DeskError, Refusal, RefusalKind, Seen};
use crate::text::printable;

#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ActionVerb {
    /// Claims an open action; with a note also one that a colleague works on.
    Claim,
    /// Gives an action to a colleague; needs `to` and `note`.
    HandOver,
    /// Releases an action that the caller works on.
    Release,
    /// Replaces the note; needs `note`.
    Note,
    /// States that the change was made in the app. The daemon then reads the app to prove it.
    Done,
    /// Withdraws the statement, before it is judged.
    Withdraw,
    /// Confirms another person's statement, where the integration has four eyes set.
    Confirm,
    /// Ends an action whose change is not to be made; needs `note`.
    Dismiss,
    /// Sends an action back to automation after a fix; needs `note`.
    Return,
    /// Reports that the app looks different from the instructions; `note` may say what has changed.
    ScreenChanged,
}

/// The words that come with a verb.
#[derive(Debug, Clone, Copy, Default)]
pub struct Words<'a> {
    /// Why, or what was done.
    pub note: Option<&'a str>,
    /// The colleague who gets the action.
    pub to: Option<&'a str>,
}

impl ActionVerb {
    /// Those that can be done with many actions at once. Whoever confirms looks at each statement; a note is about one
    /// action; and a text of instructions is reported once, not for everybody whom it is about.
    pub const AT_ONCE: [Self; 7] = [
        Self::Claim,
        Self::Done,
        Self::HandOver,
        Self::Return,
        Self::Release,
        Self::Withdraw,
        Self::Dismiss,
    ];

    pub fn needs_note(self) -> bool {
        matches!(self, Self::HandOver | Self::Note | Self::Dismiss | Self::Return)
    }

    /// Refuses words without one that the verb cannot do without.
    pub fn check(self, words: Words<'_>) -> Result<(), Refusal> {
        // As the database sees it: what nobody can see says nothing.
        let is_blank =
            |word: Option<&str>| word.is_none_or(|word| printable(word).trim().is_empty());
        if self == Self::HandOver && is_blank(words.to) {
            return Err(unfit("this needs a colleague: say to whom"));
        }
        if self.needs_note() && is_blank(words.note) {
            return Err(unfit("this needs a note: say why"));
        }
        Ok(())
    }
}

/// So many actions can be done with at once.
const MOST_AT_ONCE: usize = 1000;

impl Desk {
    /// Does something with one action.
    pub async fn act(
        &self,
        actor: &Actor,
        verb: ActionVerb,
        seen: Seen,
        words: Words<'_>,
    ) -> Result<(), DeskError> {
        verb.check(words)?;
        let note = words.note.unwrap_or_default();
        match verb {
            ActionVerb::Claim => self.claim(actor, seen, words.note).await,
            ActionVerb::HandOver => {
                self.assign(actor, seen, words.to.unwrap_or_default().trim(), note).await
            }
            ActionVerb::Release => self.release(actor, seen).await,
            ActionVerb::Note => self.note(actor, seen, note).await,
            ActionVerb::Done => self.done(actor, seen, words.note).await.map(drop),
            ActionVerb::Withdraw => self.withdraw(actor, seen).await,
            ActionVerb::Confirm => self.confirm(actor, seen).await,
            ActionVerb::Dismiss => self.dismiss(actor, seen, note).await,
            ActionVerb::Return => self.return_to_automation(actor, &Chosen::One(seen), note).await,
            ActionVerb::ScreenChanged => self.screen_changed(actor, seen, words.note).await,
        }
    }

    /// Does the same with many actions, each as its caller saw it. Each gets an answer of its own, in their order: a
    /// refused one keeps no other back.
    pub async fn act_on_each(
        &self,
        actor: &Actor,
        verb: ActionVerb,
        actions: &[Seen],
        words: Words<'_>,
    ) -> Result<Vec<Result<(), DeskError>>, DeskError> {
        check_many(verb, actions)?;
        let (mut answers, mut waited) = (Vec::new(), Duration::ZERO);
        for seen in actions {
            if waited >= WAITS_AT_MOST {
                answers.push(Err(not_tried(seen.id).into()));
                continue;
            }
            let began = Instant::now();
            let answer = self.act(actor, verb, *seen, words).await;
            if answer.as_ref().is_err_and(is_busy) {
                waited += began.elapsed();
            }
            answers.push(answer);
        }
        Ok(answers)
    }
}

/// How long one request waits for locks of others in all. Whoever asked would otherwise get no answer in time, and not learn
/// what was done.
const WAITS_AT_MOST: Duration = Duration::from_secs(10);

fn is_busy(error: &DeskError) -> bool {
    matches!(error, DeskError::Refused(refusal) if refusal.kind == RefusalKind::Busy)
}

fn not_tried(id: i64) -> Refusal {
    Refusal {
        kind: RefusalKind::Busy,
        message: format!("action {id} was not tried: others hold too many of these actions locked"),
        hint: Some("Try again in a moment.".to_owned()),
    }
}

/// Refuses what cannot be done at once, before anything of it is.
pub(in crate::operator) fn check_many(verb: ActionVerb, actions: &[Seen]) -> Result<(), Refusal> {
    if !ActionVerb::AT_ONCE.contains(&verb) {
        return Err(unfit("this is done with one action at a time"));
    }
    if actions.is_empty() || actions.len() > MOST_AT_ONCE {
        let message = format!("1 to {MOST_AT_ONCE} actions can be done with at once");
        return Err(Refusal::new(RefusalKind::Invalid, message));
    }
    let mut ids = BTreeSet::new();
    match actions.iter().find(|seen| !ids.insert(seen.id)) {
        Some(seen) => Err(unfit(format!("action {} is named twice", seen.id))),
        None => Ok(()),
    }
}

fn unfit(message: impl Into<String>) -> Refusal {
    Refusal::new(RefusalKind::Unfit, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_are_1_to_1000_each_once_and_a_verb_that_looks_at_each_takes_one() {
        let many = |count| (1..=count).map(Seen::from).collect::<Vec<_>>();
        let kind = |verb, actions: &[Seen]| check_many(verb, actions).map_err(|no| no.kind);
        for verb in ActionVerb::AT_ONCE {
            assert_eq!(kind(verb, &many(1000)), Ok(()), "{verb:?}");
            for wrong in [many(0), many(1001)] {
                assert_eq!(kind(verb, &wrong), Err(RefusalKind::Invalid), "{verb:?}");
            }
        }
        assert_eq!(
            kind(ActionVerb::Claim, &[7.into(), 8.into(), 7.into()]),
            Err(RefusalKind::Unfit)
        );
        for verb in [ActionVerb::Confirm, ActionVerb::Note, ActionVerb::ScreenChanged] {
            assert_eq!(kind(verb, &many(2)), Err(RefusalKind::Unfit), "{verb:?}");
        }
    }

    #[test]
    fn a_verb_that_needs_words_is_refused_without_them() {
        let words = |to, note| Words { to, note };
        let is_enough = |verb: ActionVerb, words| verb.check(words).is_ok();
        for verb in [ActionVerb::Dismiss, ActionVerb::Return, ActionVerb::Note] {
            assert!(
                is_enough(verb, words(None, Some("why")))
                    && !is_enough(verb, words(None, Some(" ")))
            );
        }
        let over = ActionVerb::HandOver;
        assert!(is_enough(over, words(Some("kim"), Some("why"))));
        assert!(
            !is_enough(over, words(Some(" "), Some("why")))
                && !is_enough(over, words(Some("kim"), None))
        );
        assert!(is_enough(ActionVerb::Claim, words(None, None)));
    }
}
