//! Who asks: a login in the role of operators, with the settings of the command line's sessions; and a token for two of the
//! four workspaces, for which the database checks each row.

use anyhow::Context;
use cerby_reconciler::access::{Access, Role};
use cerby_reconciler::config::{Config, Database};
use cerby_reconciler::operator::desk::{Actor, Desk};
use cerby_reconciler::schema::{self, Planning};
use secrecy::{ExposeSecret, SecretString};
use sqlx::PgPool;

use crate::bed::{self, Bed};

/// One of those who work on actions.
const LOGIN: &str = "operator_1";

const WORKSPACES: [&str; 2] = ["workspace-0", "workspace-3"];

/// What the questions are about.
pub(crate) struct Examples {
    /// In the middle of the list of unfinished actions.
    pub(crate) unfinished_action: i64,
    /// In the middle of the list of ended actions.
    pub(crate) ended_action: i64,
    /// The last of the unfinished ones.
    pub(crate) last_unfinished_action: i64,
    pub(crate) waiting_task: i64,
    /// The member of that action, by id and by email.
    pub(crate) member: (String, String),
}

pub(crate) struct Person {
    pub(crate) url: String,
    pub(crate) examples: Examples,
    pub(crate) token: SecretString,
    /// Who acts with the token.
    pub(crate) actor: Actor,
    database: Database,
}

impl Person {
    /// Creates the login in a database that is full.
    pub(crate) async fn log_in(bed: &Bed, database_url: &str) -> anyhow::Result<Self> {
        let owner = PgPool::connect(database_url).await?;
        let url = bed.postgres().login(&owner, LOGIN, "reconciler_operator").await?;
        let (server, _) = url.rsplit_once('/').context("a URL names a database")?;
        let (_, name) = database_url.rsplit_once('/').context("a URL names a database")?;
        let url = format!("{server}/{name}");
        let examples = Examples::find(&owner).await?;
        let administration = Desk::new(owner.clone().into());
        let workspaces = WORKSPACES.map(str::to_owned).to_vec();
        let access = Access { role: Role::Operator, workspaces: Some(workspaces) };
        let token = administration.create_token(&Actor::by_login(), LOGIN, &access, 1).await?;
        let actor = administration.actor_of(token.expose_secret()).await?;
        owner.close().await;
        let mut database = Config::load(None)?.database;
        database.url = Some(url.clone().into());
        Ok(Self { url, examples, token, actor: actor.context("the token is valid")?, database })
    }

    /// A desk with sessions of its own: plans that a session keeps are those of one list.
    pub(crate) async fn desk(&self) -> anyhow::Result<Desk> {
        Ok(Desk::new(schema::connect(&self.database, Planning::ByStatistics).await?))
    }

    /// A session as that of a shell.
    pub(crate) async fn session(&self) -> anyhow::Result<sqlx::PgConnection> {
        bed::connect(&self.url).await
    }
}

impl Examples {
    async fn find(owner: &PgPool) -> anyhow::Result<Self> {
        let unfinished = "select id, member_id, member_email from reconciler.manual_actions
                          where closed_at is null and member_id <> '' and workspace_id = 'workspace-3' order by due_at, id
                          offset (select count(*) / 8 from reconciler.manual_actions where closed_at is null) limit 1";
        let (unfinished_action, id, email): (i64, String, String) =
            sqlx::query_as(unfinished).fetch_one(owner).await?;
        let ended = "select id from reconciler.manual_actions
                     where closed_at is not null and workspace_id = 'workspace-3' order by closed_at desc, id desc
                     offset (select count(*) / 8 from reconciler.manual_actions where closed_at is not null) limit 1";
        let last = "select id from reconciler.manual_actions where closed_at is null order by due_at desc, id desc limit 1";
        let task = "select p.task_id from reconciler.task_places p join reconciler.automation_tasks t on t.id = p.task_id
                    where t.workspace_id = 'workspace-3' order by p.task_id
                    offset (select count(*) / 8 from reconciler.task_places) limit 1";
        let one = async |statement: &'static str| -> anyhow::Result<i64> {
            Ok(sqlx::query_scalar(statement).fetch_one(owner).await?)
        };
        Ok(Self {
            unfinished_action,
            ended_action: one(ended).await?,
            last_unfinished_action: one(last).await?,
            waiting_task: one(task).await?,
            member: (id, email),
        })
    }
}
