//! Texts of a folder: what people read, what the trail keeps, and reports that an app looks different.

#![expect(clippy::unwrap_used, reason = "a story that cannot be set up has failed")]

use std::fs;

use cerby_reconciler::operator::desk::{Actor, Desk, DeskError, RefusalKind};
use cerby_reconciler::telemetry::metrics;
use sqlx::PgPool;
use tempfile::TempDir;

use crate::support::log::Log;
use crate::support::{APP, HUB, World, a_failed};

const TEXT: &str = "application: asana_tenant\noperation: remove\n\
                    admin: https://app.example/{{ workspace }}/members\n\
                    1. Open Members.\n2. Remove {{ who }}.\n";

/// A world whose folder has one text.
struct Texts {
    world: World,
    desk: Desk,
    folder: TempDir,
}

impl Texts {
    async fn new(pool: PgPool) -> Self {
        let (world, folder) = (World::new(pool).await, tempfile::tempdir().unwrap());
        let desk = Desk::new(world.pool.clone().into());
        let mut texts = Self { world, desk, folder };
        texts.put(TEXT);
        texts
    }

    /// Writes the text, and starts anew.
    fn put(&mut self, text: &str) {
        fs::write(self.folder.path().join("asana.txt"), text).unwrap();
        let folder = self.folder.path().display().to_string();
        self.world.reconfigure(|config| config.instructions.folder = Some(folder));
    }

    /// An action that asks to remove this member.
    async fn action(&self, app: &'static str, member: &'static str) -> i64 {
        let task = a_failed("remove", app, member).code("NotEnoughSeats");
        let task = self.world.insert(&task).await;
        self.world.drive().await;
        self.world.action_of(task).await
    }

    /// What people reported: the text, how often, and how often it was used.
    async fn reported(&self) -> Vec<(String, i64, i64)> {
        let lines = self.desk.changed_screens(&kim(), None).await.unwrap();
        let line = |line: &cerby_reconciler::manual_action::changed_screens::ChangedScreen| {
            (line.instructions.clone().unwrap(), line.reports, line.used)
        };
        lines.iter().map(line).collect()
    }
}

fn kim() -> Actor {
    Actor::named("kim").unwrap()
}

#[sqlx::test(migrations = false)]
async fn people_read_the_text_of_the_folder_and_the_action_and_the_trail_keep_which(pool: PgPool) {
    let mut texts = Texts::new(pool).await;
    let action = texts.action(APP, "jo").await;
    let card = texts.desk.action(&kim(), action).await.unwrap();
    let facts = &card.facts;
    assert!(facts.instructions.contains("2. Remove jo@example.com."), "{}", facts.instructions);
    assert!(facts.instructions.contains("Admin page: https://app.example/acme/members"));
    assert_eq!(facts.instructions_name.as_deref(), Some("asana.txt"));
    assert_eq!(facts.instructions_source.as_deref(), Some("folder"));
    assert_eq!(facts.admin_url.as_deref(), Some("https://app.example/acme/members"));
    let opened = card.trail.iter().find(|line| line.what == "action.opened").unwrap();
    let hash = facts.instructions_hash.clone().unwrap();
    assert_eq!(opened.detail["shown"]["hash"], hash);
    assert_eq!(opened.detail["shown"]["template"], "asana.txt");
    // The text changes: those who were asked before keep what they were told.
    texts.put(&TEXT.replace("Open Members", "Open People"));
    let later = texts.action(APP, "kim").await;
    let later = texts.desk.action(&kim(), later).await.unwrap().facts;
    assert!(later.instructions.contains("Open People"));
    assert_ne!(later.instructions_hash, Some(hash));
    let before = texts.desk.action(&kim(), action).await.unwrap().facts;
    assert!(before.instructions.contains("Open Members"));
}

#[sqlx::test(migrations = false)]
async fn an_app_without_a_text_in_the_folder_has_the_shipped_one(pool: PgPool) {
    let mut texts = Texts::new(pool).await;
    texts.put(&TEXT.replace("asana_tenant", "1password_tenant"));
    let action = texts.action(APP, "jo").await;
    let facts = texts.desk.action(&kim(), action).await.unwrap().facts;
    assert_eq!(facts.instructions_name.as_deref(), Some("app_remove"));
    assert_eq!((facts.instructions_source.as_deref(), facts.admin_url), (Some("shipped"), None));
}

#[sqlx::test(migrations = false)]
async fn a_report_counts_once_for_its_action_is_told_and_a_mended_text_is_counted_anew(
    pool: PgPool,
) {
    let (mut texts, log) = (Texts::new(pool).await, Log::here());
    let (jo, other) = (texts.action(APP, "jo").await, texts.action(APP, "kim").await);
    assert!(texts.reported().await.is_empty(), "nobody reported anything");
    texts.desk.screen_changed(&kim(), jo, Some("Members is called People")).await.unwrap();
    texts.world.take_up().await;
    assert_eq!(log.count("action.screen_changed"), 1);
    assert!(metrics::encode(false).contains("screens_changed_total{source=\"folder\"} "));
    assert_eq!(texts.reported().await, [("asana.txt".to_owned(), 1, 2)]);
    texts.desk.screen_changed(&Actor::named("lee").unwrap(), jo, None).await.unwrap();
    assert_eq!(texts.reported().await, [("asana.txt".to_owned(), 1, 2)], "the same action");
    texts.desk.screen_changed(&kim(), other, None).await.unwrap();
    assert_eq!(texts.reported().await, [("asana.txt".to_owned(), 2, 2)]);
    let trail = texts.desk.action(&kim(), jo).await.unwrap().trail;
    let told: Vec<_> = trail.iter().filter(|line| line.what == "action.screen_changed").collect();
    assert_eq!(told.len(), 2);
    assert_eq!(told[0].detail["reason"], "Members is called People");
    assert_eq!(told[0].detail["instructions"], "asana.txt");
    assert!(told[0].actor.starts_with("kim via login"), "{}", told[0].actor);

    texts.put(&TEXT.replace("Open Members", "Open People"));
    let hub = texts.action(HUB, "jo").await;
    assert_eq!(texts.reported().await.len(), 1, "nobody reported the new text");
    texts.desk.screen_changed(&kim(), hub, None).await.unwrap();
    let both = [("asana.txt".to_owned(), 2, 2), ("asana.txt".to_owned(), 1, 1)];
    assert_eq!(texts.reported().await, both);
    let open = "select count(*) from reconciler.manual_actions where status = 'open'";
    assert_eq!(texts.world.count(open).await, 3, "a report changes nothing else");
}

#[sqlx::test(migrations = false)]
async fn what_has_ended_or_is_not_there_cannot_be_reported(pool: PgPool) {
    let texts = Texts::new(pool).await;
    let action = texts.action(APP, "jo").await;
    texts.desk.dismiss(&kim(), action, "they stay").await.unwrap();
    let long = "x".repeat(2001);
    let open = texts.action(APP, "kim").await;
    for (id, note, expected) in [
        (action, None, RefusalKind::NotAllowedNow),
        (4711, None, RefusalKind::NotFound),
        (open, Some(long.as_str()), RefusalKind::Invalid),
    ] {
        match texts.desk.screen_changed(&kim(), id, note).await {
            Err(DeskError::Refused(refusal)) => assert_eq!(refusal.kind, expected, "{refusal}"),
            other => panic!("{other:?}"),
        }
    }
    assert!(texts.reported().await.is_empty());
}
