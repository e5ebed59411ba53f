//! Saved views: who sees one, who changes it, and what it may say.

#![expect(clippy::unwrap_used, reason = "a story that cannot be set up has failed")]

use cerby_reconciler::access::{Access, Role};
use cerby_reconciler::operator::desk::{Actor, Desk, DeskError, NewView, RefusalKind};
use cerby_reconciler::operator::filters::ListPage;
use secrecy::ExposeSecret;
use sqlx::{AssertSqlSafe, PgPool};

use crate::access::with_rows;

struct People {
    pool: PgPool,
    desk: Desk,
}

impl People {
    async fn new(pool: PgPool) -> Self {
        let pool = with_rows(pool).await;
        sqlx::query("delete from reconciler.saved_views").execute(&pool).await.unwrap();
        Self { desk: Desk::new(pool.clone().into()), pool }
    }

    async fn one(&self, name: &str, role: Role, workspace: &str) -> Actor {
        let access = Access { role, workspaces: Some(vec![workspace.to_owned()]) };
        let kim = Actor::named("kim").unwrap();
        let token = self.desk.create_token(&kim, name, &access, 1).await.unwrap();
        self.desk.actor_of(token.expose_secret()).await.unwrap().unwrap()
    }

    async fn names(&self, actor: &Actor) -> Vec<String> {
        let views = self.desk.views(actor, None).await.unwrap();
        views.into_iter().map(|view| view.name).collect()
    }
}

fn view<'a>(name: &'a str, query: &'a str, shared_in: Option<&'a str>) -> NewView<'a> {
    NewView { name, page: ListPage::Actions, query, shared_in }
}

fn kind<T: std::fmt::Debug>(ended: Result<T, DeskError>) -> RefusalKind {
    match ended {
        Err(DeskError::Refused(refusal)) => refusal.kind,
        other => panic!("{other:?}"),
    }
}

#[sqlx::test(migrations = false)]
async fn a_view_is_its_owners_or_shared_with_the_people_of_one_workspace(pool: PgPool) {
    let people = People::new(pool).await;
    let desk = &people.desk;
    let ann = people.one("ann", Role::Operator, "acme").await;
    let bob = people.one("bob", Role::Viewer, "acme").await;
    let cid = people.one("cid", Role::Operator, "globex").await;
    let own = desk.save_view(&ann, view("mine", "mine=1", None)).await.unwrap();
    let shared = desk.save_view(&ann, view("late", "overdue=1", Some("acme"))).await.unwrap();
    assert_eq!((own.owner.as_str(), shared.shared_in.as_deref()), ("token:ann", Some("acme")));
    assert_eq!(people.names(&ann).await, ["late", "mine"]);
    assert_eq!(people.names(&bob).await, ["late"]);
    assert!(people.names(&cid).await.is_empty());
    let foreign = view("late", "overdue=1", Some("globex"));
    assert_eq!(kind(desk.save_view(&ann, foreign).await), RefusalKind::NotFound);
    assert_eq!(kind(desk.save_view(&bob, view("x", "", None)).await), RefusalKind::Forbidden);
    assert_eq!(kind(desk.rename_view(&cid, shared.id, "x").await), RefusalKind::NotFound);
    let dan = people.one("dan", Role::Operator, "acme").await;
    assert_eq!(kind(desk.rename_view(&dan, shared.id, "x").await), RefusalKind::NotFound);
    assert_eq!(kind(desk.delete_view(&dan, shared.id).await), RefusalKind::NotFound);
    let ada = people.one("ada", Role::Administrator, "acme").await;
    assert_eq!(kind(desk.delete_view(&ada, own.id).await), RefusalKind::NotFound);
    desk.delete_view(&ada, shared.id).await.unwrap();
    assert_eq!(people.names(&ann).await, ["mine"]);
    desk.rename_view(&ann, own.id, "my own").await.unwrap();
    assert_eq!(people.names(&ann).await, ["my own"]);
}

#[sqlx::test(migrations = false)]
async fn what_is_no_filter_of_the_list_is_not_saved(pool: PgPool) {
    let people = People::new(pool).await;
    let (desk, ann) = (&people.desk, people.one("ann", Role::Operator, "acme").await);
    for query in ["status=odd", "cursor=37", "to=//evil.example", "status=open&status=done"] {
        assert_eq!(
            kind(desk.save_view(&ann, view("x", query, None)).await),
            RefusalKind::Invalid,
            "{query}"
        );
    }
    for name in ["", "  ", "a\nb", "a\u{202e}b", &"x".repeat(61)] {
        let saved = desk.save_view(&ann, view(name, "", None)).await;
        assert_eq!(kind(saved), RefusalKind::Invalid, "{name:?}");
    }
    assert!(people.names(&ann).await.is_empty());
}

#[sqlx::test(migrations = false)]
async fn the_same_name_replaces_a_view_and_nobody_keeps_more_than_fifty(pool: PgPool) {
    let people = People::new(pool).await;
    let (desk, ann) = (&people.desk, people.one("ann", Role::Operator, "acme").await);
    let first = desk.save_view(&ann, view("late", "overdue=1", None)).await.unwrap();
    let again = desk.save_view(&ann, view(" late ", "status=ended", None)).await.unwrap();
    assert_eq!((again.id, again.query.as_str()), (first.id, "status=ended"));
    for n in 1..50 {
        desk.save_view(&ann, view(&format!("view {n}"), "", None)).await.unwrap();
    }
    assert_eq!(
        kind(desk.save_view(&ann, view("one more", "", None)).await),
        RefusalKind::NotAllowedNow
    );
    desk.save_view(&ann, view("late", "mine=1", None)).await.unwrap();
    assert_eq!(kind(desk.rename_view(&ann, first.id, "view 7").await), RefusalKind::NotAllowedNow);
    let bob = people.one("bob", Role::Operator, "acme").await;
    desk.save_view(&bob, view("late", "", None)).await.unwrap();
}

#[sqlx::test(migrations = false)]
async fn the_database_keeps_views_apart_whatever_a_door_forgets(pool: PgPool) {
    let people = People::new(pool).await;
    let ann = people.one("ann", Role::Operator, "acme").await;
    let own = people.desk.save_view(&ann, view("mine", "", None)).await.unwrap();
    let mut session = people.pool.acquire().await.unwrap();
    let mut said = async |statement: String| {
        let script = format!(
            "begin; set local reconciler.actor = 'token:bob'; set local role reconciler_operator;
             set local reconciler.workspaces = 'acme'; {statement}; rollback"
        );
        let done = sqlx::raw_sql(AssertSqlSafe(script)).execute(&mut *session).await;
        if done.is_err() {
            sqlx::raw_sql("rollback").execute(&mut *session).await.unwrap();
        }
        done.map(|done| done.rows_affected()).map_err(|error| error.to_string())
    };
    let renamed = said("update reconciler.saved_views set name = 'x'".to_owned()).await;
    assert_eq!(renamed, Ok(0));
    let id = own.id;
    let deleted = said(format!("select from reconciler.delete_saved_view({id}) it where it")).await;
    assert_eq!(deleted, Ok(0));
    let refused = said("delete from reconciler.saved_views".to_owned()).await.unwrap_err();
    assert!(refused.contains("permission denied"), "{refused}");
    let values = "(name, page, query, shared_in) values ('x', 'actions', '', 'globex')";
    let refused = said(format!("insert into reconciler.saved_views {values}")).await.unwrap_err();
    assert!(refused.contains("there is no workspace globex"), "{refused}");
    let stolen = "insert into reconciler.saved_views (owner, name, page, query) values ('token:ann', 'x', 'actions', '')";
    let refused = said(stolen.to_owned()).await.unwrap_err();
    assert!(refused.contains("permission denied"), "{refused}");
    assert_eq!(people.names(&ann).await, [own.name]);
}
