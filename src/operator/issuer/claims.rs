//! What somebody may do, by the claims of the id token (pure).

use openidconnect::core::CoreGenderClaim;
use openidconnect::{AdditionalClaims, IdTokenClaims};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::Refused;
use crate::access::{Access, Role, is_workspace};
use crate::config::Oidc;

/// The claims beside those that OpenID Connect defines.
#[derive(Debug, Deserialize, Serialize)]
#[serde(transparent)]
pub(super) struct Claims(Map<String, Value>);

impl AdditionalClaims for Claims {}

/// The longest address that is shown; the database stores none that is longer.
const LONGEST_EMAIL: usize = 320;

/// Somebody whom the issuer knows.
#[derive(Debug)]
pub(in crate::operator) struct Person {
    pub(in crate::operator) subject: String,
    pub(in crate::operator) email: Option<String>,
    /// Or why they have none.
    pub(in crate::operator) access: Result<Access, Refused>,
}

pub(super) fn person(claims: &IdTokenClaims<Claims, CoreGenderClaim>, config: &Oidc) -> Person {
    // An address that the issuer did not check could be that of a colleague.
    let is_checked = claims.email_verified() != Some(false);
    let email = claims.email().map(|email| email.as_str());
    let email = email.filter(|email| (1..=LONGEST_EMAIL).contains(&email.chars().count()));
    Person {
        subject: claims.subject().as_str().to_owned(),
        email: email.filter(|_| is_checked).map(str::to_owned),
        access: access(&claims.additional_claims().0, config),
    }
}

fn access(claims: &Map<String, Value>, config: &Oidc) -> Result<Access, Refused> {
    let values = words(claims.get(&config.roles_claim));
    let has = |list: &[String]| list.iter().any(|value| values.contains(&value.as_str()));
    let roles = [
        (Role::Administrator, &config.administrators),
        (Role::Operator, &config.operators),
        (Role::Viewer, &config.viewers),
    ];
    let role = roles.into_iter().find(|(_, list)| has(list)).ok_or(Refused::NoRole)?.0;
    if has(&config.all_workspaces) {
        return Ok(Access { role, workspaces: None });
    }
    let ids = words(claims.get(&config.workspaces_claim)).into_iter().filter(|id| is_workspace(id));
    let mut workspaces: Vec<_> = ids.map(str::to_owned).collect();
    workspaces.sort_unstable();
    workspaces.dedup();
    match workspaces.is_empty() {
        true => Err(Refused::NoWorkspace),
        false => Ok(Access { role, workspaces: Some(workspaces) }),
    }
}

/// The texts of a claim, which is one or a list.
fn words(claim: Option<&Value>) -> Vec<&str> {
    match claim {
        Some(Value::String(word)) => vec![word],
        Some(Value::Array(list)) => list.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::Config;

    fn of(claims: Value) -> Result<(Role, Option<Vec<String>>), String> {
        let mut config = Config::from_sources(None, Some([].into())).unwrap().operators.oidc;
        let list = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect();
        config.roles_claim = "groups".to_owned();
        config.viewers = list(&["readers"]);
        config.operators = list(&["desk", "night desk"]);
        config.administrators = list(&["chiefs"]);
        config.all_workspaces = list(&["everywhere"]);
        let access = access(claims.as_object().unwrap(), &config);
        access.map(|access| (access.role, access.workspaces)).map_err(|error| error.to_string())
    }

    #[test]
    fn the_highest_role_counts_and_what_is_not_listed_gives_none() {
        let all = |groups: Value| of(json!({ "groups": groups, "workspaces": "acme" }));
        let acme = Some(vec!["acme".to_owned()]);
        for (groups, role) in [
            (json!("readers"), Role::Viewer),
            (json!(["readers", "night desk"]), Role::Operator),
            (json!(["x", "chiefs", "desk"]), Role::Administrator),
        ] {
            assert_eq!(all(groups), Ok((role, acme.clone())));
        }
        for nothing in [
            json!(null),
            json!([]),
            json!("administrator"),
            json!("Chiefs"),
            json!("desk chiefs"),
            json!(["everywhere"]),
            json!([["chiefs"]]),
            json!({ "chiefs": true }),
            json!(7),
        ] {
            assert_eq!(all(nothing.clone()), Err(Refused::NoRole.to_string()), "{nothing}");
        }
        assert_eq!(of(json!({ "workspaces": "acme" })), Err(Refused::NoRole.to_string()));
    }

    #[test]
    fn workspaces_are_ids_and_all_of_them_are_given_by_a_role_alone() {
        let of = |workspaces: Value| {
            of(json!({ "groups": "desk", "workspaces": workspaces })).map(|(_, list)| list)
        };
        let some = |list: &[&str]| Ok(Some(list.iter().map(|&id| id.to_owned()).collect()));
        assert_eq!(of(json!("acme")), some(&["acme"]));
        assert_eq!(of(json!(["globex", "acme", "acme", "*", "a b", 7])), some(&["acme", "globex"]));
        for nothing in [json!(null), json!([]), json!("*"), json!("acme,globex"), json!({})] {
            assert_eq!(of(nothing), Err(Refused::NoWorkspace.to_string()));
        }
        let everywhere = json!({ "groups": ["desk", "everywhere"], "workspaces": "acme" });
        assert_eq!(super::tests::of(everywhere), Ok((Role::Operator, None)));
    }
}
