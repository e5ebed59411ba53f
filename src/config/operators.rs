//! The listener for operators and the issuer by which they sign in: what is wrong with their settings.

use std::net::IpAddr;

use super::{Config, Oidc, SecretFile};

impl Oidc {
    /// The file of the client's secret, if it is in one.
    pub fn secret_file(&self) -> Option<SecretFile> {
        let (file, secret) = (self.client_secret_file.as_ref()?, self.client_secret.as_ref()?);
        Some(SecretFile::new("operators.oidc.client_secret", file, secret))
    }
}

pub(super) fn check(config: &Config, must: &mut impl FnMut(bool, String)) {
    listener(config, must);
    issuer(config, must);
}

/// Tokens must not be readable on the way: the listener speaks plain HTTP, so only a proxy that ends TLS may show it to
/// others.
fn listener(config: &Config, must: &mut impl FnMut(bool, String)) {
    let operators = &config.operators;
    let url = operators.public_url.as_deref().map(reqwest::Url::parse);
    let is_https = url.as_ref().is_none_or(|url| {
        url.as_ref().is_ok_and(|url| {
            url.scheme() == "https"
                && url.username().is_empty()
                && url.path() == "/"
                && url.query().is_none()
                && url.fragment().is_none()
        })
    });
    must(
        is_https,
        "operators.public_url must be an https URL, without a user, a path, ? and #: the console is at the root of a host"
            .to_owned(),
    );
    let is_safe = operators.listen.is_none_or(|listen| listen.ip().is_loopback() || url.is_some());
    must(
        is_safe,
        "operators.listen is not a loopback address: set operators.public_url to where a proxy that ends TLS makes it reachable"
            .to_owned(),
    );
}

fn issuer(config: &Config, must: &mut impl FnMut(bool, String)) {
    let oidc = &config.operators.oidc;
    let Some(issuer) = &oidc.issuer else {
        must(
            oidc.client_id.is_none() && oidc.client_secret.is_none(),
            "operators.oidc.client_id or client_secret is set and operators.oidc.issuer is not: set the issuer, too"
                .to_owned(),
        );
        return;
    };
    must(
        oidc.client_id.as_ref().is_some_and(|id| !id.trim().is_empty()),
        "operators.oidc.client_id is not set: set it to the id under which the console is registered at the issuer"
            .to_owned(),
    );
    must(
        reqwest::Url::parse(issuer).is_ok_and(|url| is_safe(&url)),
        "operators.oidc.issuer must be an https URL, without a user, ? and #; http only on a loopback address"
            .to_owned(),
    );
    must(
        oidc.scopes.iter().any(|scope| scope == "openid"),
        "operators.oidc.scopes must contain openid".to_owned(),
    );
    for (key, claim) in
        [("roles_claim", &oidc.roles_claim), ("workspaces_claim", &oidc.workspaces_claim)]
    {
        must(!claim.trim().is_empty(), format!("operators.oidc.{key} must be the name of a claim"));
    }
    must(
        [&oidc.viewers, &oidc.operators, &oidc.administrators].iter().any(|list| !list.is_empty()),
        "operators.oidc.issuer is set and gives nobody a role: set operators.oidc.viewers, operators.oidc.operators or \
         operators.oidc.administrators to values of operators.oidc.roles_claim"
            .to_owned(),
    );
}

/// Whether nobody on the network can read the client's secret and the codes.
fn is_safe(url: &reqwest::Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    let is_loopback =
        host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    let is_bare = url.username().is_empty()
        && url.password().is_none()
        && url.query().is_none()
        && url.fragment().is_none();
    is_bare && (url.scheme() == "https" || url.scheme() == "http" && is_loopback)
}
