//! The collector of traces: its URL and headers, and what is wrong with them.

use std::net::IpAddr;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use secrecy::ExposeSecret;

use super::{Config, Traces};

impl Traces {
    /// The headers that every request to the collector carries. They are checked when the configuration is read.
    pub fn headers(&self) -> HeaderMap {
        parse_headers(self.otlp_headers.as_ref().map_or("", |text| text.expose_secret()))
            .unwrap_or_default()
    }
}

/// `None` if one is not `name=value`, or cannot be sent.
fn parse_headers(text: &str) -> Option<HeaderMap> {
    let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
    parts
        .map(|part| {
            let (name, value) = part.split_once('=')?;
            let mut value = HeaderValue::from_str(value.trim()).ok()?;
            value.set_sensitive(true);
            Some((HeaderName::from_bytes(name.trim().as_bytes()).ok()?, value))
        })
        .collect()
}

/// The errors name keys and never quote a value, because each of the two may contain a key of the collector.
pub(super) fn check(config: &Config, must: &mut impl FnMut(bool, String)) {
    let traces = &config.traces;
    let headers = traces.otlp_headers.as_ref().map(|text| parse_headers(text.expose_secret()));
    must(
        !matches!(headers, Some(None)),
        "traces.otlp_headers must be a list such as name=value,other-name=value".to_owned(),
    );
    let Some(endpoint) = &traces.otlp_endpoint else {
        must(
            headers.is_none(),
            "traces.otlp_headers is set and traces.otlp_endpoint is not: set both or none"
                .to_owned(),
        );
        return;
    };
    let url = reqwest::Url::parse(endpoint.expose_secret()).ok();
    let url = url.filter(|url| matches!(url.scheme(), "http" | "https") && url.path() != "/");
    let Some(url) = url else {
        must(
            false,
            "traces.otlp_endpoint must be an http or https URL with its path, such as \
             http://collector.example:4318/v1/traces"
                .to_owned(),
        );
        return;
    };
    must(
        url.username().is_empty() && url.password().is_none(),
        "traces.otlp_endpoint must not carry a user or password: put them into the file of \
         traces.otlp_headers_file, as authorization=Basic …"
            .to_owned(),
    );
    must(
        headers.is_none() || url.scheme() == "https" || is_loopback(&url),
        "traces.otlp_headers would be readable on the way, because traces.otlp_endpoint is plain http to another \
         machine: use https, or leave the headers out"
            .to_owned(),
    );
}

fn is_loopback(url: &reqwest::Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}
