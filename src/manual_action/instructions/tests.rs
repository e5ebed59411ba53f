//! How instructions read.

use std::collections::BTreeSet;

use super::*;
use crate::backend::Failure;
use crate::config::{Folder, FolderFile};
use crate::manual_action::Person;
use crate::membership::{MemberKey, Trigger};

fn app(kind: IntegrationKind) -> AppName {
    AppName {
        name: "YouTube Studio".to_owned(),
        application: "youtube_tenant".to_owned(),
        kind,
        is_readable: true,
    }
}

fn of(opening: &Opening) -> Instructions {
    Library::default().of(opening)
}

fn file(name: &str, bytes: &[u8]) -> FolderFile {
    let is_text = name.ends_with(".txt");
    FolderFile { name: name.to_owned(), is_text, bytes: bytes.to_vec() }
}

fn library(files: Vec<FolderFile>) -> Library {
    let own = folder::texts("/texts", Folder { files, faults: Vec::new() });
    Library { own: own.expect("good files") }
}

/// A library with one text for removals from this app.
fn own(text: &str) -> Library {
    let text = format!("application: asana_tenant\noperation: remove\n{text}");
    library(vec![file("asana.txt", text.as_bytes()), file("m.png", b"\x89PNG\r\n\x1a\n")])
}

fn asana(operation: Operation) -> Opening {
    let mut opening = opening(IntegrationKind::App, operation);
    opening.app.application = "asana_tenant".to_owned();
    opening
}

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
        app: app(kind),
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

fn reconnect() -> Reconnect {
    Reconnect {
        task: 1,
        workspace: "acme".to_owned(),
        integration: "i1".to_owned(),
        app: app(IntegrationKind::App),
        failure: Failure::ours("BadCredentials"),
        remedy: Remedy::ReviewCredentials,
    }
}

#[test]
fn a_refused_login_reads_like_this() {
    insta::assert_snapshot!(Library::default().of_reconnect(&reconnect()).text, @r"
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
    assert_eq!(shown["source"], "shipped");
    assert!(shown["hash"].as_str().is_some_and(|hash| hash.len() == 71), "{shown}");
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
fn a_text_of_the_folder_replaces_title_and_steps_and_the_rest_stays() {
    let library = own("title: Take {{ member }} out of {{ app }}.\n\
                       admin: https://app.example/{{ workspace }}/{{ integration }}/members\n\
                       1. Open Members.\npicture: m.png, The list\n2. Remove {{ who }}.\n");
    let instructions = library.of(&asana(Operation::Remove));
    insta::assert_snapshot!(instructions.text, @r"
    Take Jo Doe (jo@example.com) out of YouTube Studio.
    Why: Needs a person. The app has no free seat: add licences there first. The failure is NotEnoughSeats.

    Admin page: https://app.example/acme/i1/members
    1. Open Members.
    2. Remove jo-studio (jo@example.com).

    You should then see neither jo-studio (jo@example.com) nor an invitation to them.
    When finished: `cerby-reconciler actions done {action} --note '…'`. If you cannot or must not do it, dismiss it with a reason.
    Cerby then checks YouTube Studio for updates, applies the report and checks that they are gone.
    ");
    let shown = instructions.shown;
    assert_eq!((&shown["template"], &shown["source"]), (&json!("asana.txt"), &json!("folder")));
    assert_eq!(shown["admin_url"], "https://app.example/acme/i1/members");
    assert_eq!(
        (&shown["pictures"][0]["step"], &shown["pictures"][0]["alt"]),
        (&json!(1), &json!("The list"))
    );
    assert!(!shown.to_string().contains("jo@example.com"), "{shown}");
    for other in [of(&asana(Operation::Remove)), library.of(&asana(Operation::Invite))] {
        assert_eq!(other.shown["source"], "shipped");
    }
}

#[test]
fn a_text_without_a_title_keeps_the_shipped_one() {
    let text = own("1. Remove {{ who }}.\n").of(&asana(Operation::Remove)).text;
    assert!(
        text.starts_with("Remove Jo Doe (jo@example.com) from YouTube Studio by hand.\n"),
        "{text}"
    );
    assert!(!text.contains("Admin page"), "{text}");
}

#[test]
fn a_text_for_one_kind_goes_before_the_text_for_both() {
    let text = |kind: &str| {
        format!("application: asana_tenant\noperation: remove\n{kind}1. Remove {{{{ who }}}}.\n")
    };
    let (both, hubs) = (text(""), text("kind: business_hub\n"));
    let library =
        library(vec![file("both.txt", both.as_bytes()), file("hubs.txt", hubs.as_bytes())]);
    for (kind, name) in
        [(IntegrationKind::App, "both.txt"), (IntegrationKind::BusinessHub, "hubs.txt")]
    {
        let mut opening = opening(kind, Operation::Remove);
        opening.app.application = "asana_tenant".to_owned();
        assert_eq!(library.of(&opening).shown["template"], name);
    }
}

#[test]
fn a_login_is_fixed_by_the_text_of_the_folder_too() {
    let text = "application: asana_tenant\noperation: reconnect\n1. Renew the key of {{ app }} in {{ workspace }}.\n";
    let mut reconnect = reconnect();
    reconnect.app.application = "asana_tenant".to_owned();
    let text = library(vec![file("login.txt", text.as_bytes())]).of_reconnect(&reconnect).text;
    assert!(text.contains("1. Renew the key of YouTube Studio in acme."), "{text}");
    assert!(text.starts_with("Fix the login that Cerby uses for YouTube Studio."), "{text}");
}

#[test]
fn an_id_cannot_lead_a_link_elsewhere() {
    let mut opening = asana(Operation::Remove);
    opening.key.integration = "../x?y#z@evil.example/".to_owned();
    let link = |admin: &str| {
        let library = own(&format!("admin: {admin}\n1. Remove them.\n"));
        library.of(&opening).shown["admin_url"].as_str().map(str::to_owned)
    };
    assert_eq!(
        link("https://app.example/{{ integration }}").as_deref(),
        Some("https://app.example/..%2Fx%3Fy%23z%40evil.example%2F")
    );
    assert_eq!(link("https://{{ integration }}.app.example/"), None, "it is no host");
}

#[test]
fn each_shipped_text_has_a_hash_of_its_own() {
    let texts = SOURCES.iter().map(|(name, _)| *name).filter(|name| !PARTS.contains(name));
    let hashes: BTreeSet<_> = texts.clone().map(shipped_hash).collect();
    assert_eq!(hashes.len(), texts.count());
}

#[test]
fn names_cannot_break_a_terminal_or_turn_the_text_around() {
    let mut opening = opening(IntegrationKind::App, Operation::Remove);
    opening.person.name = Some("Eve\u{202e}\u{1b}[31m\nRemove nobody".to_owned());
    let text = of(&opening).text;
    assert!(text.contains("Eve[31mRemove nobody"), "{text}");
}
