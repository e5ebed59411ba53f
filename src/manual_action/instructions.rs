//! The steps that are shown to the person who has to act: one template per kind of integration and operation.

use std::sync::LazyLock;

use minijinja::{Environment, context};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{Opening, Reconnect};
use crate::backend::failure::{FailureClass, Remedy};
use crate::membership::{IntegrationKind, Operation};
use crate::text::printable;

const SOURCES: [(&str, &str); 10] = [
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
];

static TEMPLATES: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut templates = Environment::new();
    templates.set_undefined_behavior(minijinja::UndefinedBehavior::Strict);
    for (name, text) in SOURCES {
        templates.add_template(name, text).expect("the templates are compiled by every test");
    }
    templates
});

/// A hash of all templates, because they include one another.
static TEMPLATES_HASH: LazyLock<String> = LazyLock::new(|| {
    let all: String = SOURCES.iter().map(|(name, text)| format!("{name}\n{text}\n")).collect();
    let digest = Sha256::digest(all);
    digest.iter().fold("sha256:".to_owned(), |text, byte| format!("{text}{byte:02x}"))
});

#[derive(Debug)]
pub struct Instructions {
    /// The complete text, with everything that the person needs.
    pub text: String,
    /// What the trail keeps of the instructions, for longer than the names and addresses in the text: the template, a
    /// hash of all templates, and the text without the member's personal data.
    pub shown: Value,
}

/// The instructions for an operation in the app.
pub fn of(opening: &Opening) -> Instructions {
    let template = template(opening);
    let nobody = Named {
        member: "{member}".to_owned(),
        who: "{member}".to_owned(),
        email: "{email}".to_owned(),
        screenshot: opening.failure.screenshot_url.as_ref().map(|_| "{screenshot}".to_owned()),
    };
    Instructions {
        text: rendered(template, values(opening, named(opening))),
        shown: shown(template, &rendered(template, values(opening, nobody))),
    }
}

/// The instructions for fixing a login. They are about no member.
pub fn of_reconnect(reconnect: &Reconnect) -> Instructions {
    let failure = &reconnect.failure;
    let text = |screenshot: Option<String>| {
        let values = context! {
            app => printable(&reconnect.app.name),
            is_readable => reconnect.app.is_readable,
            remedy => reconnect.remedy.sentence(),
            code => failure.code.as_deref().map(printable),
            screenshot,
        };
        rendered("reconnect", values)
    };
    let without = failure.screenshot_url.as_ref().map(|_| "{screenshot}".to_owned());
    Instructions {
        text: text(failure.screenshot_url.as_deref().map(printable)),
        shown: shown("reconnect", &text(without)),
    }
}

fn shown(template: &str, text: &str) -> Value {
    json!({"template": template, "templates": *TEMPLATES_HASH, "text": text})
}

fn template(opening: &Opening) -> &'static str {
    match (opening.app.kind, opening.operation) {
        (IntegrationKind::App, Operation::Invite) => "app_invite",
        (IntegrationKind::App, Operation::Remove) => "app_remove",
        (IntegrationKind::App, Operation::ChangeRole) => "app_change_role",
        (IntegrationKind::BusinessHub, Operation::Invite) => "business_hub_invite",
        (IntegrationKind::BusinessHub, Operation::Remove) => "business_hub_remove",
        (IntegrationKind::BusinessHub, Operation::ChangeRole) => "business_hub_change_role",
    }
}

/// How the text names the member, and the screenshot that may show them.
struct Named {
    member: String,
    who: String,
    email: String,
    screenshot: Option<String>,
}

fn named(opening: &Opening) -> Named {
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
    let screenshot = opening.failure.screenshot_url.as_deref().map(printable);
    Named { member, who, email, screenshot }
}

fn values(opening: &Opening, named: Named) -> minijinja::Value {
    context! {
        member => named.member,
        who => named.who,
        email => named.email,
        app => printable(&opening.app.name),
        is_readable => opening.app.is_readable,
        roles => roles(&opening.entitlements),
        reason => opening.reason,
        remedy => remedy(opening),
        code => opening.failure.code.as_deref().map(printable),
        screenshot => named.screenshot,
    }
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
        // For a failure without a published code, the reason says everything that is known.
        FailureClass::Person(Remedy::Review) => None,
        FailureClass::Person(remedy) | FailureClass::Credential(remedy) => Some(remedy.sentence()),
        FailureClass::Transient | FailureClass::NoAutomation | FailureClass::AlreadySo => None,
    }
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
                let text = of(&opening(kind, operation)).text;
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
        insta::assert_snapshot!(of(&opening(IntegrationKind::App, Operation::Remove)).text, @r"
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
        insta::assert_snapshot!(of_reconnect(&reconnect).text, @r"
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
    fn the_trail_keeps_what_was_shown_without_the_person() {
        let mut opening = opening(IntegrationKind::App, Operation::Remove);
        opening.failure.screenshot_url = Some("https://shots.example/jo".to_owned());
        let shown = of(&opening).shown;
        assert_eq!(shown["template"], "app_remove");
        assert!(shown["templates"].as_str().is_some_and(|hash| hash.len() == 71), "{shown}");
        insta::assert_snapshot!(shown["text"].as_str().unwrap_or_default(), @r"
        Remove {member} from YouTube Studio by hand.
        Why: Needs a person. The app has no free seat: add licences there first. The failure is NotEnoughSeats.
        Screenshot of the failure: {screenshot}

        1. Log in to YouTube Studio with your admin account.
        2. Open the user management or the settings of the collaboration space.
        3. Remove {member}. If only an invitation is pending, revoke it.

        You should then see neither {member} nor an invitation to them.
        When finished: `cerby-reconciler actions done {action} --note '…'`. If you cannot or must not do it, dismiss it with a reason.
        Cerby then checks YouTube Studio for updates, applies the report and checks that they are gone.
        ");
    }

    #[test]
    fn where_the_app_cannot_be_read_no_check_is_promised() {
        for kind in [IntegrationKind::App, IntegrationKind::BusinessHub] {
            for operation in [Operation::Invite, Operation::Remove, Operation::ChangeRole] {
                let mut opening = opening(kind, operation);
                opening.app.is_readable = false;
                let text = of(&opening).text;
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
        let text = of(&opening).text;
        assert!(text.contains("Eve[31mRemove nobody"), "{text}");
    }
}
