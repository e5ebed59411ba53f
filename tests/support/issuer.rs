//! An issuer of OpenID Connect over HTTP, whose keys, claims and failures the test chooses.

use std::collections::HashMap;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use cerby_reconciler::config::{Config, Oidc};
use ring::digest::{SHA256, digest};
use ring::rand::SystemRandom;
use ring::rsa::PublicKeyComponents;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair,
};
use serde_json::{Value, json};
use tokio::net::TcpListener;

pub(crate) const CLIENT: &str = "the-console";
pub(crate) const SECRET: &str = "a secret: of the client/";

/// A key with which the issuer signs.
pub(crate) struct Key {
    id: &'static str,
    pair: Pair,
}

enum Pair {
    Ec(EcdsaKeyPair),
    Rsa(RsaKeyPair),
}

impl Key {
    pub(crate) fn ec(id: &'static str) -> Arc<Self> {
        let (kind, random) = (&ECDSA_P256_SHA256_FIXED_SIGNING, SystemRandom::new());
        let document = EcdsaKeyPair::generate_pkcs8(kind, &random).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(kind, document.as_ref(), &random).unwrap();
        Arc::new(Self { id, pair: Pair::Ec(pair) })
    }

    pub(crate) fn rsa(id: &'static str) -> Arc<Self> {
        let arguments = ["genpkey", "-algorithm", "RSA", "-outform", "DER"];
        let made = Command::new("openssl").args(arguments).output();
        let made = made.expect("stories of the issuer need openssl").stdout;
        // Versions of openssl differ in the form.
        let pair = RsaKeyPair::from_pkcs8(&made).or_else(|_| RsaKeyPair::from_der(&made));
        Arc::new(Self { id, pair: Pair::Rsa(pair.unwrap()) })
    }

    fn algorithm(&self) -> &'static str {
        match self.pair {
            Pair::Ec(_) => "ES256",
            Pair::Rsa(_) => "RS256",
        }
    }

    fn public(&self) -> Value {
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let mut key = match &self.pair {
            Pair::Ec(pair) => {
                let point = pair.public_key().as_ref();
                json!({ "kty": "EC", "crv": "P-256", "x": text(&point[1..33]), "y": text(&point[33..]) })
            }
            Pair::Rsa(pair) => {
                let public = PublicKeyComponents::<Vec<u8>>::from(pair.public());
                json!({ "kty": "RSA", "n": text(&public.n), "e": text(&public.e) })
            }
        };
        key["use"] = json!("sig");
        key["kid"] = json!(self.id);
        key["alg"] = json!(self.algorithm());
        key
    }

    pub(crate) fn sign(&self, claims: &Value) -> String {
        let header = json!({ "alg": self.algorithm(), "kid": self.id, "typ": "JWT" });
        let (text, random) = (unsigned(&header, claims), SystemRandom::new());
        let signature = match &self.pair {
            Pair::Ec(pair) => pair.sign(&random, text.as_bytes()).unwrap().as_ref().to_vec(),
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, text.as_bytes(), &mut signature).unwrap();
                signature
            }
        };
        format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

/// A token up to its signature.
pub(crate) fn unsigned(header: &Value, claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}", part(header), part(claims))
}

/// What becomes of the claims of an ordinary token.
type Sign = Arc<dyn Fn(Value) -> String + Send + Sync>;

#[derive(Clone)]
pub(crate) struct Issuer {
    pub(crate) url: String,
    shelf: Arc<Mutex<Shelf>>,
}

struct Shelf {
    published: Vec<Value>,
    sign: Sign,
    /// What the token says beside the ordinary claims, or instead of them.
    claims: Value,
    /// The nonce, the challenge and the address to come back to, by code.
    codes: HashMap<String, [String; 3]>,
    paths: Vec<String>,
    tokens: Vec<String>,
    fails: Option<Failure>,
    /// Whether it takes the secret of the client in the body, and not in a header.
    takes_posted_secret: bool,
}

#[derive(Clone, Copy)]
pub(crate) enum Failure {
    Status(StatusCode),
    Silence,
    Flood,
    Redirect,
}

impl Issuer {
    pub(crate) async fn start(key: &Arc<Key>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let shelf = Shelf {
            published: Vec::new(),
            sign: Arc::new(|_| String::new()),
            claims: json!({}),
            codes: HashMap::new(),
            paths: Vec::new(),
            tokens: Vec::new(),
            fails: None,
            takes_posted_secret: false,
        };
        let issuer = Self { url, shelf: Arc::new(Mutex::new(shelf)) };
        issuer.publish(&[key]);
        issuer.sign_by(key);
        let routes = Router::new().fallback(answer).with_state(issuer.clone());
        tokio::spawn(async move { axum::serve(listener, routes).await });
        issuer
    }

    /// The settings of a console that is registered here.
    pub(crate) fn settings(&self) -> Oidc {
        let defaults = Config::from_sources(None, Some(HashMap::new())).unwrap().operators.oidc;
        Oidc {
            issuer: Some(self.url.clone()),
            client_id: Some(CLIENT.to_owned()),
            client_secret: Some(SECRET.into()),
            roles_claim: "groups".to_owned(),
            viewers: vec!["readers".to_owned()],
            operators: vec!["desk".to_owned()],
            administrators: vec!["chiefs".to_owned()],
            all_workspaces: vec!["everywhere".to_owned()],
            timeout_s: 1,
            ..defaults
        }
    }

    pub(crate) fn publish(&self, keys: &[&Arc<Key>]) {
        self.shelf.lock().unwrap().published = keys.iter().map(|key| key.public()).collect();
    }

    pub(crate) fn sign_by(&self, key: &Arc<Key>) {
        let key = Arc::clone(key);
        self.sign_with(move |claims| key.sign(&claims));
    }

    pub(crate) fn sign_with(&self, sign: impl Fn(Value) -> String + Send + Sync + 'static) {
        self.shelf.lock().unwrap().sign = Arc::new(sign);
    }

    /// From now on a token also says this; what is null is left out.
    pub(crate) fn say(&self, claims: Value) {
        self.shelf.lock().unwrap().claims = claims;
    }

    pub(crate) fn take_posted_secrets(&self) {
        self.shelf.lock().unwrap().takes_posted_secret = true;
    }

    pub(crate) fn fail(&self, fails: Option<Failure>) {
        self.shelf.lock().unwrap().fails = fails;
    }

    /// How often a path was asked for.
    pub(crate) fn asked(&self, path: &str) -> usize {
        self.shelf.lock().unwrap().paths.iter().filter(|one| *one == path).count()
    }

    /// The tokens that it gave.
    pub(crate) fn tokens(&self) -> Vec<String> {
        self.shelf.lock().unwrap().tokens.clone()
    }

    /// Somebody signs in where the console has sent the browser; returns where the browser is sent back to.
    pub(crate) fn answer(&self, address: &str) -> String {
        let asked = fields(address.split_once('?').unwrap().1);
        assert_eq!(
            (asked["client_id"].as_str(), asked["response_type"].as_str()),
            (CLIENT, "code")
        );
        assert_eq!(asked["code_challenge_method"], "S256");
        let mut shelf = self.shelf.lock().unwrap();
        let code = format!("code-{}", shelf.codes.len());
        let kept = ["nonce", "code_challenge", "redirect_uri"].map(|name| asked[name].clone());
        shelf.codes.insert(code.clone(), kept);
        format!("{}?code={code}&state={}", asked["redirect_uri"], asked["state"])
    }
}

pub(crate) fn fields(query: &str) -> HashMap<String, String> {
    form_urlencoded::parse(query.as_bytes()).into_owned().collect()
}

async fn answer(State(issuer): State<Issuer>, request: Request) -> Response {
    let path = request.uri().path().to_owned();
    let (fails, is_posted) = {
        let mut shelf = issuer.shelf.lock().unwrap();
        shelf.paths.push(path.clone());
        (shelf.fails, shelf.takes_posted_secret)
    };
    match fails {
        None => {}
        Some(Failure::Status(status)) => return status.into_response(),
        Some(Failure::Silence) => std::future::pending().await,
        Some(Failure::Flood) => return "x".repeat(2 * 1024 * 1024).into_response(),
        Some(Failure::Redirect) => {
            let to = format!("{}/elsewhere", issuer.url);
            return (StatusCode::FOUND, [(header::LOCATION, to)]).into_response();
        }
    }
    match path.as_str() {
        "/.well-known/openid-configuration" => {
            let method = if is_posted { "client_secret_post" } else { "client_secret_basic" };
            Json(described(&issuer.url, method)).into_response()
        }
        "/keys" => Json(json!({ "keys": issuer.shelf.lock().unwrap().published })).into_response(),
        "/token" => token(&issuer, request).await,
        _ => StatusCode::NOT_FOUND.into_response(),
    }
}

fn described(url: &str, method: &str) -> Value {
    json!({
        "issuer": url,
        "authorization_endpoint": format!("{url}/authorize"),
        "token_endpoint": format!("{url}/token"),
        "jwks_uri": format!("{url}/keys"),
        "response_types_supported": ["code"],
        "subject_types_supported": ["public"],
        "token_endpoint_auth_methods_supported": [method],
        "id_token_signing_alg_values_supported": ["RS256", "ES256", "HS256", "none"],
    })
}

/// A code is good once, for the client, and for whoever made the challenge.
async fn token(issuer: &Issuer, request: Request) -> Response {
    let secret: String = form_urlencoded::byte_serialize(SECRET.as_bytes()).collect();
    let basic = format!("Basic {}", STANDARD.encode(format!("{CLIENT}:{secret}")));
    let is_client = request.headers().get(header::AUTHORIZATION).is_some_and(|one| *one == basic);
    let body = axum::body::to_bytes(request.into_body(), 10_000).await.unwrap();
    let asked = fields(std::str::from_utf8(&body).unwrap());
    let mut shelf = issuer.shelf.lock().unwrap();
    let is_client = match shelf.takes_posted_secret {
        true => asked.get("client_secret").is_some_and(|one| one == SECRET),
        false => is_client,
    };
    let refused =
        |error| (StatusCode::BAD_REQUEST, Json(json!({ "error": error }))).into_response();
    if !is_client {
        return refused("invalid_client");
    }
    let Some([nonce, challenge, redirect]) = shelf.codes.remove(&asked["code"]) else {
        return refused("invalid_grant");
    };
    let made = URL_SAFE_NO_PAD.encode(digest(&SHA256, asked["code_verifier"].as_bytes()));
    if made != challenge || asked["redirect_uri"] != redirect {
        return refused("invalid_grant");
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let mut claims = json!({
        "iss": issuer.url, "aud": CLIENT, "sub": "kim-1", "email": "kim@example.com", "nonce": nonce,
        "iat": now, "exp": now + 3600, "groups": ["desk"], "workspaces": ["acme"],
    });
    for (name, value) in shelf.claims.as_object().unwrap() {
        claims[name] = value.clone();
    }
    claims.as_object_mut().unwrap().retain(|_, value| !value.is_null());
    let token = (shelf.sign)(claims);
    shelf.tokens.push(token.clone());
    let answer =
        json!({ "access_token": "an-access-token", "token_type": "Bearer", "id_token": token });
    Json(answer).into_response()
}
