//! The steps that are shown to the person who has to act: one template per kind of integration and operation, whose title
//! and steps a file of the folder of instructions may replace.

use std::sync::LazyLock;

use minijinja::{Environment, context};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{AppName, Opening, Reconnect};
use crate::backend::failure::{FailureClass, Remedy};
use crate::config::{self, ConfigError, is_https_link};
use crate::membership::{ActionOperation, IntegrationKind, Operation};
use crate::text::{encoded, hex, printable};

mod file;
mod folder;
mod placeholders;
#[cfg(test)]
mod tests;

const SOURCES: [(&str, &str); 11] = [
    ("own", include_str!("own.txt")),
    ("why", include_str!("why.txt")),
    ("done", include_str!("done.txt")),
    ("unchecked", include_str!("unchecked.txt")),
    ("app_invite", include_str!("app_invite.txt")),
    ("app_remove", include_str!("app_remove.txt")),
    ("app_change_role", include_str!("app_change_role.txt")),
    ("business_hub_invite", include_str!("business_hub_invite.txt")),
    ("business_hub_remove", include_str!("business_hub_remove.txt")),
    ("reconnect", include_str!("reconnect.txt")),
    ("business_hub_change_role", include_str!("business_hub_change_role.txt")),
];

/// What texts include.
const PARTS: [&str; 3] = ["why", "done", "unchecked"];

static TEMPLATES: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut templates = Environment::new();
    templates.set_undefined_behavior(minijinja::UndefinedBehavior::Strict);
    for (name, text) in SOURCES {
        templates.add_template(name, text).expect("the templates are compiled by every test");
    }
    templates
});

/// The texts of this process: those of the folder, and those that the program has for everything else.
#[derive(Debug, Default)]
pub struct Library {
    own: folder::Texts,
}

/// A text of the folder.
#[derive(Debug)]
struct Own {
    /// The name of its file.
    name: String,
    hash: String,
    title: Option<String>,
    /// The link to the app's admin page.
    admin: Option<String>,
    steps: Vec<String>,
    pictures: Vec<StepPicture>,
}

/// A picture of the folder, as it is sent to browsers.
#[derive(Debug)]
pub struct Picture {
    /// What its bytes are: PNG, JPEG or WebP.
    pub kind: &'static str,
    pub bytes: Vec<u8>,
}

/// A picture that a step shows.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
pub struct StepPicture {
    /// The number of the step.
    pub step: usize,
    /// What it shows.
    pub alt: String,
    /// The SHA-256 of its file. The console has it at `/pictures/HASH`.
    pub hash: String,
}

#[derive(Debug)]
pub struct Instructions {
    /// The complete text, with everything that the person needs.
    pub text: String,
    /// What the trail keeps of the instructions, for longer than the names and addresses in the text: which text they
    /// were made of, its hash, its link and pictures, and the text without the member's personal data.
    pub shown: Value,
}

impl Library {
    /// Reads the folder, if there is one. It is read again at the next start only, so that a text that is half written is
    /// never shown. Everything that is wrong is told at once.
    pub fn new(config: &config::Instructions) -> Result<Self, ConfigError> {
        let name = config.folder.as_deref().unwrap_or_default();
        let own = folder::texts(name, config.read()).map_err(ConfigError::Instructions)?;
        Ok(Self { own })
    }

    /// How many texts and pictures the folder has.
    pub fn count(&self) -> (usize, usize) {
        (self.own.by_use.len(), self.own.pictures.len())
    }

    /// A picture of the folder by its hash.
    pub fn picture(&self, hash: &str) -> Option<&Picture> {
        self.own.pictures.get(hash)
    }

    /// The instructions for an operation in the app.
    pub fn of(&self, opening: &Opening) -> Instructions {
        let nobody = Named {
            member: "{member}".to_owned(),
            who: "{member}".to_owned(),
            email: "{email}".to_owned(),
            screenshot: opening.failure.screenshot_url.as_ref().map(|_| "{screenshot}".to_owned()),
        };
        let operation = match opening.operation {
            Operation::Invite => ActionOperation::Invite,
            Operation::Remove => ActionOperation::Remove,
            Operation::ChangeRole => ActionOperation::ChangeRole,
        };
        let (app, key) = (&opening.app, &opening.key);
        let text = Text {
            shipped: template(opening),
            own: self.own(app, operation),
            place: (&key.workspace, &key.integration),
        };
        text.instructions(values(opening, named(opening)), values(opening, nobody))
    }

    /// The instructions for fixing a login. They are about no member.
    pub fn of_reconnect(&self, reconnect: &Reconnect) -> Instructions {
        let failure = &reconnect.failure;
        let values = |screenshot: Option<String>| {
            context! {
                app => printable(&reconnect.app.name),
                is_readable => reconnect.app.is_readable,
                remedy => reconnect.remedy.sentence(),
                code => failure.code.as_deref().map(printable),
                screenshot,
                workspace => printable(&reconnect.workspace),
                integration => printable(&reconnect.integration),
            }
        };
        let without = failure.screenshot_url.as_ref().map(|_| "{screenshot}".to_owned());
        let text = Text {
            shipped: "reconnect",
            own: self.own(&reconnect.app, ActionOperation::Reconnect),
            place: (&reconnect.workspace, &reconnect.integration),
        };
        text.instructions(values(failure.screenshot_url.as_deref().map(printable)), values(without))
    }

    /// The text of the folder: one for this kind of integration, or one for both.
    fn own(&self, app: &AppName, operation: ActionOperation) -> Option<&Own> {
        let of = |kind| self.own.by_use.get(&(app.application.clone(), operation, kind));
        of(Some(app.kind)).or_else(|| of(None))
    }
}

/// What instructions are made of.
struct Text<'a> {
    shipped: &'static str,
    own: Option<&'a Own>,
    /// The workspace and the integration.
    place: (&'a str, &'a str),
}

impl Text<'_> {
    fn instructions(
        &self,
        person: minijinja::Value,
        without_person: minijinja::Value,
    ) -> Instructions {
        let Some(own) = self.own else {
            let text = rendered(self.shipped, without_person);
            return Instructions {
                text: rendered(self.shipped, person),
                shown: json!({
                    "template": self.shipped, "source": "shipped", "hash": shipped_hash(self.shipped), "text": text,
                }),
            };
        };
        let admin = own.admin_page(self.place);
        let text = own.rendered(self.shipped, admin.as_deref(), without_person);
        let mut shown = json!({
            "template": own.name, "source": "folder", "hash": own.hash, "text": text, "pictures": own.pictures,
        });
        if let Some(admin) = &admin {
            shown["admin_url"] = json!(admin);
        }
        Instructions { text: own.rendered(self.shipped, admin.as_deref(), person), shown }
    }
}

impl Own {
    /// The shipped text with the title and the steps of this one.
    fn rendered(&self, shipped: &str, admin: Option<&str>, values: minijinja::Value) -> String {
        let steps = self.steps.iter().zip(1..);
        let steps: Vec<_> =
            steps.map(|(step, n)| format!("{n}. {}", filled(step, values.clone()))).collect();
        let own = context! {
            shipped,
            admin,
            title => self.title.as_deref().map(|title| filled(title, values.clone())),
            steps => steps.join("\n"),
            ..values
        };
        rendered("own", own)
    }

    /// The link for an integration; none if its id makes no address of it.
    fn admin_page(&self, (workspace, integration): (&str, &str)) -> Option<String> {
        let values =
            context! { workspace => encoded(workspace), integration => encoded(integration) };
        Some(filled(self.admin.as_deref()?, values)).filter(|link| is_https_link(link))
    }
}

/// A hash of a shipped text, and of those that it includes.
fn shipped_hash(template: &str) -> String {
    let parts = SOURCES.iter().filter(|(name, _)| *name == template || PARTS.contains(name));
    let mut hash = Sha256::new();
    parts.for_each(|(name, text)| hash.update(format!("{name}\n{text}\n")));
    format!("sha256:{}", hex(&hash.finalize()))
}

fn template(opening: &Opening) -> &'static str {
    match (opening.app.kind, opening.operation) {
        (IntegrationKind::App, Operation::Invite) => "app_invite",
        (IntegrationKind::App, Operation::Remove) => "app_remove",
        (IntegrationKind::App, Operation::ChangeRole) => "app_change_role",
        (IntegrationKind::BusinessHub, Operation::Invite) => "business_hub_invite",
        (IntegrationKind::BusinessHub, Operation::Remove) => "business_hub_remove",
        (IntegrationKind::BusinessHub, Operation::ChangeRole) => "business_hub_change_role",
    }
}

/// How the text names the member, and the screenshot that may show them.
struct Named {
    member: String,
    who: String,
    email: String,
    screenshot: Option<String>,
}

fn named(opening: &Opening) -> Named {
    let person = &opening.person;
    let email = printable(&person.email);
    let who = match person.username.as_deref().map(printable) {
        Some(username) if username != email => format!("{username} ({email})"),
        _ => email.clone(),
    };
    let member = match person.name.as_deref().map(printable) {
        Some(name) if !name.trim().is_empty() => format!("{name} ({email})"),
        _ => email.clone(),
    };
    let screenshot = opening.failure.screenshot_url.as_deref().map(printable);
    Named { member, who, email, screenshot }
}

fn values(opening: &Opening, named: Named) -> minijinja::Value {
    context! {
        member => named.member,
        who => named.who,
        email => named.email,
        app => printable(&opening.app.name),
        is_readable => opening.app.is_readable,
        roles => roles(&opening.entitlements),
        reason => opening.reason,
        remedy => remedy(opening),
        code => opening.failure.code.as_deref().map(printable),
        screenshot => named.screenshot,
        workspace => printable(&opening.key.workspace),
        integration => printable(&opening.key.integration),
    }
}

fn rendered(template: &str, values: minijinja::Value) -> String {
    TEMPLATES
        .get_template(template)
        .and_then(|template| template.render(values))
        .expect("every template renders with its values, as a test shows")
}

/// A line of the folder. Only names that every text has may stand in it.
fn filled(line: &str, values: minijinja::Value) -> String {
    TEMPLATES
        .render_str(line, values)
        .expect("every line was rendered with an example at the start")
}

fn roles(entitlements: &[String]) -> String {
    entitlements.iter().map(|role| printable(role)).collect::<Vec<_>>().join(" and ")
}

fn remedy(opening: &Opening) -> Option<&'static str> {
    match opening.failure.class(opening.operation) {
        // For a failure without a published code, the reason says everything that is known.
        FailureClass::Person(Remedy::Review) => None,
        FailureClass::Person(remedy) | FailureClass::Credential(remedy) => Some(remedy.sentence()),
        FailureClass::Transient | FailureClass::NoAutomation | FailureClass::AlreadySo => None,
    }
}
