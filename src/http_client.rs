//! The HTTP clients of the process, and answers of bounded length.

use reqwest::{Client, ClientBuilder, Response, redirect};

/// How every client begins. Its requests carry keys, codes and secrets: a proxy from the environment, or a redirect, would
/// take them to another address. A retry in the client would be invisible to the queue, which is the only retry layer.
pub fn direct() -> ClientBuilder {
    // The process has one TLS provider; a second call finds it installed.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::builder()
        .user_agent(concat!("cerby-reconciler/", env!("CARGO_PKG_VERSION")))
        .no_proxy()
        .redirect(redirect::Policy::none())
        .retry(reqwest::retry::never())
}

/// The body of an answer; `None` if it is longer than so many bytes, and then the rest of it is not read.
pub async fn body(answer: &mut Response, longest: usize) -> reqwest::Result<Option<Vec<u8>>> {
    let mut body = Vec::new();
    while let Some(part) = answer.chunk().await? {
        if body.len() + part.len() > longest {
            return Ok(None);
        }
        body.extend_from_slice(&part);
    }
    Ok(Some(body))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_body_is_whole_or_is_not_there() {
        let answer = |text: &str| Response::from(axum::http::Response::new(text.to_owned()));
        assert_eq!(body(&mut answer("12345"), 5).await.unwrap().as_deref(), Some(&b"12345"[..]));
        assert_eq!(body(&mut answer("123456"), 5).await.unwrap(), None);
        assert_eq!(body(&mut answer(""), 0).await.unwrap().as_deref(), Some(&b""[..]));
    }
}
