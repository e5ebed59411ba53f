//! The pictures of the folder of instructions. The address of a picture is its hash, so that browsers may keep it for ever.

use axum::extract::{Path, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};

use super::Console;
use super::access::SignedIn;

/// A picture that was replaced is not there any more: pages then show the words that describe it.
pub(super) async fn send(
    State(console): State<Console>,
    _: SignedIn,
    Path(hash): Path<String>,
) -> Response {
    let Some(picture) = console.library.picture(&hash) else { return super::nothing_there() };
    let headers = [
        (header::CONTENT_TYPE, picture.kind),
        (header::CACHE_CONTROL, "private, max-age=31536000, immutable"),
    ];
    (headers, picture.bytes.clone()).into_response()
}
