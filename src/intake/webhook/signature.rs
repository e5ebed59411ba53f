//! Whether a webhook is signed by a key of ours (pure).

use chrono::{DateTime, Utc};
use ring::{hmac, signature};
use secrecy::ExposeSecret;

use super::Cause;
use crate::config::{Algorithm, WebhookKey, decoded};

/// A rotation signs with two keys. More rows are an attempt to keep us busy.
const MOST_ROWS: usize = 4;

/// The headers of a webhook: its time, and one row for each key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    /// As it is sent, because it is part of what is signed.
    timestamp: String,
    at: DateTime<Utc>,
    rows: Vec<Row>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Row {
    key: String,
    /// `ALGORITHM=BASE64`.
    signature: String,
}

impl Signed {
    /// Reads the values of the headers. A proxy may have joined repeated headers with commas.
    pub fn read(timestamps: &[&str], keys: &[&str], signatures: &[&str]) -> Result<Self, Cause> {
        let [timestamp] = timestamps else { return Err(Cause::Unsigned) };
        let at = DateTime::parse_from_rfc3339(timestamp).map_err(|_| Cause::Unsigned)?.to_utc();
        let parts = |values: &[&str]| {
            let parts = values.iter().flat_map(|value| value.split(','));
            parts.map(|part| part.trim().to_owned()).collect::<Vec<_>>()
        };
        let (keys, signatures) = (parts(keys), parts(signatures));
        if keys.len() != signatures.len() || !(1..=MOST_ROWS).contains(&keys.len()) {
            return Err(Cause::Unsigned);
        }
        let rows = keys.into_iter().zip(signatures);
        let rows = rows.map(|(key, signature)| Row { key, signature }).collect();
        Ok(Self { timestamp: (*timestamp).to_owned(), at, rows })
    }

    /// When it was signed.
    pub fn at(&self) -> DateTime<Utc> {
        self.at
    }

    /// The key that signed this body. One right signature is enough: in a rotation one key may be known and the other
    /// not.
    pub(super) fn signer<'k>(
        &self,
        keys: &'k [WebhookKey],
        body: &[u8],
    ) -> Result<&'k WebhookKey, Cause> {
        let mut cause = Cause::UnknownKey;
        for row in &self.rows {
            let Some(key) = keys.iter().find(|key| key.id == row.key) else { continue };
            if self.messages(body).iter().any(|message| is_right(key, &row.signature, message)) {
                return Ok(key);
            }
            cause = Cause::WrongSignature;
        }
        Err(cause)
    }

    /// What is signed: the time, a dot and the body. Cerby's documentation calls the time both the value of the header
    /// and `timestamp_ms`. Both forms bind the same time and body, so each is accepted.
    fn messages(&self, body: &[u8]) -> [Vec<u8>; 2] {
        let millis = self.at.timestamp_millis().to_string();
        [&self.timestamp, &millis].map(|time| [time.as_bytes(), b".", body].concat())
    }
}

fn is_right(key: &WebhookKey, signature: &str, message: &[u8]) -> bool {
    let Some((algorithm, signature)) = signature.split_once('=') else { return false };
    if Algorithm::named(algorithm) != Some(key.algorithm) {
        return false;
    }
    let Some(signature) = decoded(signature) else { return false };
    let bytes = key.bytes.expose_secret();
    match key.algorithm {
        Algorithm::Ed25519 => {
            let key = signature::UnparsedPublicKey::new(&signature::ED25519, bytes);
            key.verify(message, &signature).is_ok()
        }
        // Compares in constant time.
        Algorithm::HmacSha256 => {
            let key = hmac::Key::new(hmac::HMAC_SHA256, bytes);
            hmac::verify(&key, message, &signature).is_ok()
        }
    }
}

#[cfg(test)]
mod tests {
    use ring::rand::SystemRandom;
    use ring::signature::{Ed25519KeyPair, KeyPair};

    use super::*;

    const TIME: &str = "2026-11-30T09:00:00.123Z";
    const BODY: &[u8] = br#"{"event_id":"e-1"}"#;

    /// Base64 without padding.
    fn encoded(bytes: &[u8]) -> String {
        use base64::Engine;
        base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes)
    }

    struct Pair(Ed25519KeyPair);

    impl Pair {
        fn new() -> Self {
            let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
            Self(Ed25519KeyPair::from_pkcs8(document.as_ref()).unwrap())
        }

        fn key(&self, id: &str) -> WebhookKey {
            key(id, Algorithm::Ed25519, self.0.public_key().as_ref())
        }

        fn sign(&self, message: &[u8]) -> String {
            format!("ed25519={}", encoded(self.0.sign(message).as_ref()))
        }
    }

    fn key(id: &str, algorithm: Algorithm, bytes: &[u8]) -> WebhookKey {
        let bytes = bytes.to_vec().into();
        WebhookKey { workspace: "acme".to_owned(), id: id.to_owned(), algorithm, bytes }
    }

    fn hmac_of(secret: &[u8], message: &[u8]) -> String {
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), message);
        format!("hmac-sha256={}", encoded(tag.as_ref()))
    }

    fn message(time: &str) -> Vec<u8> {
        [time.as_bytes(), b".", BODY].concat()
    }

    fn signer(keys: &[WebhookKey], rows: &[(&str, &str)]) -> Result<String, Cause> {
        let (ids, signatures): (Vec<_>, Vec<_>) = rows.iter().copied().unzip();
        let signed = Signed::read(&[TIME], &ids, &signatures)?;
        signed.signer(keys, BODY).map(|key| key.id.clone())
    }

    #[test]
    fn both_algorithms_bind_the_time_and_the_body() {
        let (pair, secret) = (Pair::new(), b"a secret of some length".as_slice());
        let keys = [pair.key("e"), key("h", Algorithm::HmacSha256, secret)];
        for time in [TIME, "1796029200123"] {
            let message = message(time);
            assert_eq!(signer(&keys, &[("e", &pair.sign(&message))]), Ok("e".to_owned()), "{time}");
            let tag = hmac_of(secret, &message);
            assert_eq!(signer(&keys, &[("h", &tag)]), Ok("h".to_owned()), "{time}");
        }
        for wrong in [
            message("2026-11-30T09:00:01.123Z"),
            BODY.to_vec(),
            [&message(TIME)[..], b" "].concat(),
        ] {
            for (id, signature) in [("e", pair.sign(&wrong)), ("h", hmac_of(secret, &wrong))] {
                assert_eq!(signer(&keys, &[(id, &signature)]), Err(Cause::WrongSignature));
            }
        }
    }

    #[test]
    fn a_key_is_used_with_its_own_algorithm_alone() {
        let pair = Pair::new();
        let public = pair.0.public_key().as_ref().to_vec();
        // Whoever knows the public key could make an HMAC with it.
        let forged = hmac_of(&public, &message(TIME));
        assert_eq!(signer(&[pair.key("e")], &[("e", &forged)]), Err(Cause::WrongSignature));
        for odd in ["", "ed25519", "ed25519=", "ed25519=!", "none=AAAA"] {
            assert_eq!(
                signer(&[pair.key("e")], &[("e", odd)]),
                Err(Cause::WrongSignature),
                "{odd}"
            );
        }
    }

    #[test]
    fn in_a_rotation_one_known_key_is_enough_and_none_is_not() {
        let (old, new) = (Pair::new(), Pair::new());
        let message = message(TIME);
        let rows = [("new", new.sign(&message)), ("old", old.sign(&message))];
        let rows = rows.each_ref().map(|(id, signature)| (*id, signature.as_str()));
        assert_eq!(signer(&[old.key("old")], &rows), Ok("old".to_owned()));
        assert_eq!(signer(&[new.key("new")], &rows), Ok("new".to_owned()));
        assert_eq!(signer(&[], &rows), Err(Cause::UnknownKey));
        // The signature of one key beside the id of another.
        assert_eq!(signer(&[old.key("new")], &rows), Err(Cause::WrongSignature));
    }

    #[test]
    fn headers_that_do_not_fit_together_are_no_signature_and_joined_ones_are() {
        let (pair, message) = (Pair::new(), message(TIME));
        let signature = pair.sign(&message);
        let table: [(&[&str], &[&str], &[&str]); 6] = [
            (&[], &["e"], &[&signature]),
            (&[TIME, TIME], &["e"], &[&signature]),
            (&["today"], &["e"], &[&signature]),
            (&[TIME], &[], &[]),
            (&[TIME], &["e", "f"], &[&signature]),
            (&[TIME], &["e,f,g,h,i"], &["1,2,3,4,5"]),
        ];
        for (times, keys, signatures) in table {
            assert_eq!(Signed::read(times, keys, signatures), Err(Cause::Unsigned), "{keys:?}");
        }
        let joined = format!("ed25519=AAAA, {signature}");
        let signed = Signed::read(&[TIME], &["other, e"], &[&joined]).unwrap();
        assert!(signed.signer(&[pair.key("e")], BODY).is_ok());
    }
}
