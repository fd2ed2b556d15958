//! Who may use the HTTP API, and from which web pages.

use std::time::{SystemTime, UNIX_EPOCH};

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use reqwest::Method;
use serde_json::{Value, json};
use trunkline_testkit::{Answer, Program, Project};

use crate::support::{REST, start, start_with};

const SECRET: &str = "a secret of at least thirty-two bytes";

fn in_seconds(seconds: i64) -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap() + seconds
}

fn token(claims: &Value, secret: &str) -> String {
    encode(&Header::new(Algorithm::HS256), claims, &EncodingKey::from_secret(secret.as_bytes())).unwrap()
}

fn user(username: &str, role: &str) -> Value {
    json!({"user": {"username": username, "role": role}})
}

/// `GET` as the holder of a token.
async fn get_as(program: &Program, path: &str, token: &str) -> Answer {
    program.send(program.request(Method::GET, path).bearer_auth(token)).await.unwrap()
}

/// What is open to everybody.
async fn assert_open(program: &Program) {
    for path in ["/", "/version", "/webhooks/rest/", "/status/live", "/status/ready", "/metrics"] {
        assert_eq!(program.get(path).await.status, 200, "{path}");
    }
    assert_eq!(program.post(REST, r#"{"sender":"u","message":"m"}"#).await.status, 200);
}

#[tokio::test]
async fn a_token_is_taken_from_the_query_only() {
    let project = Project::new();
    let program = start_with(&project, &["--enable-api", "--auth-token", "s3 cr&t"]).await;
    assert_open(&program).await;
    for path in ["/status", "/conversations/u/tracker", "/api/subscriptions", "/api/dead-letters"] {
        assert_eq!(program.get(&format!("{path}?token=s3%20cr%26t")).await.status, 200, "{path}");
        for query in ["", "?token=", "?token=s3", "?token=s3%20cr%26tt", "?Token=s3%20cr%26t"] {
            let answer = program.get(&format!("{path}{query}")).await;
            assert_eq!((answer.status, &answer.json()["reason"]), (401, &json!("NotAuthenticated")), "{path}{query}");
        }
        assert_eq!(get_as(&program, path, "s3 cr&t").await.status, 401, "{path}");
    }
    let before = program.head().await;
    for (method, path) in [
        (Method::POST, "/conversations/u/tracker/events"),
        (Method::PUT, "/conversations/u/tracker/events"),
        (Method::POST, "/conversations/u/messages"),
        (Method::POST, "/api/events"),
    ] {
        let body = r#"{"event":"restart","sender_id":"u","text":"x","sender":"user"}"#;
        assert_eq!(program.send(program.request(method, path).body(body)).await.unwrap().status, 401, "{path}");
    }
    assert_eq!(program.head().await, before);
}

#[tokio::test]
async fn a_json_web_token_says_who_may_see_what() {
    let project = Project::new();
    let program = start_with(&project, &["--enable-api", "--jwt-secret", SECRET]).await;
    assert_open(&program).await;
    let tracker = |id: &str| format!("/conversations/{id}/tracker");

    let admin = token(&user("root", "admin"), SECRET);
    for path in ["/status", "/conversations/u/tracker", "/conversations/v/tracker", "/api/subscriptions"] {
        assert_eq!(get_as(&program, path, &admin).await.status, 200, "{path}");
    }
    let ann = token(&user("ann/1", "user"), SECRET);
    for (path, status) in [
        (tracker("ann/1"), 200),
        (tracker("ann%2F1"), 200),
        (tracker("ann"), 403),
        (tracker("ann/1/x"), 403),
        (tracker("u"), 403),
        ("/status".to_owned(), 403),
        ("/api/subscriptions".to_owned(), 403),
    ] {
        let answer = get_as(&program, &path, &ann).await;
        assert_eq!(answer.status, status, "{path}");
        if status == 403 {
            assert_eq!(answer.json()["reason"], "NotAuthorized");
        }
    }
    for claims in [
        user("u", "guest"),
        user("u", "Admin"),
        json!({"user": {"username": "u"}}),
        json!({"user": {"username": "u", "role": null}}),
        json!({"user": {}}),
        json!({}),
    ] {
        assert_eq!(get_as(&program, &tracker("u"), &token(&claims, SECRET)).await.status, 403, "{claims}");
    }

    let claims = |more: Value| {
        let mut claims = user("root", "admin");
        claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        token(&claims, SECRET)
    };
    let with = |key: &str, value: i64| claims(json!({key: value}));
    let none = {
        let parts = admin.split('.').collect::<Vec<_>>();
        // {"alg":"none","typ":"JWT"}
        format!("eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.{}.", parts[1])
    };
    for bad in [
        // For somebody else.
        claims(json!({"aud": "another"})),
        claims(json!({"aud": ["another", "trunkline"]})),
        // No times.
        claims(json!({"exp": "never"})),
        claims(json!({"exp": in_seconds(3600).to_string()})),
        claims(json!({"exp": [], "nbf": 0})),
        claims(json!({"nbf": in_seconds(3600).to_string()})),
        token(&user("root", "admin"), "another secret of more than thirty-two bytes"),
        with("exp", in_seconds(-5)),
        with("nbf", in_seconds(3600)),
        encode(&Header::new(Algorithm::HS384), &user("root", "admin"), &EncodingKey::from_secret(SECRET.as_bytes())).unwrap(),
        none,
        "nonsense".to_owned(),
        String::new(),
    ] {
        let answer = get_as(&program, "/status", &bad).await;
        assert_eq!((answer.status, &answer.json()["reason"]), (401, &json!("NotAuthenticated")), "{bad}");
    }
    assert_eq!(get_as(&program, "/status", &with("exp", in_seconds(3600))).await.status, 200);
    assert_eq!(program.get(&format!("/status?token={admin}")).await.status, 401);
    let basic = program.request(Method::GET, "/status").basic_auth("root", Some("admin"));
    assert_eq!(program.send(basic).await.unwrap().status, 401);
}

#[tokio::test]
async fn a_public_key_verifies_what_a_private_one_signed() {
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).unwrap();
    let public = key.public_key_pem();
    let project = Project::new();
    let program = start_with(&project, &["--enable-api", "--jwt-method", "RS256", &format!("--jwt-secret={public}")]).await;
    let sign = |key: &rcgen::KeyPair| {
        let key = EncodingKey::from_rsa_pem(key.serialize_pem().as_bytes()).unwrap();
        encode(&Header::new(Algorithm::RS256), &user("root", "admin"), &key).unwrap()
    };
    assert_eq!(get_as(&program, "/status", &sign(&key)).await.status, 200);
    let other = rcgen::KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).unwrap();
    assert_eq!(get_as(&program, "/status", &sign(&other)).await.status, 401);
    // The public key is no secret: it must not be good for signing.
    assert_eq!(get_as(&program, "/status", &token(&user("root", "admin"), &public)).await.status, 401);
}

#[tokio::test]
async fn with_a_token_and_json_web_tokens_either_suffices() {
    let settings = format!("api:\n  enabled: true\n  auth_token: s3cret\n  jwt_secret: {SECRET}\n");
    let project = Project::new().file("trunkline.yml", &settings);
    let program = start_with(&project, &[]).await;
    assert_open(&program).await;
    let admin = token(&user("root", "admin"), SECRET);
    let ann = token(&user("ann", "user"), SECRET);
    assert_eq!(program.get("/status").await.status, 401);
    assert_eq!(program.get("/status?token=s3cret").await.status, 200);
    assert_eq!(get_as(&program, "/status", &admin).await.status, 200);
    assert_eq!(get_as(&program, "/status?token=wrong", &admin).await.status, 200);
    assert_eq!(get_as(&program, "/status?token=s3cret", "nonsense").await.status, 200);
    assert_eq!(get_as(&program, "/status?token=s3cret", &ann).await.status, 200);
    assert_eq!(get_as(&program, "/status?token=wrong", &ann).await.status, 403);
}

/// The CORS headers of the answer to a page of `origin`.
async fn cors(program: &Program, method: Method, path: &str, origin: &str) -> (u16, Vec<(String, String)>) {
    let preflight = method == Method::OPTIONS;
    let mut request = program.request(method, path).header("origin", origin);
    if preflight {
        request = request.header("access-control-request-method", "POST").header("access-control-request-headers", "x-my");
    }
    let answer = program.send(request.body("{\"message\":\"m\"}")).await.unwrap();
    let header = |name: &reqwest::header::HeaderName, value: &reqwest::header::HeaderValue| {
        let name = name.as_str().strip_prefix("access-control-")?;
        Some((name.to_owned(), value.to_str().unwrap().to_owned()))
    };
    let mut headers: Vec<_> = answer.headers.iter().filter_map(|(name, value)| header(name, value)).collect();
    headers.sort();
    (answer.status, headers)
}

fn owned(headers: &[(&str, &str)]) -> Vec<(String, String)> {
    headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[tokio::test]
async fn pages_of_the_origins_given_may_call() {
    let (good, bad) = ("https://shop.example", "https://evil.example");
    for (origins, refused) in [(&["--cors", good][..], true), (&["--cors", "*"][..], false), (&["--cors", good, bad], false)] {
        let project = Project::new();
        let program = start_with(&project, &[&["--enable-api"], origins].concat()).await;
        for (method, path) in [(Method::POST, REST), (Method::GET, "/status"), (Method::POST, "/nothing"), (Method::GET, REST)] {
            let allowed =
                |origin| owned(&[("allow-credentials", "true"), ("allow-origin", origin), ("expose-headers", "filename")]);
            assert_eq!(cors(&program, method.clone(), path, good).await.1, allowed(good), "{origins:?} {path}");
            let (_, found) = cors(&program, method, path, bad).await;
            if refused {
                assert!(found.iter().all(|(name, _)| name != "allow-origin"), "{found:?}");
            } else {
                assert_eq!(found, allowed(bad));
            }
        }
        let (status, headers) = cors(&program, Method::OPTIONS, REST, good).await;
        assert_eq!(status, 200);
        for header in [("allow-origin", good), ("allow-methods", "POST"), ("allow-headers", "x-my")] {
            assert!(headers.contains(&owned(&[header])[0]), "{headers:?}");
        }
    }
}

#[tokio::test]
async fn without_origins_there_are_no_headers_for_pages() {
    let project = Project::new();
    let program = start(&project).await;
    for method in [Method::POST, Method::OPTIONS] {
        let (status, headers) = cors(&program, method.clone(), REST, "https://shop.example").await;
        assert_eq!((status, headers), (if method == Method::POST { 200 } else { 405 }, vec![]));
    }
}
