//! Secrets in files: replaced while the daemon runs, unusable, and readable by others.

#![expect(clippy::unwrap_used, reason = "a story that cannot be set up has failed")]

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;

use crate::program::{assert_names, migrated};
use crate::support::replica::{Replica, serve};
use crate::support::{World, eventually};
use crate::surroundings::{back, insert};
use sqlx::{AssertSqlSafe, PgPool};
use tempfile::TempDir;
use testkit::private_postgres::{Options, PrivatePostgres};

const OLD: &str = "old-secret-nobody-may-see";
const NEW: &str = "new-secret-nobody-may-see";

/// A folder of secrets as Kubernetes mounts it: each file is a link through `..data`, which is replaced as a whole.
struct Mounted {
    folder: TempDir,
    versions: u32,
}

impl Mounted {
    fn new(url: &str, key: &str) -> Self {
        let mut mounted = Self { folder: tempfile::tempdir().unwrap(), versions: 0 };
        mounted.replace(url, key);
        for name in ["database-url", "api-key"] {
            symlink(format!("..data/{name}"), mounted.path(name)).unwrap();
        }
        mounted
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn replace(&mut self, url: &str, key: &str) {
        self.versions += 1;
        let version = format!("..version-{}", self.versions);
        fs::create_dir(self.path(&version)).unwrap();
        for (name, secret) in [("database-url", url), ("api-key", key)] {
            let file = self.path(&version).join(name);
            fs::write(&file, format!("{secret}\n")).unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(0o440)).unwrap();
        }
        symlink(&version, self.path("..next")).unwrap();
        fs::rename(self.path("..next"), self.path("..data")).unwrap();
    }

    /// `serve` with its secrets in this folder.
    fn serve(&self, world: &World) -> Replica {
        let mut command = serve("", &world.apps, &[]);
        command
            .env_remove("RECONCILER__DATABASE__URL")
            .env_remove("RECONCILER__BACKEND__API_KEY")
            .env("RECONCILER__DATABASE__URL_FILE", self.path("database-url"))
            .env("RECONCILER__BACKEND__API_KEY_FILE", self.path("api-key"));
        Replica::of(command)
    }
}

/// A server that asks for passwords, and the URL of the daemon's login.
async fn guarded() -> (PrivatePostgres, World, String) {
    let server = PrivatePostgres::start(Options::default()).await.unwrap();
    let world = World::new(PgPool::connect(&server.url()).await.unwrap()).await;
    let url = server.login(&world.pool, "daemon_login", "reconciler_daemon").await.unwrap();
    (server, world, url)
}

/// The URL of the login with another password, which is set from now on.
async fn with_password(world: &World, url: &str, password: &str) -> String {
    let change = format!("alter role daemon_login password '{password}'");
    sqlx::raw_sql(AssertSqlSafe(change)).execute(&world.pool).await.unwrap();
    let mut url = reqwest::Url::parse(url).unwrap();
    url.set_password(Some(password)).unwrap();
    url.to_string()
}

/// Ends the daemon's sessions until this has happened. A session that is being opened cannot be ended yet, so once is not
/// enough.
async fn end_sessions_until(world: &World, what: &str, happened: impl AsyncFn() -> bool) {
    eventually(what, async || {
        end_sessions(world).await;
        happened().await
    })
    .await;
}

async fn end_sessions(world: &World) {
    let end = "select count(pg_terminate_backend(pid)) from pg_stat_activity where usename = 'daemon_login'";
    sqlx::query(end).execute(&world.pool).await.unwrap();
}

/// How often a secret of this key was read again.
fn changes(replica: &Replica, key: &str) -> usize {
    replica.lines("secret.changed").iter().filter(|line| line["key"] == key).count()
}

#[tokio::test]
async fn a_new_password_of_the_database_is_read_from_its_file_without_a_restart() {
    let (server, world, url) = guarded().await;
    let key = world.apps.api_key();
    let mut secrets = Mounted::new(&url, &key);
    let replica = secrets.serve(&world);
    eventually("it is up", async || replica.count("service.started") == 1).await;
    back(&world, &replica, "before").await;

    // The server has the new password before the file has it.
    let url = with_password(&world, &url, NEW).await;
    let unready = async || replica.get("/readyz").await.contains("503");
    end_sessions_until(&world, "it is not ready", unready).await;
    let deaf = async || replica.count("wakeup.unavailable") == 1;
    end_sessions_until(&world, "the listener is refused", deaf).await;
    secrets.replace(&url, &key);
    back(&world, &replica, "after").await;
    eventually("it is told once", async || changes(&replica, "database.url") == 1).await;
    eventually("the listener is back", async || replica.count("wakeup.recovered") == 1).await;

    // The file has the next one in time: no connection is refused.
    let url = with_password(&world, &url, OLD).await;
    secrets.replace(&url, &key);
    let told = async || changes(&replica, "database.url") == 2;
    end_sessions_until(&world, "it is told", told).await;
    back(&world, &replica, "in-time").await;
    for secret in [OLD, NEW] {
        assert!(!replica.log().contains(secret), "{}", replica.log());
    }
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_start_with_an_old_password_waits_for_the_new_one_in_its_file() {
    let (server, world, url) = guarded().await;
    let key = world.apps.api_key();
    let mut secrets = Mounted::new(&url, &key);
    let url = with_password(&world, &url, NEW).await;
    let replica = secrets.serve(&world);
    eventually("it is told", async || replica.count("database.not_ready") == 1).await;
    let told = replica.last("database.not_ready").unwrap()["error"].to_string();
    assert_names(&told, &["password authentication failed"]);
    secrets.replace(&url, &key);
    eventually("it is up", async || replica.count("service.started") == 1).await;
    back(&world, &replica, "after").await;
    server.stop().await.unwrap();
}

#[sqlx::test(migrations = false)]
async fn a_new_key_of_the_backend_is_read_from_its_file_after_a_refusal(pool: PgPool) {
    let world = World::new(pool).await;
    let url = sqlx::ConnectOptions::to_url_lossy(&*world.pool.connect_options()).to_string();
    world.apps.set_api_key(OLD);
    let mut secrets = Mounted::new(&url, OLD);
    let replica = secrets.serve(&world);
    eventually("it is up", async || replica.count("service.started") == 1).await;
    back(&world, &replica, "before").await;

    // The file has the new key in time: what was refused is sent again with it, and nobody is alarmed.
    secrets.replace(&url, NEW);
    world.apps.set_api_key(NEW);
    back(&world, &replica, "in-time").await;
    assert_eq!(changes(&replica, "backend.api_key"), 1, "{}", replica.log());
    assert_eq!(replica.count("backend.key_rejected"), 0, "{}", replica.log());

    // The backend has the next key before the file has it.
    world.apps.set_api_key(OLD);
    let task = insert(&world, "late", 1).await[0];
    eventually("it is told", async || replica.count("backend.key_rejected") > 0).await;
    secrets.replace(&url, OLD);
    eventually("it is done", async || world.state(task).await == "succeeded").await;
    assert_eq!(changes(&replica, "backend.api_key"), 2, "{}", replica.log());
    for secret in [OLD, NEW] {
        assert!(!replica.log().contains(secret), "{}", replica.log());
    }
}

#[tokio::test]
async fn a_file_that_becomes_unusable_is_told_once_and_the_known_secret_stays_in_use() {
    let (server, world, url) = guarded().await;
    let url = with_password(&world, &url, OLD).await;
    let mut secrets = Mounted::new(&url, OLD);
    world.apps.set_api_key(OLD);
    let replica = secrets.serve(&world);
    eventually("it is up", async || replica.count("service.started") == 1).await;

    let told = || replica.lines("secret.unusable");
    secrets.replace("mysql://nowhere", "");
    with_password(&world, &url, NEW).await;
    end_sessions_until(&world, "the URL is told", async || told().len() == 1).await;
    with_password(&world, &url, OLD).await;
    world.apps.set_api_key(NEW);
    let task = insert(&world, "refused", 1).await[0];
    eventually("the key is told", async || told().len() == 2).await;
    let text = format!("{:?}", told());
    assert_names(&text, &["database.url is not a PostgreSQL URL", "exactly one line"]);
    assert!(!text.contains("nowhere"), "{text}");
    world.apps.set_api_key(OLD);
    eventually("it is done", async || world.state(task).await == "succeeded").await;

    fs::remove_file(secrets.path("..data")).unwrap();
    world.apps.set_api_key(NEW);
    insert(&world, "again", 1).await;
    eventually("it is refused", async || replica.count("backend.key_rejected") > 1).await;
    assert_eq!(told().len(), 2, "the same trouble is told once: {}", replica.log());
    secrets.replace(&url, NEW);
    back(&world, &replica, "after").await;
    server.stop().await.unwrap();
}

#[sqlx::test(migrations = false)]
async fn a_secret_that_every_account_may_read_is_told_at_the_start_and_by_check(pool: PgPool) {
    let mut program = migrated(&pool).await;
    let url = sqlx::ConnectOptions::to_url_lossy(&*pool.connect_options()).to_string();
    let secrets = Mounted::new(&url, OLD);
    let file = secrets.path("database-url");
    program.variables.retain(|(name, _)| *name != "RECONCILER__DATABASE__URL");
    let program = program.with("RECONCILER__DATABASE__URL_FILE", file.to_str().unwrap());
    let path = "may read";
    assert!(!program.run(&["check"]).await.ok().contains(path));

    fs::set_permissions(&file, fs::Permissions::from_mode(0o444)).unwrap();
    let told = program.run(&["check"]).await.ok();
    assert_names(&told, &["ok       configuration", path, "database-url", "chmod o-r"]);

    let world = World::on_migrated(pool).await;
    let replica = secrets.serve(&world);
    eventually("it is up", async || replica.count("service.started") == 1).await;
    let lines = replica.lines("secret.world_readable");
    assert_eq!(lines.len(), 1, "{}", replica.log());
    assert_eq!(lines[0]["key"], "database.url_file");
}
