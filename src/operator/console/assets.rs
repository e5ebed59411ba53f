//! What pages are made of beside their text. The address of a file has its hash, so that browsers may keep it for ever.

use std::sync::LazyLock;

use axum::extract::Path;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};

use crate::text::hex;

pub(super) struct Asset {
    name: &'static str,
    kind: &'static str,
    text: &'static str,
}

const ASSETS: [Asset; 3] = [
    Asset {
        name: "console.css",
        kind: "text/css; charset=utf-8",
        text: include_str!("assets/console.css"),
    },
    Asset {
        name: "console.js",
        kind: "text/javascript; charset=utf-8",
        text: include_str!("assets/console.js"),
    },
    Asset { name: "icons.svg", kind: "image/svg+xml", text: include_str!("assets/icons.svg") },
];

static HASH: LazyLock<String> = LazyLock::new(|| {
    let mut hash = Sha256::new();
    ASSETS.iter().for_each(|asset| hash.update(asset.text));
    hex(&hash.finalize()[..8])
});

/// The address of a file.
pub(super) fn asset(name: &str) -> String {
    format!("/assets/{}/{name}", *HASH)
}

/// An icon as markup.
pub(super) fn icon(name: &str) -> String {
    format!("<svg aria-hidden=\"true\"><use href=\"{}#{name}\"/></svg>", asset("icons.svg"))
}

/// A page that was loaded before an update asks for files of another hash: it gets those of now, and may not keep them.
pub(super) async fn send(Path((hash, name)): Path<(String, String)>) -> Response {
    let Some(asset) = ASSETS.iter().find(|asset| asset.name == name) else {
        return super::nothing_there();
    };
    let keep = if hash == *HASH { "public, max-age=31536000, immutable" } else { "no-store" };
    ([(header::CONTENT_TYPE, asset.kind), (header::CACHE_CONTROL, keep)], asset.text)
        .into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_are_small() {
        for (asset, most) in ASSETS.iter().zip([20_000, 10_000, 5_000]) {
            assert!(asset.text.len() <= most, "{} has {} bytes", asset.name, asset.text.len());
        }
    }
}
