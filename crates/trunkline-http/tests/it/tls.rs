//! Certificates, ours and theirs.

use std::path::PathBuf;

use trunkline_http::{Allow, Client, TlsFiles};
use trunkline_testkit::http::{Authority, Served, Server};

use crate::{post, status};

async fn serve(files: (PathBuf, PathBuf), clients_of: Option<PathBuf>) -> Server {
    Server::start_tls(&Served { files, clients_of }, |_| async { status(200, "") }).await
}

/// The status, or what went wrong.
async fn ask(server: &Server, files: &TlsFiles) -> Result<u16, String> {
    let client = Client::new(Allow::private(), Some(files))?;
    let url = format!("https://localhost:{}/", server.address.port());
    post(&client, &url).await.map(|answer| answer.status.as_u16()).map_err(|failure| failure.to_string())
}

#[tokio::test]
async fn certificates_of_servers_are_checked_and_what_is_wrong_is_said() {
    let directory = tempfile::tempdir().unwrap();
    let ours = Authority::new(directory.path(), "ours");
    let other = Authority::new(directory.path(), "other");
    let trusting = |authority: &Authority| TlsFiles { ca: Some(authority.cafile.clone()), identity: None };

    let good = serve(ours.sign("localhost", false), None).await;
    assert_eq!(ask(&good, &trusting(&ours)).await, Ok(200));
    for tls in [trusting(&other), TlsFiles::default()] {
        let said = ask(&good, &tls).await.unwrap_err();
        assert!(
            said.starts_with("there is no connection: ") && said.ends_with("name the authority's certificate with `cafile`"),
            "{said}"
        );
    }
    let expired = serve(ours.sign("localhost", true), None).await;
    let said = ask(&expired, &trusting(&ours)).await.unwrap_err();
    assert!(said.ends_with("its certificate has expired: it must be renewed there, or the clock here corrected"), "{said}");
    let wrong = serve(ours.sign("elsewhere.example", false), None).await;
    let said = ask(&wrong, &trusting(&ours)).await.unwrap_err();
    assert!(said.ends_with("its certificate is for another host: use a name that is in it"), "{said}");
    let plain = Server::start(|_| async { status(200, "") }).await;
    let said = ask(&plain, &trusting(&ours)).await.unwrap_err();
    assert!(said.ends_with("it does not speak TLS there"), "{said}");
}

#[tokio::test]
async fn a_certificate_of_ours_is_shown_to_servers_that_want_one() {
    let directory = tempfile::tempdir().unwrap();
    let ours = Authority::new(directory.path(), "ours");
    let cafile = Some(ours.cafile.clone());
    let server = serve(ours.sign("localhost", false), cafile.clone()).await;
    let identity = Some(ours.sign("client", false));
    assert_eq!(ask(&server, &TlsFiles { ca: cafile.clone(), identity }).await, Ok(200));
    let said = ask(&server, &TlsFiles { ca: cafile, identity: None }).await.unwrap_err();
    assert!(said.ends_with("it may want a certificate of ours: give `certfile` and `keyfile`"), "{said}");
}

#[tokio::test]
async fn files_that_are_missing_or_hold_something_else_are_named() {
    let directory = tempfile::tempdir().unwrap();
    let ours = Authority::new(directory.path(), "ours");
    let (certificate, key) = ours.sign("client", false);
    let server = serve(ours.sign("localhost", false), None).await;
    let nothing = directory.path().join("nothing.pem");
    let shown = nothing.display();
    let said = ask(&server, &TlsFiles { ca: Some(nothing.clone()), identity: None }).await.unwrap_err();
    assert!(said.starts_with(&format!("cannot read `{shown}`: No such file")), "{said}");
    let said = ask(&server, &TlsFiles { ca: Some(key.clone()), identity: None }).await.unwrap_err();
    assert_eq!(said, format!("there is no certificate in PEM in `{}`", key.display()));
    let said = ask(&server, &TlsFiles { ca: None, identity: Some((certificate.clone(), nothing.clone())) }).await.unwrap_err();
    assert!(said.starts_with(&format!("cannot read `{shown}`")), "{said}");
    let said =
        ask(&server, &TlsFiles { ca: None, identity: Some((certificate.clone(), certificate.clone())) }).await.unwrap_err();
    let shown = certificate.display();
    assert_eq!(said, format!("there is no private key in PEM in `{shown}`; an encrypted key must be decrypted first"));
}

#[tokio::test]
async fn certificates_of_the_system_are_asked_for_only_where_they_are_needed() {
    // Run as a child, because the environment belongs to the whole process.
    const CHILD: &str = "TRUNKLINE_TEST_URL";
    if let Ok(url) = std::env::var(CHILD) {
        let client = Client::new(Allow::private(), None).unwrap();
        assert_eq!(post(&client, &url).await.unwrap().status, 200);
        let said = Client::new(Allow::private(), Some(&TlsFiles::default())).unwrap_err();
        assert!(said.starts_with("TLS cannot be set up: ") && said.contains("certificate"), "{said}");
        return;
    }
    let mut server = Server::start(|_| async { status(200, "") }).await;
    let output = tokio::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "tls::certificates_of_the_system_are_asked_for_only_where_they_are_needed"])
        .env(CHILD, format!("http://{}/here", server.address))
        .envs([("SSL_CERT_FILE", "/nowhere/ca.pem"), ("SSL_CERT_DIR", "/nowhere")])
        .output()
        .await
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    assert_eq!(server.heard()[0].target, "/here");
}
