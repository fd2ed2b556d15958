//! What the SQL broker says when a server does not let it in, or does not let it write.

use std::net::TcpListener;
use std::path::Path;

use trunkline_core::{Broker as _, Outcome};
use trunkline_testkit::services::{port, tls};

use crate::common::{batch, deliver, journal, key, reason, runtime};
use crate::servers::{Database, KINDS, Kind, PASSWORD, Private, USER, bodies, broker, build, until};

/// Demands that a broker of `yaml` says `expected` wherever it is asked, behind the place; and no secret.
async fn assert_says(yaml: &str, expected: &str) {
    let broker = broker(yaml);
    let said = broker.is_ready().await.unwrap_err();
    assert!(said.contains(expected), "{said}");
    let outcomes = broker.publish(&batch(&journal(2), &key())).await;
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Outcome::Retry { .. })), "{outcomes:?}");
    for said in [said.as_str(), reason(&outcomes[1])] {
        assert!(!said.contains(PASSWORD) && !said.contains("50%"), "{said}");
    }
    assert!(reason(&outcomes[0]).contains(expected), "{outcomes:?}");
    // Who may not write may be able to read.
    let position = broker.position(&key()).await;
    assert!(position.as_ref().map_or_else(|said| said.contains(expected), Option::is_none), "{position:?}");
}

fn place(database: &Database) -> String {
    let product = database.kind.pick("PostgreSQL", "MySQL");
    format!("the {product} database `{}` at localhost:{}", database.name, database.port)
}

#[tokio::test]
async fn a_wrong_password_an_unknown_database_and_an_unknown_user_are_named() {
    for kind in KINDS {
        let database = Database::create(kind).await;
        let (place, yaml) = (place(&database), database.yaml());
        let wrong = yaml.replace("a secret/50%", "another 50%");
        let expected = kind.pick(
            format!("{place} refuses the user `trunkline`: wrong password; correct `username` and `password`"),
            format!("{place} refuses the user `trunkline`: Access denied for user 'trunkline'@'127.0.0.1' (using password: YES)"),
        );
        assert_says(&wrong, &expected).await;
        let missing = yaml.replace(&database.name, "trunkline_missing");
        assert_says(&missing, "`trunkline_missing`; create it, or correct `db`").await;
        let unknown = yaml.replace("username: trunkline", "username: nobody");
        assert_says(&unknown, "refuses the user `nobody`").await;
        database.drop().await;
    }
}

#[tokio::test]
async fn a_host_that_does_not_answer_is_named() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    // Takes connections and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent_port = silent.local_addr().unwrap().port();
    for kind in KINDS {
        let section = |url: &str, query: &str| {
            format!("dialect: {}\nurl: {url}\ndb: d\nusername: u\npassword: '50%'\n{query}", kind.dialect())
        };
        assert_says(
            &section(&format!("localhost:{closed}"), ""),
            &format!("`d` at localhost:{closed} cannot be reached: the connection was refused; does the server run"),
        )
        .await;
        assert_says(&section("no-such-host.invalid", ""), "cannot be reached: there is no host `no-such-host.invalid`").await;
        assert_says(
            &section(&format!("127.0.0.1:{silent_port}"), "query: {connect_timeout: 1}"),
            &format!("`d` at 127.0.0.1:{silent_port} did not answer within 1 s"),
        )
        .await;
    }
    drop(silent);
}

/// The options of TLS with this CA, whose names differ.
fn verified(kind: Kind, ca: &Path) -> String {
    let ca = ca.display();
    kind.pick(format!("query: {{sslmode: verify-full, sslrootcert: {ca}}}"), format!("query: {{ssl_ca: {ca}}}"))
}

#[tokio::test]
async fn the_certificate_of_the_server_is_verified_against_the_ca_that_is_named() {
    for kind in KINDS {
        let database = Database::create(kind).await;
        let yaml = |query: String| format!("{}\n{query}", database.yaml());
        let (journal, key) = (journal(2), key());
        deliver(&*broker(&yaml(verified(kind, &tls("ca.pem")))), &batch(&journal, &key)).await;
        assert_eq!(database.texts().await, bodies(&journal));
        assert_says(
            &yaml(verified(kind, &tls("other-ca.pem"))),
            "cannot be reached by TLS: its certificate is not signed by an authority that is trusted here",
        )
        .await;
        assert_says(&yaml(verified(kind, Path::new("/nowhere/ca.pem"))), "cannot read `/nowhere/ca.pem`").await;
        assert_says(
            &yaml(verified(kind, &Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml"))),
            "there is no certificate in PEM in `",
        )
        .await;
        database.drop().await;
    }
}

/// The section for the user `tlsonly`, without its certificate and with it.
fn of_tlsonly(database: &Database) -> (String, String) {
    let yaml = database.yaml().replace("username: trunkline", "username: tlsonly");
    let (ca, client, key) = (tls("ca.pem"), tls("client.pem"), tls("client.key"));
    let names = database.kind.pick(["sslrootcert", "sslcert", "sslkey"], ["ssl_ca", "ssl_cert", "ssl_key"]);
    let mode = database.kind.pick("sslmode: verify-full", "ssl_mode: VERIFY_IDENTITY");
    let query = format!(
        "query: {{{mode}, {}: {}, {}: {}, {}: {}}}",
        names[0],
        ca.display(),
        names[1],
        client.display(),
        names[2],
        key.display()
    );
    let with_certificate = format!("{yaml}\n{query}");
    (yaml, with_certificate)
}

#[tokio::test]
async fn a_user_that_needs_a_certificate_comes_in_with_one() {
    for kind in KINDS {
        let database = Database { kind, port: port(kind.service()), name: "trunkline".to_owned() };
        let (yaml, with_certificate) = of_tlsonly(&database);
        let answer = broker(&with_certificate).is_ready().await;
        // In PostgreSQL it comes in, and may create nothing.
        let is_in = answer.as_ref().err().is_none_or(|said| said.contains("denies the user tlsonly to create tables"));
        assert!(is_in, "{answer:?}");
        assert_says(&yaml, "refuses the user `tlsonly`").await;
    }
}

#[tokio::test]
async fn the_sequence_of_an_identity_column_needs_no_right() {
    let database = Database::create(Kind::Postgres).await;
    database.execute("CREATE TABLE events (id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, sender_id TEXT, data TEXT)").await;
    database.broker().position(&key()).await.unwrap();
    database
        .execute("GRANT SELECT, INSERT ON events TO tlsonly; GRANT SELECT, INSERT, UPDATE ON trunkline_cursors TO tlsonly")
        .await;
    let broker_of_tlsonly = broker(&of_tlsonly(&database).1);
    assert_eq!(broker_of_tlsonly.is_ready().await, Ok(()));
    let journal = journal(2);
    deliver(&*broker_of_tlsonly, &batch(&journal, &key())).await;
    assert_eq!(database.texts().await, bodies(&journal));
    drop(broker_of_tlsonly);
    let sessions = "SELECT count(*)::text FROM pg_stat_activity WHERE datname = current_database() AND usename = 'tlsonly'";
    until("the end of its sessions", async || database.strings(sessions).await == ["0"]).await;
    database.drop().await;
}

/// Says to [`says_whether_it_is_ready`] of what, and so that it is the child.
const CHILD: &str = "TRUNKLINE_TEST_READY";

/// The child; alone it has nothing to do.
#[test]
fn says_whether_it_is_ready() {
    use std::io::Write as _;
    let Ok(yaml) = std::env::var(CHILD) else { return };
    let answer = runtime().block_on(broker(&yaml).is_ready());
    writeln!(std::io::stdout(), "{answer:?}").unwrap();
}

#[tokio::test]
async fn the_environment_says_how_tls_is_used_where_no_mode_is_given() {
    let database = Database::create(Kind::Postgres).await;
    for (query, expected) in [
        ("", "its certificate is not signed by an authority that is trusted here"),
        ("query: {sslmode: prefer}", "Ok(())"),
        ("query: {sslmode: require}", "Ok(())"),
    ] {
        let mut child = std::process::Command::new(std::env::current_exe().unwrap());
        child.args(["--exact", "sql_server_errors::says_whether_it_is_ready", "--nocapture"]);
        child.env(CHILD, format!("{}\n{query}", database.yaml())).env("PGSSLMODE", "verify-full");
        let output = tokio::task::spawn_blocking(move || child.output().unwrap()).await.unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(said.contains(expected), "{query}: {said}");
    }
    database.drop().await;
}

#[tokio::test]
async fn certificates_that_have_expired_or_are_for_another_host_are_refused() {
    for kind in KINDS {
        for (certificate, expected) in [
            ("expired", "cannot be reached by TLS: its certificate has expired"),
            ("wrong-host", "cannot be reached by TLS: its certificate is for another host"),
        ] {
            let server = Private::start(kind, certificate).await;
            let database = Database { kind, port: server.port(), name: "trunkline".to_owned() };
            let ca = server.certificate("ca.pem");
            assert_says(&format!("{}\n{}", database.yaml(), verified(kind, &ca)), expected).await;
            if kind == Kind::Postgres {
                // The CA alone means the same.
                assert_says(&format!("{}\nquery: {{sslrootcert: {}}}", database.yaml(), ca.display()), expected).await;
            }
            if certificate == "wrong-host" {
                let ca = ca.display();
                let query = kind.pick(
                    format!("query: {{sslmode: verify-ca, sslrootcert: {ca}}}"),
                    format!("query: {{ssl_ca: {ca}, ssl_check_hostname: 'false'}}"),
                );
                assert_eq!(broker(&format!("{}\n{query}", database.yaml())).is_ready().await, Ok(()));
            }
        }
    }
}

#[tokio::test]
async fn a_server_without_tls_is_not_spoken_to_when_tls_is_demanded() {
    // Answers as PostgreSQL does that has no TLS.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        use std::io::{Read as _, Write as _};
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut request = [0; 8];
            if stream.read_exact(&mut request).is_ok() {
                let _ = stream.write_all(b"N");
            }
        }
    });
    let yaml = format!("url: postgresql://u:p@127.0.0.1:{port}/d?sslmode=require");
    assert_says(&yaml, "cannot be reached by TLS: it does not offer TLS; enable it there").await;
}

#[tokio::test]
async fn what_the_user_may_not_do_is_named_before_the_first_event() {
    for kind in KINDS {
        let server = Private::start(kind, "server").await;
        let database = Database { kind, port: server.port(), name: "trunkline".to_owned() };
        let weak = database.yaml().replace("username: trunkline", "username: weak");
        let (create, deny, grant) = match kind {
            Kind::Postgres => (
                format!("CREATE ROLE weak LOGIN PASSWORD '{PASSWORD}'"),
                "denies the user weak to create tables in the schema public; grant it",
                "GRANT SELECT, INSERT ON events, trunkline_cursors TO weak".to_owned(),
            ),
            Kind::MariaDb => (
                format!("CREATE USER weak IDENTIFIED BY '{PASSWORD}'; GRANT SELECT ON trunkline.* TO weak"),
                "denies the user `weak` something: CREATE command denied to user 'weak'@'127.0.0.1' for table",
                "GRANT INSERT ON trunkline.* TO weak".to_owned(),
            ),
        };
        server.administrate(&create).await;
        let broker_of_weak = broker(&weak);
        let said = broker_of_weak.is_ready().await.unwrap_err();
        assert!(said.contains(deny), "{said}");
        let outcomes = broker_of_weak.publish(&batch(&journal(1), &key())).await;
        assert!(reason(&outcomes[0]).contains("denie"), "{outcomes:?}");
        // The tables are there, and the rights are not.
        deliver(&*database.broker(), &batch(&journal(1), &key())).await;
        let said = broker_of_weak.is_ready().await.unwrap_err();
        assert!(said.contains("denies the user `weak` something") || said.contains("use of the sequence"), "{said}");
        if kind == Kind::Postgres {
            database.execute(&grant).await;
            let said = broker_of_weak.is_ready().await.unwrap_err();
            assert!(said.contains("the use of the sequence public.events_id_seq; grant it"), "{said}");
            database.execute("GRANT USAGE ON events_id_seq TO weak").await;
        } else {
            server.administrate(&grant).await;
        }
        let said = broker_of_weak.is_ready().await.unwrap_err();
        assert!(said.contains("trunkline_cursors") && said.ends_with("grant it"), "{said}");
        match kind {
            Kind::Postgres => database.execute("GRANT UPDATE ON trunkline_cursors TO weak").await,
            Kind::MariaDb => server.administrate("GRANT UPDATE ON trunkline.trunkline_cursors TO weak").await,
        }
        assert_eq!(broker_of_weak.is_ready().await, Ok(()));
        deliver(&*broker_of_weak, &batch(&journal(1), &key())).await;
    }
}

#[tokio::test]
async fn a_server_that_is_read_only_is_named_as_one() {
    for kind in KINDS {
        let server = Private::start(kind, "server").await;
        let database = Database { kind, port: server.port(), name: "trunkline".to_owned() };
        for are_tables_there in [false, true] {
            if are_tables_there {
                deliver(&*database.broker(), &batch(&journal(1), &key())).await;
            }
            let set = |on: bool| {
                let word = if on { "on" } else { "off" };
                kind.pick(
                    format!("ALTER DATABASE trunkline SET default_transaction_read_only = {word}"),
                    format!("SET GLOBAL read_only = {word}"),
                )
            };
            server.administrate(&set(true)).await;
            assert_says(&database.yaml(), "is read-only").await;
            server.administrate(&set(false)).await;
            assert_eq!(database.broker().is_ready().await, Ok(()));
        }
    }
}

#[tokio::test]
async fn a_full_disk_of_the_server_means_try_again_and_later_succeeds() {
    let server = Private::start(Kind::Postgres, "server").await;
    let database = Database { kind: Kind::Postgres, port: server.port(), name: "trunkline".to_owned() };
    let disk = SmallDisk::mount("postgres");
    server.administrate(&format!("CREATE TABLESPACE small OWNER {USER} LOCATION '{}'", disk.0.path().display())).await;
    server
        .administrate(&format!(
            "ALTER DATABASE trunkline SET default_tablespace = small; GRANT CREATE ON TABLESPACE small TO {USER}"
        ))
        .await;
    let (broker, key) = (database.broker(), key());
    let text = "x".repeat(1000);
    let journal: Vec<_> = (1..=20_000).map(|offset| crate::common::event(offset, "u", &format!("{offset} {text}"))).collect();
    let mut done = 0;
    let failure = loop {
        let events = &journal[done..done + 100];
        let outcomes = broker.publish(&batch(events, &key)).await;
        if outcomes != Outcome::Delivered.all(100) {
            break outcomes;
        }
        done += 100;
    };
    assert!(done > 0);
    assert!(reason(&failure[0]).contains("has no disk space left: could not extend file"), "{}", reason(&failure[0]));
    assert_eq!(failure, Outcome::retry(reason(&failure[0])).all(100));
    assert_eq!(broker.is_ready().await.unwrap_err(), reason(&failure[0]), "no event is at fault");
    disk.grow();
    for events in journal[done..done + 1000].chunks(100) {
        deliver(&*broker, &batch(events, &key)).await;
    }
    assert_eq!(broker.is_ready().await, Ok(()));
    assert!(database.texts().await == bodies(&journal[..done + 1000]));
    drop(server);
}

/// A file system in memory that is soon full. Needs root.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount(owner: &str) -> Self {
        let directory = tempfile::Builder::new().prefix("tl").tempdir_in("/tmp").unwrap();
        let disk = Self(directory);
        disk.run("mount", &["-t", "tmpfs", "-o", "size=4m,mode=700", "small"]);
        disk.run("chown", &[owner]);
        disk
    }

    fn grow(&self) {
        self.run("mount", &["-o", "remount,size=64m"]);
    }

    fn run(&self, program: &str, arguments: &[&str]) {
        let output = std::process::Command::new(program).args(arguments).arg(self.0.path()).output().unwrap();
        assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("--lazy").arg(self.0.path()).output();
    }
}

#[tokio::test]
async fn complete_urls_work_with_every_alias_and_an_awkward_password() {
    for kind in KINDS {
        let database = Database::create(kind).await;
        let (port, name) = (database.port, &database.name);
        let dialects: &[&str] = kind.pick(
            &["postgresql", "postgres", "postgresql+psycopg2", "postgresql+asyncpg"],
            &["mysql", "mysql+pymysql", "mariadb", "mariadb+mariadbconnector"],
        );
        let mut all = Vec::new();
        for dialect in dialects {
            // As it is, and as SQLAlchemy writes it.
            for password in ["a secret/50%", "a+secret%2F50%25", "a%20secret%2F50%25"] {
                let events = journal(1);
                let (broker, _) = build(&format!("url: '{dialect}://{USER}:{password}@localhost:{port}/{name}'"), None);
                let outcomes = broker.unwrap().publish(&batch(&events, &key())).await;
                // A plus is a plus outside of options.
                assert_eq!(outcomes[0] == Outcome::Delivered, !password.contains('+'), "{outcomes:?}");
                all.extend(bodies(&events).into_iter().filter(|_| !password.contains('+')));
            }
        }
        assert_eq!(database.texts().await, all);
        database.drop().await;
    }
}
