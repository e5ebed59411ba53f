//! Requests to the issuer: each with a time limit, and with answers of bounded length.

use std::pin::Pin;
use std::time::Duration;

use axum::http::Response;
use openidconnect::{AsyncHttpClient, HttpRequest, HttpResponse};

use crate::http_client;

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
        Ok(Self { client: http_client::direct().timeout(timeout).build()? })
    }

    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let request = reqwest::Request::try_from(request).map_err(reqwest::Error::without_url)?;
        let sent = self.client.execute(request).await;
        let mut answer = sent.map_err(reqwest::Error::without_url)?;
        let body = http_client::body(&mut answer, LONGEST_ANSWER).await;
        let body = body.map_err(reqwest::Error::without_url)?.ok_or(HttpError::TooLong)?;
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
