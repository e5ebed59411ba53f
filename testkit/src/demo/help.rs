//! How to act as an operator from another terminal.

use super::running::Scene;
use super::snapshot::Urgent;

/// Commands to copy, for this action or for any.
pub(super) fn lines(scene: &Scene, urgent: Option<&Urgent>) -> Vec<String> {
    let url = &scene.logins.operator;
    let id = urgent.map_or("ID".to_owned(), |action| action.id.to_string());
    let program = program();
    vec![
        format!("psql        {} '{url}'", psql(scene)),
        "            select id, operation, integration_name, member_email, entitlements, instructions".to_owned(),
        "            from reconciler.manual_actions where status = 'open' order by due_at;".to_owned(),
        format!("in the app  {}", change(scene, urgent)),
        format!("then        update reconciler.manual_actions set status = 'done', note = 'made' where id = {id};"),
        format!("or          export RECONCILER__DATABASE__URL='{url}'"),
        format!("            {program} actions list"),
        format!("            {program} actions show {id}"),
        format!("            {program} actions done {id} --note made"),
        "or lie: mark an action done without the change, and see it come back.".to_owned(),
    ]
}

/// The command for a person's change in the app.
fn change(scene: &Scene, urgent: Option<&Urgent>) -> String {
    let address = scene.simulator.address();
    let Some(action) = urgent else {
        return format!(
            "curl -X POST http://{address}/simulator/WORKSPACE/integrations/ID/members/ID/remove"
        );
    };
    if action.operation == "reconnect" {
        return format!(
            "curl -X POST http://{address}/simulator/{}/integrations/{}/mend-login",
            action.workspace_id, action.integration_id
        );
    }
    let (path, body) = match action.operation.as_str() {
        "remove" => ("remove", String::new()),
        "invite" => ("invite", body(&action.entitlements)),
        _ => ("change-role", body(&action.entitlements)),
    };
    format!(
        "curl -X POST http://{address}/simulator/{}/integrations/{}/members/{}/{path}{body}",
        action.workspace_id, action.integration_id, action.member_id
    )
}

fn body(entitlements: &[String]) -> String {
    let body = serde_json::json!({"entitlements": entitlements});
    format!(" -d '{body}'")
}

fn psql(scene: &Scene) -> String {
    let beside = scene.server.bin_dir().join("psql");
    if beside.is_file() { beside.display().to_string() } else { "psql".to_owned() }
}

fn program() -> String {
    std::env::current_exe().map_or("cerby-reconciler".to_owned(), |path| path.display().to_string())
}
