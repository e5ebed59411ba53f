//! Requests to the issuer: each with a time limit, and with answers of bounded length.

use std::pin::Pin;
use std::time::Duration;

use axum::http::Response;
use openidconnect::{AsyncHttpClient, HttpRequest, HttpResponse};
use reqwest::redirect;

/// The longest answer that is read.
const LONGEST_ANSWER: usize = 1024 * 1024;

#[derive(Debug)]
pub(super) struct Http {
    client: reqwest::Client,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum HttpError {
    #[error("the issuer does not answer")]
    NoAnswer(#[from] reqwest::Error),
    #[error("the issuer answers with more than {LONGEST_ANSWER} bytes")]
    TooLong,
    #[error("the issuer's answer is not HTTP")]
    Odd(#[from] axum::http::Error),
}

impl Http {
    pub(super) fn new(timeout: Duration) -> reqwest::Result<Self> {
        // The process has one TLS provider; a second call finds it installed.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder()
            .user_agent(concat!("cerby-reconciler/", env!("CARGO_PKG_VERSION")))
            .timeout(timeout)
            // A proxy from the environment, or a redirect, would take codes and secrets to another address.
            .no_proxy()
            .redirect(redirect::Policy::none())
            .retry(reqwest::retry::never())
            .build()?;
        Ok(Self { client })
    }

    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let request = reqwest::Request::try_from(request).map_err(reqwest::Error::without_url)?;
        let sent = self.client.execute(request).await;
        let mut answer = sent.map_err(reqwest::Error::without_url)?;
        let mut body = Vec::new();
        while let Some(part) = answer.chunk().await.map_err(reqwest::Error::without_url)? {
            if body.len() + part.len() > LONGEST_ANSWER {
                return Err(HttpError::TooLong);
            }
            body.extend_from_slice(&part);
        }
        let mut response = Response::builder().status(answer.status()).body(body)?;
        *response.headers_mut() = answer.headers().clone();
        Ok(response)
    }
}

impl<'c> AsyncHttpClient<'c> for Http {
    type Error = HttpError;
    type Future = Pin<Box<dyn Future<Output = Result<HttpResponse, HttpError>> + Send + 'c>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        Box::pin(self.send(request))
    }
}
