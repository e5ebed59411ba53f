//! The issuer of OpenID Connect, which says who somebody is: the code flow with PKCE, a nonce and a state.
//!
//! What the issuer says of itself and its keys are read when they are first needed, and again after an hour. So an issuer that
//! does not answer stops no daemon: signing in by it says so, and works again once it answers.

mod claims;
mod http;
mod sign_in;

use std::sync::{Arc, Mutex as Cell, PoisonError};
use std::time::{Duration, Instant};

use openidconnect::core::{
    CoreAuthDisplay, CoreAuthPrompt, CoreAuthenticationFlow, CoreClientAuthMethod,
    CoreErrorResponseType, CoreGenderClaim, CoreJsonWebKey, CoreJsonWebKeySet,
    CoreJweContentEncryptionAlgorithm, CoreJwsSigningAlgorithm, CoreProviderMetadata,
    CoreRevocableToken, CoreRevocationErrorResponse, CoreTokenIntrospectionResponse, CoreTokenType,
};
use openidconnect::{
    AuthType, AuthorizationCode, ClaimsVerificationError, Client, ClientId, ClientSecret,
    CsrfToken, DiscoveryError, EmptyExtraTokenFields, EndpointMaybeSet, EndpointNotSet,
    EndpointSet, IdTokenFields, IdTokenVerifier, IssuerUrl, Nonce, PkceCodeChallenge,
    PkceCodeVerifier, RedirectUrl, RequestTokenError, Scope, SignatureVerificationError,
    StandardErrorResponse, StandardTokenResponse, TokenResponse,
};
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::Mutex;

use crate::config::{Oidc, SecretFile};
use crate::emit;
use crate::telemetry::chain;
use claims::Claims;
pub(super) use claims::Person;
use http::{Http, HttpError};
pub(super) use sign_in::{PATH, SignIn};

type Answer = StandardTokenResponse<
    IdTokenFields<
        Claims,
        EmptyExtraTokenFields,
        CoreGenderClaim,
        CoreJweContentEncryptionAlgorithm,
        CoreJwsSigningAlgorithm,
    >,
    CoreTokenType,
>;

type IssuerClient = Client<
    Claims,
    CoreAuthDisplay,
    CoreGenderClaim,
    CoreJweContentEncryptionAlgorithm,
    CoreJsonWebKey,
    CoreAuthPrompt,
    StandardErrorResponse<CoreErrorResponseType>,
    Answer,
    CoreTokenIntrospectionResponse,
    CoreRevocableToken,
    CoreRevocationErrorResponse,
    EndpointSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointMaybeSet,
    EndpointMaybeSet,
>;

/// The signatures that count. A token without one, or one that is signed with the secret of the client, is refused.
const ALGORITHMS: [CoreJwsSigningAlgorithm; 2] =
    [CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha256, CoreJwsSigningAlgorithm::EcdsaP256Sha256];

/// How long it counts what the issuer said of itself. A key that it has withdrawn counts no longer than that.
const KNOWN_FOR: Duration = Duration::from_secs(3600);

/// After a failure, whoever signs in within this time is told so at once.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(1);

/// The keys are read again for a key that is not known. Tokens with such keys must not become requests without end.
const BETWEEN_UNKNOWN_KEYS: Duration = Duration::from_secs(60);

/// Why nobody is signed in. What is logged has no token, no code and no name.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refused {
    /// The issuer does not answer, or what it says cannot be used.
    #[error("{0}")]
    Unavailable(String),
    /// The answer is not the issuer's, not for us, too late, or not for this sign-in.
    #[error("{0}")]
    Invalid(String),
    #[error("no value of the claim for roles gives a role")]
    NoRole,
    #[error("the claim for workspaces has no id of a workspace")]
    NoWorkspace,
}

/// What the issuer said of itself, and its keys.
#[derive(Debug)]
struct Known {
    metadata: CoreProviderMetadata,
    keys: CoreJsonWebKeySet,
    since: Instant,
}

#[derive(Debug, Default)]
struct State {
    known: Option<Arc<Known>>,
    failed: Option<(Instant, String)>,
    asked_for_unknown_key: Option<Instant>,
}

#[derive(Debug)]
pub(super) struct Issuer {
    config: Oidc,
    url: IssuerUrl,
    client_id: ClientId,
    redirect: RedirectUrl,
    http: Http,
    secret: Cell<Option<SecretString>>,
    secret_file: Option<SecretFile>,
    state: Mutex<State>,
}

impl Issuer {
    /// The issuer, which sends browsers back to `origin`; `None` if none is configured.
    pub(super) fn new(config: &Oidc, origin: &str) -> anyhow::Result<Option<Self>> {
        let (Some(issuer), Some(client_id)) = (&config.issuer, &config.client_id) else {
            return Ok(None);
        };
        Ok(Some(Self {
            url: IssuerUrl::new(issuer.clone())?,
            client_id: ClientId::new(client_id.clone()),
            redirect: RedirectUrl::new(format!("{}{PATH}", origin.trim_end_matches('/')))?,
            http: Http::new(Duration::from_secs(config.timeout_s))?,
            secret: Cell::new(config.client_secret.clone()),
            secret_file: config.secret_file(),
            state: Mutex::default(),
            config: config.clone(),
        }))
    }

    /// What a page calls the issuer.
    pub(super) fn name(&self) -> &str {
        self.url.url().host_str().unwrap_or_default()
    }

    /// How long a session lasts before the issuer is asked again.
    pub(super) fn session_max(&self) -> Duration {
        Duration::from_secs(self.config.session_max_s)
    }

    /// Whether an answer comes from this issuer, where it says from whom it is (RFC 9207).
    pub(super) fn is(&self, issuer: Option<&str>) -> bool {
        issuer.is_none_or(|issuer| issuer == self.url.as_str())
    }

    /// Reads what the issuer says of itself, so that the log tells of a wrong setting before anybody signs in.
    pub(super) async fn prepare(&self) {
        // Whoever signs in is told what failed.
        let _ = self.known().await;
    }

    /// Where the browser goes to sign in. If it is quiet, the issuer shows nothing, and answers at once.
    pub(super) async fn address(
        &self,
        sign_in: &SignIn,
        is_quiet: bool,
    ) -> Result<String, Refused> {
        let client = self.client(&*self.known().await?);
        let (state, nonce) = (sign_in.state(), sign_in.nonce());
        let mut request = client
            .authorize_url(
                CoreAuthenticationFlow::AuthorizationCode,
                move || CsrfToken::new(state),
                move || Nonce::new(nonce),
            )
            .set_pkce_challenge(PkceCodeChallenge::from_code_verifier_sha256(&pkce(sign_in)));
        // The library asks for `openid` by itself.
        for scope in self.config.scopes.iter().filter(|scope| *scope != "openid") {
            request = request.add_scope(Scope::new(scope.clone()));
        }
        if is_quiet {
            request = request.add_prompt(CoreAuthPrompt::None);
        }
        Ok(request.url().0.into())
    }

    /// Who has signed in, by the code of the answer.
    pub(super) async fn person(&self, code: &str, sign_in: &SignIn) -> Result<Person, Refused> {
        let known = self.known().await?;
        let answer = self
            .client(&known)
            .exchange_code(AuthorizationCode::new(code.to_owned()))
            .map_err(|_| Refused::Unavailable("it names no token endpoint".to_owned()))?
            .set_pkce_verifier(pkce(sign_in))
            .request_async(&self.http)
            .await
            .map_err(not_exchanged)?;
        let token = answer
            .id_token()
            .ok_or_else(|| Refused::Invalid("the answer has no id token".to_owned()))?;
        let nonce = Nonce::new(sign_in.nonce());
        let claims = match token.claims(&self.verifier(&known), &nonce) {
            Err(ClaimsVerificationError::SignatureVerification(
                SignatureVerificationError::NoMatchingKey,
            )) => token.claims(&self.verifier(&*self.with_new_keys().await?), &nonce),
            other => other,
        };
        let claims = claims.map_err(|error| Refused::Invalid(chain(&error).to_string()))?;
        Ok(claims::person(claims, &self.config))
    }

    fn client(&self, known: &Known) -> IssuerClient {
        let secret =
            self.secret().map(|secret| ClientSecret::new(secret.expose_secret().to_owned()));
        let methods = known.metadata.token_endpoint_auth_methods_supported();
        // Where an issuer says nothing, it takes the first of the two.
        let takes = |method| methods.is_none_or(|methods| methods.contains(&method));
        let auth_type = match takes(CoreClientAuthMethod::ClientSecretBasic) {
            true => AuthType::BasicAuth,
            false => AuthType::RequestBody,
        };
        Client::from_provider_metadata(known.metadata.clone(), self.client_id.clone(), secret)
            .set_auth_type(auth_type)
            .set_redirect_uri(self.redirect.clone())
    }

    fn verifier(&self, known: &Known) -> IdTokenVerifier<'_, CoreJsonWebKey> {
        // What is signed with the secret of a client is refused, so the verifier is not given it.
        let (client, issuer) = (self.client_id.clone(), self.url.clone());
        IdTokenVerifier::new_public_client(client, issuer, known.keys.clone())
            .set_allowed_algs(ALGORITHMS)
    }

    /// The secret of the client. Its file is read again, because it may have been replaced.
    fn secret(&self) -> Option<SecretString> {
        let mut secret = self.secret.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = self.secret_file.as_ref().and_then(|file| {
            file.changed(|secret| Ok::<_, std::convert::Infallible>(secret.clone()))
        });
        if changed.is_some() {
            *secret = changed;
        }
        secret.clone()
    }

    /// What the issuer says of itself. One request at a time asks it; the others wait for the answer.
    async fn known(&self) -> Result<Arc<Known>, Refused> {
        let mut state = self.state.lock().await;
        if let Some(known) = state.known.as_ref().filter(|known| known.since.elapsed() < KNOWN_FOR)
        {
            return Ok(Arc::clone(known));
        }
        if let Some((at, cause)) = &state.failed
            && at.elapsed() < PAUSE_AFTER_FAILURE
        {
            return Err(Refused::Unavailable(cause.clone()));
        }
        let read = CoreProviderMetadata::discover_async(self.url.clone(), &self.http).await;
        let known = read.map(|metadata| {
            let keys = metadata.jwks().clone();
            Arc::new(Known { metadata, keys, since: Instant::now() })
        });
        state.found(known)
    }

    /// The same with keys that are read now, unless that was done just before.
    async fn with_new_keys(&self) -> Result<Arc<Known>, Refused> {
        let known = self.known().await?;
        let mut state = self.state.lock().await;
        let is_soon = |at: Instant| at.elapsed() < BETWEEN_UNKNOWN_KEYS;
        if state.asked_for_unknown_key.is_some_and(is_soon) {
            return Ok(state.known.clone().unwrap_or(known));
        }
        state.asked_for_unknown_key = Some(Instant::now());
        let keys = CoreJsonWebKeySet::fetch_async(known.metadata.jwks_uri(), &self.http).await;
        let (metadata, since) = (known.metadata.clone(), known.since);
        state.found(keys.map(|keys| Arc::new(Known { metadata, keys, since })))
    }
}

impl State {
    /// Notes what was read, or that it could not be, which is logged once.
    fn found(
        &mut self,
        read: Result<Arc<Known>, DiscoveryError<HttpError>>,
    ) -> Result<Arc<Known>, Refused> {
        match read {
            Ok(known) => {
                if self.failed.take().is_some() {
                    emit!(ISSUER_RECOVERED, "People can sign in by OpenID Connect again");
                }
                self.known = Some(Arc::clone(&known));
                Ok(known)
            }
            Err(error) => {
                let cause = not_read(&error);
                if self.failed.replace((Instant::now(), cause.clone())).is_none() {
                    emit!(ISSUER_UNAVAILABLE, cause, "Nobody can sign in by OpenID Connect");
                }
                Err(Refused::Unavailable(cause))
            }
        }
    }
}

fn pkce(sign_in: &SignIn) -> PkceCodeVerifier {
    PkceCodeVerifier::new(sign_in.verifier())
}

/// The cause without what the issuer sent.
fn not_read(error: &DiscoveryError<HttpError>) -> String {
    match error {
        DiscoveryError::Response(status, ..) => format!("HTTP {}", status.as_u16()),
        DiscoveryError::Parse(_) => "what it says of itself is not readable".to_owned(),
        error => chain(error).to_string(),
    }
}

fn not_exchanged(
    error: RequestTokenError<HttpError, StandardErrorResponse<CoreErrorResponseType>>,
) -> Refused {
    match error {
        RequestTokenError::ServerResponse(answer) => {
            Refused::Invalid(format!("the issuer refused the code: {}", answer.error().as_ref()))
        }
        RequestTokenError::Request(error) => Refused::Unavailable(chain(&error).to_string()),
        RequestTokenError::Parse(..) => {
            Refused::Invalid("the answer to the code is not readable".to_owned())
        }
        RequestTokenError::Other(cause) => Refused::Unavailable(cause),
    }
}
