//! Pages of the console and answers of the API, over HTTP, from the request to the last byte.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use cerby_reconciler::config::{Config, Database};
use cerby_reconciler::operator::desk::Desk;
use cerby_reconciler::operator::listener::{self, Doors};
use cerby_reconciler::schema::{self, Planning};
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, COOKIE, SET_COOKIE};
use reqwest::redirect::Policy;
use reqwest::{Client, RequestBuilder};
use secrecy::ExposeSecret;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::person::Person;
use crate::times::{Group, Times};

const CONSOLE: Group = Group::page("pages of the console");
const API: Group = Group::page("answers of the API");

const MOST_BYTES: usize = 100_000;

const PAGES: [&str; 16] = [
    "/",
    "/actions",
    "/actions?overdue=on",
    "/actions?operation=remove",
    "/actions?status=done",
    "/actions?status=ended",
    "/apps/workspace-3/app-199",
    "/syncs",
    "/syncs/3",
    "/tasks",
    "/returns",
    "/integrations",
    "/reports",
    "/reports?workspace=workspace-3",
    "/reports?requests=1",
    "/evidence?workspace=workspace-3",
];

const ANSWERS: [&str; 10] = [
    "/v1/actions",
    "/v1/actions?status=verified",
    "/v1/groups",
    "/v1/tasks",
    "/v1/syncs",
    "/v1/integrations",
    "/v1/events",
    "/v1/reports/work",
    "/v1/reports/work?requests=true",
    "/v1/reports/evidence?workspace=workspace-3",
];

pub(crate) async fn measure(
    person: &Person,
    database_url: &str,
    times: &mut Times,
) -> anyhow::Result<()> {
    let (address, stop) = open(database_url).await?;
    // Whoever opened the database may have installed it.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client =
        Client::builder().redirect(Policy::none()).timeout(Duration::from_secs(30)).build()?;
    let cookie = sign_in(&client, &address, person).await?;
    let action = format!("/actions/{}", person.examples.unfinished_action);
    for path in PAGES.into_iter().chain([action.as_str()]) {
        let page = async || {
            let bytes =
                read(client.get(format!("{address}{path}")).header(COOKIE, &cookie)).await?;
            ensure!(bytes < MOST_BYTES, "{path} has {bytes} bytes");
            Ok(bytes)
        };
        times.ask(CONSOLE, path, page).await?;
    }
    let bearer = format!("Bearer {}", person.token.expose_secret());
    for path in ANSWERS {
        let answer = async || {
            read(client.get(format!("{address}{path}")).header(AUTHORIZATION, &bearer)).await
        };
        times.ask(API, path, answer).await?;
    }
    stop.cancel();
    Ok(())
}

/// Opens the listener as the daemon does.
async fn open(database_url: &str) -> anyhow::Result<(String, CancellationToken)> {
    let config = Config::load(None)?;
    let database = Database {
        url: Some(database_url.into()),
        max_connections: config.operators.database_connections,
        ..config.database
    };
    let desk = Desk::new(schema::connect(&database, Planning::ByStatistics).await?);
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = format!("http://{}", listener.local_addr()?);
    let stop = CancellationToken::new();
    let doors = Doors { desk, webhooks: None, library: Arc::default() };
    tokio::spawn(listener::serve(listener, config.operators, doors, stop.clone()));
    Ok((address, stop))
}

async fn sign_in(client: &Client, address: &str, person: &Person) -> anyhow::Result<String> {
    let answer = client
        .post(format!("{address}/sign-in"))
        .header("sec-fetch-site", "same-origin")
        .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(format!("token={}", person.token.expose_secret()))
        .send()
        .await?;
    let cookie = answer.headers().get(SET_COOKIE).context("the token signs in")?.to_str()?;
    Ok(cookie.split(';').next().unwrap_or_default().to_owned())
}

/// How many bytes the answer has.
async fn read(request: RequestBuilder) -> anyhow::Result<usize> {
    let answer = request.send().await?.error_for_status()?;
    Ok(answer.bytes().await?.len())
}
