//! The configuration and its checks.
//!
//! Defaults are compiled in from `config/default.toml`; an optional file and then the environment override them. At the
//! start, unknown keys, invalid values and contradictions are refused, and the error names the key. Secrets are
//! [`SecretString`]s, so that no `Debug` output or log line can show them.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use config::{Environment, File, FileFormat};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

mod check;
mod folder;
mod operators;
mod read;
mod secret;
mod service;

mod show;
mod traces;
mod webhook_keys;

pub use folder::{Folder, FolderFile, is_https_link};
pub use read::shell;
pub use secret::SecretFile;
pub use webhook_keys::{Algorithm, WebhookKey, decoded, parse_webhook_keys};

const DEFAULTS: &str = include_str!("../../config/default.toml");

/// The configuration, with one struct per table of `config/default.toml`.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    pub database: Database,
    pub backend: Backend,
    pub worker: Worker,
    pub wakeup: Wakeup,
    pub intake: Intake,
    pub retry: Retry,
    pub breaker: Breaker,
    pub job: Job,
    pub manual_action: ManualAction,
    pub instructions: Instructions,
    pub sync: Sync,
    pub guard: Guard,
    pub retention: Retention,
    pub upkeep: Upkeep,
    pub http: Http,
    pub operators: Operators,
    pub shutdown: Shutdown,
    pub telemetry: Telemetry,
    pub traces: Traces,
}

macro_rules! tables {
    ($($(#[$doc:meta])* $name:ident { $($(#[$meta:meta])* $field:ident: $kind:ty,)* })*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Deserialize, Serialize)]
        #[serde(deny_unknown_fields)]
        pub struct $name { $($(#[$meta])* pub $field: $kind,)* }
    )*};
}

tables! {
    Database {
        #[serde(serialize_with = "show::database_url")]
        url: Option<SecretString>,
        url_file: Option<String>,
        max_connections: u32,
        acquire_timeout_s: u64,
        idle_in_transaction_s: u64,
        answer_timeout_s: u64,
    }
    Backend {
        base_url: Option<String>,
        #[serde(serialize_with = "show::api_key")]
        api_key: Option<SecretString>,
        api_key_file: Option<String>,
        proxy: Option<String>,
        allow_plain_http: bool,
        connect_timeout_s: u64,
        request_timeout_s: u64,
        max_response_kib: u64,
        max_report_kib: u64,
        page_size: u32,
        max_pages: u32,
        outage_after: u32,
        outage_retry_max_s: f64,
        remind_s: u64,
        paths: Paths,
    }
    /// Path templates below the base URL.
    Paths {
        integration: String,
        users: String,
        user: String,
        person: String,
        job: String,
        sync: String,
        update_checks: String,
        update_report: String,
        apply_report: String,
    }
    /// How many tasks and syncs this process works on at a time, and how long a lease lasts.
    Worker {
        max_tasks_in_flight: usize,
        max_tasks_ahead: usize,
        max_syncs_in_flight: usize,
        lease_s: u64,
        sync_lease_s: u64,
        sync_step_s: u64,
        max_unreleased_claims: i32,
    }
    /// How the daemon finds new work.
    Wakeup { poll_ms: u64, listen: bool, }
    /// How new rows are taken up, and the webhooks of Cerby.
    Intake {
        batch: i64,
        #[serde(serialize_with = "show::api_key")]
        webhook_keys: Option<SecretString>,
        webhook_keys_file: Option<String>,
        max_webhook_events: u32,
    }
    /// When automation retries.
    Retry {
        rate_limit_s: u64,
        max_retry_after_s: u64,
        settle_s: u64,
        invite: Backoff,
        change_role: Backoff,
        remove: Backoff,
    }
    /// The delays and limits of one operation.
    Backoff {
        first_s: f64,
        factor: f64,
        max_s: f64,
        attempts: u32,
        within_s: u64,
        jitter: f64,
    }
    /// When an integration trips and recovers, and how many of its tasks are admitted.
    Breaker {
        failures: u32,
        cooldown_first_s: f64,
        cooldown_max_s: f64,
        ramp_end: u32,
        max_in_flight: u32,
        starts_per_minute: u32,
        remind_s: u64,
    }
    /// How a started job is polled.
    Job { poll_first_s: f64, poll_max_s: f64, within_s: u64, }
    ManualAction {
        due_remove_s: u64,
        due_change_role_s: u64,
        due_invite_s: u64,
        due_reconnect_s: u64,
        attest_after_s: u64,
    }
    /// The texts that people are shown.
    Instructions { folder: Option<String>, }
    Sync {
        #[serde(deserialize_with = "read::seconds")]
        rereads_s: Vec<u64>,
        retry_first_s: u64,
        retry_max_s: u64,
        max_failures: i32,
        report_max_age_s: u64,
        poll_first_s: f64,
        every_s: u64,
        unverifiable_after: i32,
        #[serde(deserialize_with = "read::seconds")]
        removal_checks_s: Vec<u64>,
        #[serde(deserialize_with = "read::seconds")]
        invitation_checks_s: Vec<u64>,
    }
    /// What an apply may remove although nobody asked for it.
    Guard {
        max_unexpected_removals: u32,
        max_unexpected_percent: u32,
        #[serde(deserialize_with = "read::words")]
        administrator_roles: Vec<String>,
        held_s: u64,
    }
    /// How long finished work is kept.
    Retention { finished_tasks_days: u32, ended_actions_days: u32, events_days: u32, }
    Upkeep { every_s: u64, batch: i32, }
    Http {
        #[serde(deserialize_with = "read::address")]
        listen: SocketAddr,
        expose_probes: bool,
        stalled_s: u64,
    }
    /// The listener for operators.
    Operators {
        #[serde(default, deserialize_with = "read::optional_address")]
        listen: Option<SocketAddr>,
        public_url: Option<String>,
        max_connections: u32,
        max_streams: u32,
        database_connections: u32,
        request_timeout_s: u64,
        wrong_tokens_per_minute: u32,
        session_idle_s: u64,
        session_max_s: u64,
        oidc: Oidc,
    }
    /// The issuer by which people sign in to the console.
    Oidc {
        issuer: Option<String>,
        client_id: Option<String>,
        #[serde(serialize_with = "show::api_key")]
        client_secret: Option<SecretString>,
        client_secret_file: Option<String>,
        #[serde(deserialize_with = "read::words")]
        scopes: Vec<String>,
        roles_claim: String,
        workspaces_claim: String,
        #[serde(deserialize_with = "read::words")]
        viewers: Vec<String>,
        #[serde(deserialize_with = "read::words")]
        operators: Vec<String>,
        #[serde(deserialize_with = "read::words")]
        administrators: Vec<String>,
        #[serde(deserialize_with = "read::words")]
        all_workspaces: Vec<String>,
        session_max_s: u64,
        timeout_s: u64,
    }
    /// How long work in flight may take after SIGTERM.
    Shutdown { grace_s: u64, }
    Telemetry { format: LogFormat, filter: String, }
    /// The collector that spans are sent to.
    Traces {
        #[serde(serialize_with = "show::endpoint")]
        otlp_endpoint: Option<SecretString>,
        #[serde(serialize_with = "show::api_key")]
        otlp_headers: Option<SecretString>,
        otlp_headers_file: Option<String>,
        timeout_s: u64,
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Text on a terminal, JSON elsewhere.
    Auto,
    Json,
    Text,
}

/// Why a configuration is refused. The texts name the key and the right value, never a secret.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file or variable could not be read, or a key is unknown or of the wrong type.
    #[error("configuration is not readable")]
    Unreadable(#[source] config::ConfigError),
    #[error("the configuration file {path} cannot be read")]
    File {
        path: String,
        #[source]
        source: std::io::Error,
    },
    /// The file is not TOML. The error leaves out the line itself, because it could contain a secret.
    #[error("the configuration file {path} is not TOML at line {line}: {why}")]
    NotToml { path: String, line: usize, why: String },
    #[error("{key}_file names a file that cannot be read: {path}: {source}")]
    SecretFile {
        /// The key of the secret.
        key: &'static str,
        path: String,
        #[source]
        source: std::io::Error,
    },
    /// The file of a secret has more than one line.
    #[error("{key}_file names a file that does not hold exactly one line: {path}")]
    NotOneLine {
        /// The key of the secret.
        key: &'static str,
        path: String,
    },
    /// Files of the folder of instructions, each with its line.
    #[error("instructions are wrong:\n  {}", .0.join("\n  "))]
    Instructions(Vec<String>),
    /// Values are out of range or contradict each other.
    #[error("configuration is wrong:\n  {}", .0.join("\n  "))]
    Wrong(Vec<String>),
}

impl Config {
    /// Reads the defaults, `file` if given, then `RECONCILER__…` variables, and checks the result. Where nothing else
    /// names the database, `DATABASE_URL` or `PGSERVICE` does, as a shell may have it.
    pub fn load(file: Option<&Path>) -> Result<Self, ConfigError> {
        Self::from_sources(file, None)
    }

    /// The same with `variables` instead of the process's environment.
    pub fn from_sources(
        file: Option<&Path>,
        variables: Option<HashMap<String, String>>,
    ) -> Result<Self, ConfigError> {
        let mut sources =
            config::Config::builder().add_source(File::from_str(DEFAULTS, FileFormat::Toml));
        if let Some(path) = file {
            read::check_file(path)?;
            sources = sources.add_source(File::from(path).format(FileFormat::Toml));
        }
        let variables = variables.map_or_else(read::environment, Ok)?;
        let shell = variables.clone();
        // Values stay text until their key defines the type, because a secret may look like a number.
        let environment = Environment::with_prefix("RECONCILER")
            .prefix_separator("__")
            .separator("__")
            .source(Some(variables));
        let mut config: Self = sources
            .add_source(environment)
            .build()
            .and_then(config::Config::try_deserialize)
            .map_err(ConfigError::Unreadable)?;
        if config.database.url.is_none() && config.database.url_file.is_none() {
            config.database.url = shells_database(&shell)?.map(Into::into);
        }
        let mut wrong = config.read_secret_files()?;
        wrong.extend(check::check(&config));
        if wrong.is_empty() { Ok(config) } else { Err(ConfigError::Wrong(wrong)) }
    }

    /// The effective configuration as TOML, with secrets redacted.
    pub fn effective(&self) -> Result<String, toml::ser::Error> {
        toml::to_string_pretty(self)
    }

    /// The files of secrets that every account of the machine may read, each with the key that names it.
    pub fn world_readable_secrets(&self) -> Vec<(&'static str, &str)> {
        let files = [
            ("database.url_file", self.database.url_file.as_deref()),
            ("backend.api_key_file", self.backend.api_key_file.as_deref()),
            ("intake.webhook_keys_file", self.intake.webhook_keys_file.as_deref()),
            (
                "operators.oidc.client_secret_file",
                self.operators.oidc.client_secret_file.as_deref(),
            ),
        ];
        let named = files.into_iter().filter_map(|(key, path)| Some((key, path?)));
        named.filter(|(_, path)| read::is_world_readable(path)).collect()
    }

    /// Reads the secrets that are in files; returns the keys of those that are given twice.
    fn read_secret_files(&mut self) -> Result<Vec<String>, ConfigError> {
        let (database, backend, traces) = (&mut self.database, &mut self.backend, &mut self.traces);
        let url = read::secret("database.url", &mut database.url, database.url_file.as_deref())?;
        let key =
            read::secret("backend.api_key", &mut backend.api_key, backend.api_key_file.as_deref())?;
        let headers = read::secret(
            "traces.otlp_headers",
            &mut traces.otlp_headers,
            traces.otlp_headers_file.as_deref(),
        )?;
        let intake = &mut self.intake;
        let webhooks = read::secret(
            "intake.webhook_keys",
            &mut intake.webhook_keys,
            intake.webhook_keys_file.as_deref(),
        )?;
        let oidc = &mut self.operators.oidc;
        let client = read::secret(
            "operators.oidc.client_secret",
            &mut oidc.client_secret,
            oidc.client_secret_file.as_deref(),
        )?;
        Ok([url, key, headers, webhooks, client].into_iter().flatten().collect())
    }
}

fn shells_database(shell: &HashMap<String, String>) -> Result<Option<String>, ConfigError> {
    match shell.get("DATABASE_URL") {
        Some(url) => Ok(Some(url.clone())),
        None => service::url(shell),
    }
}

impl Database {
    /// How long the server may take to answer a statement.
    pub fn answer_within(&self) -> Duration {
        Duration::from_secs(self.answer_timeout_s)
    }

    /// How long a loop waits for work that consists of several statements.
    pub fn query_timeout(&self) -> Duration {
        6 * self.answer_within()
    }

    /// The file of the URL, if it is in one.
    pub fn secret_file(&self) -> Option<SecretFile> {
        Some(SecretFile::new("database.url", self.url_file.as_ref()?, self.url.as_ref()?))
    }

    /// Fails with the name of the key to set if there is no URL.
    pub fn url(&self) -> Result<&SecretString, ConfigError> {
        required(
            self.url.as_ref(),
            "database.url",
            "RECONCILER__DATABASE__URL or RECONCILER__DATABASE__URL_FILE",
        )
    }
}

impl Backend {
    /// The file of the API key, if it is in one.
    pub fn secret_file(&self) -> Option<SecretFile> {
        let (file, key) = (self.api_key_file.as_ref()?, self.api_key.as_ref()?);
        Some(SecretFile::new("backend.api_key", file, key))
    }

    /// Fails with the name of the key to set if there is no base URL.
    pub fn base_url(&self) -> Result<&str, ConfigError> {
        required(self.base_url.as_deref(), "backend.base_url", "RECONCILER__BACKEND__BASE_URL")
    }

    /// The key for `X-API-Key`. Fails with the name of the key to set if there is none.
    pub fn api_key(&self) -> Result<&SecretString, ConfigError> {
        let key = required(
            self.api_key.as_ref(),
            "backend.api_key",
            "RECONCILER__BACKEND__API_KEY or RECONCILER__BACKEND__API_KEY_FILE",
        )?;
        if key.expose_secret().is_empty() {
            return Err(ConfigError::Wrong(vec!["backend.api_key is empty".to_owned()]));
        }
        Ok(key)
    }

    pub fn request_timeout(&self) -> Duration {
        Duration::from_secs(self.request_timeout_s)
    }
}

fn required<T>(value: Option<T>, key: &str, variable: &str) -> Result<T, ConfigError> {
    value.ok_or_else(|| ConfigError::Wrong(vec![format!("{key} is not set: set {variable}")]))
}

impl Job {
    /// The time until the next poll of a job that has run for `age`; `None` when the job counts as lost.
    pub fn next_poll(&self, age: Duration) -> Option<Duration> {
        self.poll_delay(age, self.poll_first_s, 0.5)
    }

    /// The same for a job that is first polled after `first_s`, and again after this part of its age.
    pub fn poll_delay(&self, age: Duration, first_s: f64, part: f64) -> Option<Duration> {
        let is_waited_for = age < Duration::from_secs(self.within_s);
        let seconds = (age.as_secs_f64() * part).max(first_s).min(self.poll_max_s);
        is_waited_for.then(|| Duration::from_secs_f64(seconds))
    }

    /// The longest time between two polls.
    pub fn longest_poll(&self) -> Duration {
        Duration::from_secs_f64(self.poll_max_s)
    }
}

impl Worker {
    /// How long the lease of a claimed task lasts.
    pub fn lease(&self) -> Duration {
        Duration::from_secs(self.lease_s)
    }
}
