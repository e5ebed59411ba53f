//! The steps shown to the person: one template per kind of integration and operation.

use std::sync::LazyLock;

use minijinja::{Environment, context};

use super::{Opening, Reconnect};
use crate::backend::failure::{FailureClass, Remedy};
use crate::membership::{IntegrationKind, Operation};

static TEMPLATES: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut templates = Environment::new();
    templates.set_undefined_behavior(minijinja::UndefinedBehavior::Strict);
    for (name, text) in [
        ("why", include_str!("instructions/why.txt")),
        ("done", include_str!("instructions/done.txt")),
        ("unchecked", include_str!("instructions/unchecked.txt")),
        ("app_invite", include_str!("instructions/app_invite.txt")),
        ("app_remove", include_str!("instructions/app_remove.txt")),
        ("app_change_role", include_str!("instructions/app_change_role.txt")),
        ("business_hub_invite", include_str!("instructions/business_hub_invite.txt")),
        ("business_hub_remove", include_str!("instructions/business_hub_remove.txt")),
        ("reconnect", include_str!("instructions/reconnect.txt")),
        ("business_hub_change_role", include_str!("instructions/business_hub_change_role.txt")),
    ] {
        templates.add_template(name, text).expect("the templates are compiled by every test");
    }
    templates
});

/// The instructions of an action, with everything the person needs filled in.
pub fn render(opening: &Opening) -> String {
    let template = match (opening.app.kind, opening.operation) {
        (IntegrationKind::App, Operation::Invite) => "app_invite",
        (IntegrationKind::App, Operation::Remove) => "app_remove",
        (IntegrationKind::App, Operation::ChangeRole) => "app_change_role",
        (IntegrationKind::BusinessHub, Operation::Invite) => "business_hub_invite",
        (IntegrationKind::BusinessHub, Operation::Remove) => "business_hub_remove",
        (IntegrationKind::BusinessHub, Operation::ChangeRole) => "business_hub_change_role",
    };
    let person = &opening.person;
    let email = printable(&person.email);
    let who = match person.username.as_deref().map(printable) {
        Some(username) if username != email => format!("{username} ({email})"),
        _ => email.clone(),
    };
    let member = match person.name.as_deref().map(printable) {
        Some(name) if !name.trim().is_empty() => format!("{name} ({email})"),
        _ => email.clone(),
    };
    let values = context! {
        member, who, email,
        app => printable(&opening.app.name),
        is_readable => opening.app.is_readable,
        roles => roles(&opening.entitlements),
        reason => opening.reason,
        remedy => remedy(opening),
        code => opening.failure.code.as_deref().map(printable),
        screenshot => opening.failure.screenshot_url.as_deref().map(printable),
    };
    rendered(template, values)
}

/// The instructions for fixing a login.
pub fn render_reconnect(reconnect: &Reconnect) -> String {
    let failure = &reconnect.failure;
    let values = context! {
        app => printable(&reconnect.app.name),
        is_readable => reconnect.app.is_readable,
        remedy => reconnect.remedy.sentence(),
        code => failure.code.as_deref().map(printable),
        screenshot => failure.screenshot_url.as_deref().map(printable),
    };
    rendered("reconnect", values)
}

fn rendered(template: &str, values: minijinja::Value) -> String {
    TEMPLATES
        .get_template(template)
        .and_then(|template| template.render(values))
        .expect("every template renders with its values, as a test shows")
}

fn roles(entitlements: &[String]) -> String {
    entitlements.iter().map(|role| printable(role)).collect::<Vec<_>>().join(" and ")
}

fn remedy(opening: &Opening) -> Option<&'static str> {
    match opening.failure.class(opening.operation) {
        // Without a published code the reason says all there is.
        FailureClass::Person(Remedy::Review) => None,
        FailureClass::Person(remedy) | FailureClass::Credential(remedy) => Some(remedy.sentence()),
        FailureClass::Transient | FailureClass::NoAutomation | FailureClass::AlreadySo => None,
    }
}

/// Names are typed by anybody: without control characters and without marks that turn the direction of text,
/// one name cannot pretend to be another or break a terminal.
pub fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control() && !turns_direction(*c)).collect()
}

fn turns_direction(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{061c}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::Failure;
    use crate::manual_action::{AppName, Person};
    use crate::membership::{MemberKey, Trigger};

    fn opening(kind: IntegrationKind, operation: Operation) -> Opening {
        Opening {
            task: 1,
            key: MemberKey {
                workspace: "acme".to_owned(),
                integration: "i1".to_owned(),
                member: "m1".to_owned(),
            },
            operation,
            trigger: Trigger::Manual,
            reason: "Needs a person",
            failure: Failure::ours("NotEnoughSeats"),
            app: AppName { name: "YouTube Studio".to_owned(), kind, is_readable: true },
            person: Person {
                email: "jo@example.com".to_owned(),
                username: Some("jo-studio".to_owned()),
                name: Some("Jo Doe".to_owned()),
            },
            entitlements: vec!["EDITOR".to_owned(), "VIEWER".to_owned()],
        }
    }

    #[test]
    fn all_six_procedures_name_the_person_the_app_and_the_reason() {
        for kind in [IntegrationKind::App, IntegrationKind::BusinessHub] {
            for operation in [Operation::Invite, Operation::Remove, Operation::ChangeRole] {
                let text = render(&opening(kind, operation));
                for needed in
                    ["Jo Doe", "jo@example.com", "YouTube Studio", "NotEnoughSeats", "add licences"]
                {
                    assert!(text.contains(needed), "{kind} {operation} lacks {needed}:\n{text}");
                }
            }
        }
    }

    #[test]
    fn a_removal_by_hand_reads_like_this() {
        insta::assert_snapshot!(render(&opening(IntegrationKind::App, Operation::Remove)), @r"
        Remove Jo Doe (jo@example.com) from YouTube Studio by hand.
        Why: Needs a person. The app has no free seat: add licences there first. The failure is NotEnoughSeats.

        1. Log in to YouTube Studio with your admin account.
        2. Open the user management or the settings of the collaboration space.
        3. Remove jo-studio (jo@example.com). If only an invitation is pending, revoke it.

        You should then see neither jo-studio (jo@example.com) nor an invitation to them.
        When finished: `cerby-reconciler actions done {action} --note '…'`. If you cannot or must not do it, dismiss it with a reason.
        Cerby then checks YouTube Studio for updates, applies the report and checks that they are gone.
        ");
    }

    #[test]
    fn a_refused_login_reads_like_this() {
        let reconnect = Reconnect {
            task: 1,
            app: AppName {
                name: "YouTube Studio".to_owned(),
                kind: IntegrationKind::App,
                is_readable: true,
            },
            failure: Failure::ours("BadCredentials"),
            remedy: Remedy::ReviewCredentials,
        };
        insta::assert_snapshot!(render_reconnect(&reconnect), @r"
        Fix the login that Cerby uses for YouTube Studio.
        Why: YouTube Studio rejects it. The stored login no longer works: update the credentials in Cerby. The failure is BadCredentials.

        1. Open YouTube Studio in Cerby and look at the account that automation uses.
        2. Correct what is wrong with it, as said above.
        3. Log in to YouTube Studio with it once, to see that it works.

        Until then all tasks of YouTube Studio are on hold: none is lost, and none uses an attempt.
        When finished: `cerby-reconciler actions done {action} --note '…'`. Cerby then reads YouTube Studio with that login; if that works, the tasks go on by themselves, one first.
        If you dismiss it, the tasks go on too, and ask again as soon as the app rejects the login.
        ");
    }

    #[test]
    fn where_the_app_cannot_be_read_no_check_is_promised() {
        for kind in [IntegrationKind::App, IntegrationKind::BusinessHub] {
            for operation in [Operation::Invite, Operation::Remove, Operation::ChangeRole] {
                let mut opening = opening(kind, operation);
                opening.app.is_readable = false;
                let text = render(&opening);
                assert!(text.contains("nothing will be checked"), "{kind} {operation}:\n{text}");
                for promise in ["Cerby then", "is then synced"] {
                    assert!(!text.contains(promise), "{kind} {operation} promises:\n{text}");
                }
            }
        }
    }

    #[test]
    fn names_cannot_break_a_terminal_or_turn_the_text_around() {
        let mut opening = opening(IntegrationKind::App, Operation::Remove);
        opening.person.name = Some("Eve\u{202e}\u{1b}[31m\nRemove nobody".to_owned());
        let text = render(&opening);
        assert!(text.contains("Eve[31mRemove nobody"), "{text}");
    }
}
