//! The listener for operators beside the daemon: its start, its work, its failures in the log, and its stop.

#![expect(clippy::unwrap_used, reason = "a story that cannot be set up has failed")]

use nix::sys::signal::Signal;
use reqwest::{Client, Response};
use serde_json::Value;
use sqlx::{ConnectOptions, PgPool};
use tokio::net::TcpListener;

use crate::program::{Program, assert_names};
use crate::support::replica::Replica;
use crate::support::{World, eventually};

/// A replica with the listener, and a token that its command line made.
struct Listening {
    replica: Replica,
    url: String,
    token: String,
    client: Client,
}

impl Listening {
    async fn start(world: &World) -> Self {
        let url = world.pool.connect_options().to_url_lossy().to_string();
        let changes = [("RECONCILER__OPERATORS__LISTEN", "127.0.0.1:0")];
        let replica = Replica::start(&url, &world.apps, &changes).await;
        eventually("it listens", async || replica.count("operators.listening") == 1).await;
        let line = replica.last("operators.listening").unwrap();
        let made = ["tokens", "create", "a-program", "--role", "operator", "--all-workspaces"];
        let printed = Program::on(&world.pool).run(&made).await;
        let token = printed.stdout.split_whitespace().find(|word| word.starts_with("cerbyrec_"));
        let token = token.unwrap_or_else(|| panic!("{}{}", printed.stdout, printed.stderr));
        Self {
            url: format!("http://{}", line["operators.listen"].as_str().unwrap()),
            token: token.to_owned(),
            client: Client::builder().no_proxy().build().unwrap(),
            replica,
        }
    }

    async fn get(&self, path: &str) -> Response {
        let asked = self.client.get(format!("{}{path}", self.url)).bearer_auth(&self.token);
        asked.send().await.unwrap()
    }
}

#[sqlx::test(migrations = false)]
async fn a_token_of_the_command_line_reads_what_the_daemon_works_on(pool: PgPool) {
    let world = World::new(pool).await;
    let listening = Listening::start(&world).await;
    let task = crate::surroundings::insert(&world, "a-task", 1).await[0];
    eventually("it is done", async || world.state(task).await == "succeeded").await;
    let response = listening.get(&format!("/v1/tasks/{task}")).await;
    assert_eq!(response.status(), 200);
    let text = response.text().await.unwrap();
    let shown: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(shown["state"], "succeeded", "{text}");
    assert!(!listening.replica.log().contains(&listening.token));
}

#[sqlx::test(migrations = false)]
async fn a_request_that_the_database_fails_is_logged_without_its_rows(pool: PgPool) {
    let world = World::new(pool).await;
    let listening = Listening::start(&world).await;
    let broken = "alter function reconciler.find_actions rename to others";
    sqlx::query(broken).execute(&world.pool).await.unwrap();
    let response = listening.get("/v1/actions?member=nobody-may-see@example.com").await;
    assert_eq!(response.status(), 503, "{}", response.text().await.unwrap());
    let replica = &listening.replica;
    eventually("it is told", async || replica.count("operators.request_failed") == 1).await;
    assert_names(&replica.log(), &["find_actions"]);
    assert!(!replica.log().contains("nobody-may-see"), "{}", replica.log());
}

#[sqlx::test(migrations = false)]
async fn an_open_stream_of_events_does_not_hold_up_the_stop(pool: PgPool) {
    let world = World::new(pool).await;
    let mut listening = Listening::start(&world).await;
    let stream = listening.get("/v1/events/stream").await;
    assert_eq!(stream.status(), 200);
    listening.replica.signal(Signal::SIGTERM);
    assert_eq!(listening.replica.ended().await, Some(0), "{}", listening.replica.log());
    let took_ms = listening.replica.last("service.stopped").unwrap()["took_ms"].as_u64().unwrap();
    assert!(took_ms < 2_000, "{took_ms} ms");
    drop(stream);
}

#[sqlx::test(migrations = false)]
async fn an_address_of_the_listener_that_is_taken_is_refused_with_its_key(pool: PgPool) {
    let world = World::new(pool).await;
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let program = Program::on(&world.pool).with_backend(&world.apps);
    let ended =
        program.with("RECONCILER__OPERATORS__LISTEN", address.clone()).run(&["serve"]).await;
    assert_eq!(ended.line()["event"], "service.failed");
    assert_names(&ended.refusal(), &["operators.listen", &address, "choose another address"]);
}
