//! The shape of what `-o json` prints, as a JSON Schema: scripts rely on it.

use serde_json::{Value, json};
use utoipa::OpenApi;

use crate::history::EventLine;
use crate::intake::webhook::review::WebhookLine;
use crate::integration::store::IntegrationLine;
use crate::manual_action::changed_screens::ChangedScreen;
use crate::manual_action::return_review::ReturnLine;
use crate::manual_action::review::{ActionLine, WorkLine};
use crate::operator::desk::{ActionCard, SyncCard, TaskCard};
use crate::reports::evidence::EvidenceLine;
use crate::reports::work::WorkFigures;
use crate::retry::review::TaskLine;
use crate::sync::review::SyncLine;
use crate::tokens::TokenLine;

#[derive(OpenApi)]
#[openapi(components(schemas(
    ActionCard,
    ActionLine,
    ChangedScreen,
    EventLine,
    EvidenceLine,
    IntegrationLine,
    ReturnLine,
    SyncCard,
    SyncLine,
    TaskCard,
    TaskLine,
    TokenLine,
    WebhookLine,
    WorkFigures,
    WorkLine
)))]
struct Shapes;

/// The commands that print JSON, and the type of each line.
pub const COMMANDS: [(&str, &str); 17] = [
    ("actions list", "ActionLine"),
    ("actions next", "ActionCard"),
    ("actions show", "ActionCard"),
    ("actions summary", "WorkLine"),
    ("events list", "EventLine"),
    ("instructions list", "ChangedScreen"),
    ("integrations list", "IntegrationLine"),
    ("reports evidence", "EvidenceLine"),
    ("reports work", "WorkFigures"),
    ("returns list", "ReturnLine"),
    ("returns show", "ReturnLine"),
    ("syncs list", "SyncLine"),
    ("syncs show", "SyncCard"),
    ("tasks list", "TaskLine"),
    ("tasks show", "TaskCard"),
    ("tokens list", "TokenLine"),
    ("webhooks list", "WebhookLine"),
];

/// The JSON Schema. Under `commands` is the type of each line that a command prints.
pub fn schema() -> Value {
    let shapes = json!(Shapes::openapi());
    let commands = COMMANDS.map(|(command, name)| {
        (command.to_owned(), json!({ "$ref": format!("#/components/schemas/{name}") }))
    });
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "What cerby-reconciler prints with -o json",
        "description": "A list prints one object per line, and show prints one object. Fields may be added.",
        "commands": commands.into_iter().collect::<serde_json::Map<_, _>>(),
        "components": { "schemas": shapes["components"]["schemas"] },
    })
}
