//! Lines of the trail as sentences with the names of people and apps.

use chrono::{DateTime, Utc};
use sqlx::FromRow;

use cerby_reconciler::text::printable;

/// Something that happened, for the list of the latest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Happening {
    pub(super) at: DateTime<Utc>,
    pub(super) text: String,
    pub(super) tone: Tone,
}

/// What a happening means for the member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tone {
    Good,
    Bad,
    /// Somebody has to do something.
    Waits,
    Plain,
}

/// A line of the trail with the names that belong to it.
#[derive(Debug, Default, FromRow)]
pub(super) struct Told {
    pub(super) at: DateTime<Utc>,
    pub(super) actor: String,
    pub(super) what: String,
    pub(super) operation: Option<String>,
    pub(super) member_name: Option<String>,
    pub(super) member_email: Option<String>,
    pub(super) integration_name: Option<String>,
    pub(super) failure_code: Option<String>,
}

/// What `told` makes a sentence of.
pub(super) const SPOKEN_OF: [&str; 14] = [
    "action.attested",
    "action.contradicted",
    "action.done",
    "action.not_needed",
    "action.opened",
    "action.verified",
    "integration.login_rejected",
    "integration.recovered",
    "integration.tripped",
    "sync.approved",
    "sync.held",
    "task.attempt_failed",
    "task.member_returned",
    "task.succeeded",
];

impl Told {
    pub(super) fn happening(&self) -> Happening {
        let (tone, text) = self.sentence();
        Happening { at: self.at, text, tone }
    }

    fn sentence(&self) -> (Tone, String) {
        let change = self.change();
        let (app, who) = (&change.app, &change.who);
        match self.what.as_str() {
            "task.succeeded" => (Tone::Good, change.was()),
            "task.attempt_failed" => {
                let code = self.failure_code.as_deref().map(printable).unwrap_or_default();
                (Tone::Plain, format!("{}: {code}; a retry follows", change.could_not()))
            }
            "task.member_returned" => (Tone::Bad, format!("{who} is back in {app}, past Cerby")),
            "action.opened" => (Tone::Waits, format!("{}: needs a person", change.could_not())),
            "action.done" => (Tone::Plain, format!("{} says: {}", self.actor(), change.was())),
            "action.contradicted" => (Tone::Bad, format!("Contradicted: {}", change.was_not())),
            "action.verified" => (Tone::Good, format!("Verified: {}", change.was())),
            "action.attested" => (
                Tone::Good,
                format!("{app} cannot be read, so a person's word counts: {}", change.was()),
            ),
            "action.not_needed" => {
                (Tone::Good, format!("Found in {app}, with nothing left to do: {}", change.was()))
            }
            "sync.held" => {
                (Tone::Waits, format!("A report of {app} is held: it removes people unasked"))
            }
            "sync.approved" => {
                (Tone::Plain, format!("{} approves a report of {app}", self.actor()))
            }
            "integration.login_rejected" => {
                (Tone::Bad, format!("{app} refuses Cerby's login: its tasks are on hold"))
            }
            "integration.tripped" => {
                (Tone::Bad, format!("{app} seems to be down: its tasks are on hold"))
            }
            _ => (Tone::Good, format!("{app} works again: its tasks go on")),
        }
    }

    fn change(&self) -> Change {
        Change::new(
            self.operation.as_deref().unwrap_or_default(),
            self.member_name.as_deref(),
            self.member_email.as_deref().unwrap_or_default(),
            self.integration_name.as_deref().unwrap_or("an app"),
        )
    }

    /// The logins of the demo are names in lower case. A name given beside a login says more than the login.
    fn actor(&self) -> String {
        let name = printable(self.actor.split(" via login ").next().unwrap_or_default());
        let mut rest = name.chars();
        rest.next().map_or(String::new(), |first| first.to_uppercase().chain(rest).collect())
    }
}

/// A change of a membership, with names instead of ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Change {
    operation: Operation,
    pub(super) who: String,
    pub(super) app: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operation {
    Invite,
    Remove,
    ChangeRole,
    Reconnect,
}

impl Change {
    /// Somebody without a name is called by their email up to the `@`: a whole email may be too long for a line.
    pub(super) fn new(operation: &str, name: Option<&str>, email: &str, app: &str) -> Self {
        let operation = match operation {
            "invite" => Operation::Invite,
            "remove" => Operation::Remove,
            "reconnect" => Operation::Reconnect,
            _ => Operation::ChangeRole,
        };
        let who = name.or(email.split('@').next()).unwrap_or_default();
        Self { operation, who: printable(who), app: printable(app) }
    }

    /// The change as a request.
    pub(super) fn request(&self) -> String {
        let Self { operation, who, app } = self;
        match operation {
            Operation::Invite => format!("invite {who} to {app}"),
            Operation::Remove => format!("remove {who} from {app}"),
            Operation::ChangeRole => format!("change the role of {who} in {app}"),
            Operation::Reconnect => format!("fix the login of {app}"),
        }
    }

    pub(super) fn was(&self) -> String {
        let Self { operation, who, app } = self;
        match operation {
            Operation::Invite => format!("{who} was invited to {app}"),
            Operation::Remove => format!("{who} was removed from {app}"),
            Operation::ChangeRole => format!("{who} got the right role in {app}"),
            Operation::Reconnect => format!("the login of {app} was fixed"),
        }
    }

    fn was_not(&self) -> String {
        let Self { operation, who, app } = self;
        match operation {
            Operation::Invite => format!("{who} was not invited to {app}"),
            Operation::Remove => format!("{who} was not removed from {app}"),
            Operation::ChangeRole => format!("{who} did not get the right role in {app}"),
            Operation::Reconnect => format!("the login of {app} was not fixed"),
        }
    }

    fn could_not(&self) -> String {
        let Self { operation, who, app } = self;
        match operation {
            Operation::Invite => format!("{who} could not be invited to {app}"),
            Operation::Remove => format!("{who} could not be removed from {app}"),
            Operation::ChangeRole => format!("{who} could not get another role in {app}"),
            Operation::Reconnect => format!("Cerby cannot log in to {app}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(what: &str, name: Option<&str>) -> String {
        let told = Told {
            actor: "robin".to_owned(),
            what: what.to_owned(),
            operation: Some("remove".to_owned()),
            member_name: name.map(str::to_owned),
            member_email: Some("kim.roe17@acme.example.com".to_owned()),
            integration_name: Some("Figma".to_owned()),
            failure_code: Some("LoginTimeout".to_owned()),
            ..Told::default()
        };
        told.happening().text
    }

    #[test]
    fn what_is_spoken_of_has_a_sentence_of_its_own() {
        let sentences = SPOKEN_OF.map(|what| told(what, Some("Kim Roe")));
        let different: std::collections::BTreeSet<_> = sentences.iter().collect();
        assert_eq!(different.len(), SPOKEN_OF.len(), "{sentences:#?}");
    }

    #[test]
    fn a_sentence_names_people_and_never_cuts_an_email() {
        assert_eq!(
            told("action.opened", Some("Kim Roe")),
            "Kim Roe could not be removed from Figma: needs a person"
        );
        assert_eq!(told("action.done", None), "Robin says: kim.roe17 was removed from Figma");
        let named = Told { actor: "kim via login you".to_owned(), ..Told::default() };
        assert_eq!(named.actor(), "Kim");
    }

    #[test]
    fn a_name_cannot_turn_the_line_around() {
        assert_eq!(told("task.succeeded", Some("\u{202e}Eve\u{7}")), "Eve was removed from Figma");
    }
}
