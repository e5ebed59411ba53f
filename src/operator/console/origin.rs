//! Forms are taken from pages of the console alone: another page could send one in the name of whoever is signed in.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::Console;
use super::problem::Problem;

pub(super) async fn check(
    State(console): State<Console>,
    request: Request,
    next: Next,
) -> Response {
    let is_read = [Method::GET, Method::HEAD].contains(request.method());
    if is_read || is_own(request.headers(), console.public_url.as_deref()) {
        return next.run(request).await;
    }
    Problem::new(StatusCode::FORBIDDEN, "This form did not come from a page of the console.")
        .hint("Nothing was done. Open the console and do it there.")
        .into_response()
}

/// Whether a request comes from a page of the console. Browsers say it in `Sec-Fetch-Site`, older ones in `Origin`; what
/// says neither is no browser.
fn is_own(headers: &HeaderMap, public_url: Option<&str>) -> bool {
    let text = |name: header::HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    if let Some(site) = headers.get("sec-fetch-site") {
        return site == "same-origin";
    }
    let Some(origin) = text(header::ORIGIN) else { return false };
    let own = match public_url {
        Some(url) => url.splitn(4, '/').take(3).collect::<Vec<_>>().join("/"),
        None => format!("http://{}", text(header::HOST).unwrap_or_default()),
    };
    origin.eq_ignore_ascii_case(&own)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_of_another_page_or_of_nobody_is_not_taken() {
        let is_own = |pairs: &[(&'static str, &str)], public_url| {
            let mut headers = HeaderMap::new();
            for (name, value) in pairs {
                headers.insert(*name, value.parse().unwrap());
            }
            is_own(&headers, public_url)
        };
        let host = ("host", "127.0.0.1:8088");
        assert!(is_own(&[("sec-fetch-site", "same-origin")], None));
        for site in ["cross-site", "same-site", "none", ""] {
            let origin = ("origin", "http://127.0.0.1:8088");
            assert!(!is_own(&[host, origin, ("sec-fetch-site", site)], None), "{site}");
        }
        assert!(is_own(&[host, ("origin", "http://127.0.0.1:8088")], None));
        for origin in
            ["http://127.0.0.1:80", "https://127.0.0.1:8088", "null", "http://evil.example"]
        {
            assert!(!is_own(&[host, ("origin", origin)], None), "{origin}");
        }
        assert!(!is_own(&[host], None), "nothing says where it comes from");
        let url = Some("https://ops.example/");
        assert!(is_own(&[host, ("origin", "https://ops.example")], url));
        assert!(!is_own(&[host, ("origin", "http://127.0.0.1:8088")], url));
    }
}
