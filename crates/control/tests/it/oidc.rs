//! Tokens of other issuers: a real one, with real keys, over HTTP on loopback.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

use aws_lc_rs::signature::KeyPair as _;
use axum::http::StatusCode;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use control::clock::Clock as _;
use control::{OidcIssuer, accounts};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256};
use serde_json::{Value, json};

use crate::world::{Answer, V, World};
use testkit::Fleet;

const AUDIENCE: &str = "https://sts.mixedreality.azure.com";

struct Key {
    kid: &'static str,
    algorithm: Algorithm,
    private: EncodingKey,
    public: Value,
}

fn elliptic(kid: &'static str) -> Key {
    let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    let (x, y) = pair.public_key_raw()[1..].split_at(32);
    let public = json!({ "kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": kid,
        "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y) });
    let private = EncodingKey::from_ec_der(&pair.serialize_der());
    Key { kid, algorithm: Algorithm::ES256, private, public }
}

fn rsa(kid: &'static str) -> Key {
    let pair = KeyPair::generate_for(&PKCS_RSA_SHA256).unwrap();
    let public = aws_lc_rs::signature::RsaKeyPair::from_pkcs8(&pair.serialize_der()).unwrap();
    let (n, e) = (public.public_key().modulus(), public.public_key().exponent());
    let number = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    // As Entra does: without `alg`.
    let public = json!({ "kty": "RSA", "use": "sig", "kid": kid,
        "n": number(n.big_endian_without_leading_zero()), "e": number(e.big_endian_without_leading_zero()) });
    let private = EncodingKey::from_rsa_pem(pair.serialize_pem().as_bytes()).unwrap();
    Key { kid, algorithm: Algorithm::RS256, private, public }
}

/// An issuer that can be told to fail, and counts who asks.
struct Issuer {
    url: String,
    keys: Arc<Mutex<Vec<Value>>>,
    works: Arc<AtomicBool>,
    n_asked: Arc<AtomicU32>,
    task: tokio::task::JoinHandle<()>,
}

impl Issuer {
    async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/tenant", listener.local_addr().unwrap());
        let keys = Arc::new(Mutex::new(Vec::new()));
        let works = Arc::new(AtomicBool::new(true));
        let n_asked = Arc::new(AtomicU32::new(0));
        let discovery = json!({ "issuer": url, "jwks_uri": format!("{url}/keys") }).to_string();
        let (set, working, counted) = (Arc::clone(&keys), Arc::clone(&works), Arc::clone(&n_asked));
        let answer = move |uri: axum::http::Uri| {
            let path = uri.path().to_owned();
            let body = match path.as_str() {
                "/tenant/.well-known/openid-configuration" => {
                    counted.fetch_add(1, SeqCst);
                    Some(discovery.clone())
                }
                // One of a kind that nobody knows does no harm.
                "/tenant/keys" => {
                    let mut keys: Vec<Value> = set.lock().unwrap().clone();
                    keys.push(json!({ "kty": "LATTICE", "kid": "odd" }));
                    Some(json!({ "keys": keys }).to_string())
                }
                _ => None,
            };
            let body = body.filter(|_| working.load(SeqCst));
            async move { body.ok_or(StatusCode::SERVICE_UNAVAILABLE) }
        };
        let service = axum::Router::new().fallback(answer);
        let task = tokio::spawn(async move { axum_serve(listener, service).await });
        Self { url, keys, works, n_asked, task }
    }

    fn publish(&self, keys: &[&Key]) {
        *self.keys.lock().unwrap() = keys.iter().map(|key| key.public.clone()).collect();
    }

    fn n_asked(&self) -> u32 {
        self.n_asked.load(SeqCst)
    }
}

impl Drop for Issuer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// HTTP/1.1 for as long as it is polled.
async fn axum_serve(listener: tokio::net::TcpListener, service: axum::Router) {
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let service = hyper_util::service::TowerToHyperService::new(service.clone());
        connections.spawn(async move {
            let stream = hyper_util::rt::TokioIo::new(stream);
            hyper::server::conn::http1::Builder::new().serve_connection(stream, service).await.ok()
        });
    }
}

fn sign(key: &Key, claims: &Value) -> String {
    let header = Header { kid: Some(key.kid.to_owned()), ..Header::new(key.algorithm) };
    jsonwebtoken::encode(&header, claims, &key.private).unwrap()
}

async fn world(issuer: &Issuer) -> World {
    let dir = tempfile::tempdir().unwrap();
    let account = accounts::create(dir.path(), "default").await.unwrap();
    let issuers = vec![OidcIssuer {
        issuer: issuer.url.clone(),
        audience: AUDIENCE.to_owned(),
        accounts: vec![account.id],
    }];
    let clock = Arc::new(control::clock::ManualClock::new());
    World::again(dir, clock, Fleet::default(), |config| config.oidc_issuers = issuers).await
}

fn claims(world: &World, issuer: &Issuer, roles: &Value) -> Value {
    let now = world.clock.wall().unix_timestamp();
    json!({ "iss": issuer.url, "aud": AUDIENCE, "nbf": now, "exp": now + 3_600, "sub": "somebody", "roles": roles })
}

async fn exchange(world: &World, account: &str, token: &str) -> Answer {
    let authorization = format!("Authorization: Bearer {token}");
    world.send("GET", &format!("/Accounts/{account}/token"), &[&authorization], "").await
}

#[tokio::test]
async fn item_25_tokens_of_a_configured_issuer_are_exchanged() {
    let issuer = Issuer::start().await;
    let keys = [rsa("r"), elliptic("e")];
    issuer.publish(&[&keys[0], &keys[1]]);
    let mut world = world(&issuer).await;
    let account = world.account.clone();
    for key in &keys {
        for (roles, conversions) in [
            (json!(["Other", "Administrator"]), 501),
            (json!("Remote Rendering Administrator"), 501),
            (json!(["Client"]), 403),
            (json!(["d39065c4-c120-43c9-ab0a-63eed9795f0a"]), 403),
        ] {
            let answer = exchange(&world, &account, &sign(key, &claims(&world, &issuer, &roles))).await;
            assert_eq!(answer.status, 200, "{} {roles}", key.kid);
            world.token = answer.json()["AccessToken"].as_str().unwrap().to_owned();
            assert_eq!(world.sessions("GET", "", "").await.status, 200);
            let target = format!("/accounts/{account}/conversions?{V}");
            assert_eq!(world.call("GET", &target, "").await.status, conversions, "{roles}");
        }
    }
    assert_eq!(issuer.n_asked(), 1, "the keys are kept");
    // Trusted, but without a right here.
    for roles in [json!([]), json!(["Reader"]), Value::Null, json!({ "Administrator": true })] {
        let answer = exchange(&world, &account, &sign(&keys[0], &claims(&world, &issuer, &roles))).await;
        assert_eq!(answer.refusal(), (403, "Forbidden".to_owned()), "{roles}");
    }
    let good = claims(&world, &issuer, &json!(["Administrator"]));
    let other = accounts::create(world.dir.path(), "other").await.unwrap();
    for stranger in [other.id.to_string(), uuid::Uuid::new_v4().to_string()] {
        let answer = exchange(&world, &stranger, &sign(&keys[0], &good)).await;
        assert_eq!(answer.refusal(), (403, "Forbidden".to_owned()), "an account that was not configured");
    }
    // Not trusted.
    let with = |name: &str, value: Value| {
        let mut claims = good.clone();
        claims[name] = value;
        sign(&keys[0], &claims)
    };
    let now = world.clock.wall().unix_timestamp();
    let forger = Key { kid: "r", ..rsa("r") };
    let secret = Key {
        kid: "r",
        algorithm: Algorithm::HS256,
        private: EncodingKey::from_secret(keys[0].public["n"].as_str().unwrap().as_bytes()),
        public: Value::Null,
    };
    let confused = Key { kid: "e", ..rsa("e") };
    let token = sign(&keys[0], &good);
    let (body, _signature) = token.rsplit_once('.').unwrap();
    for (what, token) in [
        ("issuer", with("iss", json!("https://login.example.com"))),
        ("no issuer", with("iss", Value::Null)),
        ("audience", with("aud", json!("https://graph.example.com"))),
        ("expired", with("exp", json!(now - 60))),
        ("no end", with("exp", Value::Null)),
        ("not yet", with("nbf", json!(now + 120))),
        ("another's key", sign(&forger, &good)),
        ("shared secret", sign(&secret, &good)),
        ("another kind of key", sign(&confused, &good)),
        ("no signature", format!("{body}.")),
    ] {
        let answer = exchange(&world, &account, &token).await;
        assert_eq!((answer.status, answer.body.len()), (401, 0), "{what}");
    }
    // The rendering API takes our own tokens alone.
    world.token = token;
    assert_eq!(world.sessions("GET", "", "").await.status, 401);
    world.running.stop().await;
}

#[tokio::test]
async fn keys_of_issuers_are_fetched_once_and_again_when_they_change() {
    let issuer = Issuer::start().await;
    let (old, new) = (elliptic("old"), elliptic("new"));
    issuer.publish(&[&old]);
    let world = world(&issuer).await;
    let account = &world.account;
    let roles = json!(["Client"]);
    let token = |key| sign(key, &claims(&world, &issuer, &roles));

    issuer.works.store(false, SeqCst);
    let answer = exchange(&world, account, &token(&old)).await;
    assert_eq!((answer.status, answer.header("Retry-After")), (503, Some("1")));
    assert_eq!(exchange(&world, account, &token(&old)).await.status, 503);
    assert_eq!(issuer.n_asked(), 1, "not asked again at once");
    issuer.works.store(true, SeqCst);
    world.advance(1);
    let credential = token(&old);
    let (a, b, c) = tokio::join!(
        exchange(&world, account, &credential),
        exchange(&world, account, &credential),
        exchange(&world, account, &credential)
    );
    assert_eq!([a.status, b.status, c.status], [200; 3]);
    assert_eq!(issuer.n_asked(), 2, "one asked for all");

    issuer.publish(&[&old, &new]);
    assert_eq!(exchange(&world, account, &token(&new)).await.status, 401, "unknown, and it was just asked");
    assert_eq!(issuer.n_asked(), 2);
    world.advance(30);
    assert_eq!(exchange(&world, account, &token(&new)).await.status, 200);
    assert_eq!(issuer.n_asked(), 3);

    // An issuer that is away for hours is no reason to shut everybody out, but not for ever.
    issuer.works.store(false, SeqCst);
    world.advance(60 * 60);
    assert_eq!(exchange(&world, account, &token(&new)).await.status, 200);
    assert_eq!(issuer.n_asked(), 4);
    world.advance(23 * 60 * 60);
    assert_eq!(exchange(&world, account, &token(&new)).await.status, 503);
    world.running.stop().await;
}
