//! The span of a request, whose context goes to the backend in the header `traceparent`.

use reqwest::Request;
use reqwest::header::{HeaderName, HeaderValue};

use super::BackendError;
use super::answer::Unread;
use crate::config::Paths;
use crate::telemetry::traces::{self, Span};

pub(super) fn begin(request: &mut Request, paths: &Paths) -> Span {
    if !traces::are_on() {
        return Span::default();
    }
    let (method, url) = (request.method(), request.url());
    let span = traces::Request {
        method: method.as_str(),
        host: url.host_str().unwrap_or_default(),
        port: url.port_or_known_default(),
    }
    .begin(|| template(paths, url.path()));
    let header = span.traceparent().and_then(|text| HeaderValue::try_from(text).ok());
    if let Some(value) = header {
        request.headers_mut().insert(HeaderName::from_static("traceparent"), value);
    }
    span
}

pub(super) fn end(span: Span, status: Option<u16>, error: Option<&Unread>) {
    span.answered(status, error.map(kind));
}

fn kind(error: &Unread) -> &'static str {
    match error {
        Unread::TooLarge(_) => "too_large",
        Unread::Error(BackendError::Unreachable(_)) => "unreachable",
        Unread::Error(BackendError::NoAnswer(_)) => "no_answer",
        Unread::Error(_) => "unexpected_response",
    }
}

/// The template that a path was made of. The path itself names a member.
fn template<'p>(paths: &'p Paths, path: &str) -> Option<&'p str> {
    let templates = [
        &paths.integration,
        &paths.users,
        &paths.user,
        &paths.job,
        &paths.sync,
        &paths.update_checks,
        &paths.update_report,
        &paths.apply_report,
        // Last, because the paths of members end in the same way.
        &paths.person,
    ];
    templates.into_iter().map(String::as_str).find(|template| fits(template, path))
}

/// Whether the path ends with what the template describes; the base URL may have a path of its own.
fn fits(template: &str, path: &str) -> bool {
    let mut path = path.rsplit('/');
    let mut segments = template.trim_start_matches('/').rsplit('/');
    segments.all(|segment| path.next().is_some_and(|part| segment.contains('{') || segment == part))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn a_path_is_named_by_its_template_and_not_by_whom_it_is_about() {
        let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("config/default.toml");
        let config = Config::from_sources(Some(&file), Some([].into())).unwrap();
        let of = |path: &str| template(&config.backend.paths, path);
        let cases = [
            ("/api/v1/integrations/i", "/integrations/{integration}"),
            ("/api/v1/integrations/i/users", "/integrations/{integration}/users"),
            ("/api/v1/integrations/i/users/m", "/integrations/{integration}/users/{member}"),
            ("/api/v1/integrations/users/users", "/integrations/{integration}/users"),
            ("/api/v1/jobs/j", "/jobs/{job}"),
            ("/api/v1/users/m", "/users/{member}"),
            ("/api/v1/integrations/i/sync", "/integrations/{integration}/sync"),
            ("/integrations/i/update-checks", "/integrations/{integration}/update-checks"),
            ("/integrations/i/update-report", "/integrations/{integration}/update-report"),
            (
                "/integrations/i/update-report/r/apply",
                "/integrations/{integration}/update-report/{report}/apply",
            ),
        ];
        for (path, template) in cases {
            assert_eq!(of(path), Some(template), "{path}");
        }
        assert_eq!(of("/elsewhere"), None);
    }
}
