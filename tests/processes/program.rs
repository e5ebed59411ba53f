//! The built program, run with settings of its own.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use cerby_reconciler::schema;
use serde_json::Value;
use sqlx::{ConnectOptions, PgPool};
use testkit::simulator::Simulator;
use tokio::io::AsyncWriteExt;

pub(crate) const PASSWORD: &str = "a-password-nobody-may-see";
pub(crate) const EMAIL: &str = "nobody-may-see@example.com";

pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ended {
    /// Its standard output, after a look that it ended well.
    pub(crate) fn ok(self) -> String {
        assert_eq!(self.code, Some(0), "{}{}", self.stdout, self.stderr);
        assert_eq!(self.stderr, "", "a good end says nothing there");
        self.stdout
    }

    /// All it said, after a look that it refused and told no secret.
    pub(crate) fn refusal(self) -> String {
        let told = format!("{}{}", self.stdout, self.stderr);
        assert_eq!(self.code, Some(1), "{told}");
        assert!(!told.contains(PASSWORD), "a password is told: {told}");
        assert!(!told.contains(EMAIL), "an email is told: {told}");
        told
    }

    /// The only log line.
    pub(crate) fn line(&self) -> Value {
        assert_eq!(self.stdout.lines().count(), 1, "{}{}", self.stdout, self.stderr);
        serde_json::from_str(&self.stdout).expect("a line of JSON")
    }
}

/// The program with settings of its own and nothing of the test's environment.
pub(crate) struct Program {
    pub(crate) variables: Vec<(&'static str, String)>,
}

impl Program {
    pub(crate) fn at(database_url: impl Into<String>) -> Self {
        Self { variables: Vec::new() }
            .with("RECONCILER__DATABASE__URL", database_url)
            .with("RECONCILER__DATABASE__ACQUIRE_TIMEOUT_S", "20")
            .with("RECONCILER__BACKEND__BASE_URL", "http://127.0.0.1:9/{workspace}/api/v1")
            .with("RECONCILER__BACKEND__API_KEY", PASSWORD)
            .with("RECONCILER__HTTP__LISTEN", "127.0.0.1:0")
            .with("USER", "alex")
    }

    pub(crate) fn on(pool: &PgPool) -> Self {
        Self::at(pool.connect_options().to_url_lossy())
    }

    pub(crate) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.variables.push((name, value.into()));
        self
    }

    pub(crate) fn with_backend(self, apps: &Simulator) -> Self {
        self.with("RECONCILER__BACKEND__BASE_URL", apps.base_url())
            .with("RECONCILER__BACKEND__API_KEY", apps.api_key())
    }

    pub(crate) async fn run(&self, arguments: &[&str]) -> Ended {
        self.run_on(arguments, "").await
    }

    pub(crate) async fn run_on(&self, arguments: &[&str], input: &str) -> Ended {
        self.end(arguments, input, Stdio::piped(), Stdio::piped()).await
    }

    /// Another program with the same settings.
    pub(crate) async fn run_by(&self, program: &Path, arguments: &[&str]) -> Ended {
        self.end_by(program, arguments, "", Stdio::piped(), Stdio::piped()).await
    }

    /// With nobody at the other end of its standard output.
    pub(crate) async fn run_unread(&self, arguments: &[&str], input: &str) -> Ended {
        self.end(arguments, input, nobody(), Stdio::piped()).await
    }

    pub(crate) async fn end(
        &self,
        arguments: &[&str],
        input: &str,
        stdout: Stdio,
        stderr: Stdio,
    ) -> Ended {
        let program = env!("CARGO_BIN_EXE_cerby-reconciler").as_ref();
        self.end_by(program, arguments, input, stdout, stderr).await
    }

    async fn end_by(
        &self,
        program: &Path,
        arguments: &[&str],
        input: &str,
        stdout: Stdio,
        stderr: Stdio,
    ) -> Ended {
        let mut child = tokio::process::Command::new(program)
            .args(arguments)
            .env_clear()
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(stdout)
            .stderr(stderr)
            .kill_on_drop(true)
            .spawn()
            .expect("the built program");
        let mut stdin = child.stdin.take().expect("piped");
        let whole = async {
            // A program that refuses before it reads closes the pipe: its exit tells.
            let _ = stdin.write_all(input.as_bytes()).await;
            drop(stdin);
            child.wait_with_output().await.expect("an end")
        };
        let output = tokio::time::timeout(Duration::from_secs(60), whole);
        let output = output.await.expect("an end within a minute");
        Ended {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).expect("UTF-8"),
            stderr: String::from_utf8(output.stderr).expect("UTF-8"),
        }
    }
}

/// A pipe whose reader has gone.
pub(crate) fn nobody() -> Stdio {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    writer.into()
}

#[track_caller]
pub(crate) fn assert_names(text: &str, words: &[&str]) {
    for word in words {
        assert!(text.contains(word), "{word:?} is not in: {text}");
    }
}

pub(crate) async fn migrated(pool: &PgPool) -> Program {
    schema::migrate(&pool.clone().into()).await.expect("a schema");
    Program::on(pool)
}

/// As if a later program had migrated it that does not say which programs may run on its schema.
pub(crate) async fn make_newer(pool: &PgPool) {
    sqlx::query(
        "insert into reconciler.schema_migrations (version, description, success, checksum, execution_time)
         values (99990101000000, 'of a later program', true, '\\x00', 0)",
    )
    .execute(pool)
    .await
    .expect("a row");
}

pub(crate) fn nowhere() -> Program {
    Program::at(format!("postgres://somebody:{PASSWORD}@127.0.0.1:1/nothing"))
        .with("RECONCILER__DATABASE__ACQUIRE_TIMEOUT_S", "1")
}
